"""F and B from the plate and alpha, by smoothness, in scene-linear light."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import splu

from fbamatte.compositing import colour_kernels as kernels

Plane = NDArray[np.float32]
Array = NDArray[Any]

SOLVED_DIRECTLY = 4000  # pixels of the coarsest level
STEPS, MOST_STEPS = 40, 160  # of conjugate gradients: at full resolution, twice as many a level down, and at most
TRUST = 0.05  # what a coarser level weighs where a finer one has something to say itself
HOLD = 1e-3  # weight of the coarser level's colours, relative to the membrane
CLOSING = 2  # in blocks of 4×4 pixels: how far gaps without alpha are bridged
FAINT = 0.1  # below this share of the plate a layer is taken from its surroundings, gradually
SURE = 0.999  # from this alpha on, and below one minus it, the plate shows one layer alone


@dataclass(frozen=True)
class _Level:
    """A picture at one resolution; status and index have a border of 2 pixels."""

    plate: Plane
    alpha: Plane
    status: Array
    index: Array
    rows: Array
    columns: Array

    @property
    def count(self) -> int:
        return len(self.rows)


def colours(plate: Plane, alpha: Plane, *, unknown: NDArray[np.bool_] | None = None) -> tuple[Plane, Plane]:
    """Return straight F and B, the smoothest that explain the plate with this alpha.

    Parameters
    ----------
    plate : ndarray, shape (H, W, 3)
        C, scene-linear, finite, unbounded.
    alpha : ndarray, shape (H, W)
        In [0, 1], linear light.
    unknown : ndarray, shape (H, W), bool, optional
        Where alpha was in question: gaps between strands are bridged only there. Everywhere if left out.

    Returns
    -------
    foreground, background : ndarray, shape (H, W, 3)
        Scene-linear, unbounded. F is C where alpha is 1, B is C where alpha is 0. Between 0.1 and
        0.9 αF + (1−α)B is C but for rounding. Below that F fades into a continuation of what is beside it, above B
        does, so that neither runs away where it is hardly seen.

    Notes
    -----
    With F = C + (1−α)t and B = C − αt any t recomposes the plate. The t wanted minimises, in F and in B, the first
    and second differences, each divided by what it measures where that layer is seen (a Gaussian prior with variances
    taken from the picture): in smooth layers the second differences decide, so that ramps and highlights continue;
    in textured ones the first, which do not overshoot; and the rougher layer takes the texture. Solved from coarse
    to fine; each level's solution gives the next its variances. For the first-order prior with fixed weights see
    Levin, Lischinski and Weiss, "A Closed-Form Solution to Natural Image Matting", 2008, Eq. 19, and for the
    multi-level way Germer et al., "Fast Multi-Level Foreground Estimation", 2020.

    Multiplying the plate by a factor or adding an offset does the same to F and B.
    """
    region = _region(alpha, unknown)
    plate, alpha = np.ascontiguousarray(plate, np.float32), np.ascontiguousarray(alpha, np.float32)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        solver = _Solver(pool, os.cpu_count() or 1)
        if region.any():
            return solver.solve(solver.levels(plate, alpha, region))
        foreground, background = plate.copy(), plate.copy()
        solver.extend(foreground, alpha)
        solver.extend(background, 1 - alpha)
        return foreground, background


def _region(alpha: Plane, unknown: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return the pixels to solve for: mixed ones, and the gaps between them."""
    mixed = (alpha > 0) & (alpha < 1)
    square = np.ones((3, 3), bool)
    blocks = np.pad(_any_of_four(_any_of_four(mixed)), CLOSING)
    wide = ndimage.binary_dilation(blocks, square, CLOSING)
    closed = ndimage.binary_erosion(wide, square, CLOSING)[CLOSING:-CLOSING, CLOSING:-CLOSING]
    gaps: NDArray[np.bool_] = np.repeat(np.repeat(closed, 4, 0), 4, 1)[: alpha.shape[0], : alpha.shape[1]]
    return mixed | gaps if unknown is None else mixed | (gaps & unknown)


def _any_of_four(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    height, width = mask.shape
    even = np.pad(mask, ((0, height & 1), (0, width & 1)))
    found: NDArray[np.bool_] = even[::2, ::2] | even[1::2, ::2] | even[::2, 1::2] | even[1::2, 1::2]
    return found


def _level(plate: Plane, alpha: Plane, region: NDArray[np.bool_]) -> _Level:
    status = np.where(alpha >= 1, kernels.FOREGROUND, np.where(alpha <= 0, kernels.BACKGROUND, 0))
    status[region] = kernels.FOREGROUND | kernels.BACKGROUND
    rows, columns = (axis.astype(np.int32) for axis in np.nonzero(region))
    index = np.full((alpha.shape[0] + 4, alpha.shape[1] + 4), -1, np.int32)
    index[rows + 2, columns + 2] = np.arange(len(rows), dtype=np.int32)
    return _Level(plate, alpha, np.pad(status.astype(np.uint8), 2), index, rows, columns)


class _Solver:
    """The solution from coarse to fine, its loops shared among threads."""

    def __init__(self, pool: ThreadPoolExecutor, workers: int) -> None:
        self._pool = pool
        self._workers = workers

    def levels(self, plate: Plane, alpha: Plane, region: NDArray[np.bool_]) -> list[_Level]:
        """Return the picture and its halves, finest first."""
        levels = [_level(plate, alpha, region)]
        while levels[-1].count > SOLVED_DIRECTLY and min(alpha.shape) > 8:
            region = ndimage.binary_dilation(_any_of_four(region), np.ones((3, 3), bool))
            plate, alpha = self._half(plate), self._half(alpha[..., None])[..., 0]
            levels.append(_level(plate, alpha, region))
        return levels

    def solve(self, levels: list[_Level]) -> tuple[Plane, Plane]:
        """Return F and B of the finest level."""
        plate, alpha = self._half(levels[-1].plate), self._half(levels[-1].alpha[..., None])[..., 0]
        f, b = plate.copy(), plate.copy()
        # Where no pixel shows a layer alone, the purest mixtures have to do.
        shown_f = np.where(alpha >= SURE, 1, 1e-3 * alpha**4)
        shown_b = np.where(alpha <= 1 - SURE, 1, 1e-3 * (1 - alpha) ** 4)
        held_f, held_b = shown_f, shown_b
        for number in reversed(range(len(levels))):
            level = levels[number]
            stiff = self._stiffness(f, shown_f, b, shown_b, 2.0 ** (number + 1))
            self.extend(f, held_f)
            self.extend(b, held_b)
            t = self._solve_level(level, f, b, stiff, number, direct=level is levels[-1])
            at = level.rows, level.columns
            a, c = level.alpha[at][:, None], level.plate[at]
            f, b = level.plate.copy(), level.plate.copy()
            f[at], b[at] = c + (1 - a) * t, c - a * t
            shown_f, shown_b = level.alpha, 1 - level.alpha
            status = level.status[2:-2, 2:-2]
            held_f = np.where(status & kernels.FOREGROUND, shown_f + np.float32(1e-3), np.float32(0))
            held_b = np.where(status & kernels.BACKGROUND, shown_b + np.float32(1e-3), np.float32(0))
        self.extend(f, held_f)
        self.extend(b, held_b)
        self._settle(f, levels[0].alpha)
        self._settle(b, 1 - levels[0].alpha)
        return f, b

    def _settle(self, layer: Plane, share: Array) -> None:
        """Blend a layer into its smooth surroundings where it is hardly seen, in place.

        There a small error of the plate is a large one of the layer, and second differences run away.
        """
        surroundings = layer.copy()
        self.extend(surroundings, np.where(share >= FAINT, share, np.float32(0)))
        seen = np.minimum(share / np.float32(FAINT), 1)
        seen = (seen * seen * (3 - 2 * seen)).astype(np.float32)[..., None]
        layer -= surroundings
        layer *= seen
        layer += surroundings

    def extend(self, picture: Plane, weight: Array) -> None:
        """Fill the pixels without weight from those around, in place; without any weight nothing changes."""
        if weight.any():
            self._pyramid(picture, np.ascontiguousarray(weight, np.float32), True)

    def _pyramid(self, picture: Plane, weight: Plane, only_empty: bool) -> None:
        height, width, channels = picture.shape
        if max(height, width) <= 1:
            return
        half = np.empty(((height + 1) // 2, (width + 1) // 2, channels), np.float32)
        half_weight = np.empty(half.shape[:2], np.float32)
        self._share(kernels.pull, half.shape[0], 64, picture, weight, half, half_weight)
        self._pyramid(half, half_weight, False)
        self._share(kernels.push, height, 64, picture, weight, half, TRUST, only_empty)

    def _stiffness(self, f: Plane, shown_f: Array, b: Plane, shown_b: Array, cell: float) -> tuple[Plane, Plane]:
        """Return the weights of first and second differences of F and of B, shape (H, W, 2), in pixels' units."""
        rough_f, rough_b = self._roughness(f, shown_f), self._roughness(b, shown_b)
        rough_f = rough_b if rough_f is None else rough_f
        rough_b = rough_f if rough_b is None else rough_b
        flat = np.ones((*f.shape[:2], 2), np.float32)
        if rough_f is None or rough_b is None:
            return flat, flat
        unit = max(float(np.mean(np.square(r[..., 0], dtype=np.float64))) for r in (rough_f, rough_b)) / cell**2
        if not unit > 0:
            return flat, flat
        stiff_f, stiff_b = flat, flat.copy()
        self._share(kernels.stiffness, len(f), 64, rough_f, rough_b, 1e-5 * unit, unit, cell, stiff_f)
        self._share(kernels.stiffness, len(f), 64, rough_b, rough_f, 1e-5 * unit, unit, cell, stiff_b)
        return stiff_f, stiff_b

    def _roughness(self, picture: Plane, shown: Array) -> Plane | None:
        """Return the size of first and second differences, carried on to where the layer is not seen."""
        rough, sure = np.empty((*picture.shape[:2], 2), np.float32), np.empty(picture.shape[:2], np.float32)
        self._share(kernels.roughness, len(picture), 64, picture, shown.astype(np.float32), rough, sure)
        if not sure.any():
            return None
        self._pyramid(rough, sure, False)
        return rough

    def _solve_level(
        self, level: _Level, f: Plane, b: Plane, stiff: tuple[Plane, Plane], number: int, *, direct: bool
    ) -> Plane:
        """Return t, shape (N, 3)."""
        n = level.count
        links, matrix = np.empty((n, 12), np.int32), np.empty((n, 12))
        diagonal, right = np.empty(n), np.empty((n, 3))
        t = np.empty((n, 3), np.float32)
        where = level.rows, level.columns, level.status, level.index, level.alpha, level.plate
        scale = 0.25**number, HOLD
        self._share(kernels.assemble, n, 2000, *where, f, b, *stiff, *scale, links, matrix, diagonal, right, t)
        diagonal[diagonal < 1e-30] = 1
        if direct:
            return _solve_directly(links, matrix, diagonal, right)
        root, scaled = diagonal**-0.5, np.empty((n, 12), np.float32)
        self._share(kernels.normalise, n, 2000, links, matrix, root, right, t, scaled)
        rest = right.astype(np.float32)
        del matrix, right, diagonal
        self._conjugate_gradients(links, scaled, rest, t, min(STEPS << number, MOST_STEPS))
        t *= root[:, None].astype(np.float32)
        return t

    def _conjugate_gradients(self, links: Array, matrix: Array, rest: Plane, value: Plane, steps: int) -> None:
        """Improve the solution in place; each channel has a step of its own."""
        blocks = -(-len(value) // kernels.BLOCK)
        dots, product, none = np.zeros((blocks, 3)), np.empty_like(value), np.zeros(3, np.float32)

        def run(function: Callable[..., None], *arrays: Array) -> Array:
            self._share(function, blocks, 2, *arrays)
            total: Array = dots.sum(axis=0)
            return total

        run(kernels.multiply, links, matrix, value, product, dots)
        rest -= product
        way = rest.copy()
        left = run(kernels.advance, value, rest, way, product, none, dots)
        for _ in range(steps):
            along = run(kernels.multiply, links, matrix, way, product, dots)
            step = np.divide(left, along, out=np.zeros(3), where=along > 0).astype(np.float32)
            now = run(kernels.advance, value, rest, way, product, step, dots)
            share = np.divide(now, left, out=np.zeros(3), where=left > 0).astype(np.float32)
            run(kernels.turn, rest, way, share)
            left = now

    def _half(self, picture: Plane) -> Plane:
        height, width, channels = picture.shape
        half = np.empty(((height + 1) // 2, (width + 1) // 2, channels), np.float32)
        self._share(kernels.halve, half.shape[0], 64, picture, half)
        return half

    def _share(self, function: Callable[..., None], count: int, least: int, *arguments: Any) -> None:
        """Call ``function(first, last, *arguments)`` for parts of 0 … count that are at least so large."""
        parts = max(1, min(self._workers, count // least))
        if parts == 1:
            function(0, count, *arguments)
            return
        edges = [count * i // parts for i in range(parts + 1)]
        for done in [self._pool.submit(function, i, j, *arguments) for i, j in zip(edges, edges[1:])]:
            done.result()


def _solve_directly(links: Array, matrix: Array, diagonal: Array, right: Array) -> Plane:
    n = len(diagonal)
    rows = np.repeat(np.arange(n), 12)
    equations = sparse.coo_matrix((matrix.ravel(), (rows, links.ravel())), shape=(n, n)).tocsc()
    equations = (equations + sparse.diags(diagonal * (1 + 1e-9))).tocsc()
    factors = splu(equations, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}, diag_pivot_thresh=0.0)
    solution: Plane = factors.solve(right).astype(np.float32)
    return solution
