"""Nested dissection of an unknown region: in which order to eliminate its pixels, and in which groups.

A cut two pixels thick separates its two sides, since a 3×3 window couples pixels up to two apart
(George 1973). Cutting again and again gives a tree; eliminated from the leaves up, each group
(a "front") touches only itself and the cuts around it. Hair and rims are thin, so their cuts are short.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]

REACH = 2
"""How far apart two coupled pixels can be, along either axis."""


@dataclass(frozen=True, eq=False)
class Front:
    """Pixels eliminated together.

    Parameters
    ----------
    columns : ndarray of int32
        The unknowns eliminated here; empty where a cut crosses nothing unknown.
    boundary : ndarray of int32
        Unknowns that these and their descendants touch, all eliminated later.
    children : tuple of int
        Positions of the fronts whose boundaries end here.
    """

    columns: Ids
    boundary: Ids
    children: tuple[int, ...]


def dissect(index: Ids, leaf: int = 128) -> list[Front]:
    """Return the fronts, children before parents.

    Parameters
    ----------
    index : ndarray, shape (H, W), int32
        Number of each unknown pixel, -1 elsewhere.
    leaf : int
        Up to how many pixels are eliminated without cutting them apart.
    """
    fronts: list[Front] = []
    _cut(index, (0, index.shape[0], 0, index.shape[1]), leaf, fronts)
    return fronts


_Box = tuple[int, int, int, int]


def _cut(index: Ids, box: _Box, leaf: int, fronts: list[Front]) -> tuple[int, ...]:
    """Append the fronts of one box; return the position of its last one, if it holds any unknown."""
    unknown = index[box[0] : box[1], box[2] : box[3]] >= 0
    if not unknown.any():
        return ()
    box, unknown = _shrink(box, unknown)
    top, bottom, left, right = box
    inside = index[top:bottom, left:right]
    children: tuple[int, ...] = ()
    if np.count_nonzero(unknown) > leaf:
        if bottom - top >= right - left:
            at = top + _thinnest(unknown.sum(axis=1))
            halves = ((top, at, left, right), (at + REACH, bottom, left, right))
            inside = index[at : at + REACH, left:right]
        else:
            at = left + _thinnest(unknown.sum(axis=0))
            halves = ((top, bottom, left, at), (top, bottom, at + REACH, right))
            inside = index[top:bottom, at : at + REACH]
        children = _cut(index, halves[0], leaf, fronts) + _cut(index, halves[1], leaf, fronts)
    fronts.append(Front(inside[inside >= 0], _around(index, box), children))
    return (len(fronts) - 1,)


def _shrink(box: _Box, unknown: NDArray[np.bool_]) -> tuple[_Box, NDArray[np.bool_]]:
    rows, columns = np.flatnonzero(unknown.any(axis=1)), np.flatnonzero(unknown.any(axis=0))
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    top, left = box[0], box[2]
    return (top + y0, top + y1, left + x0, left + x1), unknown[y0:y1, x0:x1]


def _thinnest(counts: NDArray[np.intp]) -> int:
    """Return where, in the middle part, a cut meets the fewest unknowns; the nearest to the middle of equals."""
    pairs = counts[:-1] + counts[1:]
    first = int(0.3 * len(counts))
    places = np.arange(first, max(int(0.7 * len(counts)), first + 1))
    off_centre = np.abs(places + 1 - len(counts) / 2) / len(counts)
    return first + int(np.argmin(pairs[places] + off_centre))


def _around(index: Ids, box: _Box) -> Ids:
    """Return the unknowns in the ring around a box: each lies in a cut made before."""
    top, bottom, left, right = box
    above, before = max(top - REACH, 0), max(left - REACH, 0)
    ring = np.concatenate(
        [
            index[above:top, before : right + REACH].ravel(),
            index[bottom : bottom + REACH, before : right + REACH].ravel(),
            index[top:bottom, before:left].ravel(),
            index[top:bottom, right : right + REACH].ravel(),
        ]
    )
    return ring[ring >= 0]
