"""The matting Laplacian (Levin et al. 2008), assembled for unknown pixels alone.

The whole plate's matrix has 25 entries a pixel; a UHD plate needs 5 GB for it, nearly all of it
rows of known pixels that never enter the solve. Here a row exists only for an unknown pixel, and
known neighbours go straight to the right-hand side. Same equations, same solution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fbamatte.compositing.jit import kernel
from fbamatte.models.base import Array

Doubles = NDArray[np.float64]
Ids = NDArray[np.int32]

EPSILON = 1e-7
"""Regularisation of the window's colour covariance, as PyMatting has it."""

BORDER = 2
"""A 3×3 window couples pixels up to 2 apart; the index map carries as much empty border."""

_CENTRE = 12


@dataclass(frozen=True, eq=False)
class System:
    """A x = b over the unknown pixels, numbered row by row.

    Parameters
    ----------
    index : ndarray, shape (H + 4, W + 4), int32
        Number of each unknown pixel, -1 elsewhere.
    ys, xs : ndarray, shape (n,), int32
        Where in ``index`` each unknown stands.
    values : ndarray, shape (n, 25), float64
        Row of A: entry 5 (dy + 2) + (dx + 2) couples to the pixel at (dy, dx).
    rhs : ndarray, shape (n,), float64
        b: what the known neighbours contribute.
    """

    index: Ids
    ys: Ids
    xs: Ids
    values: Doubles
    rhs: Doubles

    def residual(self, x: Doubles) -> Doubles:
        """Return b − A x."""
        out = self.rhs.copy()
        _subtract_product(self.index, self.ys, self.xs, self.values, x, out)
        return out


def build(image: Array, unknown: NDArray[np.bool_], alpha: Array, *, prior: float, near: Array | None = None) -> System:
    """Return the system whose solution is alpha in the unknown pixels.

    Parameters
    ----------
    image : ndarray, shape (H, W, 3), float32
        At least 3×3.
    unknown : ndarray, shape (H, W), bool
    alpha : ndarray, shape (H, W), float32
        Read at known pixels only; need not be 0 or 1.
    prior : float
        Weight of a pull towards 0.5, or towards ``near``. Keeps the system definite where an unknown region
        touches nothing known; unless ``near`` is given, far too weak to be seen elsewhere.
    near : ndarray, shape (H, W), float32, optional
        An estimate of alpha.
    """
    height, width = unknown.shape
    index = np.full((height + 2 * BORDER, width + 2 * BORDER), -1, np.int32)
    ys, xs = (axis.astype(np.int32) + np.int32(BORDER) for axis in np.nonzero(unknown))
    index[ys, xs] = np.arange(len(ys), dtype=np.int32)
    values = np.zeros((len(ys), 25))
    values[:, _CENTRE] = prior
    rhs = np.full(len(ys), 0.5 * prior) if near is None else prior * near[unknown].astype(np.float64)
    _accumulate(np.ascontiguousarray(image), index, np.ascontiguousarray(alpha), EPSILON, values, rhs)
    return System(index, ys, xs, values, rhs)


@kernel
def _accumulate(image: Array, index: Ids, alpha: Array, epsilon: float, values: Doubles, rhs: Doubles) -> None:
    height, width = alpha.shape
    ids = np.empty(9, np.int64)
    colour = np.empty((9, 3))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            found = False
            for k in range(9):
                ids[k] = index[y + k // 3 + 1, x + k % 3 + 1]
                found = found or ids[k] >= 0
            if found:
                _centre_colours(image, y, x, colour)
                _add_window(ids, colour, alpha, y, x, epsilon, values, rhs)


@kernel
def _centre_colours(image: Array, y: int, x: int, colour: Doubles) -> None:
    for c in range(3):
        total = 0.0
        for k in range(9):
            colour[k, c] = image[y + k // 3 - 1, x + k % 3 - 1, c]
            total += colour[k, c]
        for k in range(9):
            colour[k, c] -= total / 9


@kernel
def _add_window(
    ids: NDArray[np.int64],
    colour: Doubles,
    alpha: Array,
    y: int,
    x: int,
    epsilon: float,
    values: Doubles,
    rhs: Doubles,
) -> None:
    """Add δ_kl − (1 + c_kᵀ Σ⁻¹ c_l) / 9 for each pair of the window's pixels whose first is unknown."""
    # 9 Σ = ε I + Σ c cᵀ = L Lᵀ: with it the term is a scalar product of L⁻¹c, and no rounding makes the sum of windows
    # indefinite. The determinant of colours on one line is all cancellation. The 9 comes back as 3 in each factor.
    a, b, c, d, e, f = epsilon, 0.0, 0.0, epsilon, 0.0, epsilon
    for k in range(9):
        a += colour[k, 0] * colour[k, 0]
        b += colour[k, 0] * colour[k, 1]
        c += colour[k, 0] * colour[k, 2]
        d += colour[k, 1] * colour[k, 1]
        e += colour[k, 1] * colour[k, 2]
        f += colour[k, 2] * colour[k, 2]
    l00 = a**0.5
    l10, l20 = b / l00, c / l00
    l11 = (d - l10 * l10) ** 0.5
    l21 = (e - l20 * l10) / l11
    l22 = (f - l20 * l20 - l21 * l21) ** 0.5
    for k in range(9):
        colour[k, 0] *= 3 / l00
        colour[k, 1] = (3 * colour[k, 1] - l10 * colour[k, 0]) / l11
        colour[k, 2] = (3 * colour[k, 2] - l20 * colour[k, 0] - l21 * colour[k, 1]) / l22
    for k in range(9):
        row = ids[k]
        if row < 0:
            continue
        p, q, r = colour[k, 0], colour[k, 1], colour[k, 2]
        for m in range(9):
            value = -(1.0 + p * colour[m, 0] + q * colour[m, 1] + r * colour[m, 2]) / 9
            if k == m:
                value += 1.0
            if ids[m] >= 0:
                values[row, 5 * (m // 3 - k // 3 + 2) + m % 3 - k % 3 + 2] += value
            else:
                rhs[row] -= value * alpha[y + m // 3 - 1, x + m % 3 - 1]


@kernel
def _subtract_product(index: Ids, ys: Ids, xs: Ids, values: Doubles, x: Doubles, out: Doubles) -> None:
    for row in range(len(ys)):
        total = 0.0
        for k in range(25):
            column = index[ys[row] + k // 5 - 2, xs[row] + k % 5 - 2]
            if column >= 0:
                total += values[row, k] * x[column]
        out[row] -= total
