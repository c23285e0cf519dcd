"""Pictures of a result for people: small files that a contact sheet and a report are put together from."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from fbamatte.compositing.over import over
from fbamatte.evaluation.datasets.base import Light, Plane
from fbamatte.evaluation.measure import Solved
from fbamatte.imaging.display import encode_rec709, overlay_trimap, to_display

# Of the item alone, and of each model's answer.
GIVEN = ("plate", "trimap", "truth")
ANSWER = ("alpha", "foreground", "background", "comp", "error")
TITLES = {
    "plate": "Plate",
    "trimap": "Trimap",
    "truth": "True α",
    "alpha": "α",
    "foreground": "F",
    "background": "B",
    "comp": "Comp",
    "error": "Error",
}

LARGEST = 1024
_QUALITY = 86
_BLACK_TO_PAPER = (0.004, 0.85)
# The error's colours: nothing, and more and more of an alarm.
_ALARM = np.array([[0.06, 0.06, 0.07], [0.45, 0.10, 0.22], [0.93, 0.36, 0.16], [1.0, 0.95, 0.72]])


def folder_name(item: str) -> str:
    """Return a folder's name for an item: readable, and never that of another item."""
    plain = re.sub(r"[^A-Za-z0-9._+-]+", "_", item)
    return plain if plain == item else f"{plain}-{zlib.crc32(item.encode()):08x}"


def write_views(folder: Path, item: str, model: str, solved: Solved) -> None:
    """Write the pictures of one answer, and those of its item where they are not there yet.

    Parameters
    ----------
    folder : path
        ``FOLDER/ITEM/plate.webp`` and ``FOLDER/ITEM/MODEL/alpha.webp`` are what comes of it.
    """
    given = folder / folder_name(item)
    mine = given / folder_name(model)
    mine.mkdir(parents=True, exist_ok=True)
    if not (given / "plate.webp").exists():
        for name, picture in _given(solved).items():
            _save(given / f"{name}.webp", picture)
    for name, picture in _answer(solved).items():
        _save(mine / f"{name}.webp", picture)


def _given(solved: Solved) -> dict[str, Plane]:
    case = solved.case
    plate = _shown(case.image, case.light, case.colorspace)
    # Last, so that its presence says that all are there.
    truth = {} if case.alpha is None else {"truth": _grey(case.alpha)}
    return {"trimap": overlay_trimap(plate, case.trimap), **truth, "plate": plate}


def _answer(solved: Solved) -> dict[str, Plane]:
    case = solved.case
    views = {
        "alpha": _grey(solved.alpha),
        "foreground": _shown(solved.foreground, case.light, case.colorspace),
        "background": _shown(solved.background, case.light, case.colorspace),
        "comp": _comp(solved),
    }
    if case.alpha is not None:
        views["error"] = _heat(np.abs(solved.alpha - case.alpha))
    return views


def _shown(picture: Plane, light: Light, colorspace: str) -> Plane:
    return to_display(picture, colorspace) if light == "linear" else np.clip(picture, 0, 1)


def _comp(solved: Solved) -> Plane:
    """Over a ramp from near black to paper: a dark fringe shows on one side, a bright one on the other."""
    height, width = solved.alpha.shape
    ramp = np.geomspace(*_BLACK_TO_PAPER, width, dtype=np.float32)
    behind = np.broadcast_to(ramp[None, :, None], (height, width, 3))
    if solved.case.light == "linear":
        return to_display(over(solved.foreground, solved.alpha, behind), solved.case.colorspace)
    return np.clip(over(solved.foreground, solved.alpha, encode_rec709(behind)), 0, 1)


def _grey(plane: Plane) -> Plane:
    return np.repeat(np.clip(plane, 0, 1)[..., None], 3, axis=2)


def _heat(error: Plane) -> Plane:
    # The root shows errors of a hundredth, which the eye finds at an edge.
    at = np.sqrt(np.clip(error, 0, 1)) * (len(_ALARM) - 1)
    return np.stack([np.interp(at, np.arange(len(_ALARM)), _ALARM[:, c]) for c in range(3)], -1).astype(np.float32)


def _save(path: Path, picture: Plane) -> None:
    pixels: NDArray[np.uint8] = np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    shown = Pillow.fromarray(pixels)
    shown.thumbnail((LARGEST, LARGEST), Pillow.Resampling.HAMMING)
    temporary = path.with_name(f".{path.name}.tmp")
    shown.save(temporary, "WEBP", quality=_QUALITY, method=3)
    temporary.replace(path)
