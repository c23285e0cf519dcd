"""Pictures in halves: the compiled loops with which `fbamatte.compositing.colours` carries colours to where none are.

Each works on the rows ``first:last`` of its result and shares nothing but what it reads, so that threads can take
parts side by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fbamatte.compositing.jit import kernel

Array = NDArray[Any]

_QUARTER, _THREE_QUARTERS = np.float32(0.25), np.float32(0.75)


@kernel
def halve(first: int, last: int, picture: Array, half: Array) -> None:
    """Average 2×2 pixels; an odd last row or column counts twice."""
    height, width, channels = picture.shape
    for y in range(first, last):
        below = min(2 * y + 1, height - 1)
        for x in range(half.shape[1]):
            right = min(2 * x + 1, width - 1)
            for c in range(channels):
                top = picture[2 * y, 2 * x, c] + picture[2 * y, right, c]
                half[y, x, c] = (top + (picture[below, 2 * x, c] + picture[below, right, c])) * _QUARTER


@kernel
def _kept(weight: np.float32, least: np.float32) -> np.float32:
    return weight if weight >= least else np.float32(0)


@kernel
def pull(
    first: int, last: int, picture: Array, weight: Array, least: np.float32, half: Array, half_weight: Array
) -> None:
    """Average 2×2 pixels by their weights, those below ``least`` taken for 0; 0 where none has any."""
    height, width, channels = picture.shape
    for y in range(first, last):
        top, below = 2 * y, min(2 * y + 1, height - 1)
        for x in range(half.shape[1]):
            left, right = 2 * x, min(2 * x + 1, width - 1)
            w0, w1 = _kept(weight[top, left], least), _kept(weight[top, right], least)
            w2, w3 = _kept(weight[below, left], least), _kept(weight[below, right], least)
            total = (w0 + w1) + (w2 + w3)
            half_weight[y, x] = total * _QUARTER
            share = np.float32(1) / total if total > 0 else np.float32(0)
            for c in range(channels):
                above = w0 * picture[top, left, c] + w1 * picture[top, right, c]
                under = w2 * picture[below, left, c] + w3 * picture[below, right, c]
                half[y, x, c] = (above + under) * share


@kernel
def _neighbour(at: int, size: int) -> int:
    """Return the second nearest of the coarser pixels around pixel ``at``."""
    return min(max((at >> 1) + (1 if at & 1 else -1), 0), size - 1)


@kernel
def _enlarge(half: Array, y: int, rows: Array, held: Array) -> Array:
    """Return row ``y`` of the coarser picture enlarged bilinearly.

    Two rows of it are kept, enlarged along x alone, and ``held`` says which: going down, each is made once. The third
    of ``rows`` is what is returned.
    """
    near, far = y >> 1, _neighbour(y, half.shape[0])
    width, channels = rows.shape[1], rows.shape[2]
    for k in (near, far):
        if held[k & 1] != k:
            held[k & 1] = k
            for x in range(width):
                beside = _neighbour(x, half.shape[1])
                for c in range(channels):
                    rows[k & 1, x, c] = _THREE_QUARTERS * half[k, x >> 1, c] + _QUARTER * half[k, beside, c]
    row, of_near, of_far = rows[2].reshape(-1), rows[near & 1].reshape(-1), rows[far & 1].reshape(-1)
    for i in range(width * channels):
        row[i] = _THREE_QUARTERS * of_near[i] + _QUARTER * of_far[i]
    enlarged: Array = rows[2]
    return enlarged


@kernel
def push(first: int, last: int, picture: Array, weight: Array, half: Array, trust: np.float32) -> None:
    """Mix each pixel with the coarser picture, bilinearly enlarged, which weighs ``trust``."""
    rows, held = np.empty((3, *picture.shape[1:]), np.float32), np.full(2, -1)
    for y in range(first, last):
        row = _enlarge(half, y, rows, held)
        for x in range(picture.shape[1]):
            w = weight[y, x]
            share = np.float32(1) / (w + trust)
            for c in range(picture.shape[2]):
                picture[y, x, c] = (w * picture[y, x, c] + trust * row[x, c]) * share


@kernel
def fill(first: int, last: int, picture: Array, share: Array, half: Array, least: np.float32) -> None:
    """Blend a picture into the coarser one where its ``share`` is below ``least``: wholly at 0, smoothly between."""
    rows, held = np.empty((3, *picture.shape[1:]), np.float32), np.full(2, -1)
    for y in range(first, last):
        row = _enlarge(half, y, rows, held)
        for x in range(picture.shape[1]):
            if share[y, x] >= least:
                continue
            seen = share[y, x] / least
            seen = seen * seen * (np.float32(3) - np.float32(2) * seen)
            for c in range(picture.shape[2]):
                coarse = row[x, c]
                if seen > 0:
                    coarse += seen * (picture[y, x, c] - coarse)
                picture[y, x, c] = coarse


@kernel
def roughness(first: int, last: int, picture: Array, weight: Array, rough: Array, sure: Array) -> None:
    """Measure the first and second differences around each pixel, their root sum of squares over the channels."""
    height, width, channels = picture.shape
    for y in range(first, last):
        for x in range(width):
            rough[y, x, 0] = rough[y, x, 1] = sure[y, x] = 0
            if y == 0 or x == 0 or y == height - 1 or x == width - 1:
                continue
            least = weight[y, x]
            for m in range(-1, 2):
                for n in range(-1, 2):
                    least = min(least, weight[y + m, x + n])
            if least <= 0:
                continue
            slope = bend = 0.0
            for c in range(channels):
                v = np.float64(picture[y, x, c])
                left, right = v - picture[y, x - 1, c], picture[y, x + 1, c] - v
                up, down = v - picture[y - 1, x, c], picture[y + 1, x, c] - v
                rising = np.float64(picture[y + 1, x + 1, c]) - picture[y + 1, x - 1, c]
                twist = (rising - (np.float64(picture[y - 1, x + 1, c]) - picture[y - 1, x - 1, c])) / 4
                slope += (left * left + right * right + up * up + down * down) / 2
                bend += (right - left) ** 2 + (down - up) ** 2 + 2 * twist * twist
            rough[y, x, 0] = np.sqrt(slope)
            rough[y, x, 1] = np.sqrt(bend)
            sure[y, x] = least


@kernel
def stiffness(
    first: int, last: int, own: Array, other: Array, needed: Array, floor: float, unit: float, cell: float, stiff: Array
) -> None:
    """Turn what a layer's differences measure into the weights of its first and second differences.

    ``own`` and ``other`` are `roughness` in cells of ``cell`` pixels, ``floor`` and ``unit`` are squares of slopes.
    Cells that are not ``needed`` get 0: a power costs more than all else here.
    """
    for y in range(first, last):
        for x in range(own.shape[1]):
            if not needed[y, x]:
                stiff[y, x, 0] = stiff[y, x, 1] = 0
                continue
            slope = (np.float64(own[y, x, 0]) ** 2 + 0.03 * np.float64(other[y, x, 0]) ** 2) / cell**2 + floor
            bend = (np.float64(own[y, x, 1]) ** 2 + 0.03 * np.float64(other[y, x, 1]) ** 2) / cell**4 + 1e-5 * slope
            weight = (bend / unit) ** -0.75
            stiff[y, x, 0] = weight * bend / slope
            stiff[y, x, 1] = weight
