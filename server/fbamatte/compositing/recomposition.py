"""Scene-linear light: re-solve α there, then make F over B give the plate back exactly."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from fbamatte.compositing.jit import kernel
from fbamatte.compositing.strips import empty_like, in_strips

Plane = NDArray[np.float32]
Pixels = NDArray[np.float64]

Variance = Callable[[NDArray[Any]], NDArray[Any]]
"""What a colour's error squared is expected to be, from its value; any shape in, the same out, above 0."""


def solve_alpha(
    plate: Plane, alpha: Plane, foreground: Plane, background: Plane, variance: Variance, ratio: float
) -> Plane:
    """Return the α that best explains the plate, held near an estimate of it.

    The α of the paper's Eq. 6, with a variance for every colour instead of one for all: where F or B may be far
    off, as an encoded highlight is in linear light, the plate says little about α.

    Parameters
    ----------
    plate, foreground, background : ndarray, shape (H, W, 3)
        C, F and B, scene-linear, unbounded.
    alpha : ndarray, shape (H, W)
        The estimate, in [0, 1]. Where it is exactly 0 or 1 it is kept.
    variance : callable
        Of F and B.
    ratio : float
        Deviation of a colour whose ``variance`` is 1 over that of α: the higher, the more of the estimate is kept.

    Returns
    -------
    ndarray, shape (H, W)
        In [0, 1].
    """
    solved = empty_like(alpha)

    def strip(*planes: Plane) -> None:
        *given, out = planes
        np.copyto(out, given[1])
        mixed = (out > 0) & (out < 1)
        c, a, f, b = (plane[mixed].astype(np.float64) for plane in given)
        out[mixed] = likeliest(c, a, f, b, (variance(f), variance(b)), ratio)

    in_strips(strip, plate, alpha, foreground, background, solved)
    return solved


def likeliest(c: Pixels, a: Pixels, f: Pixels, b: Pixels, unsure: tuple[Pixels, Pixels], ratio: float) -> Pixels:
    """Return `solve_alpha` of pixels alone.

    Parameters
    ----------
    c, f, b : ndarray, shape (N, 3), float64
        C, F and B.
    a : ndarray, shape (N,), float64
        The estimate of α, in (0, 1).
    unsure : tuple of ndarray, shape (N, 3)
        Variances of F and of B.
    ratio : float
        As for `solve_alpha`.
    """
    share = a[:, None]
    weight = 1 / (share**2 * unsure[0] + (1 - share) ** 2 * unsure[1])
    line = f - b
    along, length = ((weight * part * line).sum(axis=1) for part in (c - b, line))
    solved: Pixels = np.clip((ratio**2 * a + along) / (ratio**2 + length), 0, 1)
    return solved


def recompose(
    plate: Plane,
    alpha: Plane,
    foreground: Plane,
    background: Plane,
    variance: Optional[Variance] = None,
    *,
    in_place: bool = False,
) -> tuple[Plane, Plane]:
    """Return F and B changed as little as possible so that αF + (1−α)B = C.

    The residual r = C − αF − (1−α)B is spread by least squares, each layer weighed by its variance:
    F += α u(F) r / (α² u(F) + (1−α)² u(B)), B += (1−α) u(B) r / (α² u(F) + (1−α)² u(B)). Nothing is
    clipped. Where α = 1, F = C to the last bit, and where α = 0, B = C.

    Parameters
    ----------
    plate, foreground, background : ndarray, shape (H, W, 3)
        Scene-linear, unbounded.
    alpha : ndarray, shape (H, W)
        In [0, 1].
    variance : callable, optional
        u: how far a colour may be off; by default the same for all.
    in_place : bool
        Write into F and B themselves.
    """
    exact_f, exact_b = (foreground, background) if in_place else (empty_like(foreground), empty_like(background))
    strip = _spread if variance is None else partial(_spread_by, variance)
    in_strips(strip, plate, alpha, foreground, background, exact_f, exact_b)
    return exact_f, exact_b


@kernel
def _spread(plate: Plane, alpha: Plane, foreground: Plane, background: Plane, out_f: Plane, out_b: Plane) -> None:
    for y in range(alpha.shape[0]):
        for x in range(alpha.shape[1]):
            # float64: with F and B of opposite sign α·F and (1−α)·B cancel, and float32 would show it
            a = np.float64(alpha[y, x])
            length = a * a + (1 - a) * (1 - a)
            for c in range(3):
                value, f, b = plate[y, x, c], np.float64(foreground[y, x, c]), np.float64(background[y, x, c])
                share = (value - a * f - (1 - a) * b) / length
                out_f[y, x, c] = value if a >= 1 else f + a * share
                out_b[y, x, c] = value if a <= 0 else b + (1 - a) * share


def _spread_by(
    variance: Variance, plate: Plane, alpha: Plane, foreground: Plane, background: Plane, out_f: Plane, out_b: Plane
) -> None:
    np.copyto(out_f, np.where(alpha[..., None] >= 1, plate, foreground))
    np.copyto(out_b, np.where(alpha[..., None] <= 0, plate, background))
    mixed = (alpha > 0) & (alpha < 1)
    c, a, f, b = (plane[mixed].astype(np.float64) for plane in (plate, alpha, foreground, background))
    out_f[mixed], out_b[mixed] = spread(c, a, f, b, (variance(f), variance(b)))


def spread(c: Pixels, a: Pixels, f: Pixels, b: Pixels, unsure: tuple[Pixels, Pixels]) -> tuple[Pixels, Pixels]:
    """Return `recompose` of pixels alone, whose arguments are those of `likeliest`."""
    share = a[:, None]
    owed_f, owed_b = share * unsure[0], (1 - share) * unsure[1]
    part = (c - share * f - (1 - share) * b) / (share * owed_f + (1 - share) * owed_b)
    return f + owed_f * part, b + owed_b * part


def recomposition_error(plate: Plane, alpha: Plane, foreground: Plane, background: Plane) -> Plane:
    """Return max over channels of |C − αF − (1−α)B| / max(1, |C|), shape (H, W), worked in float64.

    NaN where the plate is NaN or Inf.
    """
    error = empty_like(alpha)
    in_strips(_residual, plate, alpha, foreground, background, error)
    return error


@kernel
def _residual(plate: Plane, alpha: Plane, foreground: Plane, background: Plane, error: Plane) -> None:
    for y in range(alpha.shape[0]):
        for x in range(alpha.shape[1]):
            a, worst = np.float64(alpha[y, x]), 0.0
            for c in range(3):
                value = np.float64(plate[y, x, c])
                rest = value - a * foreground[y, x, c] - (1 - a) * background[y, x, c]
                wrong = abs(rest) / max(1.0, abs(value))
                if wrong > worst or np.isnan(wrong):  # which no comparison then replaces
                    worst = wrong
            error[y, x] = worst
