"""Trimaps as an artist draws them: a generous smooth outline outside, a careful one inside."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from fbamatte.evaluation.procedural.arrays import Array, Rng
from fbamatte.evaluation.procedural.bodies import outline_distance
from fbamatte.evaluation.procedural.noise import fractal

# Of the picture's shorter side: 3 to 18 and 1 to 8 pixels at 512.
OUTSIDE, INSIDE = (0.006, 0.036), (0.002, 0.016)


def draw_trimap(rng: Rng, alpha: Array) -> Array:
    """Return a trimap for an alpha: 0, 0.5 and 1, and never known where 0 < α < 1.

    The outlines are those of smooth shapes around what is soft, of a width that varies along the way.
    """
    height, width = alpha.shape
    side = min(height, width)
    outside, inside = rng.uniform(*OUTSIDE) * side, rng.uniform(*INSIDE) * side
    hand = 1 + 0.35 * np.clip(fractal(rng, height, width, 2.0, 0.4), -2, 2)
    smooth = 0.008 * side
    # Each outline is drawn through open space: distance, less the width, rounded as by a curve with few points.
    garbage = ndimage.gaussian_filter(outline_distance(alpha > 0) + outside * hand, smooth, mode="nearest")
    core = ndimage.gaussian_filter(outline_distance(alpha >= 1) - inside * hand, smooth, mode="nearest")
    trimap = np.full(alpha.shape, 0.5, np.float32)
    trimap[(garbage < 0) & (alpha <= 0)] = 0
    trimap[(core > 0) & (alpha >= 1)] = 1
    return _with_core(trimap, alpha)


def _with_core(trimap: Array, alpha: Array) -> Array:
    """Make sure that both sides are known somewhere, where the alpha allows it: an artist would."""
    for value, sure in ((1.0, alpha >= 1), (0.0, alpha <= 0)):
        if sure.any() and not (trimap == value).any():
            deep = ndimage.distance_transform_edt(sure)
            trimap[deep >= 0.5 * deep.max()] = value
    return trimap
