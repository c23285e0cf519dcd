"""One page that holds a whole run: summary, plots, pictures that open large, every figure; nothing is elsewhere."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from fbamatte.errors import OutputError
from fbamatte.evaluation import plots, views
from fbamatte.evaluation.figures import BY_KEY, SPEED, Figure
from fbamatte.evaluation.results import Row
from fbamatte.evaluation.sheet import picture_path
from fbamatte.evaluation.summary import figures_of, mean, models_of


def write_report(path: Path, rows: Sequence[Row], folder: Path, *, title: str, facts: str, pictures: int = 24) -> None:
    """Write the page.

    Parameters
    ----------
    path : Path
        Of the page; it appears there when it is complete.
    rows : sequence of Row
        Of a run.
    folder : Path
        Of that run, for its pictures.
    title, facts : str
        Above the page: what was measured, and how.
    pictures : int
        So many shots come with pictures: those that the models are worst at. Figures come for all.

    Raises
    ------
    OutputError
        If the page cannot be written.
    """
    figures, models = figures_of(rows), models_of(rows)
    shown = _chosen(rows, pictures)
    parts = {
        "title": html.escape(title),
        "heading": html.escape(title),
        "facts": html.escape(facts),
        "css": _asset("page.css"),
        "js": _asset("page.js"),
        "summary": _summary(rows, models, figures),
        "summary_note": "Means over all pictures; of the recomposition error the largest. Less is better everywhere.",
        "plots": _plots(rows),
        "table": _table(rows, figures),
        "data": _json(_data(rows, shown, folder, models, figures)),
    }
    page = _asset("page.html")
    for name, value in parts.items():
        page = page.replace("{{" + name + "}}", value)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot write the report: {error.strerror or error}") from error


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _json(value: object) -> str:
    # Inside a script element nothing that looks like markup may stand.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _chosen(rows: Sequence[Row], count: int) -> list[str]:
    """Return the shots that the models are worst at, by the figure that says most."""
    key = _main_figure(rows)
    values: dict[str, list[float]] = {}
    for row in rows:
        if not row.problem:
            values.setdefault(row.item, []).append(row.figures.get(key, 0.0))
    return sorted(values, key=lambda item: -float(np.mean(values[item])))[:count]


def _main_figure(rows: Sequence[Row]) -> str:
    present = {key for row in rows for key in row.figures}
    return next((key for key in ("mse", "recomposition", SPEED) if key in present), SPEED)


def _summary(rows: Sequence[Row], models: Sequence[str], figures: Sequence[Figure]) -> str:
    means = {figure.key: [mean(rows, model, figure.key) for model in models] for figure in figures}
    head = "".join(f'<th scope="col" title="{html.escape(f.meaning)}">{html.escape(f.title)}</th>' for f in figures)
    lines = []
    for index, model in enumerate(models):
        color = plots.PALETTE[index % len(plots.PALETTE)]
        cells = "".join(_summary_cell(figure, means[figure.key], index) for figure in figures)
        swatch = f'<span class="swatch" style="background:{color}"></span>'
        lines.append(f'<tr><th scope="row">{swatch}{html.escape(model)}</th>{cells}</tr>')
    return f'<table><thead><tr><th scope="col">Model</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _summary_cell(figure: Figure, values: Sequence[float | None], index: int) -> str:
    # Told apart as they are printed: a difference that nobody can read is none.
    texts = [figure.text(value) for value in values]
    known = [value for value in values if value is not None]
    best = values[index] is not None and texts[index] == figure.text(min(known)) and len(set(texts)) > 1
    return f"<td{' class=best' if best else ''}>{texts[index]}</td>"


def _plots(rows: Sequence[Row]) -> str:
    drawn = []
    for name, canvas in plots.all_plots(rows).items():
        caption = "Quality against speed" if name not in BY_KEY else BY_KEY[name].meaning
        wide = ' class="wide"' if name not in BY_KEY else ""
        picture = plots.svg(canvas).replace("<svg ", f'<svg role="img" aria-label="{html.escape(caption)}" ', 1)
        drawn.append(f"<figure{wide}><figcaption>{html.escape(caption)}</figcaption>{picture}</figure>")
    return "".join(drawn)


def _table(rows: Sequence[Row], figures: Sequence[Figure]) -> str:
    names = ["Picture", "Model", *(figure.title for figure in figures)]
    head = "".join(f'<th scope="col"><button type="button">{html.escape(name)}</button></th>' for name in names)
    lines = "".join(_line(row, figures) for row in rows)
    return f'<table id="rows"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>'


def _line(row: Row, figures: Sequence[Figure]) -> str:
    item, model = html.escape(row.item), html.escape(row.model)
    start = f'<tr><td data-value="{item}">{item}</td><td class="text" data-value="{model}">{model}</td>'
    if row.problem:
        return f'{start}<td class="problem" colspan="{len(figures)}">{html.escape(row.problem)}</td></tr>'
    cells = (f'<td data-value="{row.figures.get(f.key, "")}">{f.text(row.figures.get(f.key))}</td>' for f in figures)
    return f"{start}{''.join(cells)}</tr>"


def _data(
    rows: Sequence[Row], shown: Sequence[str], folder: Path, models: Sequence[str], figures: Sequence[Figure]
) -> dict[str, object]:
    total = len({row.item for row in rows})
    note = "" if len(shown) == total else f"The {len(shown)} of {total} pictures that the models are worst at."
    items = [_item([row for row in rows if row.item == name and not row.problem], folder) for name in shown]
    present = {name for item in items for name in (*item["given"], *(n for a in item["answers"].values() for n in a))}
    return {
        "models": list(models),
        "figures": [asdict(figure) for figure in figures],
        "sort": _main_figure(rows),
        "views": [name for name in views.TITLES if name in present],
        "titles": views.TITLES,
        "note": note,
        "items": items,
    }


def _item(rows: Sequence[Row], folder: Path) -> dict[str, Any]:
    first = rows[0]
    return {
        "name": first.item,
        "figures": {row.model: dict(row.figures) for row in rows},
        "given": _uris(folder, first, views.GIVEN),
        "answers": {row.model: _uris(folder, row, views.ANSWER) for row in rows},
    }


def _uris(folder: Path, row: Row, names: Sequence[str]) -> dict[str, object]:
    paths = {name: picture_path(folder, row, name) for name in names}
    return {
        name: "data:image/webp;base64," + base64.b64encode(path.read_bytes()).decode()
        for name, path in paths.items()
        if path.exists()
    }
