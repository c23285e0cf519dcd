"""Contact sheets: what a matte looks like, on one picture for a display. Composites are made in linear light."""

from __future__ import annotations

import contextlib
import os
import tempfile
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from fbamatte.compositing.over import premultiply
from fbamatte.compositing.recomposition import recomposition_error
from fbamatte.compositing.trimap import is_known, masks
from fbamatte.errors import OutputError
from fbamatte.frame import Frame, Matte
from fbamatte.imaging.display import (
    HEAT_FROM,
    HEAT_TO,
    encode_rec709,
    heat,
    overlay_trimap,
    tint,
    to_display,
    to_rec709,
)

__all__ = ["contact_sheet", "overlay_trimap", "to_display", "write_png"]

Plane = NDArray[np.float32]
Pixels = NDArray[np.uint8]

SHEET_WIDTH, COLUMNS, MARGIN, GUTTER, HEADER, LABEL = 1920, 4, 32, 20, 84, 34
PANEL_WIDTH = (SHEET_WIDTH - 2 * MARGIN - (COLUMNS - 1) * GUTTER) // COLUMNS
# A strip gets a cell this high at least, a tower one this high at most; neither is drawn thinner than a few pixels.
CELL_HEIGHTS, THINNEST = (PANEL_WIDTH // 4, PANEL_WIDTH * 3 // 2), 8

GROUND, WELL, HEAD, TEXT, QUIET = (23, 23, 24), (16, 16, 17), (236, 236, 234), (200, 200, 198), (128, 128, 128)
# Scene-linear Rec. 709: a green that neither skin nor fur has, and the usual checker.
SATURATED = np.array([0.01, 0.24, 0.09], np.float32)
CHECKER, CHECKER_LIGHT = 16, (0.09, 0.22)


class Panel(NamedTuple):
    """One picture of a sheet, display-encoded in [0, 1], with what stands above it."""

    title: str
    note: str
    picture: Plane


def contact_sheet(frame: Frame, matte: Matte, *, title: str = "") -> Pixels:
    """Return labelled panels of a frame and its matte: plate, trimap, alpha, F, B, error and composites.

    Parameters
    ----------
    frame : Frame
        The plate as it was read.
    matte : Matte
        Of the same size.
    title : str
        Heads the sheet; the frame's name where empty. What the bundled font lacks becomes plain letters or ``?``.

    Returns
    -------
    ndarray, shape (rows, `SHEET_WIDTH`, 3), uint8
        Display-encoded sRGB. The whole data window is shown, the display window framed on the plate.
    """
    width, height = size = _panel_size(frame)
    cell = max(height, CELL_HEIGHTS[0])
    panels = _panels(frame, matte, size)
    rows = -(-len(panels) // COLUMNS)
    sheet = Pillow.new("RGB", (SHEET_WIDTH, HEADER + rows * (LABEL + cell) + (rows - 1) * GUTTER + MARGIN), GROUND)
    draw = ImageDraw.Draw(sheet)
    facts = _plain(_facts(frame, matte))
    draw.text((SHEET_WIDTH - MARGIN, 48), facts, QUIET, _font(15), "rs")
    room = SHEET_WIDTH - 2 * MARGIN - GUTTER - _font(15).getlength(facts)
    heading = _plain(title or Path(frame.name).name or frame.label)
    draw.text((MARGIN, 48), _fit(heading, room, 26), HEAD, _font(26), "ls")
    for index, panel in enumerate(panels):
        x = MARGIN + index % COLUMNS * (PANEL_WIDTH + GUTTER)
        y = HEADER + index // COLUMNS * (LABEL + cell + GUTTER)
        draw.text((x, y + 20), panel.title, TEXT, _font(17), "ls")
        draw.text((x + PANEL_WIDTH, y + 20), panel.note, QUIET, _font(14), "rs")
        draw.rectangle((x, y + LABEL, x + PANEL_WIDTH - 1, y + LABEL + cell - 1), WELL)
        at = x + (PANEL_WIDTH - width) // 2, y + LABEL + (cell - height) // 2
        sheet.paste(Pillow.fromarray(_quantise(panel.picture)), at)
    return np.asarray(sheet)


def write_png(path: str | Path, pixels: Pixels) -> None:
    """Write a PNG that appears under its name only when complete.

    Parameters
    ----------
    path : str or Path
        Its folder must exist.
    pixels : ndarray, shape (H, W, 3) or (H, W), uint8

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    path = Path(path)
    # A name of its own, not the target's with a suffix: that may already be as long as names get.
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=".fbamatte-", suffix=".png", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            Pillow.fromarray(pixels).save(file, "PNG", optimize=False)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot write the preview: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            Path(temporary).unlink(missing_ok=True)


def _panels(frame: Frame, matte: Matte, size: tuple[int, int]) -> list[Panel]:
    def small(linear: Plane) -> Plane:
        return to_rec709(_resize(linear, size), frame.colorspace)

    finite = np.asarray(np.isfinite(frame.plate).all(axis=2))
    clean = np.where(finite[..., None], frame.plate, np.float32(0))
    plate, foreground, background = small(clean), small(matte.foreground), small(matte.background)
    # αF and α shrink exactly as a composite of full size would: over one colour both are linear.
    alpha, premultiplied = _resize(matte.alpha, size), small(premultiply(matte.foreground, matte.alpha))
    behind = 1 - alpha[..., None]
    known = [_resize(mask, size) for mask in masks(matte.trimap)]
    error = finite * recomposition_error(clean, matte.alpha, matte.foreground, matte.background)
    shown = encode_rec709(plate)
    return [
        Panel("Plate", _span(clean), _framed(shown, frame)),
        Panel("Trimap", f"{_percent(~is_known(matte.trimap))} unknown", tint(shown, *known)),
        Panel("Alpha", f"{_percent((matte.alpha > 0) & (matte.alpha < 1))} between 0 and 1", _grey(alpha)),
        Panel("Recomposition error", f"{error.max():.1e} at most", _with_scale(heat(_largest(error, size)))),
        Panel("Foreground", _span(matte.foreground), encode_rec709(foreground)),
        Panel("Clean plate", _span(matte.background), encode_rec709(background)),
        Panel("Over checker", "", encode_rec709(premultiplied + behind * _checker(size))),
        Panel("Over green", "", encode_rec709(premultiplied + behind * SATURATED)),
    ]


def _facts(frame: Frame, matte: Matte) -> str:
    window = frame.data_window
    overscan = f" at {window.x_min}, {window.y_min}" if (window.x_min, window.y_min) != (0, 0) else ""
    where = f"frame {frame.number} {frame.view}".strip() if frame.name else ""
    size = f"{window.width} x {window.height}{overscan}"
    return "    ".join(fact for fact in (where, size, frame.colorspace, str(matte.provenance.get("model", ""))) if fact)


def _panel_size(frame: Frame) -> tuple[int, int]:
    """Width and height that the plate takes on a sheet, its pixel aspect honoured."""
    rows, columns = frame.plate.shape[:2]
    scale = min(PANEL_WIDTH / (columns * frame.pixel_aspect), CELL_HEIGHTS[1] / rows)
    return max(THINNEST, round(columns * frame.pixel_aspect * scale)), max(THINNEST, round(rows * scale))


def _resize(plane: Plane, size: tuple[int, int]) -> Plane:
    """Scale (H, W) or (H, W, C) with a filter that is nowhere negative: strong lights get no dark rings."""
    if plane.ndim == 3:
        return np.stack([_resize(plane[..., channel], size) for channel in range(plane.shape[2])], axis=-1)
    rows, columns = plane.shape
    larger = min(size[0] / columns, size[1] / rows)
    way = Pillow.Resampling
    how = way.HAMMING if larger < 1 else way.BILINEAR if larger < 4 else way.NEAREST
    return np.asarray(Pillow.fromarray(np.ascontiguousarray(plane, np.float32)).resize(size, how))


def _largest(plane: Plane, size: tuple[int, int]) -> Plane:
    """Scale (H, W) so that each pixel is the largest of those that it stands for: one bad pixel stays seen."""
    for axis, (want, have) in enumerate(zip(reversed(size), plane.shape)):
        plane = np.maximum.reduceat(plane, np.arange(want) * have // want, axis=axis)
    return plane


def _framed(picture: Plane, frame: Frame) -> Plane:
    """Draw the display window's edge where the data window reaches beyond it."""
    data, display = frame.data_window, frame.display_window
    if data == display:
        return picture
    scale = picture.shape[1] / data.width, picture.shape[0] / data.height
    canvas = Pillow.fromarray(_quantise(picture))
    left, top = (display.x_min - data.x_min) * scale[0], (display.y_min - data.y_min) * scale[1]
    right, bottom = left + display.width * scale[0] - 1, top + display.height * scale[1] - 1
    ImageDraw.Draw(canvas).rectangle((left, top, right, bottom), outline=HEAD)
    return _from_canvas(canvas)


def _grey(plane: Plane) -> Plane:
    """Alpha as it is, without the display's curve: half covered is mid grey."""
    return np.repeat(plane[..., None], 3, axis=2)


def _with_scale(picture: Plane) -> Plane:
    """Draw what the colours of `heat` mean along the foot of the panel."""
    height, width = picture.shape[:2]
    if min(height, width) < 120:
        return picture
    canvas = Pillow.fromarray(_quantise(picture))
    left, right, y = 12, width - 13, height - 16
    ramp = np.geomspace(HEAT_FROM, HEAT_TO, right - left, dtype=np.float32)
    canvas.paste(Pillow.fromarray(_quantise(heat(np.tile(ramp, (4, 1))))), (left, y))
    for anchor, x, value in (("ls", left, HEAT_FROM), ("ms", (left + right) // 2, 1e-4), ("rs", right, HEAT_TO)):
        ImageDraw.Draw(canvas).text((x, y - 6), f"{value:.0e}", QUIET, _font(12), anchor)
    return _from_canvas(canvas)


def _checker(size: tuple[int, int]) -> Plane:
    y, x = np.mgrid[: size[1], : size[0]] // CHECKER
    squares: Plane = np.array(CHECKER_LIGHT, np.float32)[(x + y) % 2, None]
    return squares


def _span(pixels: Plane) -> str:
    return f"{pixels.min():.3g} to {pixels.max():.3g}"


def _percent(mask: NDArray[np.bool_]) -> str:
    return f"{100 * mask.mean():.1f} %"


def _from_canvas(canvas: Pillow.Image) -> Plane:
    return np.asarray(np.asarray(canvas) / 255, np.float32)


def _quantise(picture: Plane) -> Pixels:
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise OutputError("previews need a Pillow built with FreeType, as its wheels are")
    return font


def _plain(text: str) -> str:
    """Return what Pillow's font can draw of a text: it holds little more than ASCII."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return letters.encode("ascii", "replace").decode()


def _fit(text: str, room: float, size: int) -> str:
    while text and _font(size).getlength(text) > room:
        text = text.removesuffix("...")[:-1] + "..."
    return text
