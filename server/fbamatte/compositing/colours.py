"""F and B from the plate and alpha, by smoothness, in scene-linear light."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fbamatte.compositing import colour_kernels as kernels
from fbamatte.compositing import colour_pyramid as pyramid
from fbamatte.compositing.strips import workers

Plane = NDArray[np.float32]
Array = NDArray[Any]

COARSEST = 4000  # pixels to solve for up to which no coarser level is made
STEPS, MOST_STEPS = 16, 64  # of conjugate gradients: at full resolution, twice as many a level down, and at most
COARSEST_STEPS = 400
TRUST = np.float32(0.05)  # what a coarser level weighs where a finer one has something to say itself
HOLD = 1e-3  # weight of the coarser level's colours, relative to the membrane
CLOSING = 2  # in blocks of 4×4 pixels: how far gaps without alpha are bridged
FAINT = np.float32(0.1)  # below this share of the plate a layer is taken from its surroundings, gradually
SURE = 0.999  # from this alpha on, and below one minus it, the plate shows one layer alone
TRACE = np.float32(1e-30)  # a weight below this is none: its reciprocal could not be told from infinity


@dataclass(frozen=True)
class _Level:
    """A picture at one resolution; status and index have a border of 2 pixels."""

    plate: Plane
    alpha: Plane
    region: NDArray[np.bool_]
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
    count = workers()
    with ThreadPoolExecutor(count) as pool:
        solver = _Solver(pool, count)
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
    count, border = np.count_nonzero(region), 2 * kernels.BORDER
    status = np.zeros((alpha.shape[0] + border, alpha.shape[1] + border), np.uint8)
    index = np.full(status.shape, -1, np.int32)
    rows, columns = np.empty(count, np.int32), np.empty(count, np.int32)
    kernels.number(alpha, region, status, index, rows, columns)
    return _Level(plate, alpha, region, status, index, rows, columns)


class _Solver:
    """The solution from coarse to fine, its loops over whole pictures shared among threads."""

    def __init__(self, pool: ThreadPoolExecutor, count: int) -> None:
        self._pool = pool
        self._workers = count

    def levels(self, plate: Plane, alpha: Plane, region: NDArray[np.bool_]) -> list[_Level]:
        """Return the picture and its halves, finest first."""
        levels = [_level(plate, alpha, region)]
        while levels[-1].count > COARSEST and min(alpha.shape) > 8:
            region = ndimage.binary_dilation(_any_of_four(region), np.ones((3, 3), bool))
            plate, alpha = self._half(plate), self._half(alpha[..., None])[..., 0]
            levels.append(_level(plate, alpha, region))
        return levels

    def solve(self, levels: list[_Level]) -> tuple[Plane, Plane]:
        """Return F and B of the finest level."""
        plate, alpha = self._half(levels[-1].plate), self._half(levels[-1].alpha[..., None])[..., 0]
        f, b = plate.copy(), plate.copy()
        # Where no pixel shows a layer alone, the purest mixtures have to do.
        shown_f = np.where(alpha >= SURE, 1, 1e-3 * alpha**4).astype(np.float32)
        shown_b = np.where(alpha <= 1 - SURE, 1, 1e-3 * (1 - alpha) ** 4).astype(np.float32)
        held_f, held_b, needed = shown_f, shown_b, np.ones(alpha.shape, bool)
        for number in reversed(range(len(levels))):
            level = levels[number]
            stiff = self._stiffness(f, shown_f, b, shown_b, needed, 2.0 ** (number + 1))
            self.extend(f, held_f)
            self.extend(b, held_b)
            steps = COARSEST_STEPS if level is levels[-1] else min(STEPS << number, MOST_STEPS)
            t = self._solve_level(level, f, b, stiff, 0.25**number, steps)
            f, b = level.plate.copy(), level.plate.copy()
            kernels.split(level.rows, level.columns, level.alpha, t, f, b)
            shown_f, shown_b, needed = level.alpha, 1 - level.alpha, level.region
            if number:
                held_f = np.where(level.region | (level.alpha >= 1), shown_f + np.float32(1e-3), np.float32(0))
                held_b = np.where(level.region | (level.alpha <= 0), shown_b + np.float32(1e-3), np.float32(0))
        self._settle(f, shown_f)
        self._settle(b, shown_b)
        return f, b

    def _settle(self, layer: Plane, share: Plane) -> None:
        """Blend a layer into its smooth surroundings where it is hardly seen, in place.

        There a small error of the plate is a large one of the layer, and second differences run away.
        """
        self.extend(layer, share, FAINT if share.max() >= FAINT else TRACE)

    def extend(self, picture: Plane, weight: Plane, least: np.float32 = TRACE) -> None:
        """Fill the pixels of less than the ``least`` weight from those around, in place.

        Those of some weight keep a part of their own. Without any weight nothing changes.
        """
        if weight.max() >= least:
            half, half_weight = self._pull(picture, weight, least)
            self._mix(half, half_weight)
            self._share(pyramid.fill, len(picture), 64, picture, weight, half, least)

    def _mix(self, picture: Plane, weight: Plane) -> None:
        """Mix each pixel with those around by their weights, from coarse to fine, in place."""
        if max(weight.shape) > 1:
            half, half_weight = self._pull(picture, weight, TRACE)
            self._mix(half, half_weight)
            self._share(pyramid.push, len(picture), 64, picture, weight, half, TRUST)

    def _pull(self, picture: Plane, weight: Plane, least: np.float32) -> tuple[Plane, Plane]:
        height, width, channels = picture.shape
        half = np.empty(((height + 1) // 2, (width + 1) // 2, channels), np.float32)
        half_weight = np.empty(half.shape[:2], np.float32)
        self._share(pyramid.pull, len(half), 64, picture, weight, least, half, half_weight)
        return half, half_weight

    def _stiffness(
        self, f: Plane, shown_f: Plane, b: Plane, shown_b: Plane, needed: NDArray[np.bool_], cell: float
    ) -> tuple[Plane, Plane]:
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
        scale = 1e-5 * unit, unit, cell
        self._share(pyramid.stiffness, len(f), 64, rough_f, rough_b, needed, *scale, stiff_f)
        self._share(pyramid.stiffness, len(f), 64, rough_b, rough_f, needed, *scale, stiff_b)
        return stiff_f, stiff_b

    def _roughness(self, picture: Plane, shown: Plane) -> Plane | None:
        """Return the size of first and second differences, carried on to where the layer is not seen."""
        rough, sure = np.empty((*picture.shape[:2], 2), np.float32), np.empty(picture.shape[:2], np.float32)
        self._share(pyramid.roughness, len(picture), 64, picture, shown, rough, sure)
        if not sure.any():
            return None
        self._mix(rough, sure)
        return rough

    def _solve_level(
        self, level: _Level, f: Plane, b: Plane, stiff: tuple[Plane, Plane], bending: float, steps: int
    ) -> Plane:
        """Return t, shape (N, 3)."""
        n = level.count
        links, matrix = np.empty((2, n, 6), np.int32), np.empty((2, n, 6))
        diagonal, right = np.empty(n), np.empty((n, 3))
        t = np.empty((n, 3), np.float32)
        where = level.rows, level.columns, level.status, level.index, level.alpha, level.plate
        scale = bending, HOLD
        self._share(kernels.assemble, n, 2000, *where, f, b, *stiff, *scale, links, matrix, diagonal, right, t)
        diagonal[diagonal < 1e-30] = 1
        root, scaled, rest = diagonal**-0.5, np.empty(links.shape, np.float32), np.empty_like(t)
        self._share(kernels.normalise, n, 2000, links, matrix, root, right, t, scaled, rest)
        del matrix, right, diagonal
        kernels.conjugate_gradients(links, scaled, rest, t, steps)
        t *= root[:, None].astype(np.float32)
        return t

    def _half(self, picture: Plane) -> Plane:
        height, width, channels = picture.shape
        half = np.empty(((height + 1) // 2, (width + 1) // 2, channels), np.float32)
        self._share(pyramid.halve, half.shape[0], 64, picture, half)
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
