"""NaN and Inf pixels of a plate: counted, and replaced before they can spread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from fbamatte.errors import FrameError

Plane = NDArray[np.float32]


def replace_nonfinite(plate: Plane, label: str) -> tuple[Plane, int]:
    """Return the plate with each NaN or Inf pixel replaced by its nearest finite one, and their count.

    Parameters
    ----------
    plate : ndarray, shape (H, W, 3)
        Returned as it is where every value is finite.
    label : str
        What to call it in messages.

    Raises
    ------
    FrameError
        If no pixel is finite: there is nothing to matte.
    """
    finite = np.isfinite(plate)
    if finite.all():
        return plate, 0
    bad = ~finite.all(axis=2)
    count = int(bad.sum())
    if bad.all():
        raise FrameError(f"{label}: all {count} pixels of the plate are NaN or Inf; render it again")
    nearest = distance_transform_edt(bad, return_distances=False, return_indices=True)
    repaired: Plane = plate[tuple(nearest)]
    return repaired, count
