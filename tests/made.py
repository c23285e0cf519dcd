"""Small plates and rotos that tests write to disk: a bright disc with a soft edge, moving slowly."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fbamatte.frame import Frame, Window
from fbamatte.imaging.exr import write_exr
from fbamatte.imaging.image import Image

WIDTH, HEIGHT = 48, 36


def alpha(number: int = 1001, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A disc whose edge takes three pixels, a quarter of a pixel further each frame."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x - width / 2 - (number - 1001) / 4, y - height / 2)
    return np.clip((height / 3.5 - distance) / 3 + 0.5, 0, 1).astype(np.float32)


def plate(number: int = 1001, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """The disc, up to 24 bright, over a background that goes slightly negative; linear light."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    foreground = np.stack([4 + x / 2.4, 0.8 + y / 40, np.full_like(x, 0.3)], axis=-1)
    background = np.stack([x / 200 - 0.02, 0.1 + y / 300, np.full_like(x, 0.4)], axis=-1)
    a = alpha(number, width, height)[..., None]
    return (a * foreground + (1 - a) * background).astype(np.float32)


def trimap(number: int = 1001, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Unknown wherever alpha is not 0 or 1, and nowhere else."""
    a = alpha(number, width, height)
    return np.where(a <= 0, 0, np.where(a >= 1, 1, 0.5)).astype(np.float32)


def frame(number: int = 1001, **more) -> Frame:
    """Return the plate and the trimap together."""
    return Frame(plate(number), trimap(number), number=number, **more)


def write(path: Path, channels: dict[str, np.ndarray], **more) -> Path:
    """Write planes as a float EXR whose windows are the planes' size unless told otherwise."""
    height, width = next(iter(channels.values())).shape
    window = Window.of_size(width, height)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_exr(path, Image(channels, **{"display_window": window, "data_window": window, **more}), float_channels="all")
    return path


def write_plate(path: Path, number: int = 1001, **more) -> Path:
    """Write the plate of one frame."""
    return write(path, dict(zip("RGB", np.moveaxis(plate(number), -1, 0))), **more)


def write_sequence(folder: Path, numbers=range(1001, 1004)) -> Path:
    """Write plates, trimaps and rotos of several frames and return their folder."""
    for number in numbers:
        write_plate(folder / f"plate.{number}.exr", number)
        write(folder / f"trimap.{number}.exr", {"A": trimap(number)})
        write(folder / f"roto.{number}.exr", {"A": (alpha(number) > 0.5).astype(np.float32)})
    return folder
