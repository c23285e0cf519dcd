"""Nested dissection of an unknown region: in which order to eliminate its pixels, and in which groups.

A cut two pixels thick separates its two sides, since a 3×3 window couples pixels up to two apart
(George 1973). Cutting again and again gives a tree; eliminated from the leaves up, each group
(a "front") touches only itself and the cuts around it. Hair and rims are thin, so their cuts are short.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from fbamatte.compositing.jit import kernel

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
        Unknowns that these and their descendants touch, all eliminated later; in the order of elimination.
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
    parts: list[_Part] = []
    _cut(index, (0, index.shape[0], 0, index.shape[1]), leaf, parts)
    turn = np.empty(int(index.max(initial=-1)) + 1, np.int32)
    turn[np.concatenate([np.zeros(0, np.int32), *(columns for columns, _, _ in parts)])] = np.arange(len(turn))
    return [Front(columns, _in_turn(around, turn), children) for columns, around, children in parts]


_Box = tuple[int, int, int, int]
_Part = tuple[Ids, Ids, tuple[int, ...]]


def _cut(index: Ids, box: _Box, leaf: int, parts: list[_Part]) -> tuple[int, ...]:
    """Append the parts of one box; return the position of its last one, if it holds any unknown."""
    count, top, bottom, left, right, at = _survey(index, *box)
    if not count:
        return ()
    inside, children = (top, bottom, left, right), cast("tuple[int, ...]", ())
    if count > leaf:
        if bottom - top >= right - left:
            halves = ((top, at, left, right), (at + REACH, bottom, left, right))
            inside = (at, at + REACH, left, right)
        else:
            halves = ((top, bottom, left, at), (top, bottom, at + REACH, right))
            inside = (top, bottom, at, at + REACH)
        children = _cut(index, halves[0], leaf, parts) + _cut(index, halves[1], leaf, parts)
    parts.append((_unknowns(index, *inside), _around(index, top, bottom, left, right), children))
    return (len(parts) - 1,)


def _in_turn(ids: Ids, turn: Ids) -> Ids:
    return ids[np.argsort(turn[ids])]


@kernel
def _survey(index: Ids, top: int, bottom: int, left: int, right: int) -> tuple[int, int, int, int, int, int]:
    """Return how many unknowns a box holds, the box shrunk to them, and where to cut its longer side.

    The cut is where, in the middle part, it meets the fewest unknowns; the nearest to the middle of equals.
    """
    rows, columns = np.zeros(max(0, bottom - top), np.int64), np.zeros(max(0, right - left), np.int64)
    count = 0
    for y in range(top, min(bottom, index.shape[0])):
        for x in range(left, min(right, index.shape[1])):
            if index[y, x] >= 0:
                rows[y - top] += 1
                columns[x - left] += 1
                count += 1
    if count == 0:
        return 0, top, top, left, left, 0
    y0, y1 = np.flatnonzero(rows)[0], np.flatnonzero(rows)[-1] + 1
    x0, x1 = np.flatnonzero(columns)[0], np.flatnonzero(columns)[-1] + 1
    tall = y1 - y0 >= x1 - x0
    counts, origin = (rows[y0:y1], top + y0) if tall else (columns[x0:x1], left + x0)
    first = int(0.3 * len(counts))
    best, least = first, np.inf
    for at in range(first, min(max(int(0.7 * len(counts)), first + 1), len(counts) - 1)):
        cost = counts[at] + counts[at + 1] + abs(at + 1 - len(counts) / 2) / len(counts)
        if cost < least:
            best, least = at, cost
    return count, top + y0, top + y1, left + x0, left + x1, origin + best


@kernel
def _unknowns(index: Ids, top: int, bottom: int, left: int, right: int) -> Ids:
    """Return the unknowns of a box, row by row."""
    part = index[top:bottom, left:right]
    found = np.empty(part.size, np.int32)
    count = 0
    for y in range(part.shape[0]):
        for x in range(part.shape[1]):
            if part[y, x] >= 0:
                found[count] = part[y, x]
                count += 1
    return found[:count].copy()


@kernel
def _around(index: Ids, top: int, bottom: int, left: int, right: int) -> Ids:
    """Return the unknowns in the ring around a box: each lies in a cut made before."""
    above, before = max(top - REACH, 0), max(left - REACH, 0)
    below, after = min(bottom + REACH, index.shape[0]), min(right + REACH, index.shape[1])
    found = np.empty((below - above) * (after - before) - (bottom - top) * (right - left), np.int32)
    count = 0
    for y in range(above, below):
        for x in range(before, after):
            if top <= y < bottom and left <= x < right:
                continue
            if index[y, x] >= 0:
                found[count] = index[y, x]
                count += 1
    return found[:count].copy()
