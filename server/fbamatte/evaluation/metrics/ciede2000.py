"""The CIEDE2000 colour difference, and the way from linear Rec.709 light to the Lab space that it compares in."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# IEC 61966-2-1: linear Rec.709 to CIE XYZ, and the D65 white of the 2° observer.
_XYZ_OF_RGB = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_WHITE = np.array([0.95047, 1.0, 1.08883])
_CHROMA_SHOULDER = 25.0**7


def lab_of_linear(linear: ArrayLike) -> Array:
    """Return CIE L*a*b* (D65) of linear Rec.709 light, shape (..., 3).

    Light is held between black and display white first: this is how a picture looks, not what it holds.
    """
    xyz = np.clip(np.asarray(linear, np.float64), 0, 1) @ _XYZ_OF_RGB.T / _WHITE
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def ciede2000(lab: ArrayLike, other: ArrayLike) -> Array:
    """Return ΔE00 between two Lab pictures, shape (...) for inputs of shape (..., 3).

    About 1 is just noticeable side by side. Source: Sharma, Wu and Dalal, The CIEDE2000 Color-Difference Formula:
    Implementation Notes, 2005, whose equation numbers the comments give.
    """
    first, second = np.asarray(lab, np.float64), np.asarray(other, np.float64)
    mean_chroma = (np.hypot(first[..., 1], first[..., 2]) + np.hypot(second[..., 1], second[..., 2])) / 2
    stretch = 1.5 - 0.5 * _shoulder(mean_chroma)  # (4), (5)
    chroma1, hue1 = _chroma_hue(first, stretch)
    chroma2, hue2 = _chroma_hue(second, stretch)

    turn = np.where(chroma1 * chroma2 == 0, 0.0, (hue2 - hue1 + 180) % 360 - 180)  # (10)
    # At exactly half a turn the paper keeps the sign of h2 − h1; the square below forgets it except in the rotation.
    turn = np.where((turn == -180) & (hue2 > hue1), 180.0, turn)
    delta_l = second[..., 0] - first[..., 0]
    delta_c = chroma2 - chroma1
    delta_h = 2 * np.sqrt(chroma1 * chroma2) * np.sin(np.radians(turn) / 2)  # (11)

    lightness = (first[..., 0] + second[..., 0]) / 2
    chroma = (chroma1 + chroma2) / 2
    hue = _mean_hue(hue1, hue2, chroma1 * chroma2)
    scale_l = 1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2)  # (18)
    scale_c = 1 + 0.045 * chroma  # (19)
    scale_h = 1 + 0.015 * chroma * _hue_weight(hue)  # (15), (20)
    rotation = -np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2)))) * 2 * _shoulder(chroma)  # (16), (17), (21)

    l, c, h = delta_l / scale_l, delta_c / scale_c, delta_h / scale_h  # noqa: E741  # the paper's letters
    difference: Array = np.sqrt(np.maximum(l * l + c * c + h * h + rotation * c * h, 0))
    return difference


def _shoulder(chroma: Array) -> Array:
    seventh = chroma**7
    return np.sqrt(seventh / (seventh + _CHROMA_SHOULDER))


def _chroma_hue(lab: Array, stretch: Array) -> tuple[Array, Array]:
    a, b = lab[..., 1] * stretch, lab[..., 2]
    return np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360


def _mean_hue(hue1: Array, hue2: Array, chroma_product: Array) -> Array:
    total = hue1 + hue2
    # (14): across the 0° seam the mean is half a turn away; a grey has no hue and adds none.
    far = np.abs(hue1 - hue2) > 180
    mean = np.where(far, np.where(total < 360, total + 360, total - 360), total) / 2
    return np.where(chroma_product == 0, total, mean)


def _hue_weight(hue: Array) -> Array:
    return (
        1
        - 0.17 * np.cos(np.radians(hue - 30))
        + 0.24 * np.cos(np.radians(2 * hue))
        + 0.32 * np.cos(np.radians(3 * hue + 6))
        - 0.20 * np.cos(np.radians(4 * hue - 63))
    )
