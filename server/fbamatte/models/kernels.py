"""Kernels in Triton, for what torch.compile makes no good kernel of. Imported on CUDA only.

``TRITON_INTERPRET=1`` runs them on a CPU: `tests/models/test_distance.py` does so where Triton is installed.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 512


def nearest_in_rows(squared: Tensor, reach: int, far: float) -> Tensor:
    """Return each pixel's least ``squared + step²`` over the pixels up to ``reach`` away in its row.

    Parameters
    ----------
    squared : Tensor, shape (..., W), float32
        Squared distances within each column.
    reach : int
        Steps to either side.
    far : float
        What lies beyond a row's ends.
    """
    squared = squared.contiguous()
    found = torch.empty_like(squared)
    width = squared.shape[-1]
    grid = (squared.numel() // width, triton.cdiv(width, BLOCK))
    with torch.cuda.device_of(squared):  # type: ignore[no-untyped-call]  # torch ships it untyped
        _nearest_in_rows[grid](squared, found, width, reach, far, BLOCK)
    return found


@triton.jit  # type: ignore[untyped-decorator]
def _nearest_in_rows(squared, found, width, reach: tl.constexpr, far, block: tl.constexpr):  # type: ignore[no-untyped-def]
    # the window around a block stays in the first cache: one read a step and side, no temporaries
    start = tl.program_id(0).to(tl.int64) * width
    x = tl.program_id(1) * block + tl.arange(0, block)
    inside = x < width
    best = tl.load(squared + start + x, mask=inside, other=far)
    for step in range(1, reach + 1):
        left = tl.load(squared + start + x - step, mask=inside & (x >= step), other=far)
        right = tl.load(squared + start + x + step, mask=x + step < width, other=far)
        best = tl.minimum(best, tl.minimum(left, right) + step * step)
    tl.store(found + start + x, best, mask=inside)
