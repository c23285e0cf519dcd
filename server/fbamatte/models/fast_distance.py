"""Squared distances to a trimap's masks, as far as the network's encoding can tell them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from fbamatte.compositing.trimap import ENCODING_CROP, ENCODING_SIGMAS

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
    Exact on the CPU; elsewhere exact to `REACH` pixels and `FAR` or merely large beyond.
    """
    if masks.device.type == "cpu":
        with ThreadPoolExecutor(2) as pool:
            return torch.from_numpy(np.stack(list(pool.map(_transform, masks[0].numpy()))))[None]
    return searched(masks)


def _transform(
    mask: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    if not mask.any():
        return np.full(mask.shape, FAR, np.float32)
    distance = distance_transform_edt(mask == 0)
    squared: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = np.square(distance, out=distance).astype(np.float32)
    return squared


def searched(masks: Tensor) -> Tensor:
    """Return the same by search: down the columns by running maxima, along the rows step by step."""
    height, width = masks.shape[2:]
    down = torch.arange(height, device=masks.device, dtype=torch.float32)[:, None]
    never = 1e5
    above = torch.where(masks > 0, down, -never).cummax(dim=2).values
    below = torch.where(masks > 0, down, height + never).flip(2).cummin(dim=2).values.flip(2)
    column = torch.minimum(down - above, below - down)
    squared = torch.where(column >= never, FAR, column.square())
    best = squared.clone()
    for step in range(1, min(REACH, width - 1) + 1):
        torch.minimum(best[..., step:], squared[..., :-step] + step**2, out=best[..., step:])
        torch.minimum(best[..., :-step], squared[..., step:] + step**2, out=best[..., :-step])
    return best
