"""Scene-linear light: re-solve α there, then make F over B give the plate back exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fbamatte.compositing.jit import kernel
from fbamatte.compositing.strips import empty_like, in_strips

Plane = NDArray[np.float32]

# The published σ_C²/σ_α², which there multiplies colours in [0, 1]. Taken relative to the colours'
# own magnitude it means the same at every exposure: doubling the light changes no alpha.
ALPHA_PRIOR = 0.1


def solve_alpha(
    plate: Plane, alpha: Plane, foreground: Plane, background: Plane, *, prior: float = ALPHA_PRIOR
) -> Plane:
    """Return the α that best explains the plate, held near an estimate of it.

    Parameters
    ----------
    plate, foreground, background : ndarray, shape (H, W, 3)
        C, F and B, scene-linear, unbounded.
    alpha : ndarray, shape (H, W)
        The estimate, in [0, 1]. Where it is exactly 0 or 1 it is kept.
    prior : float
        σ_C²/σ_α² of the paper's Eq. 6, relative to |F|² + |B|².

    Returns
    -------
    ndarray, shape (H, W)
        In [0, 1].
    """
    solved = empty_like(alpha)

    def strip(c: Plane, a: Plane, f: Plane, b: Plane, out: Plane) -> None:
        line = f - b
        along = np.einsum("...c,...c->...", c - b, line)
        length = np.einsum("...c,...c->...", line, line)
        hold = prior * (np.einsum("...c,...c->...", f, f) + np.einsum("...c,...c->...", b, b))
        total = length + hold
        value = np.divide(hold * a + along, total, out=a.astype(np.float32), where=total > 0)
        np.copyto(out, np.where((a <= 0) | (a >= 1), a, value))
        np.clip(out, 0, 1, out=out)

    in_strips(strip, plate, alpha, foreground, background, solved)
    return solved


def recompose(
    plate: Plane, alpha: Plane, foreground: Plane, background: Plane, *, in_place: bool = False
) -> tuple[Plane, Plane]:
    """Return F and B changed as little as possible so that αF + (1−α)B = C.

    The residual r = C − αF − (1−α)B is spread by least squares: F += αr/(α²+(1−α)²),
    B += (1−α)r/(α²+(1−α)²). Nothing is clipped. Where α = 1, F = C to the last bit, and where α = 0, B = C.

    Parameters
    ----------
    plate, foreground, background : ndarray, shape (H, W, 3)
        Scene-linear, unbounded.
    alpha : ndarray, shape (H, W)
        In [0, 1].
    in_place : bool
        Write into F and B themselves.
    """
    exact_f, exact_b = (foreground, background) if in_place else (empty_like(foreground), empty_like(background))
    in_strips(_spread, plate, alpha, foreground, background, exact_f, exact_b)
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
