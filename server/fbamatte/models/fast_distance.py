"""Squared distances to a trimap's masks, as far as the network's encoding can tell them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Optional

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from fbamatte.compositing.encoding import ENCODING_CROP, ENCODING_SIGMAS

log = logging.getLogger(__name__)

FAR = 1e10
"""Squared distance to an empty mask: the encoding makes 0 of it."""

REACH = round(6 * max(ENCODING_SIGMAS) * ENCODING_CROP)
"""Beyond 6 σ of the widest Gaussian the encoding is below 2e-8: no search goes further."""


def squared_distances(masks: Tensor) -> Tensor:
    """Return squared Euclidean distances to background and foreground, (1, 2, H, W), float32.

    Parameters
    ----------
    masks : Tensor, shape (1, 2, H, W)
        0 and 1.

    Notes
    -----
    Exact, on CUDA to `REACH` pixels and merely larger than that beyond.
    """
    if masks.device.type == "cuda":
        return searched(masks)
    with ThreadPoolExecutor(2) as pool:
        found = np.stack(list(pool.map(_transform, masks[0].cpu().numpy())))
    return torch.from_numpy(found)[None].to(masks.device)


def _transform(
    mask: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    if not mask.any():
        return np.full(mask.shape, FAR, np.float32)
    distance = distance_transform_edt(mask == 0)
    squared: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = np.square(distance, out=distance).astype(np.float32)
    return squared


def searched(masks: Tensor) -> Tensor:
    """Return the same on the device, exact to `REACH`: running maxima down the columns, a search along the rows."""
    height = masks.shape[2]
    down = torch.arange(height, device=masks.device, dtype=torch.float32)[:, None]
    never = 1e5
    above = torch.where(masks > 0, down, -never).cummax(dim=2).values
    below = torch.where(masks > 0, down, height + never).flip(2).cummin(dim=2).values.flip(2)
    column = torch.minimum(down - above, below - down)
    return _along_rows(torch.where(column >= never, FAR, column.square()))


def _along_rows(squared: Tensor) -> Tensor:
    """Return each pixel's least ``squared + step²`` over the pixels of its row."""
    reach = min(REACH, squared.shape[-1] - 1)
    kernel = _kernel(squared.device) if squared.is_cuda else None
    return kernel(squared, reach, FAR) if kernel else stepwise(squared, reach)


@cache
def _kernel(device: torch.device) -> Optional[Callable[[Tensor, int, float], Tensor]]:
    """Return the search of rows as a kernel that was seen to run on a device; None where there is none."""
    try:
        from fbamatte.models.kernels import nearest_in_rows  # noqa: PLC0415 - there is no Triton without CUDA

        nearest_in_rows(torch.zeros(1, 2, device=device), 1, FAR)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # no Triton, or no compiler for it: slower, not wrong
        log.warning("distances are searched step by step: %s: %s", type(error).__name__, error)
        return None
    return nearest_in_rows


def stepwise(squared: Tensor, reach: int) -> Tensor:
    """Return the same step by step: the arithmetic of `fbamatte.models.kernels` in plain torch."""
    best = squared.clone()
    for step in range(1, reach + 1):
        torch.minimum(best[..., step:], squared[..., :-step] + step**2, out=best[..., step:])
        torch.minimum(best[..., :-step], squared[..., step:] + step**2, out=best[..., :-step])
    return best
