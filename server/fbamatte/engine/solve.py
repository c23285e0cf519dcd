"""From an estimate in display-encoded light to a matte in scene-linear light."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fbamatte.compositing.colours import colours
from fbamatte.compositing.recomposition import recompose, solve_alpha
from fbamatte.imaging import curve
from fbamatte.models.base import Estimate

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]


def in_linear_light(
    plate: Plane, encoded: Plane, estimate: Estimate, unknown: Mask | None = None
) -> tuple[Plane, Plane, Plane]:
    """Return α, F and B that obey C = αF + (1−α)B exactly.

    A network's F and B say where on the line between them the plate lies: α is solved again from
    them. Colours that were themselves fitted to α cannot say so; then α stays and they are fitted
    again, in the light in which the equation holds.

    Parameters
    ----------
    plate : ndarray, shape (H, W, 3)
        C, scene-linear, unbounded.
    encoded : ndarray, shape (H, W, 3)
        The plate as the estimator saw it.
    estimate : Estimate
        What the estimator made of it.
    unknown : ndarray, shape (H, W), bool, optional
        Where alpha was in question; everywhere if left out.
    """
    if estimate.fitted:
        alpha = estimate.alpha
        foreground, background = colours(plate, alpha, unknown=unknown)
    else:
        foreground, background = _decoded(estimate.foreground, encoded), _decoded(estimate.background, encoded)
        alpha = solve_alpha(plate, estimate.alpha, foreground, background)
    return alpha, *recompose(plate, alpha, foreground, background, in_place=True)


def _decoded(colour: Plane, encoded: Plane) -> Plane:
    """Scene-linear colour, within the range that the plate itself spans.

    The shoulder of the curve turns one step near 1 into many stops: an estimator that is off by a few
    thousandths there would otherwise invent highlights that the plate does not have. This bounds the
    estimate; what recomposition adds to it afterwards is not bounded.
    """
    return curve.decode(np.clip(colour, encoded.min(), encoded.max()))
