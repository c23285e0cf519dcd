"""The FBA paper's Tables 2 to 5 with what was measured here beside them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from fbamatte.evaluation.results import Row
from fbamatte.evaluation.summary import mean, models_of

NUMBERS = ("2", "3", "4", "5")

# The paper's metric names: our figure, and the factor to the paper's unit.
_METRICS = {
    "SAD": ("sad", 1),
    "MSE": ("mse", 1000),
    "Grad": ("gradient", 1),
    "Conn": ("connectivity", 1),
    "alpha SAD": ("sad", 1),
    "alpha MSE": ("mse", 1000),
    "alphaF SAD": ("premultiplied_sad", 1),
    "alphaF MSE": ("premultiplied_mse", 1000),
}


@dataclass(frozen=True)
class Published:
    """One number of the paper.

    Parameters
    ----------
    table, row, dataset, metric : str
        Where it stands.
    value : float
        In the paper's unit.
    note : str
        What the row is, on its first number.
    """

    table: str
    row: str
    dataset: str
    metric: str
    value: float
    note: str


def published(table: str) -> list[Published]:
    """Return the numbers of one of the paper's tables, in its order."""
    text = resources.files(__package__).joinpath("paper_tables.tsv").read_text(encoding="utf-8")
    lines = csv.DictReader(text.splitlines(), delimiter="\t")
    return [
        Published(line["table"], line["row"], line["dataset"], line["metric"], float(line["value"]), line["note"] or "")
        for line in lines
        if line["table"] == table
    ]


def table_text(table: str, rows: Sequence[Row], dataset: str) -> str:
    """Return a table of the paper with our means and the differences, for each model of a run.

    Parameters
    ----------
    table : str
        One of `NUMBERS`.
    rows : sequence of Row
        Of a run.
    dataset : str
        What they were measured on.
    """
    numbers = published(table)
    models = models_of(rows)
    pictures = len({row.item for row in rows if not row.problem})
    lines = [f"Table {table} of the paper, on {numbers[0].dataset}; measured on {dataset}, {pictures} pictures"]
    if dataset != numbers[0].dataset:
        lines.append("(another data set: the differences say nothing about the paper)")
    if all(number.metric not in _METRICS for number in numbers):
        lines.append("(ranks come from the benchmark's site; a run writes the folder to send there)")
    head = ["row", "metric", "paper", *(cell for model in models for cell in (model, "difference"))]
    body = [[n.row, n.metric, f"{n.value:g}", *_measured(n, rows, models)] for n in numbers]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    for first, *rest in [head, ["-" * width for width in widths], *body]:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:]))]
        lines += ["  ".join(cells).rstrip()]
    notes = [f"  {number.row}: {number.note}" for number in numbers if number.note]
    return "\n".join(lines + notes) + "\n"


def _measured(number: Published, rows: Sequence[Row], models: Sequence[str]) -> list[str]:
    cells = []
    for model in models:
        key, scale = _METRICS.get(number.metric, ("", 0))
        ours = mean(rows, model, key)
        if ours is None:
            cells += ["–", "–"]
        else:
            cells += [f"{ours * scale:.2f}", f"{ours * scale - number.value:+.2f}"]
    return cells
