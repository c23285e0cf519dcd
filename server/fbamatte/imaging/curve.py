"""The one display-like curve through which networks see scene-linear light.

Four pieces, smooth where they meet (value and slope), strictly rising and invertible everywhere:

====================  ==================================================================================
linear light          encoded
====================  ==================================================================================
below 0               toe: a straight line, ``BLACK + TOE_SLOPE·x``; reaches 0 at ``TOE_END`` = −0.125
0 … ``BEND_END``      bend: a rational quadratic from the toe's slope to the middle's
… ``SHOULDER_START``  middle: ``(A·s² + B·s + C)/(s + D)`` with ``s = √x``, within 0.001 of sRGB
above                 shoulder: ``SHOULDER_BASE + SHOULDER_GAIN·ln(1 + (x − SHOULDER_START)/SHOULDER_SCALE)``
====================  ==================================================================================

Half floats (up to 65504) stay below 1, ``LARGEST`` = 65536 is exactly 1. Light below ``TOE_END``
encodes below 0 and light above ``LARGEST`` above 1, still invertibly: whoever feeds a network
clamps to [0, 1] first. From 0 to 0.8 the curve stays within 0.02 of sRGB.

The constants are public so that other array libraries can follow the same curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
Work = Callable[[Array, Array], None]

BLACK = 1 / 64  # encoded black: room below it for negative light
TOE_SLOPE = 1 / 8
TOE_END = -BLACK / TOE_SLOPE

# Minimax fit of sRGB's curve over 0.004–0.8, rounded. A root and a quotient cost a tenth of a power.
A, B, C, D = 0.8295, 0.6391, -0.01775, 0.4481


def _middle(x: float) -> float:
    s = math.sqrt(x)
    return (A * s * s + B * s + C) / (s + D)


def _middle_slope(x: float) -> float:
    s = math.sqrt(x)
    return (A * s * s + 2 * A * D * s + B * D - C) / (s + D) ** 2 / (2 * s)


BEND_END = 0.004
BEND_TOP = _middle(BEND_END)
BEND_RISE = BEND_TOP - BLACK
BEND_CHORD = BEND_RISE / BEND_END
BEND_K = TOE_SLOPE + _middle_slope(BEND_END) - 2 * BEND_CHORD

SHOULDER_START = 0.75
SHOULDER_BASE = _middle(SHOULDER_START)
LARGEST = 65536.0


def _shoulder_gain() -> float:
    """Solve ``gain·ln(1 + (LARGEST − START)·slope/gain) = 1 − BASE``: a fixed point, found in a few steps."""
    reach, gain = (LARGEST - SHOULDER_START) * _middle_slope(SHOULDER_START), 0.01
    for _ in range(60):
        gain = (1 - SHOULDER_BASE) / math.log1p(reach / gain)
    return gain


SHOULDER_GAIN = _shoulder_gain()
SHOULDER_SCALE = SHOULDER_GAIN / _middle_slope(SHOULDER_START)

# Pieces of an array that fit into the processor's cache with all their intermediates.
_BLOCK = 1 << 14
_F = np.float32


def encode(linear: ArrayLike) -> Array:
    """Return scene-linear light as a network sees it.

    Parameters
    ----------
    linear : array_like, any shape
        Scene-linear, unbounded.

    Returns
    -------
    ndarray, same shape, float32
        In [0, 1] for light from ``TOE_END`` to ``LARGEST``; beyond these just outside. NaN stays NaN.
    """
    return _blockwise(linear, _encode_block)


def decode(encoded: ArrayLike) -> Array:
    """Return the scene-linear light that `encode` made ``encoded`` from; the inverse everywhere.

    Parameters
    ----------
    encoded : array_like, any shape

    Returns
    -------
    ndarray, same shape, float32
        Scene-linear; at most ``LARGEST`` for encoded values up to 1.
    """
    return _blockwise(encoded, _decode_block)


def encode_slope(linear: ArrayLike) -> Array:
    """Return the derivative of `encode`: how much a small error in linear light weighs for a network.

    Parameters
    ----------
    linear : array_like, any shape
        Scene-linear, unbounded.

    Returns
    -------
    ndarray, same shape, float32
        Positive.
    """
    return _blockwise(linear, _slope_block)


def _blockwise(values: ArrayLike, work: Work) -> Array:
    flat = np.ascontiguousarray(values, _F).reshape(-1)
    result = np.empty_like(flat)
    with np.errstate(invalid="ignore", over="ignore"):
        for at in range(0, flat.size, _BLOCK):
            work(flat[at : at + _BLOCK], result[at : at + _BLOCK])
    return result.reshape(np.shape(values))


# Each piece is a term that stays constant beyond its own ends, so that the terms add up: choosing per
# pixel would cost ten times as much as computing. Constant means to the last bit: what a pixel becomes
# does not depend on its neighbours. Terms that nothing needs are left out; "not all above" instead of
# "any below" because a NaN is neither.


def _encode_block(x: Array, out: Array) -> None:
    _middle_term(x, out)
    out -= _MIDDLE_START
    out += _DARK_END if x.min() >= BEND_END else _dark_term(x)
    if not x.max() <= SHOULDER_START:
        t = np.maximum(x, _F(SHOULDER_START))
        t -= _F(SHOULDER_START)
        t *= _F(1 / SHOULDER_SCALE)
        t += _F(1)
        np.log(t, out=t)
        t *= _F(SHOULDER_GAIN)
        out += t


def _middle_term(x: Array, out: Array) -> None:
    s = np.clip(x, _F(BEND_END), _F(SHOULDER_START))
    np.sqrt(s, out=s)
    np.multiply(s, _F(A), out=out)
    out += _F(B)
    out *= s
    out += _F(C)
    s += _F(D)
    out /= s


def _dark_term(x: Array) -> Array:
    t = np.clip(x, _F(0), _F(BEND_END))
    t *= _F(1 / BEND_END)
    u = t * (_F(1) - t)
    t *= t
    t *= _F(BEND_RISE * BEND_CHORD)
    t += _F(BEND_RISE * TOE_SLOPE) * u
    u *= _F(BEND_K)
    u += _F(BEND_CHORD)
    t /= u
    t += _F(BLACK)
    t += np.minimum(x, _F(0)) * _F(TOE_SLOPE)
    return t


def _decode_block(e: Array, out: Array) -> None:
    _middle_inverse(e, out)
    out -= _MIDDLE_INVERSE_START
    out += _DARK_INVERSE_END if e.min() >= BEND_TOP else _dark_inverse(e)
    if not e.max() <= _SHOULDER_BASE:
        t = np.maximum(e, _SHOULDER_BASE)
        t -= _SHOULDER_BASE
        t *= _F(1 / SHOULDER_GAIN)
        np.exp(t, out=t)
        t -= _F(1)
        t *= _F(SHOULDER_SCALE)
        out += t


def _middle_inverse(e: Array, out: Array) -> None:
    m = np.clip(e, _F(BEND_TOP), _SHOULDER_BASE)
    product = m * _F(D)
    product -= _F(C)
    np.subtract(_F(B), m, out=m)
    np.multiply(m, m, out=out)
    out += _F(4 * A) * product
    np.sqrt(out, out=out)
    out += m
    np.divide(product, out, out=out)
    out *= out
    out *= _F(4)


def _dark_inverse(e: Array) -> Array:
    y = e - _F(BLACK)
    toe = np.minimum(y, _F(0))
    y *= _F(1 / BEND_RISE)
    np.clip(y, _F(0), _F(1), out=y)
    p = _F(TOE_SLOPE) - y * _F(BEND_K)
    root = y * (_F(BEND_CHORD) - p)
    root *= _F(4 * BEND_CHORD)
    root += p * p
    np.sqrt(root, out=root)
    root += p
    y *= _F(2 * BEND_CHORD * BEND_END)
    y /= root
    toe *= _F(1 / TOE_SLOPE)
    y += toe
    return y


def _at_end(term: Work, value: float) -> np.float32:
    """Return what a term is, in single precision, beyond the end that ``value`` lies past."""
    result = np.empty(1, _F)
    term(np.full(1, value, _F), result)
    return _F(result[0])


_MIDDLE_START = _at_end(_middle_term, 0.0)
_DARK_END = _F(_dark_term(np.ones(1, _F))[0])
_SHOULDER_BASE = _at_end(_middle_term, 1.0) - _MIDDLE_START + _DARK_END
_MIDDLE_INVERSE_START = _at_end(_middle_inverse, 0.0)
_DARK_INVERSE_END = _F(_dark_inverse(np.ones(1, _F))[0])


def _slope_block(x: Array, out: Array) -> None:
    s = np.sqrt(np.clip(x, _F(BEND_END), _F(SHOULDER_START)))
    middle = ((_F(A) * s + _F(2 * A * D)) * s + _F(B * D - C)) / (_F(2) * s * (s + _F(D)) ** 2)
    t = np.clip(x, _F(0), _F(BEND_END)) * _F(1 / BEND_END)
    u = t * (_F(1) - t)
    end = _F(BEND_K + 2 * BEND_CHORD - TOE_SLOPE)
    rise = end * t * t + _F(2 * BEND_CHORD) * u + _F(TOE_SLOPE) * (_F(1) - t) ** 2
    bend = _F(BEND_CHORD**2) * rise / (_F(BEND_CHORD) + _F(BEND_K) * u) ** 2
    above = np.maximum(x - _F(SHOULDER_START), _F(0))
    out[...] = np.where(x < _F(BEND_END), bend, middle * _F(SHOULDER_SCALE) / (_F(SHOULDER_SCALE) + above))
    np.copyto(out, x, where=np.isnan(x))
