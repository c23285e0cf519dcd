"""From an estimate in display-encoded light to a matte in scene-linear light."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fbamatte.compositing.over import over
from fbamatte.compositing.recomposition import recompose, solve_alpha
from fbamatte.imaging import color
from fbamatte.models.base import Estimate

Plane = NDArray[np.float32]

# Where F and B differ by less than about this share of their brightness, linear and encoded light agree.
SAME_COLOUR = 1e-3


def in_linear_light(plate: Plane, encoded: Plane, estimate: Estimate) -> tuple[Plane, Plane, Plane]:
    """Return α, F and B that obey C = αF + (1−α)B exactly.

    Parameters
    ----------
    plate : ndarray, shape (H, W, 3)
        C, scene-linear, unbounded.
    encoded : ndarray, shape (H, W, 3)
        The plate as the estimator saw it.
    estimate : Estimate
        What the estimator made of it.
    """
    foreground, background = _decoded(estimate.foreground, encoded), _decoded(estimate.background, encoded)
    # what the estimator thinks the plate is, in linear light: there its α has another value
    mixed = color.decode(over(estimate.foreground, estimate.alpha, estimate.background))
    linear = solve_alpha(mixed, estimate.alpha, foreground, background, prior=SAME_COLOUR)
    alpha = solve_alpha(plate, linear, foreground, background)
    return alpha, *recompose(plate, alpha, foreground, background)


def _decoded(colour: Plane, encoded: Plane) -> Plane:
    """Scene-linear colour, within the range that the plate itself spans.

    The shoulder of the curve turns one step near 1 into many stops: an estimator that is off by a few
    thousandths there would otherwise invent highlights that the plate does not have. This bounds the
    estimate; what recomposition adds to it afterwards is not bounded.
    """
    return color.decode(np.clip(colour, encoded.min(), encoded.max()))
