"""The loops of `fbamatte.compositing.colours`, compiled: each works on the part ``first:last`` of what it is given.

They release the interpreter lock and share nothing but what they read, so that threads can take parts side by side;
every sum is taken in blocks of fixed size, so that a result does not depend on how many threads there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]
Kernel = TypeVar("Kernel", bound=Callable[..., Any])

BLOCK: Final = 4096
FOREGROUND: Final = 1  # bits of a pixel's status: F is known or solved for here
BACKGROUND: Final = 2

# The pixels that a stencil around (0, 0) can couple it with; the first is itself.
_NEAR: Final = [(0, 0), (0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)]
NEIGHBOURS: Final = [*_NEAR, (0, -2), (0, 2), (-2, 0), (2, 0)]
# Order of the difference, how often the bending energy counts it, and its coefficients.
_DIFFERENCES: Final = [
    (1, 1, {(0, 0): -1, (0, 1): 1}),
    (1, 1, {(0, 0): -1, (1, 0): 1}),
    (2, 1, {(0, -1): 1, (0, 0): -2, (0, 1): 1}),
    (2, 1, {(-1, 0): 1, (0, 0): -2, (1, 0): 1}),
    (2, 2, {(0, 0): 1, (0, 1): -1, (1, 0): -1, (1, 1): 1}),
]


def kernel(function: Kernel) -> Kernel:
    """Compile at the first call and keep the result beside this file."""
    compiled: Any = njit(cache=True, nogil=True)(function)
    return cast("Kernel", compiled)


def _stencils() -> tuple[Array, Array]:
    """Every difference in which a pixel takes part.

    Rows of the first table: order − 1, the anchor's offset, the number of points, the points as indices of
    `NEIGHBOURS`; of the second: each point's coefficient times the pixel's own.
    """
    points, factors = [], []
    for order, count, difference in _DIFFERENCES:
        for (y, x), own in difference.items():
            at = [NEIGHBOURS.index((py - y, px - x)) for py, px in difference]
            points.append([order - 1, -y, -x, len(at), *at, *[0] * (4 - len(at))])
            factors.append([count * own * c for c in difference.values()] + [0] * (4 - len(at)))
    return np.array(points, np.int64), np.array(factors, np.float64)


OFFSETS: Final = np.array(NEIGHBOURS, np.int64)
POINTS, FACTORS = _stencils()


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
                half[y, x, c] = (top + (picture[below, 2 * x, c] + picture[below, right, c])) * np.float32(0.25)


@kernel
def pull(first: int, last: int, picture: Array, weight: Array, half: Array, half_weight: Array) -> None:
    """Average 2×2 pixels by their weights."""
    height, width, channels = picture.shape
    for y in range(first, last):
        for x in range(half.shape[1]):
            half[y, x] = 0
            total = np.float32(0)
            for m in range(2):
                for n in range(2):
                    py, px = min(2 * y + m, height - 1), min(2 * x + n, width - 1)
                    w = weight[py, px] * np.float32(0.25)
                    if w > 0:
                        total += w
                        for c in range(channels):
                            half[y, x, c] += w * picture[py, px, c]
            half_weight[y, x] = total
            if total > 0:
                for c in range(channels):
                    half[y, x, c] /= total


@kernel
def push(first: int, last: int, picture: Array, weight: Array, half: Array, trust: float, only_empty: bool) -> None:
    """Mix each pixel with the coarser picture, which weighs ``trust``; or fill only the pixels without weight."""
    width, channels = picture.shape[1], picture.shape[2]
    for y in range(first, last):
        near_y = y >> 1
        far_y = min(max(near_y + (1 if y & 1 else -1), 0), half.shape[0] - 1)
        for x in range(width):
            w = weight[y, x]
            if only_empty and w > 0:
                continue
            near_x = x >> 1
            far_x = min(max(near_x + (1 if x & 1 else -1), 0), half.shape[1] - 1)
            for c in range(channels):
                near = 0.75 * half[near_y, near_x, c] + 0.25 * half[near_y, far_x, c]
                far = 0.75 * half[far_y, near_x, c] + 0.25 * half[far_y, far_x, c]
                value = trust * (0.75 * near + 0.25 * far)
                if w > 0:
                    value += w * picture[y, x, c]
                picture[y, x, c] = value / (w + trust)


@kernel
def roughness(first: int, last: int, picture: Array, weight: Array, rough: Array, sure: Array) -> None:
    """Measure the first and second differences around each pixel, their root sum of squares over the channels."""
    height, width, channels = picture.shape
    for y in range(first, last):
        for x in range(width):
            rough[y, x] = 0
            sure[y, x] = 0
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
    first: int, last: int, own: Array, other: Array, floor: float, unit: float, cell: float, stiff: Array
) -> None:
    """Turn what a layer's differences measure into the weights of its first and second differences.

    ``own`` and ``other`` are `roughness` in cells of ``cell`` pixels, ``floor`` and ``unit`` are squares of slopes.
    """
    for y in range(first, last):
        for x in range(own.shape[1]):
            slope = (np.float64(own[y, x, 0]) ** 2 + 0.03 * np.float64(other[y, x, 0]) ** 2) / cell**2 + floor
            bend = (np.float64(own[y, x, 1]) ** 2 + 0.03 * np.float64(other[y, x, 1]) ** 2) / cell**4 + 1e-5 * slope
            weight = (bend / unit) ** -0.75
            stiff[y, x, 0] = weight * bend / slope
            stiff[y, x, 1] = weight


@kernel
def _between(half: Array, y: int, x: int, c: int) -> float:
    """Return a channel of the coarser picture at a pixel of the finer one, bilinearly."""
    near_y, near_x = y >> 1, x >> 1
    far_y = min(max(near_y + (1 if y & 1 else -1), 0), half.shape[0] - 1)
    far_x = min(max(near_x + (1 if x & 1 else -1), 0), half.shape[1] - 1)
    near = 0.75 * half[near_y, near_x, c] + 0.25 * half[near_y, far_x, c]
    far = 0.75 * half[far_y, near_x, c] + 0.25 * half[far_y, far_x, c]
    return 0.75 * near + 0.25 * far  # type: ignore[no-any-return]  # arrays of any type


@kernel
def _couple(
    y: int, x: int, status: Array, stiff_f: Array, stiff_b: Array, bending: float, in_f: Array, in_b: Array
) -> None:
    """Sum, for F and for B, what the differences around a pixel couple it with."""
    in_f[:] = 0
    in_b[:] = 0
    for s in range(POINTS.shape[0]):
        order, count, both = POINTS[s, 0], POINTS[s, 3], FOREGROUND | BACKGROUND
        for k in range(count):
            o = POINTS[s, 4 + k]
            both &= status[y + 2 + OFFSETS[o, 0], x + 2 + OFFSETS[o, 1]]
        # A stencil's weight is its anchor's, so that the matrix is symmetric.
        cy = min(max((y + POINTS[s, 1]) >> 1, 0), stiff_f.shape[0] - 1)
        cx = min(max((x + POINTS[s, 2]) >> 1, 0), stiff_f.shape[1] - 1)
        scale = bending if order == 1 else 1.0
        for k in range(count):
            o = POINTS[s, 4 + k]
            if both & FOREGROUND:
                in_f[o] += scale * stiff_f[cy, cx, order] * FACTORS[s, k]
            if both & BACKGROUND:
                in_b[o] += scale * stiff_b[cy, cx, order] * FACTORS[s, k]


@kernel
def assemble(
    first: int,
    last: int,
    rows: Array,
    columns: Array,
    status: Array,
    index: Array,
    alpha: Array,
    plate: Array,
    coarse_f: Array,
    coarse_b: Array,
    stiff_f: Array,
    stiff_b: Array,
    bending: float,
    hold: float,
    links: Array,
    matrix: Array,
    diagonal: Array,
    right: Array,
    start: Array,
) -> None:
    """Write the equations of t = F − B, one row a pixel, and the value to start from."""
    in_f, in_b = np.empty(13), np.empty(13)
    for i in range(first, last):
        y, x = rows[i], columns[i]
        _couple(y, x, status, stiff_f, stiff_b, bending, in_f, in_b)
        a = np.float64(alpha[y, x])
        hold_f, hold_b = hold * stiff_f[y >> 1, x >> 1, 0], hold * stiff_b[y >> 1, x >> 1, 0]
        for c in range(3):
            f, b = _between(coarse_f, y, x, c), _between(coarse_b, y, x, c)
            start[i, c] = f - b
            right[i, c] = (1 - a) * hold_f * (f - plate[y, x, c]) + a * hold_b * (plate[y, x, c] - b)
        for o in range(13):
            value, j = 0.0, i
            if in_f[o] != 0 or in_b[o] != 0:
                qy, qx = y + OFFSETS[o, 0], x + OFFSETS[o, 1]
                b = np.float64(alpha[qy, qx])
                j = index[qy + 2, qx + 2]
                if j >= 0:
                    value = (1 - a) * (1 - b) * in_f[o] + a * b * in_b[o]
                else:
                    j = i
                w = a * in_b[o] - (1 - a) * in_f[o]
                for c in range(3):
                    right[i, c] += w * plate[qy, qx, c]
            if o == 0:
                diagonal[i] = value + (1 - a) ** 2 * hold_f + a**2 * hold_b
            else:
                links[i, o - 1] = j
                matrix[i, o - 1] = value


@kernel
def normalise(
    first: int, last: int, links: Array, matrix: Array, root: Array, right: Array, start: Array, scaled: Array
) -> None:
    """Scale the equations so that their diagonal is 1; ``root`` is one over the diagonal's square root."""
    for i in range(first, last):
        for o in range(12):
            scaled[i, o] = matrix[i, o] * root[i] * root[links[i, o]]
        for c in range(3):
            right[i, c] *= root[i]
            start[i, c] /= root[i]


@kernel
def multiply(first: int, last: int, links: Array, matrix: Array, vector: Array, product: Array, dots: Array) -> None:
    """Write matrix times vector, and block by block the sum of their products."""
    for block in range(first, last):
        d0 = d1 = d2 = 0.0
        for i in range(block * BLOCK, min(vector.shape[0], (block + 1) * BLOCK)):
            s0, s1, s2 = vector[i, 0], vector[i, 1], vector[i, 2]
            for o in range(12):
                j, m = np.uint32(links[i, o]), matrix[i, o]
                s0 += m * vector[j, 0]
                s1 += m * vector[j, 1]
                s2 += m * vector[j, 2]
            product[i, 0], product[i, 1], product[i, 2] = s0, s1, s2
            d0 += s0 * vector[i, 0]
            d1 += s1 * vector[i, 1]
            d2 += s2 * vector[i, 2]
        dots[block, 0], dots[block, 1], dots[block, 2] = d0, d1, d2


@kernel
def advance(
    first: int, last: int, value: Array, rest: Array, way: Array, product: Array, step: Array, dots: Array
) -> None:
    """Go a step along the way; write block by block the sum of the squares of what is left."""
    for block in range(first, last):
        for c in range(3):
            s, total = step[c], 0.0
            for i in range(block * BLOCK, min(value.shape[0], (block + 1) * BLOCK)):
                value[i, c] += s * way[i, c]
                r = rest[i, c] - s * product[i, c]
                rest[i, c] = r
                total += r * r
            dots[block, c] = total


@kernel
def turn(first: int, last: int, rest: Array, way: Array, share: Array) -> None:
    """Turn the way towards what is left, keeping a share of itself."""
    for block in range(first, last):
        for i in range(block * BLOCK, min(way.shape[0], (block + 1) * BLOCK)):
            for c in range(3):
                way[i, c] = rest[i, c] + share[c] * way[i, c]
