"""Pyramid pooling without its 1024 upsampled channels.

What the pyramid adds to the features is four small pictures (1, 2, 3 and 6 across) enlarged: of rank k
along each axis. A convolution of such a picture is a product of small matrices, exactly, at a
hundredth of the work; the 3×3 convolution behind the pyramid then sees the features alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fbamatte.models.devices import widest
from fbamatte.models.layers import WSConv2d, standardised

CPU = torch.device("cpu")


class PoolingMatrices:
    """Averages over bins as products of matrices, strip by strip.

    Parameters
    ----------
    height, width : int
        Of the map.
    sizes : tuple of int
        Of the pooled pictures.
    device : torch.device
        Of the map.
    dtype : torch.dtype
        To sum in.
    """

    def __init__(
        self, height: int, width: int, sizes: tuple[int, ...], device: torch.device, dtype: torch.dtype
    ) -> None:
        self._sizes = sizes
        self.down, self.across = (
            torch.cat([averages(length, k, device) for k in sizes]).to(dtype) for length in (height, width)
        )

    def part(self, x: Tensor, first: int, last: int) -> Tensor:
        """Return what rows ``first`` to ``last``, (1, C, rows, W), add to the averages: (Σk, Σk, C)."""
        columns = self.across @ x[0].permute(1, 2, 0).to(self.across.dtype)  # (rows, Σk, C)
        return torch.einsum("yr,rxc->yxc", self.down[:, first:last], columns)

    def pictures(self, total: Tensor) -> list[Tensor]:
        """Return (1, C, k, k) averages for each size k."""
        found, at = [], 0
        for k in self._sizes:
            found.append(total[at : at + k, at : at + k].permute(2, 0, 1)[None])
            at += k
        return found


def averages(length: int, bins: int, device: torch.device = CPU) -> Tensor:
    """Return the (bins, length) matrix of adaptive average pooling."""
    matrix = torch.zeros(bins, length, dtype=widest(device), device=device)
    for k in range(bins):
        first, last = k * length // bins, -(-(k + 1) * length // bins)
        matrix[k, first:last] = 1 / (last - first)
    return matrix


def enlargement(length: int, bins: int, device: torch.device = CPU) -> Tensor:
    """Return the (bins, length) matrix of bilinear enlargement, align_corners False."""
    unit = torch.eye(bins, dtype=widest(device), device=device)[None]
    return functional.interpolate(unit, size=length, mode="linear", align_corners=False)[0]


class PyramidTerm:
    """What a 3×3 convolution makes of the pyramid's channels.

    Parameters
    ----------
    module : Conv2d
        The convolution behind the pyramid.
    first : int
        Its first input channel that comes from the pyramid.
    sizes : tuple of int
        Of the pooled pictures.
    """

    def __init__(self, module: nn.Conv2d, first: int, sizes: tuple[int, ...]) -> None:
        weight = module.weight.detach()
        if isinstance(module, WSConv2d) and not module.folded:
            weight = standardised(weight.to(widest(weight.device)))
        kind = torch.float64 if weight.dtype == torch.float64 else torch.float32
        taps = weight[:, first:].permute(2, 3, 0, 1).to(kind)
        self._outputs, self._sizes = taps.shape[2], sizes
        # one matrix a picture, (9 × outputs, its channels)
        self._weights = [part.flatten(0, 2).contiguous() for part in taps.chunk(len(sizes), dim=3)]

    def of(self, pictures: list[Tensor], height: int, width: int) -> PyramidRows:
        """Return the term for pooled, convolved and normalised pictures (1, C, k, k)."""
        rows, columns = [], []
        for k, picture, weights in zip(self._sizes, pictures, self._weights):
            weight = weights.to(picture.device)
            # kernel row and column, output channel, picture row and column
            q = (weight @ picture[0].flatten(1).to(weight.dtype)).view(3, 3, self._outputs, k, k)
            down, across = (shifted(enlargement(n, k, weight.device)).to(weight) for n in (height, width))
            small = q.permute(0, 3, 1, 4, 2).flatten(2).flatten(0, 1)  # (3 × k, 3 × k × outputs)
            rows.append((down.flatten(0, 1).T @ small).view(height, 3 * k, self._outputs))
            columns.append(across.flatten(0, 1))
        return PyramidRows(torch.cat(rows, dim=1), torch.cat(columns).T.contiguous())


class PyramidRows:
    """The term, row by row: (H, K, C) and (W, K)."""

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        self._rows, self._columns = rows, columns

    def rows(self, first: int, last: int) -> Tensor:
        """Return rows, (1, C, last − first, W), channels last."""
        return (self._columns @ self._rows[first:last]).permute(2, 0, 1)[None]


def shifted(matrix: Tensor) -> Tensor:
    """Return (3, bins, length): what a 3-tap kernel's taps see, zeros beyond the ends."""
    grown = functional.pad(matrix, (1, 1))
    length = matrix.shape[1]
    return torch.stack([grown[:, k : k + length] for k in range(3)])
