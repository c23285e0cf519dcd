"""Colours that things have, in scene-linear Rec.709 light."""

from __future__ import annotations

import colorsys

import numpy as np

from fbamatte.evaluation.procedural.arrays import Array, Rng, f32

# Hue (in turns), its spread, saturation low and high: earth and skin, foliage, sky and shade, greys, anything at all.
_KINDS = (
    (0.07, 0.025, 0.3, 0.7),
    (0.24, 0.05, 0.3, 0.75),
    (0.58, 0.05, 0.15, 0.65),
    (0.1, 0.3, 0.0, 0.12),
    (0, 1, 0.4, 0.85),
)
_SHARES = (0.33, 0.2, 0.15, 0.27, 0.05)

# Reflectance of hair and fur: black, browns, auburn, blond, white, greys.
HAIR = np.array(
    [
        [0.012, 0.010, 0.009],
        [0.045, 0.026, 0.015],
        [0.10, 0.052, 0.026],
        [0.19, 0.065, 0.024],
        [0.38, 0.26, 0.13],
        [0.62, 0.56, 0.47],
        [0.22, 0.21, 0.20],
    ],
    np.float32,
)
SKIN = np.array([[0.58, 0.34, 0.24], [0.42, 0.22, 0.14], [0.22, 0.11, 0.065], [0.10, 0.048, 0.030]], np.float32)


def colors(rng: Rng, count: int) -> Array:
    """Return ``count`` colours as surfaces in daylight have them, shape (count, 3): mean about 0.18, log-normal."""
    kinds = rng.choice(len(_KINDS), count, p=_SHARES)
    # A picture has its own few hues: all its colours lean towards a common one.
    lean = rng.normal(0, 0.02)
    drawn = []
    for kind in kinds:
        hue, spread, low, high = _KINDS[kind]
        drawn.append(colorsys.hsv_to_rgb((rng.normal(hue, spread) + lean) % 1, rng.uniform(low, high), 1))
    chroma = np.asarray(drawn)
    level = np.exp(rng.normal(np.log(0.16), 0.85, count))
    luminance = chroma @ np.array([0.2126, 0.7152, 0.0722])
    return f32(np.minimum(chroma * (level / luminance)[:, None], 0.9))


def light(rng: Rng) -> Array:
    """Return the colour of a light, shape (3,), luminance 1: from tungsten through daylight to shade."""
    warmth = rng.normal(0, 0.22)
    tint = np.array([np.exp(warmth), 1.0, np.exp(-1.2 * warmth)])
    return f32(tint / (tint @ np.array([0.2126, 0.7152, 0.0722])))
