"""Time, memory and agreement of closed-form on a UHD plate against PyMatting's solve of the whole plate.

    python benchmarks/closed_form_uhd.py [--height 2160 --width 3840 --unknown 0.07] [--json FILE]

The plate is made from scikit-image's photographs: strands of hair around a disc of fur, over a portrait,
with grain. Each method runs in a process of its own, so that its peak memory is its own.
"""

# ruff: noqa: PLC0415 - each process loads only what it measures

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# Hair per pixel of width, and how wide a gap between hairs a trimap artist would paint over.
STRANDS_PER_PIXEL = 0.42
GAP_SHARE = 40 / 2160


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--height", type=int, default=2160)
    parser.add_argument("--width", type=int, default=3840)
    parser.add_argument("--unknown", type=float, default=0.07, help="share of the plate")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.method:
        print(json.dumps(run_here(options.method, options.folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        figures = compare(options, Path(name))
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    image, trimap = make_plate(options.height, options.width, options.unknown)
    np.save(folder / "image.npy", image)
    np.save(folder / "trimap.npy", trimap)
    unknown = trimap == 0.5
    figures: dict[str, Any] = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "load_before": os.getloadavg()[0],
        "plate": f"{options.width}×{options.height}",
        "unknown": float(unknown.mean()),
    }
    del image
    for method in METHODS:
        command = [sys.executable, __file__, "--method", method, "--folder", str(folder)]
        figures[method] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    alphas = [np.load(folder / f"{method}.npy")[unknown] for method in METHODS]
    difference = np.abs(alphas[0] - alphas[1])
    figures["mean_difference"], figures["max_difference"] = float(difference.mean()), float(difference.max())
    return figures


def show(figures: dict[str, Any]) -> None:
    print(
        f"{figures['plate']}, {100 * figures['unknown']:.1f} % unknown; {figures['machine']}, "
        f"load before {figures['load_before']:.1f}"
    )
    print(f"{'':12}{'alpha s':>10}{'F and B s':>11}{'peak GB':>9}{'import s':>10}")
    for method in METHODS:
        row = figures[method]
        print(
            f"{method:12}{row['alpha_s']:10.2f}{row['colours_s']:11.2f}{row['alpha_peak_gb']:9.2f}{row['import_s']:10.2f}"
        )
    plain, ours = (figures[method] for method in METHODS)
    print(
        f"alpha: {plain['alpha_s'] / ours['alpha_s']:.1f} times faster, "
        f"{ours['alpha_peak_gb'] / plain['alpha_peak_gb']:.2f} of the memory, "
        f"mean |Δα| {figures['mean_difference']:.1e}, max {figures['max_difference']:.1e} in the unknown region"
    )


def run_here(method: str, folder: Path) -> dict[str, float]:
    """Measure one method; its alpha is left in the folder."""
    started = time.perf_counter()
    alpha_of, colours_of = METHODS[method]()
    imported = time.perf_counter() - started
    image, trimap = np.load(folder / "image.npy"), np.load(folder / "trimap.npy")
    started = time.perf_counter()
    alpha = alpha_of(image, trimap)
    seconds = time.perf_counter() - started
    peak = peak_gb()
    np.save(folder / f"{method}.npy", alpha)
    started = time.perf_counter()
    colours_of(image, alpha)
    colours = time.perf_counter() - started
    return {"import_s": imported, "alpha_s": seconds, "alpha_peak_gb": peak, "colours_s": colours, "peak_gb": peak_gb()}


Pair = tuple[Callable[[Array, Array], Array], Callable[[Array, Array], Any]]


def _pymatting() -> Pair:
    from pymatting import estimate_alpha_cf, estimate_foreground_ml

    return (
        lambda image, trimap: estimate_alpha_cf(image.astype(np.float64), trimap.astype(np.float64)).astype(np.float32),
        lambda image, alpha: estimate_foreground_ml(image, alpha, return_background=True),
    )


def _closed_form() -> Pair:
    from fbamatte.models import registry
    from fbamatte.models.closed_form.alpha import closed_form_alpha
    from fbamatte.models.closed_form.foreground import estimate_foreground

    registry.load("closed-form")  # compiles
    return closed_form_alpha, estimate_foreground


METHODS: dict[str, Callable[[], Pair]] = {"pymatting": _pymatting, "closed-form": _closed_form}


def peak_gb() -> float:
    """Return this process's own peak; ``getrusage`` would count what its parent held when it began."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


def make_plate(height: int, width: int, share: float) -> tuple[Array, Array]:
    """Return a plate and its trimap, that share of it unknown."""
    from scipy import ndimage
    from skimage import data

    rng = np.random.default_rng(0)
    alpha = strands(height, width, rng)
    fur, portrait = (tiled(photo, height, width) for photo in (data.chelsea(), data.astronaut()))
    image = alpha[..., None] * fur + (1 - alpha[..., None]) * portrait
    image += rng.normal(0, 0.008, image.shape).astype(np.float32)
    gap = GAP_SHARE * height
    far = ndimage.distance_transform_edt((alpha == 0) | (alpha == 1)) > gap
    depth = ndimage.distance_transform_edt(~far)  # hair and the gaps within it, then ever further around
    least = np.partition(depth.ravel(), -int(share * depth.size))[-int(share * depth.size)]
    trimap = np.where(depth >= least, 0.5, alpha >= 1)
    return np.clip(image, 0, 1), trimap.astype(np.float32)


def tiled(photo: NDArray[np.uint8], height: int, width: int, scale: int = 2) -> Array:
    """Return a photograph enlarged a little and mirrored until it fills the plate."""
    from PIL import Image

    large = Image.fromarray(photo).resize((photo.shape[1] * scale, photo.shape[0] * scale), Image.Resampling.BICUBIC)
    block = np.asarray(large, np.float32) / 255
    return np.pad(
        block, ((0, max(height - block.shape[0], 0)), (0, max(width - block.shape[1], 0)), (0, 0)), "symmetric"
    )[:height, :width]


def strands(height: int, width: int, rng: np.random.Generator) -> Array:
    """Return the coverage of a disc with hair, antialiased."""
    from PIL import Image, ImageDraw

    fine = 2
    canvas = Image.new("L", (width * fine, height * fine))
    draw = ImageDraw.Draw(canvas)
    y, x, ry, rx = height * 0.6, width * 0.5, height * 0.36, width * 0.22
    draw.ellipse([(x - rx) * fine, (y - ry) * fine, (x + rx) * fine, (y + ry) * fine], fill=255)
    for _ in range(int(STRANDS_PER_PIXEL * width)):
        angle, length = rng.uniform(-np.pi, np.pi), rng.uniform(0.015, 0.06) * height
        bearing = angle + rng.normal(0, 0.5) + rng.normal(0, 0.6) * np.linspace(0, 1, 12)
        sx = x + rx * 0.97 * np.cos(angle) + np.cumsum(np.cos(bearing)) * length / 12
        sy = y + ry * 0.97 * np.sin(angle) + np.cumsum(np.sin(bearing)) * length / 12
        points = [(float(px) * fine, float(py) * fine) for px, py in zip(sx, sy)]
        draw.line(points, fill=int(rng.integers(120, 256)), width=int(rng.integers(1, 4)))
    return np.asarray(canvas.resize((width, height), Image.Resampling.BOX), np.float32) / 255


if __name__ == "__main__":
    main()
