"""What fusion does to estimates of α, F and B whose truth is known: how often, with which variances, in which light.

    python benchmarks/fusion_study.py [--pictures 24] [--size 256] [--plot docs/images/fusion-study.png]

The estimates are the truth of procedural pictures with errors such as networks make: α off by smooth and by fine noise,
F and B off in display-encoded light, by smooth noise and by leaning towards each other. Four situations:

- ``display``: composited and solved in display light, as the paper's data are;
- ``display of linear``: composited in linear light, as photographs are, but solved in display light;
- ``linear``: composited and solved in linear light;
- ``linear, α of display``: the same, with the α of a network that composites encoded values, such as the authors'.

In each, the paper's Eq. 4–6 (`fuse`) with swept variances and iterations, its published step with clamps
(`fuse_published`), α solved again with a swept prior and then exact recomposition, and both of these weighted by how
sure encoded estimates leave linear colours. Variances are relative to σ_C² = 1; published: σ_F² = σ_B² = 1, σ_α² = 10.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fbamatte.compositing.fusion import fuse, fuse_published
from fbamatte.compositing.recomposition import recompose, solve_alpha
from fbamatte.engine.solve import UNHELD, variance
from fbamatte.evaluation.plots import PALETTE
from fbamatte.evaluation.procedural import sample
from fbamatte.imaging import color

Array = NDArray[np.float32]
Layers = tuple[Array, Array, Array]
Method = Callable[[Array, Array, Array, Array], Layers]

ITERATIONS = (0, 1, 2, 5)
COLOR_VARIANCES = (0.1, 0.3, 1.0)
ALPHA_VARIANCES = (0.1, 1.0, 10.0)
PRIORS = (0.03, 0.1, 0.3, 1.0)
RATIOS = (0.5, 1.0, 2.0, 4.0)
# What the engine does: α moves only where F and B are surely apart, and each layer takes the residual that it may owe.
DEFAULT = "weighted, ratio 4, weighted exact"
SITUATIONS = ("display", "display of linear", "linear", "linear, α of display")
# Deviations of α and of display-encoded colour: a good network's, and a poor one's.
ERRORS = {"small": (0.04, 0.03), "large": (0.12, 0.10)}


@dataclass(frozen=True)
class Case:
    """A picture, its truth and estimates of it, all in the light that it is solved in."""

    plate: Array
    truth: Layers
    estimate: Layers
    unknown: NDArray[np.bool_]
    linear: bool


def cases(situation: str, error: str, count: int, size: int) -> Iterator[Case]:
    for seed in range(count):
        s = sample(seed, size, grain=0.01)
        rng = np.random.default_rng([seed, 77])
        encoded = [np.clip(color.encode(part), 0, 1) for part in (s.foreground, s.background)]
        alpha, *guessed = disturb(rng, s.alpha, s.trimap, encoded, *ERRORS[error])
        unknown = s.trimap == 0.5
        if situation.startswith("linear"):
            # Bounded as the engine bounds what it decodes.
            plate = np.clip(color.encode(s.plate), 0, 1)
            decoded = [color.decode(np.clip(part, plate.min(), plate.max())) for part in guessed]
            if "display" in situation:
                alpha = np.clip(alpha - s.alpha + in_display_light(s.plate, s.alpha, *encoded), 0, 1)
                alpha = np.where(unknown, alpha, s.alpha).astype(np.float32)
            estimate = alpha, decoded[0], decoded[1]
            yield Case(s.plate, (s.alpha, s.foreground, s.background), estimate, unknown, True)
            continue
        share = s.alpha[..., None]
        if situation == "display":
            plate = (share * encoded[0] + (1 - share) * encoded[1]).astype(np.float32)
        else:
            plate = np.clip(color.encode(s.plate), 0, 1)
        yield Case(plate, (s.alpha, *encoded), (alpha, *guessed), unknown, False)


def in_display_light(plate: Array, alpha: Array, foreground: Array, background: Array) -> Array:
    """Return the α that comes nearest to mixing encoded F and B to the encoded plate."""
    line = foreground - background
    along = np.sum((np.clip(color.encode(plate), 0, 1) - background) * line, axis=-1)
    length = np.sum(line * line, axis=-1)
    found = np.clip(along / np.maximum(length, 1e-3), 0, 1)
    kept: Array = np.where((alpha <= 0) | (alpha >= 1) | (length < 1e-3), alpha, found)
    return kept


def disturb(
    rng: np.random.Generator, alpha: Array, trimap: Array, encoded: list[Array], off_alpha: float, off_color: float
) -> tuple[Array, Array, Array]:
    """Return estimates that are off by these deviations where the trimap is unknown; exact where it is known."""

    def noise(shape: tuple[int, ...], reach: float) -> Array:
        field = ndimage.gaussian_filter(
            rng.standard_normal(shape, np.float32), (reach, reach) + (0,) * (len(shape) - 2)
        )
        return field / field.std()

    unknown = trimap == 0.5
    error = off_alpha * (0.8 * noise(alpha.shape, 4) + 0.6 * noise(alpha.shape, 0.7))
    guess = np.where(unknown, np.clip(alpha + error, 0, 1), alpha).astype(np.float32)
    foreground, background = encoded
    leaning = np.clip(3 * off_color * (0.5 + 0.5 * noise(alpha.shape, 8)), 0, 1)[..., None]
    layers = []
    for own, other in ((foreground, background), (background, foreground)):
        blurred = own + leaning * 0.5 * (other - own) + off_color * noise(own.shape, 5)
        layers.append(np.where(unknown[..., None], np.clip(blurred, 0, 1), own).astype(np.float32))
    return guess, layers[0], layers[1]


def methods() -> dict[str, Method]:
    named: dict[str, Method] = {"nothing": lambda _, a, f, b: (a, f, b), "published, with clamps": fuse_published}
    for iterations in ITERATIONS[1:]:
        for var_color in COLOR_VARIANCES:
            for var_alpha in ALPHA_VARIANCES:
                named[f"fuse ×{iterations} F,B {var_color:g} α {var_alpha:g}"] = fusing(
                    iterations, var_color, var_alpha
                )
    for prior in PRIORS:
        named[f"re-solve, prior {prior:g}, exact"] = solving(prior)
    for ratio in RATIOS:
        named[f"weighted, ratio {ratio:g}, exact"] = weighing(ratio, spread_evenly=True)
        named[f"weighted, ratio {ratio:g}, weighted exact"] = weighing(ratio, spread_evenly=False)
    for ratio in RATIOS:
        named[f"converted, weighted, ratio {ratio:g}"] = converting(ratio)
    named["exact alone"] = lambda c, a, f, b: (a, *recompose(c, a, f, b))
    return named


def fusing(iterations: int, var_color: float, var_alpha: float) -> Method:
    def method(c: Array, a: Array, f: Array, b: Array) -> Layers:
        fused = fuse(
            c, a, f, b, iterations=iterations, var_foreground=var_color, var_background=var_color, var_alpha=var_alpha
        )
        return np.clip(fused.alpha, 0, 1), fused.foreground, fused.background

    return method


def solving(prior: float) -> Method:
    """Eq. 6 with one variance for all colours, relative to |F|² + |B|²: doubling the light changes no alpha."""

    def method(c: Array, a: Array, f: Array, b: Array) -> Layers:
        line = f - b
        along, length = ((x * line).sum(axis=-1) for x in (c - b, line))
        hold = prior * (f * f + b * b).sum(axis=-1)
        solved = np.where((a <= 0) | (a >= 1), a, np.clip((hold * a + along) / (hold + length + 1e-12), 0, 1))
        return solved, *recompose(c, solved, f, b)

    return method


def weighing(ratio: float, *, spread_evenly: bool) -> Method:
    """Solve α, and spread the residual unless evenly, by how sure encoded estimates leave their linear colours.

    Parameters
    ----------
    ratio : float
        Deviation of encoded colours over that of α.
    spread_evenly : bool
        Spread the residual evenly.
    """

    def method(c: Array, a: Array, f: Array, b: Array) -> Layers:
        # In display light, where nothing is above 1, errors are as likely everywhere.
        sure = np.ones_like if c.max() <= 1 else variance
        solved = solve_alpha(c, a, f, b, sure, ratio)
        return solved, *recompose(c, solved, f, b, None if spread_evenly else sure)

    return method


def converting(ratio: float) -> Method:
    """Bring α from display to linear light first: the α that mixes the same colours to the same third."""

    def method(c: Array, a: Array, f: Array, b: Array) -> Layers:
        share = a[..., None]
        mixed = color.decode(share * color.encode(f) + (1 - share) * color.encode(b))
        return weighing(ratio, spread_evenly=False)(c, solve_alpha(mixed, a, f, b, variance, UNHELD), f, b)

    return method


def errors(case: Case, layers: Layers) -> tuple[float, float, float]:
    """Return α's MSE over the unknown region, F's mean error at the edge in encoded light, and the residual."""
    alpha, foreground, background = layers
    true_alpha, true_foreground, _ = case.truth
    known = ~case.unknown
    alpha = np.where(known, true_alpha, alpha)
    edge = (true_alpha > 0.05) & (true_alpha < 0.95)
    seen = [np.clip(color.encode(f), 0, 1) if case.linear else np.clip(f, 0, 1) for f in (foreground, true_foreground)]
    residual = case.plate - alpha[..., None] * foreground - (1 - alpha[..., None]) * background
    return (
        float(np.square(alpha - true_alpha)[case.unknown].mean()),
        float(np.abs(seen[0] - seen[1])[edge].mean()),
        float((np.abs(residual) / np.maximum(1, np.abs(case.plate)))[case.unknown].mean()),
    )


def study(count: int, size: int) -> dict[tuple[str, str], dict[str, NDArray[np.float64]]]:
    """Return errors by situation and size of error, then by method: geometric means, so that no picture decides."""
    found = {}
    for situation in SITUATIONS:
        for error in ERRORS:
            sums: dict[str, list[tuple[float, float, float]]] = {}
            for case in cases(situation, error, count, size):
                for name, method in methods().items():
                    sums.setdefault(name, []).append(errors(case, method(case.plate, *case.estimate)))
            found[situation, error] = {name: np.exp(np.mean(np.log(values), axis=0)) for name, values in sums.items()}
    return found


def tell(found: dict[tuple[str, str], dict[str, NDArray[np.float64]]]) -> None:
    for (situation, error), by_method in found.items():
        before = by_method["nothing"]
        print(f"\n{situation}, {error} errors: α MSE {1000 * before[0]:.2f}e-3, F {100 * before[1]:.2f}e-2")
        print(f"  {'method':34s} {'α MSE':>7s} {'F':>7s} {'residual':>9s}")
        for name, values in by_method.items():
            print(f"  {name:34s} {values[0] / before[0]:6.0%} {values[1] / before[1]:7.0%} {values[2]:9.1e}")


def plot(found: dict[tuple[str, str], dict[str, NDArray[np.float64]]], path: Path) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415  # only where a plot is asked for

    canvas = Figure(figsize=(14, 6.4), layout="constrained", facecolor="#1c1c1e")
    axes = canvas.subplots(2, 4, sharex=True)
    for column, situation in enumerate(SITUATIONS):
        by_method = found[situation, "large"]
        before = by_method["nothing"]
        for row, what in enumerate(("α MSE", "F error at the edge")):
            draw(axes[row][column], by_method, before, row)
            axes[row][column].set_title(f"{what}: {situation}", color="#d6d6d3", fontsize=9)
        axes[1][column].set_xlabel("iterations of Eq. 4–6", color="#8b8b88", fontsize=8)
    for ax in axes[:, 0]:
        ax.set_ylabel("of the error before", color="#8b8b88", fontsize=8)
    axes[0][3].legend(fontsize=7, frameon=False, labelcolor="#d6d6d3", loc="upper left", bbox_to_anchor=(1.02, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=130)


def draw(ax: Any, by_method: dict[str, NDArray[np.float64]], before: NDArray[np.float64], row: int) -> None:
    for index, (var_color, var_alpha) in enumerate([(1.0, 10.0), (1.0, 1.0), (0.3, 1.0), (0.1, 10.0)]):
        values = [before, *(by_method[f"fuse ×{n} F,B {var_color:g} α {var_alpha:g}"] for n in ITERATIONS[1:])]
        label = f"σ²F,B {var_color:g}, σ²α {var_alpha:g}" + (
            " (published)" if (var_color, var_alpha) == (1, 10) else ""
        )
        ratio = [value[row] / before[row] for value in values]
        ax.plot(range(4), ratio, color=PALETTE[index], marker="o", markersize=3.5, linewidth=1.4, label=label)
    clamped = by_method["published, with clamps"][row] / before[row]
    ax.scatter([1], [clamped], marker="x", color="#ffffff", zorder=4, label="published step, clamped")
    for name, style in (("re-solve, prior 0.1, exact", "--"), (DEFAULT, "-")):
        ax.axhline(by_method[name][row] / before[row], color="#ffffff", linewidth=1.2, linestyle=style, label=name)
    ax.axhline(1, color="#6a6a70", linewidth=0.8)
    ax.set_xticks(range(4), ITERATIONS)
    ax.set_yscale("log")
    ticks = (0.5, 1, 2, 5, 10) if row == 0 else (0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5)
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_ylim(*((0.45, 15) if row == 0 else (0.6, 1.6)))
    ax.set_facecolor("none")
    ax.tick_params(colors="#8b8b88", length=0, labelsize=8)
    for side in ax.spines.values():
        side.set_visible(False)
    ax.grid(axis="y", color="#3a3a3c", linewidth=0.6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    found = study(options.pictures, options.size)
    tell(found)
    if options.plot:
        plot(found, options.plot)


if __name__ == "__main__":
    main()
