"""Alpha from the best pair of known colours: each unknown pixel looks for an F and a B among what is known.

He, Rhemann, Rother, Tang and Sun, "A Global Sampling Method for Alpha Matting", 2011: all known pixels beside the
unknown region are candidates; good pairs spread from pixel to pixel, with random tries around them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fbamatte.compositing.jit import kernel
from fbamatte.models import interruption

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

BAND = 24
"""Pixels from the unknown region within which known ones are candidates."""

MOST = 8000
"""Candidates on each side, at most."""

PASSES = 6
SEED = 88172645463325252
"""Of the random tries (Marsaglia's xorshift): the same picture gives the same pairs."""

SPAN = 0.002
"""Weight of a candidate's distance against the error of the mixture, per length of the nearest known pixel's."""


Side = tuple[Array, Array]


def candidates(image: Array, trimap: Array) -> tuple[Side, Side]:
    """Return the known colours (N, 3) near the unknown region, from dark to bright, and their places (N, 2): F's, B's.

    Parameters
    ----------
    image, trimap : ndarray
        As in `fbamatte.models.evidence.planes`.
    """
    unknown = (trimap > 0) & (trimap < 1)
    beside = ndimage.distance_transform_edt(~unknown) <= BAND if unknown.any() else unknown
    return _spread(image, beside & (trimap >= 1)), _spread(image, beside & (trimap <= 0))


def best_pairs(
    image: Array, trimap: Array, sides: tuple[Side, Side], to_background: Array, to_foreground: Array
) -> tuple[Array, Array, Array]:
    """Return alpha, the error of the mixture and the distance of its two colours, each (H, W).

    Parameters
    ----------
    image, trimap : ndarray
        As in `candidates`.
    sides
        Of `candidates`.
    to_background, to_foreground : ndarray, shape (H, W)
        Pixels to the nearest known one.

    Notes
    -----
    Where one side is not known anywhere, alpha is 0.5 with an error of 1.
    """
    unknown = (trimap > 0) & (trimap < 1)
    alpha = np.where(unknown, np.float32(0.5), trimap).astype(np.float32)
    error, contrast = unknown.astype(np.float32), np.zeros(trimap.shape, np.float32)
    if all(len(colours) for colours, _ in sides) and unknown.any():
        picture = np.ascontiguousarray(image, np.float32)
        pairs = np.zeros((*unknown.shape, 2), np.int32)
        costs = np.full(unknown.shape, np.float32(1e9))
        near, dice = (to_background, to_foreground), np.array([SEED], np.uint64)
        for turn in range(PASSES):
            interruption.check()
            _sweep(turn, dice, picture, unknown, *near, *sides[0], *sides[1], pairs, costs, alpha, error, contrast)
    return alpha, error, contrast


def _spread(image: Array, mask: Mask) -> Side:
    """Return at most `MOST` of a mask's colours and places, evenly from all over it."""
    rows, columns = np.nonzero(mask)
    step = max(1, -(-len(rows) // MOST))
    rows, columns = rows[::step], columns[::step]
    colours = image[rows, columns].astype(np.float32)
    order = np.argsort(colours.sum(axis=1), kind="stable")
    return colours[order], np.stack([rows, columns], axis=1)[order].astype(np.float32)


@kernel
def _sweep(
    turn: int, dice: NDArray[np.uint64], image: Array, unknown: Mask, to_background: Array, to_foreground: Array,
    f_colours: Array, f_places: Array, b_colours: Array, b_places: Array,
    pairs: NDArray[np.int32], costs: Array, alpha: Array, error: Array, contrast: Array,
) -> None:  # fmt: skip
    """Better the pair of each unknown pixel, forward or back: the pairs of its neighbours, then random ones."""
    height, width = unknown.shape
    last_f, last_b = len(f_colours) - 1, len(b_colours) - 1
    state = dice[0]
    step = 1 if turn % 2 else -1
    for r in range(height):
        y = r if step < 0 else height - 1 - r
        for c in range(width):
            x = c if step < 0 else width - 1 - c
            if not unknown[y, x]:
                continue
            near = (max(to_foreground[y, x], np.float32(1)), max(to_background[y, x], np.float32(1)))
            reach = max(last_f, last_b) + 1
            tries = 0
            while reach >= 1:
                if tries < 2:
                    ny, nx = (y, x + step) if tries == 0 else (y + step, x)
                    tries += 1
                    if not (0 <= ny < height and 0 <= nx < width and unknown[ny, nx]) or costs[ny, nx] > 1e8:
                        continue
                    i, j = pairs[ny, nx, 0], pairs[ny, nx, 1]
                else:
                    state ^= state << np.uint64(13)
                    state ^= state >> np.uint64(7)
                    state ^= state << np.uint64(17)
                    i = pairs[y, x, 0] + int(state % np.uint64(2 * reach + 1)) - reach
                    j = pairs[y, x, 1] + int((state >> np.uint64(32)) % np.uint64(2 * reach + 1)) - reach
                    i, j = min(max(i, 0), last_f), min(max(j, 0), last_b)
                    reach //= 2
                a, off, apart = _mixture(image[y, x], f_colours[i], b_colours[j])
                away_f = np.hypot(f_places[i, 0] - y, f_places[i, 1] - x) / near[0]
                away_b = np.hypot(b_places[j, 0] - y, b_places[j, 1] - x) / near[1]
                cost = off + np.float32(SPAN) * (away_f + away_b)
                if cost < costs[y, x]:
                    costs[y, x], pairs[y, x, 0], pairs[y, x, 1] = cost, i, j
                    alpha[y, x], error[y, x], contrast[y, x] = a, off, apart
    dice[0] = state


@kernel
def _mixture(colour: Array, front: Array, back: Array) -> tuple[np.float32, np.float32, np.float32]:
    """Return the alpha that comes nearest to a colour, how far off it is, and how far apart the two colours are."""
    across, along, off = np.float32(1e-6), np.float32(0), np.float32(0)
    for k in range(3):
        d = front[k] - back[k]
        across += d * d
        along += (colour[k] - back[k]) * d
    a = min(max(along / across, np.float32(0)), np.float32(1))
    for k in range(3):
        d = colour[k] - a * front[k] - (1 - a) * back[k]
        off += d * d
    return a, np.float32(np.sqrt(off)), np.float32(np.sqrt(across))
