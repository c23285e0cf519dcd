"""Half to float and back, many times faster than numpy does it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

HALF_MAX = 65504.0


def convert(target: NDArray[Any], source: NDArray[Any]) -> None:
    """Copy ``source`` into ``target`` of the same shape; half or float each.

    What is beyond the range of half becomes its largest value, never infinity. NaN stays NaN.
    """
    if not (source.flags.c_contiguous and source.flags.writeable and target.flags.c_contiguous):
        limited = np.clip(source, -HALF_MAX, HALF_MAX) if target.dtype == np.float16 else source
        np.copyto(target, limited, casting="same_kind")
        return
    to, given = torch.from_numpy(target.reshape(-1)), torch.from_numpy(source.reshape(-1))
    if to.dtype == torch.float16 and not _fits_half(given):
        given = given.clamp(-HALF_MAX, HALF_MAX)
    to.copy_(given)


def _fits_half(values: torch.Tensor) -> bool:
    # A NaN makes both of them NaN, and the comparison false.
    low, high = torch.aminmax(values)
    return bool(low >= -HALF_MAX) and bool(high <= HALF_MAX)
