"""Means of the known colours around each pixel: of narrow windows where these hold enough, of wide ones elsewhere.

Sums of a window are differences of four sums from the corner (Crow 1984, "Summed-area tables"): a window of 217² costs
what one of 9² does, and a pixel whose narrow windows say enough never looks at a wide one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fbamatte.compositing.jit import kernel

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

ENOUGH = 30.0
"""Known pixels that a window must hold to be believed wholly."""


def carried(image: Array, mask: Mask, everywhere: NDArray[np.float64], radii: tuple[int, ...]) -> Array:
    """Return the means (H, W, 6) of the mask's colours, and of their squares, around each pixel.

    Parameters
    ----------
    image : ndarray, shape (H, W, 3)
    mask : ndarray, shape (H, W)
        Where something is known.
    everywhere : ndarray, shape (6,)
        What counts where too little is known within the widest window.
    radii : tuple of int
        Of the windows, in pixels, the narrowest first.
    """
    # one memory layout: of parts of a picture it would be compiled once more
    return _means(_from_the_corner(np.ascontiguousarray(image), np.ascontiguousarray(mask)), everywhere, radii)


@kernel
def _from_the_corner(image: Array, mask: Mask) -> NDArray[np.float64]:
    """Return sums (H + 1, W + 1, 7) of colours, squares and count over all that is above and to the left."""
    height, width = mask.shape
    sums = np.zeros((height + 1, width + 1, 7))
    for y in range(height):
        row = np.zeros(7)
        for x in range(width):
            if mask[y, x]:
                for c in range(3):
                    value = np.float64(image[y, x, c])
                    row[c] += value
                    row[c + 3] += value * value
                row[6] += 1
            for c in range(7):
                sums[y + 1, x + 1, c] = sums[y, x + 1, c] + row[c]
    return sums


@kernel
def _means(sums: NDArray[np.float64], everywhere: NDArray[np.float64], radii: tuple[int, ...]) -> Array:
    height, width = sums.shape[0] - 1, sums.shape[1] - 1
    means = np.empty((height, width, 6), np.float32)
    mean = np.empty(6)
    for y in range(height):
        for x in range(width):
            left_over = 1.0
            mean[:] = 0
            for radius in radii:
                top, bottom = max(y - radius, 0), min(y + radius + 1, height)
                left, right = max(x - radius, 0), min(x + radius + 1, width)
                a, b, c, d = sums[bottom, right], sums[top, right], sums[bottom, left], sums[top, left]
                count = a[6] - b[6] - c[6] + d[6]
                if count < 0.5:
                    continue
                share = min(count / ENOUGH, 1.0) * left_over
                left_over -= share
                for k in range(6):
                    mean[k] += share / count * (a[k] - b[k] - c[k] + d[k])
                if left_over < 1e-9:
                    break
            for k in range(6):
                means[y, x, k] = mean[k] + left_over * everywhere[k]
    return means
