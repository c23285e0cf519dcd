"""Alpha from the best pair of known colours: each unknown pixel looks for an F and a B among what is known.

He, Rhemann, Rother, Tang and Sun, "A Global Sampling Method for Alpha Matting", 2011: all known pixels beside the
unknown region are candidates; good pairs spread from pixel to pixel, with random tries around them.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

BAND = 24
"""Pixels from the unknown region within which known ones are candidates."""

MOST = 8000
"""Candidates on each side, at most."""

PASSES = 6
SPAN = 0.002
"""Weight of a candidate's distance against the error of the mixture, per length of the nearest known pixel's."""


def best_pairs(image: Array, trimap: Array, to_background: Array, to_foreground: Array) -> tuple[Array, Array, Array]:
    """Return alpha, the error of the mixture and the distance of its two colours, each (H, W).

    Parameters
    ----------
    image : ndarray, shape (H, W, 3)
        Display-encoded.
    trimap : ndarray, shape (H, W)
        0 background, 1 foreground, anything between unknown.
    to_background, to_foreground : ndarray, shape (H, W)
        Pixels to the nearest known one.

    Notes
    -----
    Where one side is not known anywhere, alpha is 0.5 with an error of 1.
    """
    unknown = (trimap > 0) & (trimap < 1)
    alpha = np.where(unknown, np.float32(0.5), trimap).astype(np.float32)
    error, contrast = unknown.astype(np.float32), np.zeros(trimap.shape, np.float32)
    beside = ndimage.distance_transform_edt(~unknown) <= BAND if unknown.any() else unknown
    fronts, backs = (_candidates(image, beside & mask) for mask in (trimap >= 1, trimap <= 0))
    if len(fronts[0]) and len(backs[0]) and unknown.any():
        picture = np.ascontiguousarray(image, np.float32)
        _search(picture, unknown, to_background, to_foreground, *fronts, *backs, alpha, error, contrast)
    return alpha, error, contrast


def _candidates(image: Array, mask: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return colours (N, 3) and places (N, 2) of candidates from dark to bright."""
    rows, columns = np.nonzero(mask)
    step = max(1, -(-len(rows) // MOST))
    rows, columns = rows[::step], columns[::step]
    colours = image[rows, columns].astype(np.float32)
    order = np.argsort(colours.sum(axis=1), kind="stable")
    return colours[order], np.stack([rows, columns], axis=1)[order].astype(np.float32)


@njit(cache=True)
def _search(
    image: Array, unknown: Mask, to_background: Array, to_foreground: Array,
    f_colours: Array, f_places: Array, b_colours: Array, b_places: Array,
    alpha: Array, error: Array, contrast: Array,
) -> None:  # fmt: skip
    """Fill alpha, error and contrast of the unknown pixels; sweeps go forward and back in turn."""
    height, width = unknown.shape
    pairs = np.zeros((height, width, 2), np.int32)
    costs = np.full((height, width), np.float32(1e9))
    state = np.uint64(88172645463325252)
    counts = (len(f_colours), len(b_colours))
    for turn in range(PASSES):
        forward = turn % 2 == 0
        for r in range(height):
            y = r if forward else height - 1 - r
            for c in range(width):
                x = c if forward else width - 1 - c
                if not unknown[y, x]:
                    continue
                near_f, near_b = max(to_foreground[y, x], np.float32(1)), max(to_background[y, x], np.float32(1))
                best_i, best_j, best = pairs[y, x, 0], pairs[y, x, 1], costs[y, x]
                step = -1 if forward else 1
                reach = max(counts[0], counts[1])
                tries = 0
                while True:
                    if tries < 2:
                        ny, nx = (y, x + step) if tries == 0 else (y + step, x)
                        tries += 1
                        if not (0 <= ny < height and 0 <= nx < width and unknown[ny, nx]) or costs[ny, nx] > 1e8:
                            continue
                        i, j = pairs[ny, nx, 0], pairs[ny, nx, 1]
                    else:
                        if reach < 1:
                            break
                        state ^= state << np.uint64(13)
                        state ^= state >> np.uint64(7)
                        state ^= state << np.uint64(17)
                        i = best_i + int(state % np.uint64(2 * reach + 1)) - reach
                        j = best_j + int((state >> np.uint64(32)) % np.uint64(2 * reach + 1)) - reach
                        i, j = min(max(i, 0), counts[0] - 1), min(max(j, 0), counts[1] - 1)
                        reach //= 2
                    across = np.float32(1e-6)
                    along = np.float32(0)
                    for k in range(3):
                        d = f_colours[i, k] - b_colours[j, k]
                        across += d * d
                        along += (image[y, x, k] - b_colours[j, k]) * d
                    a = min(max(along / across, np.float32(0)), np.float32(1))
                    off = np.float32(0)
                    for k in range(3):
                        d = image[y, x, k] - a * f_colours[i, k] - (1 - a) * b_colours[j, k]
                        off += d * d
                    off = np.sqrt(off)
                    away_f = np.hypot(f_places[i, 0] - y, f_places[i, 1] - x) / near_f
                    away_b = np.hypot(b_places[j, 0] - y, b_places[j, 1] - x) / near_b
                    cost = off + np.float32(SPAN) * (away_f + away_b)
                    if cost < best:
                        best, best_i, best_j = cost, i, j
                        alpha[y, x], error[y, x], contrast[y, x] = a, off, np.sqrt(across)
                pairs[y, x, 0], pairs[y, x, 1], costs[y, x] = best_i, best_j, best
