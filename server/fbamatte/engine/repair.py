"""NaN and Inf pixels of a plate: counted, and replaced before they can spread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

Plane = NDArray[np.float32]


def replace_nonfinite(plate: Plane) -> tuple[Plane, int]:
    """Return the plate with each NaN or Inf pixel replaced by its nearest finite one, and their count.

    Parameters
    ----------
    plate : ndarray, shape (H, W, 3)
        Returned as it is where every value is finite. A plate without any finite pixel becomes black.
    """
    finite = np.isfinite(plate)
    if finite.all():
        return plate, 0
    bad = ~finite.all(axis=2)
    count = int(bad.sum())
    if bad.all():
        return np.zeros_like(plate), count
    nearest = distance_transform_edt(bad, return_distances=False, return_indices=True)
    repaired: Plane = plate[tuple(nearest)]
    return repaired, count
