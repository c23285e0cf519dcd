"""What a picture says about alpha pixel by pixel, beside closed-form matting: planes for the refining network.

All are differences, ratios or probabilities: they do not change when the picture is made brighter or of another
colour, so that what a network learns from made pictures has a chance to hold for photographs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

NAMES = (
    "closed-form alpha", "known background", "known foreground", "near background", "near foreground",
    "far background", "far foreground", "red", "green", "blue", "contrast",
    "foreground's colour, coarse", "seen, coarse", "foreground's colour, fine", "seen, fine",
    "unlike background here", "unlike foreground here",
    "sampled alpha", "sampled residual", "sampled contrast", "sampled alpha, fitted",
    "closed-form residual", "closed-form contrast",
)  # fmt: skip
PLANES = len(NAMES)

NEAR, FAR = 6.0, 40.0
"""Pixels over which nearness to what is known falls off."""

WINDOW = 15
FIT = 8
"""Radius of the windows in which sampled alpha is fitted by a line of the colours."""

REACH = 2 * FIT
"""Pixels from the unknown region beyond which no plane is looked at, nor anything that one there is made from."""

BINS = (8, 24)
NOISE = 0.015
"""Deviation, of the encoded range, below which colours count as the same."""


def planes(image: Array, trimap: Array, alpha: Array, foreground: Array, background: Array) -> Array:
    """Return the evidence (PLANES, H, W), each plane about -3 … 3.

    Parameters
    ----------
    image : ndarray, shape (H, W, 3)
        Display-encoded.
    trimap : ndarray, shape (H, W)
        0 background, 1 foreground, anything between unknown.
    alpha : ndarray, shape (H, W)
        Closed-form.
    foreground, background : ndarray, shape (H, W, 3)
        Fitted to it.
    """
    from fbamatte.models.sampling import best_pairs, candidates  # noqa: PLC0415 - numba compiles at import

    empty, solid = trimap <= 0, trimap >= 1
    known = [empty, solid]
    seen = ndimage.maximum_filter(~(empty | solid), 2 * REACH + 1)
    distances = [ndimage.distance_transform_edt(~mask) if mask.any() else np.full(mask.shape, 1e4) for mask in known]
    mixed = alpha[..., None] * foreground + (1 - alpha[..., None]) * background
    sides = candidates(image, trimap)
    sampled, residual, contrast = best_pairs(image, trimap, sides, *(d.astype(np.float32) for d in distances))
    found = [
        alpha, empty, solid, *(np.exp(-d / NEAR) for d in distances), *(np.exp(-d / FAR) for d in distances),
        *_local_contrast(image), *_of_colour_models(image, empty, solid, seen), *_unlikeness(image, known),
        sampled, np.tanh(residual / 0.05), contrast, _fitted(image, sampled, _trust(known, residual, contrast), seen),
        np.tanh(_length(image - mixed) / 0.05), _length(foreground - background),
    ]  # fmt: skip
    return np.stack([np.asarray(plane, np.float32) for plane in found])


def _length(colours: Array) -> Array:
    total: Array = np.sqrt(np.square(colours).sum(axis=-1))
    return total


def _local_contrast(image: Array) -> list[Array]:
    """Return the colour against its surroundings in units of their variation, and that variation."""
    mean = ndimage.uniform_filter(image, (WINDOW, WINDOW, 1), mode="nearest")
    square = ndimage.uniform_filter(np.square(image), (WINDOW, WINDOW, 1), mode="nearest")
    spread = np.sqrt(np.maximum(square - np.square(mean), 0).mean(axis=-1))
    planes = (image - mean) / (spread + NOISE)[..., None]
    return [*np.clip(planes, -3, 3).transpose(2, 0, 1), np.log(spread + NOISE) / 2 + 1.5]


def _of_colour_models(image: Array, empty: Mask, solid: Mask, seen: Mask) -> list[Array]:
    """Return for coarse and fine histograms of what is known how much likelier the foreground has a pixel's colour."""
    found = []
    for bins in BINS:
        position = np.clip(image, 0, 1) * (bins - 1)
        cells = tuple(np.round(position[..., k]).astype(np.intp) for k in range(3))
        densities = []
        for mask in (empty, solid):
            counts = np.zeros((bins,) * 3)
            np.add.at(counts, tuple(cell[mask] for cell in cells), 1.0)
            smooth = ndimage.gaussian_filter(counts, 0.7, mode="constant") / max(mask.sum(), 1) * bins**3
            density = np.zeros(seen.shape)
            density[seen] = ndimage.map_coordinates(smooth, position[seen].T, order=1, mode="nearest")
            densities.append(density)
        back, front = densities
        found += [(front + 0.05) / (front + back + 0.1), np.tanh(np.log1p(front + back) / 4)]
    return found


def _unlikeness(image: Array, known: list[Mask]) -> list[Array]:
    """Return how many deviations a colour is from what is known nearby of background and of foreground, squashed."""
    found = []
    for mask in known:
        weight = mask.astype(np.float32)
        moments = np.concatenate([image, np.square(image)], axis=-1)
        filled = _carried(moments, weight)
        mean, variance = filled[..., :3], np.maximum(filled[..., 3:] - np.square(filled[..., :3]), 0)
        found.append(np.tanh(np.sqrt((np.square(image - mean) / (variance + NOISE**2)).mean(axis=-1)) / 4))
    return found


def _carried(values: Array, weight: Array) -> Array:
    """Return weighted means of values (H, W, C) around each pixel, the wider the farther the nearest weight is."""
    total, mean = np.zeros_like(weight), np.zeros_like(values)
    for radius in (4, 12, 36, 108):
        box = 2 * radius + 1
        share = ndimage.uniform_filter(weight, box, mode="constant")
        summed = ndimage.uniform_filter(values * weight[..., None], (box, box, 1), mode="constant")
        new = np.clip(share * box * box / 30, 0, 1) * (1 - total)  # thirty pixels are enough to say
        mean += new[..., None] * summed / np.maximum(share, 1e-9)[..., None]
        total += new
    if weight.any():
        everywhere = (values * weight[..., None]).sum(axis=(0, 1)) / weight.sum()
        mean += (1 - total)[..., None] * everywhere
    return mean


def _trust(known: list[Mask], residual: Array, contrast: Array) -> Array:
    """Return how much sampled alpha says: all where it is known, little where no pair of colours fits."""
    trust = np.exp(-residual / 0.02) * np.clip(contrast / 0.2, 0.05, 1)
    return np.where(known[0] | known[1], np.float32(1), trust.astype(np.float32))


def _fitted(image: Array, alpha: Array, weight: Array, seen: Mask) -> Array:
    """Return alpha made a line of the colours in each window (He, Sun and Tang 2010, "Guided image filtering")."""
    c = image.transpose(2, 0, 1)
    pairs = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    sums = [weight, *(weight * c), *(weight * c[i] * c[j] for i, j in pairs), weight * alpha, *(weight * alpha * c)]
    total, *moments = (_box(plane) for plane in sums)
    total = np.maximum(total, 1e-8)
    mean, mean_alpha = np.stack(moments[:3]) / total, moments[9] / total
    spread = np.empty((*weight.shape, 3, 3), np.float32)
    for (i, j), moment in zip(pairs, moments[3:9]):
        spread[..., i, j] = spread[..., j, i] = moment / total - mean[i] * mean[j]
    spread += np.float32(1e-4) * np.eye(3, dtype=np.float32)
    shared = (np.stack(moments[10:]) / total - mean * mean_alpha).transpose(1, 2, 0)
    slopes_seen = np.zeros((*weight.shape, 3), np.float32)
    slopes_seen[seen] = np.linalg.solve(spread[seen], shared[seen][..., None])[..., 0]
    slope = slopes_seen.transpose(2, 0, 1)
    offset = mean_alpha - (slope * mean).sum(axis=0)
    *slopes, offset = (_box(plane * total) / _box(total) for plane in (*slope, offset))
    fitted: Array = np.clip(sum(s * channel for s, channel in zip(slopes, c)) + offset, 0, 1)
    return fitted


def _box(plane: Array) -> Array:
    blurred: Array = ndimage.uniform_filter(plane, 2 * FIT + 1, mode="nearest")
    return blurred
