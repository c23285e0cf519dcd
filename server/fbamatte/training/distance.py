"""Exact distances to masks, trimaps and their encoding, where the tensors are."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from fbamatte.compositing.encoding import ENCODING_CROP, ENCODING_SIGMAS

FAR = 1e10
"""Squared distance to an empty mask."""

# Bytes of one piece of the search along rows.
_PIECE = 1 << 28


def squared_distance(mask: Tensor) -> Tensor:
    """Return the squared Euclidean distance to the nearest set pixel; `FAR` and more where none is.

    Parameters
    ----------
    mask : Tensor, shape (N, H, W), bool
    """
    return _on_cpu(mask) if mask.device.type == "cpu" else searched(mask)


def searched(mask: Tensor) -> Tensor:
    """Return the same by search, column by column and then along rows: made for a GPU."""
    count, height, width = mask.shape
    down = torch.arange(height, device=mask.device, dtype=torch.float32)[:, None]
    reach = float(height + width)
    above = torch.where(mask, down, -reach * 1e3).cummax(dim=1).values
    below = torch.where(mask, down, reach * 1e3).flip(1).cummin(dim=1).values.flip(1)
    column = torch.minimum(down - above, below - down)
    column = torch.where(column > reach, FAR, column.square())
    place = torch.arange(width, device=mask.device, dtype=torch.float32)
    across = (place[:, None] - place[None]).square()
    rows = column.reshape(count * height, 1, width)
    step = max(1, _PIECE // (4 * width * width))
    found = [(rows[at : at + step] + across).amin(dim=2) for at in range(0, len(rows), step)]
    return torch.cat(found).reshape(mask.shape)


def _on_cpu(mask: Tensor) -> Tensor:
    planes = [_transform(plane) for plane in mask.numpy()]
    return torch.from_numpy(np.stack(planes))


def _transform(
    plane: np.ndarray[tuple[int, int], np.dtype[np.bool_]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    if not plane.any():
        return np.full(plane.shape, FAR, np.float32)
    squared: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = np.square(
        ndimage.distance_transform_edt(~plane)
    ).astype(np.float32)
    return squared


def masks(trimap: Tensor) -> Tensor:
    """Return the background and the foreground mask, (N, 2, H, W), of a trimap (N, 1, H, W)."""
    return torch.cat([trimap <= 0, trimap >= 1], dim=1).float()


def encoding(trimap: Tensor) -> Tensor:
    """Return the six channels of `fbamatte.compositing.trimap.encode` for a trimap (N, 1, H, W)."""
    known = torch.cat([trimap <= 0, trimap >= 1], dim=1)
    squared = squared_distance(known.flatten(0, 1)).reshape(known.shape)
    widths = trimap.new_tensor([-0.5 / (s * ENCODING_CROP) ** 2 for s in ENCODING_SIGMAS])
    return (squared[:, :, None] * widths[:, None, None]).exp().flatten(1, 2)


def draw_trimap(alpha: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """Return a trimap: what is neither 0 nor 1 is unknown, and so much around it.

    Parameters
    ----------
    alpha : Tensor, shape (N, 1, H, W)
    inside, outside : Tensor, shape (N,) or (N, H, W)
        Radii in pixels of the erosion of the foreground and of the background.

    Returns
    -------
    Tensor, shape (N, 1, H, W)
        0, 0.5, 1. Where a radius would leave nothing known of a side that exists, its deepest part stays.
    """
    trimap = torch.full_like(alpha[:, 0], 0.5)
    for value, sure, radius in ((0.0, alpha[:, 0] <= 0, outside), (1.0, alpha[:, 0] >= 1, inside)):
        depth = squared_distance(~sure).clamp(max=1e8).sqrt()
        deepest = depth.amax(dim=(1, 2), keepdim=True)
        width = radius.reshape(len(radius), *(radius.shape[1:] or (1, 1)))
        trimap[(depth > torch.minimum(width, 0.7 * deepest)) & sure] = value
    return trimap[:, None]
