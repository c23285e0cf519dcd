"""Trimaps: from an artist's roto, checked, and as a network wants to see them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from fbamatte.compositing.encoding import ENCODING_CROP, ENCODING_SIGMAS
from fbamatte.errors import TrimapError, UsageError

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]

UNKNOWN = np.float32(0.5)

# A roto value this near to 0 or 1 is the drawing engine's rounding, not softness.
ROTO_ROUNDING = 1e-4


def from_roto(roto: Plane, inside: float, outside: float) -> Plane:
    """Return the trimap of a roto: its soft pixels and a band around its edge are unknown.

    Parameters
    ----------
    roto : ndarray, shape (H, W)
        0 outside, 1 inside; values between (antialiasing, feather, motion blur) are always unknown.
    inside, outside : float
        Euclidean width in pixels, fractions allowed, of the band that goes unknown inwards from the
        last soft or outer pixel and outwards from the last soft or inner one. 0 leaves only soft
        pixels unknown.

    Returns
    -------
    ndarray, shape (H, W), float32
        0, 0.5 or 1.

    Raises
    ------
    UsageError
        If a width is negative or not finite.
    """
    check_widths(inside, outside)
    trimap = np.full(roto.shape, UNKNOWN, np.float32)
    trimap[_beyond(roto >= 1 - ROTO_ROUNDING, inside)] = 1
    trimap[_beyond(roto <= ROTO_ROUNDING, outside)] = 0
    return trimap


def check_widths(inside: float, outside: float) -> None:
    """Refuse a width that is negative or not finite; `from_roto` does so itself.

    Raises
    ------
    UsageError
        Naming the width and its value.
    """
    for name, width in (("inside", inside), ("outside", outside)):
        if not 0 <= width < np.inf:
            raise UsageError(f"{name} width is {width} pixels; it must be 0 or more")


def _beyond(region: Mask, width: float) -> Mask:
    """Pixels of ``region`` that lie more than ``width`` from its edge; the picture's border is no edge.

    The edge runs half-way between two pixel centres, so a whole width leaves just as many pixels out.
    """
    if width <= 0 or region.all():
        return region
    from fbamatte.compositing.discs import erode  # noqa: PLC0415  # compiled: not for who only reads settings

    far: Mask = np.empty_like(region)
    erode(region, width + 0.5, far)
    return far


def is_known(trimap: Plane) -> Mask:
    """Return where the trimap is exactly background or foreground, shape (H, W)."""
    known: Mask = (trimap <= 0) | (trimap >= 1)
    return known


def masks(trimap: Plane) -> Plane:
    """Return the background and the foreground mask, float32 of shape (2, H, W), values 0 and 1."""
    return np.stack([trimap <= 0, trimap >= 1]).astype(np.float32)


def encode(trimap: Plane) -> Plane:
    """Return six channels that say how near the known regions are, shape (6, H, W), in [0, 1].

    For the background mask and then the foreground mask: exp(−d²/(2σ²)) with d the Euclidean distance
    to the mask and σ of 2, 8 and 16 % of 320 pixels; 0 where a mask is empty.

    Notes
    -----
    Source: Forte and Pitié, 2020, section 3.1, after Le et al., "Interactive Boundary Prediction for
    Object Selection", 2018; widths and order as in the published network.
    """
    encoding = np.zeros((6, *trimap.shape), np.float32)
    for first, mask in zip((0, 3), (trimap <= 0, trimap >= 1)):
        if not mask.any():
            continue
        squared = np.square(distance_transform_edt(~mask)).astype(np.float32)
        for channel, sigma in enumerate(ENCODING_SIGMAS, first):
            np.exp(squared * np.float32(-0.5 / (sigma * ENCODING_CROP) ** 2), out=encoding[channel])
    return encoding


def check(trimap: Plane, label: str) -> None:
    """Refuse a trimap that says too little; one that knows every pixel is fine.

    Raises
    ------
    TrimapError
        Naming ``label``, what is missing and what to draw.
    """
    background, foreground = bool((trimap <= 0).any()), bool((trimap >= 1).any())
    if not np.isfinite(trimap).all():
        count = int((~np.isfinite(trimap)).sum())
        raise TrimapError(f"{label}: the trimap has {count} NaN or Inf pixels; render it again")
    if is_known(trimap).all() or (background and foreground):
        return
    if not background and not foreground:
        raise TrimapError(
            f"{label}: the whole trimap is unknown; draw a core that is surely foreground (1) "
            "and leave what is surely background at 0"
        )
    missing, value = ("background", 0) if foreground else ("foreground", 1)
    raise TrimapError(
        f"{label}: the trimap has no {missing}; draw at least one region that is surely {missing} ({value}), "
        f"or make the {'outside' if foreground else 'inside'} width smaller"
    )
