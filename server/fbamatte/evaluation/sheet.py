"""The worst of a run on one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from fbamatte.evaluation.figures import BY_KEY
from fbamatte.evaluation.results import Row
from fbamatte.evaluation.views import ANSWER, GIVEN, TITLES, folder_name

_COLUMNS = ("plate", "trimap", "truth", "alpha", "error", "comp")
_CELL, _GAP, _HEAD, _LABEL = 240, 10, 64, 26
_GROUND, _TEXT, _QUIET = (23, 23, 24), (205, 205, 202), (130, 130, 128)


def worst(rows: Sequence[Row], model: str, count: int, key: str = "mse") -> list[Row]:
    """Return a model's rows with the largest of a figure, the worst first."""
    own = [row for row in rows if row.model == model and key in row.figures]
    return sorted(own, key=lambda row: -row.figures[key])[:count]


def write_sheet(rows: Sequence[Row], model: str, count: int, folder: Path) -> Path | None:
    """Write ``worst-MODEL.png`` into a run's folder from its pictures.

    Returns
    -------
    Path
        None where no row has a truth to be far from.
    """
    chosen = worst(rows, model, count)
    if not chosen:
        return None
    lines = [[_picture(folder, row, name) for name in _COLUMNS] for row in chosen]
    heights = [max((p.height for p in line if p), default=_CELL) for line in lines]
    width = _GAP + len(_COLUMNS) * (_CELL + _GAP)
    sheet = Pillow.new("RGB", (width, _HEAD + sum(h + _LABEL + _GAP for h in heights)), _GROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    draw.text((_GAP, 14), f"{model}: the worst {len(chosen)} by MSE", _TEXT, ImageFont.load_default(17))
    top = _HEAD
    for row, line, height in zip(chosen, lines, heights):
        sad, mse = (BY_KEY[key].text(row.figures[key]) for key in ("sad", "mse"))
        draw.text((_GAP, top + 4), f"{row.item}   SAD {sad}   MSE {mse}", _QUIET, font)
        for column, picture in enumerate(line):
            if picture:
                sheet.paste(picture, (_GAP + column * (_CELL + _GAP), top + _LABEL))
        top += height + _LABEL + _GAP
    for column, name in enumerate(_COLUMNS):
        title = TITLES[name].replace("True α", "True alpha").replace("α", "Alpha")
        draw.text((_GAP + column * (_CELL + _GAP), _HEAD - 4), title, _TEXT, font, "lb")
    path = folder / f"worst-{folder_name(model)}.png"
    sheet.save(path)
    return path


def picture_path(folder: Path, row: Row, name: str) -> Path:
    """Return where a view of a row lies in a run's folder."""
    own = folder / "pictures" / folder_name(row.item)
    assert name in GIVEN + ANSWER
    return own / f"{name}.webp" if name in GIVEN else own / folder_name(row.model) / f"{name}.webp"


def _picture(folder: Path, row: Row, name: str) -> Pillow.Image | None:
    path = picture_path(folder, row, name)
    if not path.exists():
        return None
    picture = Pillow.open(path).convert("RGB")
    scale = _CELL / picture.width
    return picture.resize((_CELL, max(1, round(picture.height * scale))), Pillow.Resampling.HAMMING)
