"""Scene-linear light: re-solve α there, then make F over B give the plate back exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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


def recompose(plate: Plane, alpha: Plane, foreground: Plane, background: Plane) -> tuple[Plane, Plane]:
    """Return F and B changed as little as possible so that αF + (1−α)B = C.

    The residual r = C − αF − (1−α)B is spread by least squares: F += αr/(α²+(1−α)²),
    B += (1−α)r/(α²+(1−α)²). Nothing is clipped. Where α = 1, F = C to the last bit, and where α = 0, B = C.

    Parameters
    ----------
    plate, foreground, background : ndarray, shape (H, W, 3)
        Scene-linear, unbounded.
    alpha : ndarray, shape (H, W)
        In [0, 1].
    """
    exact_f, exact_b = empty_like(foreground), empty_like(background)

    def strip(c: Plane, alpha: Plane, f: Plane, b: Plane, out_f: Plane, out_b: Plane) -> None:
        # float64: with F and B of opposite sign α·F and (1−α)·B cancel, and float32 would show it
        a = alpha[..., None].astype(np.float64)
        share = (c - a * f - (1 - a) * b) / (a * a + (1 - a) * (1 - a))
        np.copyto(out_f, np.where(a >= 1, c, f + a * share), casting="same_kind")
        np.copyto(out_b, np.where(a <= 0, c, b + (1 - a) * share), casting="same_kind")

    in_strips(strip, plate, alpha, foreground, background, exact_f, exact_b)
    return exact_f, exact_b


def recomposition_error(plate: Plane, alpha: Plane, foreground: Plane, background: Plane) -> Plane:
    """Return max over channels of |C − αF − (1−α)B| / max(1, |C|), shape (H, W), worked in float64.

    NaN where the plate is NaN or Inf.
    """
    error = empty_like(alpha)

    def strip(c: Plane, alpha: Plane, f: Plane, b: Plane, out: Plane) -> None:
        a = alpha[..., None].astype(np.float64)
        with np.errstate(invalid="ignore"):
            residual = np.abs(c - a * f - (1 - a) * b) / np.maximum(1, np.abs(c))
        np.copyto(out, residual.max(axis=-1), casting="same_kind")

    in_strips(strip, plate, alpha, foreground, background, error)
    return error
