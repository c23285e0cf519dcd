"""What a data set gives: shots of one or more frames with as much of the truth as is known."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from fbamatte.errors import FrameError, ImageReadError

Plane = NDArray[np.float32]
Light = Literal["display", "linear"]


@dataclass(frozen=True, eq=False)
class Case:
    """One picture to matte.

    Parameters
    ----------
    name : str
        For messages and tables; unique in its data set.
    image : ndarray, shape (H, W, 3), float32
        In the light that ``light`` says.
    trimap : ndarray, shape (H, W), float32
        0 background, 1 foreground, anything between unknown.
    alpha, foreground, background : ndarray, optional
        The truth, where it is known; F straight, in the same light as the picture.
    light : str
        ``display``: encoded for a display and composited so, in [0, 1]. ``linear``: scene-linear, unbounded.
    colorspace : str
        Scene-linear space of a linear picture; empty for linear Rec.709.
    submission : str
        Where an alpha goes below a submission folder; empty where none is sent in.

    Raises
    ------
    FrameError
        If the parts differ in size.
    """

    name: str
    image: Plane
    trimap: Plane
    alpha: Plane | None = None
    foreground: Plane | None = None
    background: Plane | None = None
    light: Light = "display"
    colorspace: str = ""
    submission: str = ""

    def __post_init__(self) -> None:
        height, width = self.image.shape[:2]
        for part in ("trimap", "alpha", "foreground", "background"):
            array = getattr(self, part)
            if array is not None and array.shape[:2] != (height, width):
                raise FrameError(
                    f"{self.name}: the image is {width}×{height} but its {part} is {array.shape[1]}×{array.shape[0]}"
                )


@dataclass(frozen=True, eq=False)
class Shot:
    """Frames in order, and how the picture moves where that is known: (T − 1, H, W, 2), pixels right and down."""

    frames: list[Case]
    motion: Plane | None = field(default=None)


class DataSet(Protocol):
    """Pictures with truth, loaded one at a time; a process of its own opens its own."""

    name: str

    def names(self) -> list[str]:
        """Return what `load` takes, in order."""
        ...

    def load(self, name: str) -> Shot:
        """Return one shot.

        Raises
        ------
        ImageReadError
            Naming the file that is missing or broken.
        """
        ...


def require(path: Path, what: str) -> Path:
    """Return a path that exists.

    Raises
    ------
    ImageReadError
        Naming the path and what it should have been.
    """
    if not path.exists():
        raise ImageReadError(f"{path}: missing ({what})")
    return path


def first_of(candidates: list[Path], what: str) -> Path:
    """Return the first path that exists.

    Raises
    ------
    ImageReadError
        Naming them all.
    """
    for path in candidates:
        if path.exists():
            return path
    raise ImageReadError(f"{what} missing; looked for {', '.join(map(str, candidates))}")


def read_lines(path: Path, what: str) -> list[str]:
    """Return the lines of a list of names, without empty ones."""
    lines = require(path, what).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]


def open_pillow(path: Path, what: str) -> Pillow.Image:
    """Return a picture read whole by Pillow, as the data sets' own scripts read it.

    Raises
    ------
    ImageReadError
        If it is missing or broken.
    """
    try:
        picture = Pillow.open(require(path, what))
        picture.load()
    except (OSError, ValueError, Pillow.DecompressionBombError) as error:
        raise ImageReadError(f"{path}: broken ({what}): {error}") from error
    return picture


def read_rgb(path: Path, what: str) -> Plane:
    """Return an 8-bit picture as float32 in [0, 1], shape (H, W, 3)."""
    return unit(np.asarray(open_pillow(path, what).convert("RGB")))


def unit(picture: NDArray[np.uint8]) -> Plane:
    """Return 8-bit values as float32 in [0, 1]."""
    return (picture / np.float32(255)).astype(np.float32)


def read_plane(path: Path, what: str) -> Plane:
    """Return the first channel of an 8- or 16-bit picture as float32 in [0, 1], shape (H, W)."""
    picture = open_pillow(path, what)
    if picture.mode == "P":
        picture = picture.convert("RGB")
    values = np.asarray(picture)
    plane = values[..., 0] if values.ndim == 3 else values
    if plane.dtype == bool:
        return plane.astype(np.float32)
    # Pillow widens 16-bit grey to 32-bit integers.
    scale = 255 if plane.dtype == np.uint8 else 65535
    return (plane / scale).astype(np.float32)


def read_trimap(path: Path, what: str = "trimap") -> Plane:
    """Return a trimap as 0, 0.5 and 1; a few grey levels next to black and white are an editor's rounding."""
    values = read_plane(path, what)
    trimap = np.full(values.shape, 0.5, np.float32)
    trimap[values <= 4 / 255], trimap[values >= 251 / 255] = 0, 1
    return trimap


def trimap_around(alpha: Plane, radius: float) -> Plane:
    """Return a trimap for data sets without one: unknown within ``radius`` pixels of what is soft or an edge."""
    trimap = np.full(alpha.shape, 0.5, np.float32)
    for value, sure in ((0.0, alpha <= 0), (1.0, alpha >= 1)):
        if sure.all():
            trimap[:] = value
        else:
            trimap[ndimage.distance_transform_edt(sure) > radius] = value
    return trimap


def drawn_radius(name: str, low: int, high: int) -> int:
    """Return a whole number from ``low`` to ``high``, always the same for a name."""
    return low + zlib.crc32(name.encode()) % (high - low + 1)
