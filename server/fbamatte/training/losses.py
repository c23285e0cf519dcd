"""The paper's losses (Table 1, Eq. 2): functions that return their terms by name.

Terms are sums over a region divided by its number of pixels. Outside the region an estimate counts as
true, so that terms which look at neighbours see neither more nor less than the region's errors.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from fbamatte.training.light import composite

Terms = dict[str, Tensor]

LEVELS = 5
"""Of the Laplacian pyramid; level s (1 the finest) weighs 2^(s−1)."""

ALPHA_TERMS = ("alpha_l1", "alpha_comp", "alpha_lap", "alpha_grad")
OTHER_TERMS = ("alpha_l2",)
"""Not of the paper."""

COLOR_TERMS = ("fb_l1", "fb_lap", "fb_comp", "fb_excl")

EQUATION_2 = {**dict.fromkeys(ALPHA_TERMS, 1.0), **dict.fromkeys(COLOR_TERMS, 0.25)}


def alpha_losses(
    estimate: Tensor,
    alpha: Tensor,
    foreground: Tensor,
    background: Tensor,
    image: Tensor,
    region: Tensor,
    *,
    display_light: bool = False,
) -> Terms:
    """Return the terms that compare alphas.

    Parameters
    ----------
    estimate, alpha : Tensor, shape (N, 1, H, W)
    foreground, background, image : Tensor, shape (N, 3, H, W)
        True F and B and the picture, display-encoded.
    region : Tensor, shape (N, 1, H, W)
        1 where it counts, 0 elsewhere.
    display_light : bool
        See `fbamatte.training.light.composite`.
    """
    estimate = torch.where(region > 0, estimate, alpha)
    area = region.sum().clamp(min=1)
    recomposed = composite(foreground, estimate, background, display_light=display_light)
    return {
        "alpha_l1": (estimate - alpha).abs().sum() / area,
        "alpha_l2": (estimate - alpha).square().sum() / area,
        "alpha_comp": ((recomposed - image).abs() * region).sum() / area,
        "alpha_lap": laplacian_distance(estimate, alpha) / area,
        "alpha_grad": gradient_distance(estimate, alpha) / area,
    }


def color_losses(
    estimates: tuple[Tensor, Tensor],
    truth: tuple[Tensor, Tensor],
    alpha: Tensor,
    image: Tensor,
    region: Tensor,
    *,
    display_light: bool = False,
) -> Terms:
    """Return the terms that look at F and B.

    Parameters
    ----------
    estimates, truth : (Tensor, Tensor), each of shape (N, 3, H, W)
        F and B, display-encoded.
    alpha : Tensor, shape (N, 1, H, W)
        The true one.
    image, region, display_light
        As in `alpha_losses`.
    """
    area = region.sum().clamp(min=1)
    known = tuple(torch.where(region > 0, e, t) for e, t in zip(estimates, truth, strict=True))
    recomposed = composite(known[0], alpha, known[1], display_light=display_light)
    pairs = list(zip(known, truth, strict=True))
    return {
        "fb_l1": torch.stack([(e - t).abs().sum() for e, t in pairs]).sum() / area,
        "fb_lap": torch.stack([laplacian_distance(e, t) for e, t in pairs]).sum() / area,
        "fb_comp": ((recomposed - image).abs() * region).sum() / area,
        "fb_excl": exclusion(*estimates, region) / area,
    }


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return what is minimised: the terms that have a weight, each times it."""
    return torch.stack([weight * terms[name] for name, weight in weights.items() if weight]).sum()


def laplacian_distance(estimate: Tensor, truth: Tensor, levels: int = LEVELS) -> Tensor:
    """Return Σ 2^(s−1) ‖Lˢ(estimate) − Lˢ(truth)‖₁ over the levels of a Laplacian pyramid.

    The pyramid is linear: that of the difference is taken. The low-pass rest is no level.
    """
    current = estimate - truth
    total = current.new_zeros(())
    for level in range(levels):
        smaller = _blurred(current)[..., ::2, ::2]
        total = total + 2**level * (current - _enlarged(smaller, current)).abs().sum()
        current = smaller
    return total


def gradient_distance(estimate: Tensor, truth: Tensor) -> Tensor:
    """Return Σ |∇estimate − ∇truth|, forward differences, both directions added."""
    across, down = differences(estimate - truth)
    return across.abs().sum() + down.abs().sum()


def exclusion(foreground: Tensor, background: Tensor, region: Tensor) -> Tensor:
    """Return Σ |∇F| |∇B|: a structure belongs to one of the two."""
    products = [f.abs() * b.abs() for f, b in zip(differences(foreground), differences(background), strict=True)]
    return sum(((p * region).sum() for p in products), start=region.new_zeros(()))


def differences(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return forward differences across and down, 0 at the last column and row."""
    across = functional.pad(x[..., :, 1:] - x[..., :, :-1], (0, 1))
    down = functional.pad(x[..., 1:, :] - x[..., :-1, :], (0, 0, 0, 1))
    return across, down


def _blurred(x: Tensor, mode: str = "replicate") -> Tensor:
    """Return x filtered by the binomial 1 4 6 4 1 in both directions."""
    row = x.new_tensor([1, 4, 6, 4, 1]) / 16
    count = x.shape[1]
    x = functional.pad(x, (2, 2, 2, 2), mode=mode)
    x = functional.conv2d(x, row.view(1, 1, 1, 5).expand(count, 1, 1, 5), groups=count)
    return functional.conv2d(x, row.view(1, 1, 5, 1).expand(count, 1, 5, 1), groups=count)


def _enlarged(small: Tensor, like: Tensor) -> Tensor:
    """Return every second pixel filled in by the same filter, its weights made to sum to 1."""
    stuffed, present = torch.zeros_like(like), torch.zeros_like(like[:1, :1])
    stuffed[..., ::2, ::2] = small
    present[..., ::2, ::2] = 1
    enlarged: Tensor = _blurred(stuffed, "constant") / _blurred(present, "constant")
    return enlarged
