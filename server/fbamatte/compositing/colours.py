"""F and B from the plate and alpha, by smoothness, in scene-linear light (interim: multi-level, mapped to [0, 1])."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pymatting import estimate_foreground_ml

Plane = NDArray[np.float32]


def colours(plate: Plane, alpha: Plane) -> tuple[Plane, Plane]:
    """Return F and B, shape (H, W, 3)."""
    low, high = float(plate.min()) - 1, float(plate.max()) * 1.5 + 1
    scaled = ((plate - low) / (high - low)).astype(np.float64)
    f, b = estimate_foreground_ml(scaled, alpha.astype(np.float64), return_background=True)
    return ((f * (high - low)) + low).astype(np.float32), ((b * (high - low)) + low).astype(np.float32)
