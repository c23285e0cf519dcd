"""F and B from plate and alpha: errors where the truth is known, and time, against PyMatting's multi-level estimator.

    python benchmarks/hdr_colours.py [--uhd]

Every method gets the true alpha and is followed by the exact recomposition. Relative error of F:
|F̂ − F| / max(|F|, 0.01).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymatting import estimate_foreground_ml
from scipy import ndimage
from skimage import data

from fbamatte.compositing.colours import colours
from fbamatte.compositing.over import over
from fbamatte.compositing.recomposition import recompose
from fbamatte.imaging.color import decode, encode

Plane = NDArray[np.float32]
Case = tuple[Plane, Plane, Plane, Plane]
Method = Callable[[Plane, Plane], tuple[Plane, Plane]]


def multi_level(plate: Plane, alpha: Plane, **settings: int) -> tuple[Plane, Plane]:
    """Map from three times the plate's range to [0, 1], so that its clamps do not bite."""
    low, high = 2 * plate.min() - plate.max(), 2 * plate.max() - plate.min()
    unit = (plate - low) / (high - low)
    f, b = estimate_foreground_ml(unit, alpha, return_background=True, **settings)
    return f * (high - low) + low, b * (high - low) + low


def multi_level_encoded(plate: Plane, alpha: Plane) -> tuple[Plane, Plane]:
    display = encode(plate)
    f, b = estimate_foreground_ml(display, alpha, return_background=True)
    return decode(np.clip(f, display.min(), display.max())), decode(np.clip(b, display.min(), display.max()))


METHODS: dict[str, Method] = {
    "multi-level, display light": multi_level_encoded,
    "multi-level, linear light": multi_level,
    "multi-level, 50/20 iterations": lambda c, a: multi_level(c, a, n_small_iterations=50, n_big_iterations=20),
    "colours": colours,
}


def disc(shape: tuple[int, int], seed: int) -> NDArray[np.float64]:
    """Signed distance, about, to a five-lobed outline in the middle."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    y, x = y - shape[0] / 2, x - shape[1] / 2
    away = np.hypot(y, x) + 0.04 * shape[0] * np.sin(5 * np.arctan2(y, x) + seed)
    return np.asarray(0.33 * shape[0] - away)


def smooth(width: float, seed: int, shape: tuple[int, int] = (480, 640)) -> Case:
    """From −0.05 to 64: slow waves, and on the outline two highlights of 64 to 115 pixels' deviation."""
    rng = np.random.default_rng(1000 + seed)
    t = np.clip(disc(shape, seed) / width + 0.5, 0, 1)
    alpha = (t * t * (3 - 2 * t)).astype(np.float32)
    y, x = np.mgrid[: shape[0], : shape[1]] / max(shape)

    def layer(peak: float) -> Plane:
        field = np.zeros((*shape, 3))
        for _ in range(3):
            wave = rng.uniform(-1, 1, (2, 3))
            field += 0.15 * np.sin(2 * np.pi * (y[..., None] * wave[0] + x[..., None] * wave[1]) + rng.uniform(0, 6, 3))
        for _ in range(2):
            angle, size = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.18)
            far = np.hypot(y - 0.375 - 0.25 * np.sin(angle), x - 0.5 - 0.25 * np.cos(angle))
            field += peak * np.exp(-((far / size) ** 2) / 2)[..., None] * rng.uniform(0.6, 1, 3)
        field = (field - field.min()) / (field.max() - field.min())
        return (field * (peak + 0.05) - 0.05).astype(np.float32)

    f, b = layer(64), layer(8)
    return over(f, alpha, b), alpha, f, b


def photographs(grain: float = 0.01) -> Iterator[tuple[str, Case]]:
    """Photographs in linear light over each other, highlights up to 7, with grain, by alphas of several kinds."""
    shape, rng = (300, 420), np.random.default_rng(5)
    pictures = {}
    for name in ("chelsea", "astronaut", "coffee", "rocket"):
        coded = getattr(data, name)()[..., :3] / 255
        linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
        top, left = (linear.shape[0] - shape[0]) // 2, (linear.shape[1] - shape[1]) // 2
        linear = linear[top : top + shape[0], left : left + shape[1]]
        pictures[name] = linear * (1 + 6 * np.clip(2 * linear.max(-1, keepdims=True) - 1, 0, 1) ** 2)
    pairs = [("chelsea", "rocket"), ("astronaut", "coffee"), ("coffee", "chelsea"), ("rocket", "astronaut")]
    for kind in ("edge", "strands", "defocus", "motion", "smoke"):
        for number, (front, back) in enumerate(pairs):
            alpha = mixed_alpha(kind, shape, number, rng)
            f, b = pictures[front].astype(np.float32), pictures[back][:, ::-1].astype(np.float32)
            plate = over(f, alpha, b)
            plate = plate + grain * np.sqrt(plate + 0.02) * rng.normal(size=plate.shape)
            yield kind, (plate.astype(np.float32), alpha, f, b)


def mixed_alpha(kind: str, shape: tuple[int, int], seed: int, rng: np.random.Generator) -> Plane:
    inside = disc(shape, seed)
    hard = np.clip(inside + 0.5, 0, 1)
    if kind == "edge":
        alpha = np.clip(inside / 6 + 0.5, 0, 1)
    elif kind == "defocus":
        alpha = ndimage.gaussian_filter(hard, 8)
    elif kind == "motion":
        alpha = ndimage.uniform_filter1d(hard, 41, axis=1)
    elif kind == "smoke":
        noise = ndimage.gaussian_filter(rng.normal(size=shape), 10)
        alpha = np.clip(inside / 60 + 0.55, 0, 1) * np.clip(0.5 + 0.3 * noise / noise.std(), 0.02, 1)
    else:
        alpha = np.maximum(hard, strands(shape, inside, rng))
    alpha = np.where(alpha < 0.004, 0, np.where(alpha > 0.996, 1, alpha))
    return np.asarray(alpha, np.float32)


def strands(shape: tuple[int, int], inside: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Curved lines about a pixel wide that grow out of the outline and thin out."""
    edge = np.argwhere(np.abs(inside) < 1)
    at = edge[rng.integers(0, len(edge), 500)].astype(float)
    down, across = np.gradient(inside)
    angle = np.arctan2(-down, -across)[tuple(at.astype(int).T)] + rng.normal(0, 0.5, len(at))
    curl, fine = rng.normal(0, 0.01, len(at)), np.zeros((shape[0] * 3, shape[1] * 3))
    for step in range(120):
        y, x = np.clip(np.round(at * 3).astype(int).T, 0, [[fine.shape[0] - 1], [fine.shape[1] - 1]])
        np.maximum.at(fine, (y, x), 1 - step / 150)
        at += 0.33 * np.stack([np.sin(angle), np.cos(angle)], axis=-1)
        angle += curl
    wide = ndimage.maximum_filter(fine, 2)
    return np.asarray(0.95 * wide.reshape(shape[0], 3, shape[1], 3).mean((1, 3)))


def relative(found: Plane, truth: Plane, where: NDArray[np.bool_]) -> str:
    error = (np.abs(found - truth) / np.maximum(np.abs(truth), 0.01))[where]
    return f"{100 * np.median(error):7.2f} {100 * np.percentile(error, 95):9.2f}"


def smooth_table() -> None:
    print("Smooth plates −0.05 … 64, 640×480, 3 seeds: relative error of F, %, median and 95th percentile")
    for width in (10, 20, 40, 60):
        cases = [smooth(width, seed) for seed in range(3)]
        alpha, truth = np.stack([c[1] for c in cases]), np.stack([c[2] for c in cases])
        for name, method in METHODS.items():
            start = time.perf_counter()
            found = np.stack([recompose(c[0], c[1], *method(c[0], c[1]))[0] for c in cases])
            seconds = (time.perf_counter() - start) / len(cases)
            band, rest = relative(found, truth, (alpha >= 0.1) & (alpha < 1)), relative(found, truth, alpha >= 0.1)
            print(f"  {width:3d} px  {name:30s} 0.1≤α<1 {band}   α≥0.1 {rest}   {seconds:.2f} s")


def photograph_table() -> None:
    print("Photographs, grain 0.01: 100 × mean |αF − αF*| where mixed; relative error of F, %, 0.05<α<0.95")
    cases: dict[str, list[Case]] = {}
    for kind, case in photographs():
        cases.setdefault(kind, []).append(case)
    for kind, several in cases.items():
        for name, method in METHODS.items():
            errors, found = [], []
            for plate, alpha, truth, _ in several:
                f, _b = recompose(plate, alpha, *method(plate, alpha))
                mixed = (alpha > 0) & (alpha < 1)
                errors.append(100 * (alpha[..., None] * np.abs(f - truth))[mixed].mean())
                found.append(f)
            alpha, truths = np.stack([c[1] for c in several]), np.stack([c[2] for c in several])
            score = relative(np.stack(found), truths, (alpha > 0.05) & (alpha < 0.95))
            print(f"  {kind:8s} {name:30s} {np.mean(errors):7.3f}   {score}")


def peak(field: str) -> int:
    """Return a line of Linux's account of this process, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(field))


def uhd_time() -> None:
    plate, alpha, _, _ = smooth(150, 0, (2160, 3840))
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before, start, cpu = peak("VmRSS"), time.perf_counter(), time.process_time()
    colours(plate, alpha)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    mixed = 100 * ((alpha > 0) & (alpha < 1)).mean()
    extra = peak("VmHWM") - before
    print(f"UHD, {mixed:.1f} % mixed: {wall:.2f} s ({cpu:.2f} s of processor), {extra} MB more than before")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uhd", action="store_true", help="only time a UHD plate")
    arguments = parser.parse_args()
    colours(*smooth(10, 0)[:2])  # compiled once
    if arguments.uhd:
        uhd_time()
        return
    smooth_table()
    photograph_table()


if __name__ == "__main__":
    main()
