"""A finished matte at the size of a stamp."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fbamatte.frame import Matte
from fbamatte.imaging import color

HEIGHT = 160
WIDTH = 2 * HEIGHT
# Behind the foreground, scene-linear: two greys that the page's own grey lies between.
_CHECKER = (0.02, 0.045)
_SQUARE = 32
# Pixels a side that one pixel of a thumbnail is the mean of.
_AVERAGED = 3


def thumbnail(matte: Matte) -> bytes:
    """Return a JPEG of the foreground over a checkerboard, display-encoded, at most 320×160 pixels.

    Made for each frame, it must cost next to nothing: every n-th pixel is taken as it is, so many that
    a few are left to average.
    """
    height, width = matte.alpha.shape
    shrink = max(height / HEIGHT, width / WIDTH, 1.0)
    step = max(1, int(shrink / _AVERAGED))
    alpha = matte.alpha[::step, ::step, None]
    foreground = np.nan_to_num(matte.foreground[::step, ::step])
    picture = alpha * foreground + (1 - alpha) * _checker(*alpha.shape[:2])
    encoded = np.clip(color.encode(picture.astype(np.float32)), 0, 1)
    file = io.BytesIO()
    size = max(1, round(width / shrink)), max(1, round(height / shrink))
    whole = Image.fromarray((encoded * 255 + 0.5).astype(np.uint8))
    whole.resize(size, Image.Resampling.BOX).save(file, "JPEG", quality=82)
    return file.getvalue()


def _checker(height: int, width: int) -> NDArray[np.float64]:
    rows, columns = np.indices((height, width)) // _SQUARE
    return np.where((rows + columns) % 2, *_CHECKER)[..., None]
