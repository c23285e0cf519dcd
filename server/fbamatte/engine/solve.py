"""From an estimate in display-encoded light to a matte in scene-linear light."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fbamatte.compositing.colours import colours
from fbamatte.compositing.recomposition import likeliest, recompose, spread
from fbamatte.compositing.strips import empty_like, in_strips
from fbamatte.imaging import curve
from fbamatte.models.base import Estimate

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]

ENCODED_ERROR = 0.05
"""What an encoded colour is taken to be off by (`benchmarks/fusion_study.py`)."""

RATIOS = {"linear": 4.0, "display": 1.0}
"""Deviation of encoded colours over that of α, by the light that α was estimated in (`benchmarks/fusion_study.py`)."""

UNHELD = 0.01
"""A ratio at which colours alone decide, unless they are the same."""


def in_linear_light(
    plate: Plane, encoded: Plane, estimate: Estimate, unknown: Mask | None = None
) -> tuple[Plane, Plane, Plane]:
    """Return α, F and B that obey C = αF + (1−α)B exactly.

    A network's F and B say where on the line between them the plate lies: α is solved again from
    them, as far as errors in encoded light leave them sure. Colours that were themselves fitted to α
    cannot say so; then α stays and they are fitted again, in the light in which the equation holds.

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
        return alpha, *recompose(plate, alpha, *colours(plate, alpha, unknown=unknown), in_place=True)
    # The shoulder of the curve turns one step near 1 into many stops: within the plate's own range, an estimator
    # that is off by a few thousandths invents no highlights. What recomposition adds afterwards is not bounded.
    seen = encoded.min(), encoded.max()
    given = plate, estimate.alpha, estimate.foreground, estimate.background
    alpha, foreground, background = (empty_like(plane) for plane in given[1:])
    in_strips(partial(_solve, seen, estimate.light), *given, alpha, foreground, background)
    return alpha, foreground, background


def _solve(
    seen: tuple[float, float],
    light: str,
    plate: Plane,
    estimate: Plane,
    encoded_f: Plane,
    encoded_b: Plane,
    alpha: Plane,
    foreground: Plane,
    background: Plane,
) -> None:
    """Write α, F and B of one strip."""
    encoded_f, encoded_b = (np.clip(layer, *seen) for layer in (encoded_f, encoded_b))
    decoded_f, decoded_b = curve.decode(encoded_f), curve.decode(encoded_b)
    mixed = (estimate > 0) & (estimate < 1)
    c, a, f, b = (plane[mixed].astype(np.float64) for plane in (plate, estimate, decoded_f, decoded_b))
    unsure = variance(f), variance(b)
    if light == "display":
        # the α that mixes the same two colours to the same third one in linear light
        share = estimate[mixed][:, None]
        same = curve.decode(share * encoded_f[mixed] + (1 - share) * encoded_b[mixed])
        a = likeliest(same.astype(np.float64), a, f, b, unsure, UNHELD)
    a = likeliest(c, a, f, b, unsure, RATIOS[light])
    np.copyto(alpha, estimate)
    alpha[mixed] = a
    # by the α that is given out, to its last bit
    decoded_f[mixed], decoded_b[mixed] = spread(c, alpha[mixed].astype(np.float64), f, b, unsure)
    np.copyto(foreground, np.where(alpha[..., None] >= 1, plate, decoded_f))
    np.copyto(background, np.where(alpha[..., None] <= 0, plate, decoded_b))


def variance(linear: NDArray[Any]) -> NDArray[Any]:
    """Return how far a colour may be off in linear light if its encoding is as likely off everywhere, squared.

    Measured by how far light falls as its encoding falls by `ENCODED_ERROR`: in highlights much, though never
    by more than there is, which keeps what recomposition adds from turning them negative.

    Parameters
    ----------
    linear : ndarray, any shape
        Scene-linear F or B.

    Returns
    -------
    ndarray, same shape
        Relative to the variance of an encoded colour.
    """
    fallen = curve.decode(curve.encode(linear) - ENCODED_ERROR)
    squared: NDArray[Any] = np.square((linear - fallen) / ENCODED_ERROR)
    return squared
