"""Fusion: make estimates of α, F and B agree with the plate they came from.

The paper models plate, F, B and α as Gaussians around the network's estimates and maximises the
posterior. Its Eq. 4–6 are the stationarity conditions, iterated.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]


class Fused(NamedTuple):
    """α of shape (H, W), F and B of shape (H, W, 3)."""

    alpha: Plane
    foreground: Plane
    background: Plane


def fuse(
    plate: Plane,
    alpha: Plane,
    foreground: Plane,
    background: Plane,
    *,
    iterations: int = 1,
    var_plate: float = 1.0,
    var_foreground: float = 1.0,
    var_background: float = 1.0,
    var_alpha: float = 10.0,
) -> Fused:
    """Iterate Eq. 4–6 of the paper; nothing is clamped.

    Parameters
    ----------
    plate, foreground, background : ndarray, shape (H, W, 3)
        C and the estimates of F and B, in any one light.
    alpha : ndarray, shape (H, W)
        The estimate of α.
    iterations : int
        0 returns the estimates unchanged. The iteration converges where
        ``var_foreground·α² + var_background·(1−α)² < 2·var_plate``.
    var_plate, var_foreground, var_background, var_alpha : float
        σ_C², σ_F², σ_B², σ_α². Only their ratios to σ_C² matter. The defaults are the published ones.

    Notes
    -----
    Source: Forte and Pitié, "F, B, Alpha Matting", 2020, Eq. 4–6. Each update uses the newest values of
    the others, as the published code does, so that one iteration with the defaults is
    `fuse_published` without its clamps.
    """
    if min(var_plate, var_foreground, var_background, var_alpha) <= 0:
        raise ValueError("variances are positive")
    a, f, b = alpha, foreground, background
    for _ in range(iterations):
        weight = a[..., None]
        f = foreground + (var_foreground / var_plate) * weight * _residual(plate, weight, f, b)
        b = background + (var_background / var_plate) * (1 - weight) * _residual(plate, weight, f, b)
        a = _update_alpha(plate, alpha, f, b, var_alpha / var_plate)
    return Fused(a, f, b)


def fuse_published(plate: Plane, alpha: Plane, foreground: Plane, background: Plane) -> Fused:
    """Apply the one fusion step of the published network, clamps included.

    Parameters and result as in `fuse`; every value in [0, 1], display light. One step leaves
    (1−α²)(2α−α²) of the recomposition residual, 56 % at α = 0.5: for display-light estimates it is a
    help, for exact recomposition see `fbamatte.compositing.recomposition`.
    """
    a = alpha[..., None]
    f = a * plate + (1 - a**2) * foreground - a * (1 - a) * background
    b = (1 - a) * plate + (2 * a - a**2) * background - a * (1 - a) * f
    f, b = np.clip(f, 0, 1), np.clip(b, 0, 1)
    return Fused(np.clip(_update_alpha(plate, alpha, f, b, 10.0), 0, 1), f, b)


def _residual(plate: Plane, weight: Plane, foreground: Plane, background: Plane) -> Plane:
    residual: Plane = plate - weight * foreground - (1 - weight) * background
    return residual


def _update_alpha(plate: Plane, estimate: Plane, foreground: Plane, background: Plane, ratio: float) -> Plane:
    """Eq. 6: the α nearest to its estimate and to the projection of C on the line from B to F."""
    line = foreground - background
    projection: Plane = np.sum((plate - background) * line, axis=-1)
    length: Plane = np.sum(line * line, axis=-1)
    updated: Plane = (estimate + ratio * projection) / (1 + ratio * length)
    return updated
