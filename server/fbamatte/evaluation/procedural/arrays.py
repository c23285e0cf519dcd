"""What the generator's modules call an array: float32 in what they promise, whatever NumPy makes of it on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Rng = np.random.Generator


def f32(values: ArrayLike) -> Array:
    """Return an array of float32."""
    return np.asarray(values, np.float32)
