"""A finished matte at the size of a stamp."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fbamatte.frame import Matte
from fbamatte.imaging import color

HEIGHT = 96
WIDTH = 2 * HEIGHT
# Behind the foreground, scene-linear: two greys that the page's own grey lies between.
_CHECKER = (0.02, 0.045)
_SQUARE = 8


def thumbnail(matte: Matte) -> bytes:
    """Return a JPEG of the foreground over a checkerboard, display-encoded, at most 192×96 pixels.

    Every n-th pixel is taken as it is: made for each frame, it must cost next to nothing.
    """
    height, width = matte.alpha.shape
    step = max(-(-height // HEIGHT), -(-width // WIDTH), 1)
    alpha = matte.alpha[::step, ::step, None]
    foreground = np.nan_to_num(matte.foreground[::step, ::step])
    picture = alpha * foreground + (1 - alpha) * _checker(*alpha.shape[:2])
    encoded = np.clip(color.encode(picture.astype(np.float32)), 0, 1)
    file = io.BytesIO()
    Image.fromarray((encoded * 255 + 0.5).astype(np.uint8)).save(file, "JPEG", quality=82)
    return file.getvalue()


def _checker(height: int, width: int) -> NDArray[np.float64]:
    rows, columns = np.indices((height, width)) // _SQUARE
    return np.where((rows + columns) % 2, *_CHECKER)[..., None]
