"""What a picture says about alpha pixel by pixel, beside closed-form matting: planes for the refining network.

Most are differences, ratios or probabilities, which do not change when the picture is made brighter or of another
colour; of the colours themselves a network learns little, since training shuffles the three channels.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fbamatte.models import interruption

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

NAMES = (
    "closed-form alpha", "known background", "known foreground", "near background", "near foreground",
    "far background", "far foreground", "red", "green", "blue", "contrast",
    "foreground's colour, coarse", "seen, coarse", "foreground's colour, fine", "seen, fine",
    "unlike background here", "unlike foreground here",
    "sampled alpha", "sampled residual", "sampled contrast", "sampled alpha, fitted",
    "closed-form residual", "closed-form contrast",
    "picture's red", "picture's green", "picture's blue",
    "red above background", "green above background", "blue above background",
    "red above foreground", "green above foreground", "blue above foreground",
)  # fmt: skip
PLANES = len(NAMES)

NEAR, FAR = 6.0, 40.0
"""Pixels over which nearness to what is known falls off."""

WINDOW = 15
FIT = 8
"""Radius of the windows in which sampled alpha is fitted by a line of the colours."""

REACH = 2 * FIT
"""Pixels from the unknown region beyond which no plane is looked at, nor anything that one there is made from."""

WIDER = (4, 12, 36, 108)
"""Radii of the windows in which what is known is averaged."""

MARGIN = WIDER[-1] + 4
"""Pixels around a part that its evidence is made from: the widest window, and more than two of the others."""

COLORS = (
    ("red", "green", "blue"),
    ("picture's red", "picture's green", "picture's blue"),
    ("red above background", "green above background", "blue above background"),
    ("red above foreground", "green above foreground", "blue above foreground"),
)  # fmt: skip
"""Planes that change places with each other when a picture's channels do."""

POWER = 1.4
"""Of the encoded values in which closed-form matting is solved: between display light and linear light."""

BINS = (8, 24)
NOISE = 0.015
"""Deviation, of the encoded range, below which colours count as the same."""


def between_lights(image: Array) -> Array:
    """Return a display-encoded picture as the matting Laplacian of this method sees it; below black is black."""
    seen: Array = np.ascontiguousarray(np.maximum(image, 0) ** np.float32(POWER), np.float32)
    return seen


def gather(image: Array, trimap: Array) -> Array:
    """Return the evidence (PLANES, H, W) of a whole picture; see `prepare`."""
    return prepare(image, trimap).planes(*(slice(0, n) for n in trimap.shape))


def prepare(image: Array, trimap: Array) -> Prepared:
    """Solve what concerns the whole picture: closed-form matting, pairs of known colours, what is known of F and B.

    Parameters
    ----------
    image : ndarray, shape (H, W, 3)
        Display-encoded.
    trimap : ndarray, shape (H, W)
        0 background, 1 foreground, anything between unknown.
    """
    from fbamatte.models.sampling import best_pairs, candidates  # noqa: PLC0415 - numba compiles at import

    with ThreadPoolExecutor(1) as beside:  # closed-form matting and sampling know nothing of each other
        solved = beside.submit(_closed_form, image, trimap, interruption.asked())
        known = (trimap <= 0, trimap >= 1)
        distances = tuple(
            (ndimage.distance_transform_edt(~mask) if mask.any() else np.full(mask.shape, 1e4)).astype(np.float32)
            for mask in known
        )
        pairs = best_pairs(image, trimap, candidates(image, trimap), *distances)
        models = [[_density(image, mask, bins) for mask in known] for bins in BINS]
        moments = [_mean_moments(image[mask]) for mask in known]
        return Prepared(image, trimap, *solved.result(), pairs, distances, models, moments)


def _closed_form(image: Array, trimap: Array, ask: Callable[[], None] | None) -> tuple[Array, Array, Array]:
    """Return alpha, F and B; on a thread of its own, given up when the one that waits for it would be."""
    from fbamatte.models.closed_form.alpha import closed_form_alpha  # noqa: PLC0415 - numba compiles at import
    from fbamatte.models.closed_form.foreground import estimate_foreground  # noqa: PLC0415

    with interruption.interruptible(ask or (lambda: None)):
        alpha = closed_form_alpha(between_lights(image), trimap)
    return alpha, *estimate_foreground(image, alpha)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture of which the evidence can be had part by part.

    Parameters
    ----------
    image, trimap : ndarray, shapes (H, W, 3) and (H, W)
        As in `prepare`.
    alpha, foreground, background : ndarray, shapes (H, W), (H, W, 3), (H, W, 3)
        Closed-form, and fitted to it.
    pairs : three ndarrays, shape (H, W)
        Of `fbamatte.models.sampling.best_pairs`.
    distances : two ndarrays, shape (H, W)
        Pixels to known background and to known foreground.
    models : for each of `BINS` two ndarrays, shape (bins, bins, bins)
        How dense background and foreground are in a colour.
    moments : two ndarrays, shape (6,)
        Means of colours and of their squares over all that is known of background and of foreground.
    """

    image: Array
    trimap: Array
    alpha: Array
    foreground: Array
    background: Array
    pairs: tuple[Array, Array, Array]
    distances: tuple[Array, ...]
    models: list[list[NDArray[np.float64]]]
    moments: list[NDArray[np.float64]]

    def planes(self, rows: slice, columns: slice) -> Array:
        """Return the evidence (PLANES, h, w) of a part, each plane about -3 … 3; the same as that of the whole."""
        height, width = self.trimap.shape
        top, left = max(rows.start - MARGIN, 0), max(columns.start - MARGIN, 0)
        view = (slice(top, min(rows.stop + MARGIN, height)), slice(left, min(columns.stop + MARGIN, width)))
        part = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
        image, trimap, alpha = (x[view] for x in (self.image, self.trimap, self.alpha))
        foreground, background = self.foreground[view], self.background[view]
        sampled, residual, contrast = (x[view] for x in self.pairs)
        empty, solid = known = [trimap <= 0, trimap >= 1]
        seen = ndimage.maximum_filter(~(empty | solid), 2 * REACH + 1)
        distances = [d[view] for d in self.distances]
        fitted = _fitted(image, sampled, _trust(known, residual, contrast), seen)
        mixed = alpha[..., None] * foreground + (1 - alpha[..., None]) * background
        unlike = _unlikeness(image, known, self.moments)
        found = [
            alpha, empty, solid, *(np.exp(-d / NEAR) for d in distances), *(np.exp(-d / FAR) for d in distances),
            *_local_contrast(image), *_of_colour_models(image, self.models, seen), *unlike[:2],
            sampled, np.tanh(residual / 0.05), contrast, fitted,
            np.tanh(_length(image - mixed) / 0.05), _length(foreground - background),
            *(2 * image - 1).transpose(2, 0, 1), *unlike[2:],
        ]  # fmt: skip
        return np.stack([np.asarray(plane[part], np.float32) for plane in found])


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


def _density(image: Array, mask: Mask, bins: int) -> NDArray[np.float64]:
    """Return how dense a mask's colours are, smoothed, 1 where all were alike."""
    cells = np.round(np.clip(image[mask], 0, 1) * (bins - 1)).astype(np.intp)
    counts = np.bincount((cells[:, 0] * bins + cells[:, 1]) * bins + cells[:, 2], minlength=bins**3)
    smooth: NDArray[np.float64] = ndimage.gaussian_filter(
        counts.reshape((bins,) * 3).astype(np.float64), 0.7, mode="constant"
    )
    return smooth / max(len(cells), 1) * bins**3


def _of_colour_models(image: Array, models: list[list[NDArray[np.float64]]], seen: Mask) -> list[Array]:
    """Return for coarse and fine histograms of what is known how much likelier the foreground has a pixel's colour."""
    found = []
    for bins, sides in zip(BINS, models):
        position = np.clip(image[seen], 0, 1) * (bins - 1)
        densities = []
        for side in sides:
            density = np.zeros(seen.shape)
            density[seen] = ndimage.map_coordinates(side, position.T, order=1, mode="nearest")
            densities.append(density)
        back, front = densities
        found += [(front + 0.05) / (front + back + 0.1), np.tanh(np.log1p(front + back) / 4)]
    return found


def _unlikeness(image: Array, known: list[Mask], everywhere: list[NDArray[np.float64]]) -> list[Array]:
    """Return how many deviations a colour is from what is known nearby of background and of foreground, squashed.

    Then the differences themselves, channel by channel.
    """
    from fbamatte.models.known_means import carried  # noqa: PLC0415 - numba compiles at import

    found, above = [], []
    for mask, moments in zip(known, everywhere):
        filled = carried(image, mask, moments, WIDER)
        mean, variance = filled[..., :3], np.maximum(filled[..., 3:] - np.square(filled[..., :3]), 0)
        found.append(np.tanh(np.sqrt((np.square(image - mean) / (variance + NOISE**2)).mean(axis=-1)) / 4))
        above += list(2 * (image - mean).transpose(2, 0, 1))
    return found + above


def _mean_moments(colours: Array) -> NDArray[np.float64]:
    """Return the means of colours (N, 3) and of their squares, 0 of none."""
    if not len(colours):
        return np.zeros(6)
    mean: NDArray[np.float64] = np.concatenate([colours, np.square(colours)], axis=-1).mean(axis=0, dtype=np.float64)
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
