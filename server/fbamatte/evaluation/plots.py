"""Plots of a run: one for each figure, and quality against speed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fbamatte.evaluation.figures import BY_KEY, ERRORS, SPEED, Figure
from fbamatte.evaluation.results import Row
from fbamatte.evaluation.summary import mean, models_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# Told apart by lightness too, so that they also are on a grey printer and to colour-blind eyes.
PALETTE = ("#e8a33d", "#5aa9e6", "#9bc53d", "#d1495b", "#b497d6", "#4fb3a9", "#c9ada7", "#8d99ae")
_INK, _QUIET, _GRID = "#c9c9c6", "#8b8b88", "#3a3a3c"


def figure_plot(rows: Sequence[Row], figure: Figure) -> Canvas:
    """Return a plot of one figure: every picture a dot, the middle half a bar, the mean a line, one strip a model."""
    models = models_of(rows)
    canvas, axes = _canvas(6.4, 0.62 + 0.42 * len(models))
    rng = np.random.default_rng(0)
    for index, model in enumerate(models):
        values = np.array([r.figures[figure.key] for r in rows if r.model == model and figure.key in r.figures])
        if not len(values):
            continue
        shown, color = values * figure.scale, PALETTE[index % len(PALETTE)]
        height = index + rng.uniform(-0.2, 0.2, len(shown))
        axes.scatter(shown, height, s=9, color=color, alpha=0.55, linewidths=0)
        low, high = np.percentile(shown, [25, 75])
        axes.plot([low, high], [index, index], color=color, linewidth=6, alpha=0.35, solid_capstyle="round")
        axes.plot([shown.mean()] * 2, [index - 0.3, index + 0.3], color=color, linewidth=2)
    axes.set_yticks(range(len(models)), models)
    axes.set_ylim(len(models) - 0.4, -0.6)
    _range(axes, [r.figures[figure.key] * figure.scale for r in rows if figure.key in r.figures], figure.digits < 0)
    axes.set_xlabel(figure.title)
    axes.grid(axis="x", color=_GRID, linewidth=0.6)
    return canvas


def speed_plot(rows: Sequence[Row], key: str = "mse") -> Canvas:
    """Return a plot of a figure's mean against seconds per megapixel, one dot a model."""
    canvas, axes = _canvas(6.4, 4.0)
    figure = BY_KEY[key]
    for index, model in enumerate(models_of(rows)):
        quality, speed = mean(rows, model, key), mean(rows, model, SPEED)
        if quality is None or speed is None:
            continue
        at = speed, quality * figure.scale
        axes.scatter(*at, s=64, color=PALETTE[index % len(PALETTE)], linewidths=0, zorder=3)
        axes.annotate(model, at, (8, 5), textcoords="offset points", color=_INK, fontsize=8)
    _log(axes)
    axes.margins(0.22, 0.18)
    axes.set_ylim(bottom=0, top=1.18 * max(axes.get_ylim()[1], 1e-12))
    axes.set_xlabel("seconds per megapixel, log scale")
    axes.set_ylabel(f"mean {figure.title}")
    axes.grid(color=_GRID, linewidth=0.6)
    return canvas


def write_plots(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write every plot that the rows have something for, as PNG; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, canvas in all_plots(rows).items():
        path = folder / f"{name}.png"
        canvas.savefig(path, dpi=144, facecolor="#1c1c1e")
        written.append(path)
    return written


def all_plots(rows: Sequence[Row]) -> dict[str, Canvas]:
    """Return the plots by name: ``quality-speed`` first, then each figure's."""
    present = {key for row in rows for key in row.figures}
    plots = {}
    for key in ("mse", "recomposition"):
        if {key, SPEED} <= present:
            plots["quality-speed"] = speed_plot(rows, key)
            break
    for key in (*ERRORS, SPEED):
        if key in present:
            plots[key] = figure_plot(rows, BY_KEY[key])
    return plots


def svg(canvas: Canvas) -> str:
    """Return a plot as an SVG element without anything outside of itself."""
    from matplotlib import rc_context  # noqa: PLC0415  # slow to load

    buffer = io.StringIO()
    # Names of clip paths from the content, so that the same run gives the same file.
    with rc_context({"svg.hashsalt": "fbamatte", "svg.fonttype": "path"}):
        canvas.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _canvas(width: float, height: float) -> tuple[Canvas, Axes]:
    # The class itself, not pyplot: no window system, no global state, and any thread may draw.
    from matplotlib.figure import Figure as Canvas  # noqa: PLC0415  # slow to load

    canvas = Canvas(figsize=(width, height), layout="constrained")
    axes = canvas.add_subplot()
    axes.set_facecolor("none")
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=_QUIET, length=0, labelsize=8)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(_QUIET)
        label.set_fontsize(8)
    return canvas, axes


def _range(axes: Axes, values: Sequence[float], orders: bool) -> None:
    """Linear, unless only the order matters or some value is a hundred times the middle one and would hide the rest."""
    positive = [value for value in values if value > 0]
    if orders or (positive and max(positive) > 100 * float(np.median(positive))):
        axes.set_xscale("log")
        axes.set_xlim(
            10 ** np.floor(np.log10(min(positive, default=1)) - 0.2),
            10 ** np.ceil(np.log10(max(positive, default=1)) + 0.2),
        )
    elif positive:
        axes.set_xlim(left=0)


def _log(axes: Axes) -> None:
    """Make the horizontal axis logarithmic, with plain numbers at 1, 2 and 5 of each decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415  # slow to load

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
