"""The equations of `fbamatte.compositing.colours`, written and solved by compiled loops.

They release the interpreter lock. `assemble` works on the part ``first:last`` of the rows and shares nothing but what
it reads, so that threads can take parts side by side.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fbamatte.compositing.jit import kernel

Array = NDArray[Any]

FOREGROUND: Final = 1  # bits of a pixel's status: F is known or solved for here
BACKGROUND: Final = 2
CONVERGED: Final = 1e-4  # the residual, relative to the first, beyond which nothing is to be seen
BORDER: Final = 2  # of status and index, in pixels: as far as a stencil reaches

# What the differences around (0, 0) can couple it with: itself, six pixels numbered before it, six after, the nearest
# last.
_BEFORE: Final = [(-2, 0), (-1, -1), (-1, 1), (-1, 0), (0, -2), (0, -1)]
OFFSETS: Final = np.array([(0, 0), *_BEFORE, *[(-y, -x) for y, x in _BEFORE]], np.int64)
SIX: Final = len(_BEFORE)


@kernel
def number(alpha: Array, region: Array, status: Array, index: Array, rows: Array, columns: Array) -> None:
    """Write each pixel's status, and number those of the region row by row."""
    height, width = alpha.shape
    i = 0
    for y in range(height):
        for x in range(width):
            if region[y, x]:
                status[y + BORDER, x + BORDER] = FOREGROUND | BACKGROUND
                index[y + BORDER, x + BORDER] = i
                rows[i], columns[i] = y, x
                i += 1
            elif alpha[y, x] >= 1:
                status[y + BORDER, x + BORDER] = FOREGROUND
            elif alpha[y, x] <= 0:
                status[y + BORDER, x + BORDER] = BACKGROUND


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
def _couple(y: int, x: int, status: Array, layer: int, stiff: Array, bending: float, coupled: Array) -> None:
    """Write what a layer's first and second differences around a pixel couple it with, in the order of `OFFSETS`.

    A difference whose pixels are not all of the layer counts nothing. Its weight is that of one pixel, the upper left
    of a step or a twist and the middle of a bend, so that the matrix is symmetric. Bends are (1, −2, 1) along x or y;
    the twist ((1, −1), (−1, 1)) counts twice, as in the bending energy.
    """
    top, left = max((y - 1) >> 1, 0), max((x - 1) >> 1, 0)
    low, right = min((y + 1) >> 1, stiff.shape[0] - 1), min((x + 1) >> 1, stiff.shape[1] - 1)
    near_y, near_x = y >> 1, x >> 1
    y, x = y + BORDER, x + BORDER
    w, e = (status[y, x - 1] & layer) != 0, (status[y, x + 1] & layer) != 0
    n, s = (status[y - 1, x] & layer) != 0, (status[y + 1, x] & layer) != 0
    step = np.float64(stiff[near_y, near_x, 0])
    step_e, step_w = e * step, w * np.float64(stiff[near_y, left, 0])
    step_s, step_n = s * step, n * np.float64(stiff[top, near_x, 0])
    here, west, north = (
        bending * np.float64(stiff[near_y, near_x, 1]),
        bending * np.float64(stiff[near_y, left, 1]),
        bending * np.float64(stiff[top, near_x, 1]),
    )
    bend_x, bend_y = (w & e) * here, (n & s) * here
    bend_w = (w & ((status[y, x - 2] & layer) != 0)) * west
    bend_e = (e & ((status[y, x + 2] & layer) != 0)) * bending * stiff[near_y, right, 1]
    bend_n = (n & ((status[y - 2, x] & layer) != 0)) * north
    bend_s = (s & ((status[y + 2, x] & layer) != 0)) * bending * stiff[low, near_x, 1]
    twist_se = (s & e & ((status[y + 1, x + 1] & layer) != 0)) * 2 * here
    twist_sw = (s & w & ((status[y + 1, x - 1] & layer) != 0)) * 2 * west
    twist_ne = (n & e & ((status[y - 1, x + 1] & layer) != 0)) * 2 * north
    twist_nw = (n & w & ((status[y - 1, x - 1] & layer) != 0)) * 2 * bending * stiff[top, left, 1]
    coupled[0] = step_e + step_w + step_s + step_n + 4 * (bend_x + bend_y) + bend_w + bend_e + bend_n + bend_s
    coupled[0] += twist_se + twist_sw + twist_ne + twist_nw
    coupled[1], coupled[7], coupled[5], coupled[11] = bend_n, bend_s, bend_w, bend_e
    coupled[2], coupled[3], coupled[8], coupled[9] = twist_nw, twist_ne, twist_se, twist_sw
    coupled[4] = -(step_n + 2 * (bend_y + bend_n) + twist_ne + twist_nw)
    coupled[10] = -(step_s + 2 * (bend_y + bend_s) + twist_se + twist_sw)
    coupled[6] = -(step_w + 2 * (bend_x + bend_w) + twist_nw + twist_sw)
    coupled[12] = -(step_e + 2 * (bend_x + bend_e) + twist_ne + twist_se)


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
    """Write the equations of t = F − B, one row a pixel, and the value to start from.

    ``links`` and ``matrix``, shape (2, N, 6), say what couples a pixel with those numbered before it and after it.
    """
    in_f, in_b = np.empty(13), np.empty(13)
    for i in range(first, last):
        y, x = rows[i], columns[i]
        _couple(y, x, status, FOREGROUND, stiff_f, bending, in_f)
        _couple(y, x, status, BACKGROUND, stiff_b, bending, in_b)
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
                if index[qy + BORDER, qx + BORDER] >= 0:
                    j = index[qy + BORDER, qx + BORDER]
                    value = (1 - a) * (1 - b) * in_f[o] + a * b * in_b[o]
                w = a * in_b[o] - (1 - a) * in_f[o]
                for c in range(3):
                    right[i, c] += w * plate[qy, qx, c]
            if o == 0:
                diagonal[i] = value + (1 - a) ** 2 * hold_f + a**2 * hold_b
            else:
                half = (o - 1) // SIX
                links[half, i, o - 1 - SIX * half] = j
                matrix[half, i, o - 1 - SIX * half] = value


@kernel
def normalise(
    first: int,
    last: int,
    links: Array,
    matrix: Array,
    root: Array,
    right: Array,
    start: Array,
    scaled: Array,
    rest: Array,
) -> None:
    """Scale the equations so that their diagonal is 1; ``root`` is one over the diagonal's square root."""
    for half in range(2):
        for i in range(first, last):
            for o in range(SIX):
                scaled[half, i, o] = matrix[half, i, o] * root[i] * root[links[half, i, o]]
    for i in range(first, last):
        for c in range(3):
            rest[i, c] = right[i, c] * root[i]
            start[i, c] /= root[i]


@kernel
def _substitute_forward(links: Array, matrix: Array, value: Array) -> None:
    """Solve (1 + L) x = value in place, L what couples a pixel with those before it."""
    for i in range(value.shape[0]):
        s0, s1, s2 = value[i, 0], value[i, 1], value[i, 2]
        for o in range(SIX):
            m = matrix[0, i, o]
            if m != 0:
                j = np.uint32(links[0, i, o])
                s0, s1, s2 = s0 - m * value[j, 0], s1 - m * value[j, 1], s2 - m * value[j, 2]
        value[i, 0], value[i, 1], value[i, 2] = s0, s1, s2


@kernel
def _residual(links: Array, matrix: Array, value: Array, rest: Array) -> None:
    """Subtract (1 + L + Lᵀ) value from the right-hand side in ``rest``."""
    for i in range(value.shape[0]):
        for c in range(3):
            total = value[i, c]
            for half in range(2):
                for o in range(SIX):
                    total += matrix[half, i, o] * value[links[half, i, o], c]
            rest[i, c] -= total


@kernel
def _multiply(links: Array, matrix: Array, way: Array, back: Array, product: Array, along: Array) -> None:
    """Write back = (1 + Lᵀ)⁻¹ way, product = (1 + L)⁻¹ A back, and the sum of way times product channel by channel.

    Since A = (1 + L) + (1 + Lᵀ) − 1, the product is back + (1 + L)⁻¹ (way − back): no more work than A times a vector.
    """
    count = way.shape[0]
    for k in range(count):
        i = count - 1 - k
        s0, s1, s2 = way[i, 0], way[i, 1], way[i, 2]
        for o in range(SIX):
            m = matrix[1, i, o]
            if m != 0:
                j = np.uint32(links[1, i, o])
                s0, s1, s2 = s0 - m * back[j, 0], s1 - m * back[j, 1], s2 - m * back[j, 2]
        back[i, 0], back[i, 1], back[i, 2] = s0, s1, s2
    a0 = a1 = a2 = 0.0
    for i in range(count):
        w0, w1, w2 = way[i, 0], way[i, 1], way[i, 2]
        b0, b1, b2 = back[i, 0], back[i, 1], back[i, 2]
        s0, s1, s2 = w0 - b0, w1 - b1, w2 - b2
        for o in range(SIX):
            m = matrix[0, i, o]
            if m != 0:
                j = np.uint32(links[0, i, o])
                s0, s1, s2 = s0 - m * product[j, 0], s1 - m * product[j, 1], s2 - m * product[j, 2]
        product[i, 0], product[i, 1], product[i, 2] = s0, s1, s2
        a0, a1, a2 = a0 + w0 * (s0 + b0), a1 + w1 * (s1 + b1), a2 + w2 * (s2 + b2)
    along[0], along[1], along[2] = a0, a1, a2


@kernel
def _advance(value: Array, rest: Array, back: Array, product: Array, step: Array, left: Array) -> None:
    """Go a step along the way; write the sum of the squares of what is left."""
    t0 = t1 = t2 = 0.0
    for i in range(value.shape[0]):
        for c in range(3):
            value[i, c] += step[c] * back[i, c]
            rest[i, c] -= step[c] * (product[i, c] + back[i, c])
        t0, t1, t2 = t0 + rest[i, 0] ** 2, t1 + rest[i, 1] ** 2, t2 + rest[i, 2] ** 2
    left[0], left[1], left[2] = t0, t1, t2


@kernel
def _turn(rest: Array, way: Array, share: Array) -> None:
    """Turn the way towards what is left, keeping a share of itself."""
    for i in range(way.shape[0]):
        for c in range(3):
            way[i, c] = rest[i, c] + share[c] * way[i, c]


@kernel
def conjugate_gradients(links: Array, matrix: Array, rest: Array, value: Array, steps: int) -> None:
    """Improve the solution of A value = rest in place, ``rest`` too; each channel has a step of its own.

    A = 1 + L + Lᵀ, preconditioned by symmetric Gauss-Seidel, (1 + L)(1 + Lᵀ), in the form that costs nothing:
    Eisenstat, "Efficient Implementation of a Class of Preconditioned Conjugate Gradient Methods", 1981.
    """
    back, product = np.zeros_like(value), np.zeros_like(value)
    along, left, before = np.empty(3), np.empty(3), np.empty(3)
    share = np.zeros(3, np.float32)
    _residual(links, matrix, value, rest)
    _substitute_forward(links, matrix, rest)
    way = rest.copy()
    _advance(value, rest, back, product, share, left)
    enough = left * CONVERGED**2
    for _ in range(steps):
        if (left <= enough).all():
            break
        _multiply(links, matrix, way, back, product, along)
        for c in range(3):
            # on from where rounding decides it would run away
            share[c] = left[c] / along[c] if left[c] > enough[c] and along[c] > 0 else 0.0
            before[c] = left[c]
        _advance(value, rest, back, product, share, left)
        for c in range(3):
            share[c] = left[c] / before[c] if before[c] > enough[c] else 0.0
        _turn(rest, way, share)


@kernel
def split(rows: Array, columns: Array, alpha: Array, t: Array, foreground: Array, background: Array) -> None:
    """Write F = C + (1−α)t and B = C − αt where the equations are; both pictures hold C."""
    for i in range(rows.shape[0]):
        y, x = rows[i], columns[i]
        a = alpha[y, x]
        for c in range(3):
            foreground[y, x, c] += (np.float32(1) - a) * t[i, c]
            background[y, x, c] -= a * t[i, c]
