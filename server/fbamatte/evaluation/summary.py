"""A run in a few lines of text: means by model, by group, and what augmentation gained for its cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fbamatte.evaluation.figures import BY_KEY, FIGURES, SPEED, Figure
from fbamatte.evaluation.results import Row
from fbamatte.evaluation.run import TTA_SUFFIX

_GROUP_KEYS = ("sad", "mse", "foreground_error", "edge_halo")


def models_of(rows: Sequence[Row]) -> list[str]:
    """Return the models in the order of their first row."""
    return list(dict.fromkeys(row.model for row in rows))


def figures_of(rows: Sequence[Row]) -> list[Figure]:
    """Return the figures that any row has, in the order of people's interest."""
    present = {key for row in rows for key in row.figures}
    return [figure for figure in FIGURES if figure.key in present]


def mean(rows: Sequence[Row], model: str, key: str, group: str | None = None) -> float | None:
    """Return the mean of a figure over a model's rows, those of one group where asked for; None without any."""
    values = [
        row.figures[key]
        for row in rows
        if row.model == model and key in row.figures and (group is None or row.group == group)
    ]
    if not values:
        return None
    # The largest error is what a user meets; its mean says nothing.
    return float(np.max(values)) if key == "recomposition" else float(np.mean(values))


def summary(rows: Sequence[Row], title: str) -> str:
    """Return the whole summary, in Markdown that reads as plain text."""
    models = models_of(rows)
    measured = [row for row in rows if not row.problem]
    count = len({row.item for row in measured})
    parts = [f"# {title}", f"{count} pictures. Less is better. Means; the recomposition error is the largest."]
    parts.append(_table(["model", *(f.title for f in figures_of(rows))], _means(rows, models)))
    groups = sorted({row.group for row in measured if row.group})
    if len(groups) > 1:
        known = [key for key in _GROUP_KEYS if any(key in row.figures for row in measured)]
        parts += [_by_group(rows, models, groups, key) for key in known]
    gains = [model for model in models if model + TTA_SUFFIX in models]
    if gains:
        parts.append(_gain_table(rows, gains))
    problems = [row for row in rows if row.problem]
    if problems:
        parts.append(f"## {len(problems)} failed")
        parts.append("\n".join(f"- {row.model}, {row.item}: {row.problem}" for row in problems))
    return "\n\n".join(parts) + "\n"


def _means(rows: Sequence[Row], models: Sequence[str]) -> list[list[str]]:
    return [[model, *(f.text(mean(rows, model, f.key)) for f in figures_of(rows))] for model in models]


def _by_group(rows: Sequence[Row], models: Sequence[str], groups: Sequence[str], key: str) -> str:
    figure = BY_KEY[key]
    lines = [[model, *(figure.text(mean(rows, model, key, group)) for group in groups)] for model in models]
    return f"## {figure.title}\n\n" + _table(["model", *groups], lines)


def _gain_table(rows: Sequence[Row], models: Sequence[str]) -> str:
    figures = [figure for figure in figures_of(rows) if figure.key not in ("recomposition", SPEED)]
    lines = []
    for model in models:
        cells = [model]
        for figure in figures:
            plain, augmented = (mean(rows, m, figure.key) for m in (model, model + TTA_SUFFIX))
            cells.append("–" if not plain or augmented is None else f"{100 * (augmented / plain - 1):+.1f} %")
        plain, augmented = (mean(rows, m, SPEED) for m in (model, model + TTA_SUFFIX))
        cells.append("–" if not plain or augmented is None else f"×{augmented / plain:.1f}")
        lines.append(cells)
    head = ["model", *(figure.title.split(" (")[0] for figure in figures), "time"]
    return "## What test-time augmentation changes\n\n" + _table(head, lines)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in [head, *lines]) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        return "| " + " | ".join([first, *(c.rjust(w) for c, w in zip(cells[1:], widths[1:]))]) + " |"

    rule = "| " + " | ".join(["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]) + " |"
    return "\n".join([line(head), rule, *map(line, lines)])
