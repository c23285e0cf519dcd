"""The display-like curve of `fbamatte.imaging.curve` on tensors, with gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from fbamatte.imaging import curve


def encode(linear: Tensor) -> Tensor:
    """Return scene-linear light as a network sees it; the same values as `curve.encode`.

    Parameters
    ----------
    linear : Tensor, any shape
        Scene-linear, unbounded.
    """
    s = linear.clamp(curve.BEND_END, curve.SHOULDER_START).sqrt()
    middle = ((curve.A * s + curve.B) * s + curve.C) / (s + curve.D)
    t = linear.clamp(0, curve.BEND_END) / curve.BEND_END
    u = t * (1 - t)
    bend = curve.BEND_RISE * (curve.BEND_CHORD * t * t + curve.TOE_SLOPE * u) / (curve.BEND_CHORD + curve.BEND_K * u)
    toe = curve.TOE_SLOPE * linear.clamp(max=0)
    above = (linear.clamp(min=curve.SHOULDER_START) - curve.SHOULDER_START) / curve.SHOULDER_SCALE
    return middle - curve.BEND_TOP + bend + curve.BLACK + toe + curve.SHOULDER_GAIN * above.log1p()


def decode(encoded: Tensor) -> Tensor:
    """Return the scene-linear light of encoded values; the inverse of `encode`.

    Parameters
    ----------
    encoded : Tensor, any shape
        Anything; a network's are in [0, 1].
    """
    m = encoded.clamp(curve.BEND_TOP, curve.SHOULDER_BASE)
    product = m * curve.D - curve.C
    b = curve.B - m
    s = 2 * product / (b + (b * b + 4 * curve.A * product).sqrt())
    y = encoded - curve.BLACK
    part = (y / curve.BEND_RISE).clamp(0, 1)
    p = curve.TOE_SLOPE - part * curve.BEND_K
    root = (p * p + 4 * curve.BEND_CHORD * part * (curve.BEND_CHORD - p)).sqrt() + p
    bend = 2 * curve.BEND_CHORD * curve.BEND_END * part / root
    above = (encoded.clamp(min=curve.SHOULDER_BASE) - curve.SHOULDER_BASE) / curve.SHOULDER_GAIN
    return s * s - curve.BEND_END + bend + y.clamp(max=0) / curve.TOE_SLOPE + curve.SHOULDER_SCALE * above.expm1()


def composite(foreground: Tensor, alpha: Tensor, background: Tensor, *, display_light: bool) -> Tensor:
    """Return αF + (1−α)B of encoded colours, encoded.

    Parameters
    ----------
    foreground, background : Tensor, shape (N, 3, H, W)
        Straight, display-encoded.
    alpha : Tensor, shape (N, 1, H, W)
    display_light : bool
        Mix the encoded values as the paper does; otherwise mix the light itself and encode the result.
    """
    if display_light:
        return alpha * foreground + (1 - alpha) * background
    return encode(alpha * decode(foreground) + (1 - alpha) * decode(background))


def srgb_to_linear(encoded: Tensor) -> Tensor:
    """Return the scene-linear light of an sRGB picture in [0, 1]."""
    return torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded.clamp(min=0) + 0.055) / 1.055) ** 2.4)
