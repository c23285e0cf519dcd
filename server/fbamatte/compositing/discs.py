"""Discs of any radius over masks, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fbamatte.compositing.jit import kernel

Mask = NDArray[np.bool_]


@kernel
def erode(region: Mask, radius: float, far: Mask) -> None:
    """Mark the pixels that have nothing outside ``region`` nearer than ``radius``.

    Row by row: how far it is to the next pixel outside along each row, and from that, in every row within the radius,
    whether it lies inside the disc. A distance transform would find all distances, at several times the cost.
    """
    height, width = region.shape
    reach = int(np.ceil(radius)) - 1  # the last row that is nearer than the radius
    along = np.empty((height, width), np.int32)
    for y in range(height):
        gap = reach + 1
        for x in range(width):
            gap = min(gap + 1, reach + 1) if region[y, x] else 0
            along[y, x] = gap
        gap = reach + 1
        for x in range(width - 1, -1, -1):
            gap = min(gap + 1, reach + 1) if region[y, x] else 0
            along[y, x] = min(along[y, x], gap)
    far[:] = True
    for dy in range(-reach, reach + 1):
        half = int(np.ceil(np.sqrt(radius * radius - dy * dy))) - 1
        for y in range(max(0, -dy), min(height, height - dy)):
            for x in range(width):
                far[y, x] &= along[y + dy, x] > half
