"""The ablation on one page: laid out like the paper's Tables 2 and 3, what differs for sure, and a plot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fbamatte.evaluation.effects import Effect, effects
from fbamatte.evaluation.figures import BY_KEY
from fbamatte.evaluation.plots import PALETTE
from fbamatte.evaluation.tables import published
from fbamatte.training.recipe import Recipe, load_recipe

ROWS = (
    "table2-4", "table2-5", "table2-6", "table2-7", "table3-8", "table3-9", "table3-10", "table3-11", "table3-fba",
)  # fmt: skip
RATE_SEED = 100
"""Of the runs that only choose a rate."""

ALPHA = ("mse", "sad", "gradient", "connectivity")
COLOR = ("premultiplied_sad", "premultiplied_mse")
NAMES = {
    "mse": "MSE", "sad": "SAD", "gradient": "Grad", "connectivity": "Conn", "premultiplied_sad": "αF SAD",
    "premultiplied_mse": "αF MSE",
}  # fmt: skip

CONTRASTS = {
    "batch 6: GN for BN": ("table2-4", "table2-5"),
    "GN: batch 1 for 6": ("table2-5", "table2-6"),
    "GN at batch 1 for BN at batch 6": ("table2-4", "table2-6"),
    "clip for sigmoid, α alone": ("table2-6", "table2-7"),
    "clip for sigmoid, with F, B": ("table3-9", "table3-10"),
    "F and B losses": ("table2-6", "table3-8"),
    "exclusion": ("table3-8", "table3-9"),
    "F and B over the whole picture": ("table3-10", "table3-11"),
    "fusion": ("table3-11", "table3-fba"),
}

DOCS = Path(__file__).resolve().parent.parent / "docs"
MARK = "<!-- results: written by benchmarks/training_ablation.py --docs -->"

Runs = dict[str, list[dict[str, Any]]]


def write_report(out: Path) -> str:
    """Write report.md and ablation.png into a study's folder; return the page."""
    settings = json.loads((out / "settings.json").read_text())
    found = [json.loads(path.read_text()) for path in sorted(out.glob("*-*.json"))]
    rates = [run for run in found if run["seed"] == RATE_SEED]
    of_rows = {row: [run for run in found if run["row"] == row and run["seed"] != RATE_SEED] for row in ROWS}
    runs: Runs = {row: of_row for row, of_row in of_rows.items() if of_row}
    guesses: Runs = {run["row"]: [run] for run in found if run["row"] not in ROWS}
    seeds = min((len(of_row) for of_row in runs.values()), default=0)
    page = [
        _head(settings, runs, seeds), _table_2(runs, guesses), _table_3(runs, guesses),
        _differences(runs) if seeds > 1 else "", _rates(rates), _learning(runs),
    ]  # fmt: skip
    text = "\n\n".join(part for part in page if part) + "\n"
    (out / "report.md").write_text(text)
    if seeds > 1:
        _plot(runs, guesses, out / "ablation.png")
    return text


def publish(out: Path, docs: Path = DOCS) -> None:
    """Put a study's page, without its title, behind the mark in docs/ablation.md, and its plot beside it."""
    page = docs / "ablation.md"
    said = page.read_text().partition(MARK)[0]
    found = (out / "report.md").read_text().partition("\n")[2]
    page.write_text(f"{said}{MARK}\n{found}")
    if (out / "ablation.png").is_file():
        shutil.copyfile(out / "ablation.png", docs / "images" / "ablation.png")


def mean(run: dict[str, Any], key: str) -> float:
    """Return a figure's mean over the pictures of a run, as people print it."""
    return BY_KEY[key].scale * float(np.mean([picture[key] for picture in run["pictures"].values()]))


def _head(settings: dict[str, Any], runs: Runs, seeds: int) -> str:
    hours = sum(run["cpu_seconds"] for of_row in runs.values() for run in of_row) / 3600
    return (
        f"# Ablation in miniature\n\n{settings['samples']} samples a run from {settings['pool']} pictures of "
        f"{settings['crop']}², width {settings['width']}, {seeds} seeds; measured on {settings['measured']} pictures "
        f"of {settings['size']}². {hours:.1f} processor hours. Mean ± deviation over the seeds; less is better; in "
        "brackets the paper, on its own data."
    )


def _table_2(runs: Runs, guesses: Runs) -> str:
    lines = [_line("row", "norm", "batch", "clip", *(NAMES[key] for key in ALPHA)), _rule(8)]
    for name in _rows(runs, "table2"):
        recipe, theirs = load_recipe(name), _paper("2", name)
        cells = [f"{_cell(runs[name], key)} ({theirs[NAMES[key]]:g})" for key in ALPHA]
        lines.append(
            _line(name.removeprefix("table2-"), _norm(recipe), recipe.batch, _tick(recipe.alpha_head == "clip"), *cells)
        )
    for name, of_guess in guesses.items():
        lines.append(_line(name, "", "", "", *(_cell(of_guess, key) for key in ALPHA)))
    return "## Table 2: α alone\n\n" + "\n".join(lines)


def _table_3(runs: Runs, guesses: Runs) -> str:
    keys = (*COLOR, "sad", "mse", "gradient", "connectivity")
    lines = [_line("row", "excl.", "clip", "whole", "fusion", *(NAMES[key] for key in keys)), _rule(11)]
    alone = [name for name in ("table2-6", "table2-7") if name in runs]
    for name in (*alone, *_rows(runs, "table3")):
        recipe, theirs = load_recipe(name), _paper("3", name)
        with_colors = recipe.outputs == "alpha_fb"
        ticks = [
            _tick(recipe.alpha_head == "clip") if part == "clip" else _tick(with_colors and yes)
            for part, yes in (
                ("excl", "fb_excl" in recipe.color_terms), ("clip", True), ("whole", recipe.color_region == "whole"),
                ("fusion", recipe.fusion),
            )
        ]  # fmt: skip
        colors = [
            _cell(runs[name], key) + (f" ({theirs[paper]:g})" if paper in theirs else "")
            for key, paper in zip(COLOR, ("alphaF SAD", "alphaF MSE"), strict=True)
        ]
        title = name.removeprefix("table3-") if with_colors else f"{name.removeprefix('table2-')} of Table 2"
        lines.append(_line(title, *ticks, *colors, *(_cell(runs[name], key) for key in keys[2:])))
    for name, of_guess in guesses.items():
        lines.append(_line(name, "", "", "", "", *(_cell(of_guess, key) for key in keys)))
    return "## Table 3: with F and B\n\n" + "\n".join(lines)


def _differences(runs: Runs) -> str:
    keys = (*ALPHA, *COLOR)
    lines = [_line("what", *(NAMES[key] for key in keys)), _rule(1 + len(keys))]
    columns = {key: _effects(runs, key) for key in keys}
    lines += [_line(name, *(_effect(columns[key][name]) for key in keys)) for name in columns["mse"]]
    return (
        "## What differs\n\nChange of the error, per cent, with intervals that hold together for a column's "
        f"{len(lines) - 2} at 95 %; bold where there surely is one.\n\n" + "\n".join(lines)
    )


def _effects(runs: Runs, key: str) -> dict[str, Effect]:
    shared = set.intersection(*({run["seed"] for run in of_row} for of_row in runs.values()))
    errors = {
        name: [mean(run, key) for run in sorted(of_row, key=lambda run: int(run["seed"])) if run["seed"] in shared]
        for name, of_row in runs.items()
    }
    known = {name: pair for name, pair in CONTRASTS.items() if set(pair) <= set(runs)}
    return dict(zip(known, effects(errors, list(known.values())), strict=True))


def _rates(rates: list[dict[str, Any]]) -> str:
    if not rates:
        return ""
    lines = [_line("norm, batch", "rate", "MSE"), _rule(3)]
    for run in sorted(rates, key=lambda run: (run["row"], run["rate"])):
        recipe = load_recipe(run["row"])
        lines.append(_line(f"{_norm(recipe)}, {recipe.batch}", f"{run['rate']:g}", f"{mean(run, 'mse'):.1f}"))
    return "## The rates that were tried, on other pictures\n\n" + "\n".join(lines)


def _learning(runs: Runs) -> str:
    lines = [_line("row", "rate", "steps", "loss, first tenth", "last tenth", "processor seconds"), _rule(6)]
    for name, of_row in runs.items():
        first, last = (np.mean([run["loss"][k] for run in of_row]) for k in (0, 1))
        seconds = np.mean([run["cpu_seconds"] for run in of_row])
        one = of_row[0]
        lines.append(_line(name, f"{one['rate']:g}", one["steps"], f"{first:.2f}", f"{last:.2f}", f"{seconds:.0f}"))
    return "## That they learned\n\n" + "\n".join(lines)


def _plot(runs: Runs, guesses: Runs, path: Path) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415  # slow to load

    canvas = Figure(figsize=(11, 5.6), layout="constrained", facecolor="#1c1c1e")
    rows, changes = canvas.subplots(1, 2, width_ratios=(1, 1.25))
    order = [*guesses, *runs]
    for place, name in enumerate(order):
        values = [mean(run, "mse") for run in (guesses | runs)[name]]
        color = "#8d99ae" if name in guesses else PALETTE[0]
        rows.scatter(values, [place] * len(values), s=16, color=color, alpha=0.7, linewidths=0)
        rows.plot([np.mean(values)] * 2, [place - 0.3, place + 0.3], color=color, linewidth=2)
    _axes(rows, order, "α MSE (10⁻³) of each seed; the line is the mean")
    rows.set_xlim(left=0)
    for shift, (key, color) in enumerate((("mse", PALETTE[0]), ("sad", PALETTE[1]), ("premultiplied_mse", PALETTE[2]))):
        found = _effects(runs, key)
        at = np.arange(len(found)) + 0.22 * (shift - 1)
        middle, low, high = (np.array([100 * (getattr(e, part) - 1) for e in found.values()]) for part in _PARTS)
        changes.hlines(at, low, high, color=color, linewidth=2, alpha=0.75)
        sure: NDArray[np.bool_] = np.array([effect.sure for effect in found.values()])
        changes.scatter(middle, at, s=30, facecolors=np.where(sure, color, "#1c1c1e"), edgecolors=color, zorder=3)
        changes.scatter([], [], s=30, color=color, label=("α " if key in ALPHA else "") + NAMES[key])
    changes.axvline(0, color="#8b8b88", linewidth=0.8)
    _axes(changes, list(found), "change of the error, %; filled: surely none of chance")
    changes.legend(fontsize=8, frameon=False, labelcolor="#c9c9c6")
    canvas.savefig(path, dpi=110)


_PARTS = ("ratio", "low", "high")


def _axes(axes: Any, names: Sequence[str], label: str) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_facecolor("none")
    axes.tick_params(colors="#c9c9c6", length=0, labelsize=8)
    axes.set_xlabel(label, color="#8b8b88", fontsize=8)
    axes.grid(axis="x", color="#3a3a3c", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)


def _paper(table: str, name: str) -> dict[str, float]:
    row = name.split("-", 1)[1]
    return {number.metric: number.value for number in published(table) if number.row == row}


def _rows(runs: Runs, table: str) -> list[str]:
    return [name for name in runs if name.startswith(table)]


def _norm(recipe: Recipe) -> str:
    return "BN" if recipe.norm == "batch" else "GN"


def _cell(of_row: list[dict[str, Any]], key: str) -> str:
    values = [mean(run, key) for run in of_row]
    digits = 1 if key in ("mse", "premultiplied_mse") else 3
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def _effect(effect: Effect) -> str:
    low, middle, high = (100 * (value - 1) for value in (effect.low, effect.ratio, effect.high))
    text = f"{middle:+.0f} ({low:+.0f} … {high:+.0f})"
    return f"**{text}**" if effect.sure else text


def _tick(yes: bool) -> str:
    return "✓" if yes else ""


def _line(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _rule(count: int) -> str:
    return "|" + "---|" * count
