"""Closed-form matting of whole mini-batches where they are: what the refining network starts from.

On the CPU this is `fbamatte.models.closed_form` itself; on a GPU conjugate gradients on the same equations.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-7
"""As in `fbamatte.models.closed_form.laplacian`."""

ITERATIONS = 400
SMALLEST = 48
REGULARISATION, GRADIENT_WEIGHT = 1e-5, 1.0


@torch.no_grad()
def closed_form(image: Tensor, trimap: Tensor) -> Tensor:
    """Return alpha, F and B of closed-form matting and multi-level colours, (N, 7, H, W), float32.

    Parameters
    ----------
    image : Tensor, shape (N, 3, H, W)
        Display-encoded.
    trimap : Tensor, shape (N, 1, H, W)
    """
    if image.device.type == "cpu":
        return torch.stack([_exact(i, t) for i, t in zip(image, trimap[:, 0], strict=True)])
    alpha = conjugate_gradients(image, trimap)
    return torch.cat([alpha, multilevel(image, alpha)], dim=1)


def _exact(image: Tensor, trimap: Tensor) -> Tensor:
    from fbamatte.models.closed_form.alpha import closed_form_alpha  # noqa: PLC0415 - a GPU machine may lack numba
    from fbamatte.models.closed_form.foreground import estimate_foreground  # noqa: PLC0415

    picture = np.ascontiguousarray(image.permute(1, 2, 0).float().numpy())
    alpha = closed_form_alpha(picture, np.ascontiguousarray(trimap.float().numpy()))
    foreground, background = estimate_foreground(picture, alpha)
    planes = np.concatenate([alpha[None], foreground.transpose(2, 0, 1), background.transpose(2, 0, 1)])
    return torch.from_numpy(np.ascontiguousarray(planes))


def conjugate_gradients(image: Tensor, trimap: Tensor, iterations: int = ITERATIONS) -> Tensor:
    """Return closed-form alpha (N, 1, H, W), begun from that of the picture at half its size."""
    unknown = ((trimap > 0) & (trimap < 1)).double()
    start = torch.where(unknown > 0, 0.5, trimap.double())
    if min(image.shape[2:]) >= 2 * SMALLEST:
        half = functional.interpolate(image.float(), scale_factor=0.5, mode="area")
        small = conjugate_gradients(half, _halved(trimap), iterations)
        grown = functional.interpolate(small, size=image.shape[2:], mode="bilinear", align_corners=False)
        start = torch.where(unknown > 0, grown.double(), start)
    windows = Windows(image.double())
    x, inverse = start, unknown / windows.diagonal().clamp(min=1e-6)
    residual = -unknown * windows.apply(x)
    scaled = inverse * residual
    direction, product = scaled, _inner(residual, scaled)
    for _ in range(iterations):
        pushed = unknown * windows.apply(direction)
        pace = product / _inner(direction, pushed).clamp(min=1e-300)
        x = x + pace * direction
        residual = residual - pace * pushed
        scaled = inverse * residual
        before, product = product, _inner(residual, scaled)
        direction = scaled + product / before.clamp(min=1e-300) * direction
    return x.clamp(0, 1).to(image.dtype)


class Windows:
    """The matting Laplacian of a mini-batch, window by window (Levin et al. 2008), never as a matrix."""

    def __init__(self, image: Tensor) -> None:
        count, _, self._height, self._width = image.shape
        seen = functional.unfold(image, 3).view(count, 3, 9, -1)
        self._centred = seen - seen.mean(dim=2, keepdim=True)
        spread = torch.einsum("nckp,ndkp->npcd", self._centred, self._centred)
        spread = spread + EPSILON * torch.eye(3, dtype=image.dtype, device=image.device)
        # Σ⁻¹ c by the inverse's Cholesky factor once, so that each product is two small sums.
        inverse = torch.linalg.inv(spread)
        self._fitted = torch.einsum("npcd,ndkp->nckp", inverse, self._centred)

    def apply(self, plane: Tensor) -> Tensor:
        """Return the Laplacian times a plane (N, 1, H, W)."""
        seen = functional.unfold(plane, 3)
        slope = torch.einsum("nckp,nkp->ncp", self._fitted, seen)
        rest = seen - seen.mean(dim=1, keepdim=True) - torch.einsum("nckp,ncp->nkp", self._centred, slope)
        return functional.fold(rest, (self._height, self._width), 3)

    def diagonal(self) -> Tensor:
        """Return the Laplacian's diagonal (N, 1, H, W)."""
        own = 1 - 1 / 9 - (self._centred * self._fitted).sum(dim=1)
        return functional.fold(own, (self._height, self._width), 3)


def multilevel(image: Tensor, alpha: Tensor) -> Tensor:
    """Return F and B (N, 6, H, W) by the multi-level method (Germer et al. 2020), Jacobi sweeps from coarse to fine."""
    size = max(image.shape[2:])
    levels = max(size - 1, 1).bit_length()
    colors = torch.cat([image.mean(dim=(2, 3), keepdim=True)] * 2, dim=1)
    for level in range(levels + 1):
        shape = [max(1, round(side ** (level / levels))) for side in image.shape[2:]]
        small_image, small_alpha = (functional.interpolate(x, size=shape, mode="nearest") for x in (image, alpha))
        colors = functional.interpolate(colors, size=shape, mode="nearest")
        for _ in range(20 if max(shape) <= 32 else 6):
            colors = _sweep(small_image, small_alpha, colors)
    return colors


def _sweep(image: Tensor, alpha: Tensor, colors: Tensor) -> Tensor:
    near_alpha, near_colors = (_neighbours(x) for x in (alpha, colors))
    weights = REGULARISATION + GRADIENT_WEIGHT * (near_alpha - alpha[:, None]).abs()
    total = weights.sum(dim=1)
    drawn = (weights * near_colors).sum(dim=1)
    clear = 1 - alpha
    ff, fb, bb = alpha * alpha + total, alpha * clear, clear * clear + total
    scale = 1 / (ff * bb - fb * fb)
    f_side, b_side = drawn[:, :3] + alpha * image, drawn[:, 3:] + clear * image
    return torch.cat([scale * (bb * f_side - fb * b_side), scale * (ff * b_side - fb * f_side)], dim=1).clamp(0, 1)


def _neighbours(x: Tensor) -> Tensor:
    """Return the four neighbours of every pixel, (N, 4, C, H, W), the border repeated."""
    grown = functional.pad(x, (1, 1, 1, 1), mode="replicate")
    return torch.stack(
        [grown[..., 1:-1, :-2], grown[..., 1:-1, 2:], grown[..., :-2, 1:-1], grown[..., 2:, 1:-1]], dim=1
    )


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(1, 2, 3), keepdim=True)


def _halved(trimap: Tensor) -> Tensor:
    """Return the trimap at half its size: known only where all of a pixel's parts are."""
    mean = functional.interpolate(trimap.float(), scale_factor=0.5, mode="area")
    return torch.where(mean <= 0, 0.0, torch.where(mean >= 1, 1.0, 0.5)).to(trimap.dtype)
