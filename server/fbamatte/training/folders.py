"""Foregrounds, alphas and backgrounds in folders, looked at before anything is trained on them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fbamatte.errors import ImageReadError, UsageError

Array = NDArray[np.float32]
Tell = Callable[[int, int, str], None]
"""Called with how many are done, of how many, and the last one's name."""

LINEAR = (".exr", ".hdr")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", *LINEAR)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """A foreground and its alpha."""

    foreground: Path
    alpha: Path

    @property
    def name(self) -> str:
        """What to call it."""
        return self.foreground.stem


@dataclass(frozen=True)
class Folders:
    """What may be trained on.

    Parameters
    ----------
    pairs : tuple of Pair
    backgrounds : tuple of Path
    skipped : tuple of str
        Why others may not, each beginning with its file.
    """

    pairs: tuple[Pair, ...]
    backgrounds: tuple[Path, ...]
    skipped: tuple[str, ...] = ()


def scan(root: Path, *, bad_data: str = "refuse", tell: Tell | None = None, with_backgrounds: bool = True) -> Folders:
    """Return what ``root/fg``, ``root/alpha`` and ``root/bg`` hold; a foreground's alpha has its name.

    Every foreground and alpha is decoded whole, of backgrounds the header.

    Parameters
    ----------
    bad_data : str
        ``refuse`` raises at the first bad picture; ``skip`` leaves it out and says so.
    with_backgrounds : bool
        Whether ``root/bg`` is looked at.

    Raises
    ------
    ImageReadError
        For a bad picture: missing, truncated, of another size than its alpha, alpha the same everywhere.
    UsageError
        If a folder is missing or nothing is left.
    """
    skipped: list[str] = []

    def kept(check: Callable[[], None]) -> bool:
        try:
            check()
        except ImageReadError as error:
            if bad_data == "refuse":
                raise
            log.warning("skipped: %s", error)
            skipped.append(str(error))
            return False
        return True

    alphas = {path.stem: path for path in _pictures(root / "alpha")}
    foregrounds = _pictures(root / "fg")
    pairs = []
    for number, path in enumerate(foregrounds):
        pair = Pair(path, alphas.get(path.stem, root / "alpha" / f"{path.stem}.png"))
        if kept(lambda pair=pair: _check_pair(pair)):  # type: ignore[misc]
            pairs.append(pair)
        if tell:
            tell(number + 1, len(foregrounds), path.name)
    behind = _pictures(root / "bg") if with_backgrounds else []
    behind = [path for path in behind if kept(lambda path=path: _check_header(path))]  # type: ignore[misc]
    if not pairs or (with_backgrounds and not behind):
        what = "foreground with an alpha" if not pairs else "background"
        raise UsageError(f"{root}: no {what} is left to train on; {len(skipped)} pictures were skipped")
    return Folders(tuple(pairs), tuple(behind), tuple(skipped))


def read_colors(path: Path) -> Array:
    """Return a picture (H, W, 3) as its file has it: display-encoded in [0, 1], or linear for `LINEAR` files.

    Raises
    ------
    ImageReadError
        If it is missing, truncated or no picture.
    """
    if path.suffix.lower() in LINEAR:
        from fbamatte.imaging.reader import read_image  # noqa: PLC0415 - a GPU machine may lack OpenEXR

        return read_image(path).rgb()
    pixels = _decoded(path)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] < 3 else np.ascontiguousarray(pixels[..., :3])


def read_alpha(path: Path) -> Array:
    """Return an alpha (H, W) in [0, 1]; of a picture with several channels the first."""
    if path.suffix.lower() in LINEAR:
        from fbamatte.imaging.reader import read_image  # noqa: PLC0415

        return np.clip(read_image(path).matte_plane(), 0, 1)
    pixels = _decoded(path)
    return np.ascontiguousarray(pixels if pixels.ndim == 2 else pixels[..., 0])


def _decoded(path: Path) -> Array:
    from PIL import Image  # noqa: PLC0415 - only where there are folders to read

    if not path.is_file():
        raise ImageReadError(f"{path}: no such picture")
    try:
        with Image.open(path) as picture:
            plain = picture.mode in ("L", "RGB", "RGBA", "LA", "I;16")
            pixels = np.asarray(picture if plain else picture.convert("RGB"))
    except Exception as error:  # a broken picture raises whatever its format's reader likes
        raise ImageReadError(f"{path}: cannot be read: {error}") from error
    return (pixels / np.float32(65535 if pixels.dtype == np.uint16 else 255)).astype(np.float32)


def _check_pair(pair: Pair) -> None:
    if not pair.alpha.is_file():
        raise ImageReadError(f"{pair.alpha}: no alpha for {pair.foreground}")
    alpha, colors = read_alpha(pair.alpha), read_colors(pair.foreground)
    if alpha.shape != colors.shape[:2]:
        sizes = f"{alpha.shape[1]}×{alpha.shape[0]}, its foreground {colors.shape[1]}×{colors.shape[0]}"
        raise ImageReadError(f"{pair.alpha}: alpha is {sizes}")
    if not np.isfinite(colors).all():
        raise ImageReadError(f"{pair.foreground}: has pixels that are NaN or Inf")
    if alpha.min() == alpha.max():
        raise ImageReadError(f"{pair.alpha}: alpha is {alpha.max():g} everywhere; there is no edge to learn from")


def _check_header(path: Path) -> None:
    if path.suffix.lower() in LINEAR:
        return
    from PIL import Image  # noqa: PLC0415

    try:
        with Image.open(path) as picture:
            picture.verify()
    except Exception as error:  # as in `_decoded`
        raise ImageReadError(f"{path}: cannot be read: {error}") from error


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; a data folder has fg, alpha and bg")
    found: Iterable[Path] = folder.iterdir()
    return sorted(path for path in found if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
