"""Scene-linear light as a display shows it, and the false colours of previews.

Pictures go through a matrix from their own primaries to Rec. 709 (OpenColorIO's) and the sRGB curve. Up
to `SHOULDER` light is shown as it is; above, a shoulder runs towards white and never reaches it, so
that highlights keep their shape. Nothing is graded and no exposure is set: the same light looks the
same on every frame.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import PyOpenColorIO as ocio  # noqa: N813  the name by which everybody knows it
from numpy.typing import NDArray

from fbamatte.compositing.trimap import masks
from fbamatte.imaging.spaces import config

Plane = NDArray[np.float32]

SHOULDER = 0.8

BACKGROUND_TINT = np.array([0.86, 0.13, 0.16], np.float32)
FOREGROUND_TINT = np.array([0.12, 0.72, 0.36], np.float32)
# Errors by decades, from dark through violet and orange to nearly white.
HEAT_FROM, HEAT_TO = 1e-7, 1e-1
HEAT = np.array([[0.05, 0.05, 0.06], [0.20, 0.12, 0.42], [0.72, 0.20, 0.38], [0.98, 0.60, 0.22], [1.0, 0.98, 0.80]])


def to_display(linear: Plane, colorspace: str) -> Plane:
    """Return pixels as a Rec. 709 display with the sRGB curve shows them.

    Parameters
    ----------
    linear : ndarray, shape (..., 3), float32
        Scene-linear, unbounded; below 0 is shown black.
    colorspace : str
        The space that ``linear`` is in; empty or unknown to OpenColorIO: shown as linear Rec. 709.

    Returns
    -------
    ndarray, shape (..., 3), float32
        Display-encoded, in [0, 1].

    Notes
    -----
    Source of the curve: IEC 61966-2-1. Above `SHOULDER` u/(1+u), with u the light beyond it.
    """
    return encode_rec709(to_rec709(linear, colorspace))


def overlay_trimap(picture: Plane, trimap: Plane) -> Plane:
    """Return a picture tinted green where the trimap knows foreground, red where it knows background.

    Parameters
    ----------
    picture : ndarray, shape (H, W, 3), float32
        Display-encoded, in [0, 1]; seen as it is where the trimap is unknown.
    trimap : ndarray, shape (H, W), float32
        0 background, 1 foreground, anything between unknown.

    Returns
    -------
    ndarray, shape (H, W, 3), float32
    """
    background, foreground = masks(trimap)
    return tint(picture, background, foreground)


def to_rec709(linear: Plane, colorspace: str) -> Plane:
    """Return pixels in linear Rec. 709, unbounded; as they are where OpenColorIO does not know the space."""
    pixels = np.array(linear, np.float32, order="C")
    processor = _processor(colorspace)
    if processor is not None:
        processor.applyRGB(pixels)
    return pixels


@lru_cache(maxsize=8)
def _processor(colorspace: str) -> Any:
    """OpenColorIO's processor to linear Rec. 709; None for a space that it does not know."""
    try:
        found = ocio.Config.GetProcessorToBuiltinColorSpace(config(), colorspace, "Linear Rec.709 (sRGB)")
    except ocio.Exception:
        return None
    return found.getDefaultCPUProcessor()


def encode_rec709(rec709: Plane) -> Plane:
    """Return linear Rec. 709 through the shoulder and the sRGB curve, in [0, 1]."""
    light = np.maximum(rec709, 0)
    beyond = np.maximum(light - SHOULDER, 0) / (1 - SHOULDER)
    light = np.minimum(light, SHOULDER) + (1 - SHOULDER) * beyond / (1 + beyond)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055).astype(np.float32)


def tint(picture: Plane, background: Plane, foreground: Plane) -> Plane:
    """Return a picture tinted by how much of each pixel is known background and foreground, both (H, W)."""
    tinted = picture * (1 - 0.62 * background - 0.45 * foreground)[..., None]
    tinted += 0.34 * background[..., None] * BACKGROUND_TINT + 0.34 * foreground[..., None] * FOREGROUND_TINT
    return np.asarray(np.clip(tinted, 0, 1), np.float32)


def heat(error: Plane) -> Plane:
    """Return colours for errors of shape (H, W), by decades from `HEAT_FROM` to `HEAT_TO`."""
    span = np.log10([HEAT_FROM, HEAT_TO])
    decade = (np.log10(np.maximum(error, HEAT_FROM)) - span[0]) / (span[1] - span[0])
    stops = np.linspace(0, 1, len(HEAT))
    return np.stack([np.interp(decade, stops, HEAT[:, channel]) for channel in range(3)], axis=-1).astype(np.float32)
