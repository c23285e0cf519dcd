"""Multifrontal Cholesky factorisation of the matting Laplacian (Duff and Reid 1983).

A direct solve: no iteration that may fail to converge on hair, no tolerance to tune. Fronts are
factored in double by LAPACK; the factor is kept in single, which halves the memory, and a step of
iterative refinement gives the digits back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # ships no types

from fbamatte.compositing.jit import kernel, summing_kernel
from fbamatte.compositing.strips import workers
from fbamatte.models import interruption
from fbamatte.models.closed_form.dense import eliminate
from fbamatte.models.closed_form.dissection import Front
from fbamatte.models.closed_form.laplacian import Doubles, Ids, System

Singles = NDArray[np.float32]

MANY_THREADS_FROM = 2048
"""Size of a front from which BLAS gains by several threads; below, they cost more than they give."""

# BLAS thread counts belong to the process: only one factorisation may set them at a time.
_blas_threads = threading.Lock()


class NotDefiniteError(ArithmeticError):
    """Rounding made a pivot negative: the prior was too weak for this picture."""


@dataclass(frozen=True, eq=False)
class Factor:
    """L of A = L Lᵀ, one block of columns per front.

    Parameters
    ----------
    blocks : list of (ids, panel)
        ``panel`` (n, k) holds k columns of L on the rows ``ids`` (n,), of which the first k are the columns' own; what
        stands above the diagonal means nothing. Single precision.
    """

    blocks: list[tuple[Ids, Singles]]

    def solve(self, rhs: Doubles) -> Doubles:
        """Return x of L Lᵀ x = rhs, to single precision."""
        x = rhs.astype(np.float32)
        for ids, panel in self.blocks:
            _forward(ids, panel, x)
        for ids, panel in reversed(self.blocks):
            _backward(ids, panel, x)
        return x.astype(np.float64)


def factorise(system: System, fronts: list[Front]) -> Factor:
    """Return the factor of the system's matrix.

    Raises
    ------
    NotDefiniteError
        If a pivot is not positive.
    """
    with _blas_threads, _blas().limit(limits=1):
        return Factor(list(_blocks(system, fronts)))


@cache
def _blas() -> Any:
    return ThreadpoolController().select(user_api="blas")


def _blocks(system: System, fronts: list[Front]) -> Iterator[tuple[Ids, Singles]]:
    place = np.full(len(system.rhs), -1, np.int32)
    updates: dict[int, tuple[Doubles, Ids]] = {}
    for position, front in enumerate(fronts):
        interruption.check()
        ids, count = np.concatenate([front.columns, front.boundary]), len(front.columns)
        panel = np.zeros((len(ids), count), order="F")
        rest = np.zeros((len(ids) - count,) * 2, order="F")
        _set_places(ids, place)
        _add_rows(panel, front.columns, system.index, system.ys, system.xs, system.values, place)
        for child in front.children:
            if child in updates:  # an island leaves nothing
                _add_update(panel, rest, *updates.pop(child), place)
        _clear_places(ids, place)
        with _threads_for(len(ids)):
            if count and not eliminate(panel, rest):
                raise NotDefiniteError
        if len(front.boundary):
            updates[position] = (rest, front.boundary)
        if count:
            yield ids, panel.astype(np.float32)


def _threads_for(size: int) -> AbstractContextManager[object]:
    if size < MANY_THREADS_FROM:
        return nullcontext()
    several: AbstractContextManager[object] = _blas().limit(limits=workers())
    return several


@kernel
def _set_places(ids: Ids, place: Ids) -> None:
    for k in range(len(ids)):
        place[ids[k]] = k


@kernel
def _clear_places(ids: Ids, place: Ids) -> None:
    for k in range(len(ids)):
        place[ids[k]] = -1


@kernel
def _add_rows(
    panel: Doubles, columns: Ids, index: Ids, ys: Ids, xs: Ids, values: NDArray[np.float64], place: Ids
) -> None:
    """Add the front's own rows of A."""
    for k in range(len(columns)):
        row = columns[k]
        for m in range(25):
            other = index[ys[row] + m // 5 - 2, xs[row] + m % 5 - 2]
            # What is not in this front was eliminated below it, and its entry with it.
            if other >= 0 and place[other] >= k:
                panel[place[other], k] += values[row, m]


@kernel
def _add_update(panel: Doubles, rest: Doubles, update: Doubles, boundary: Ids, place: Ids) -> None:
    """Add what a child left; its boundary is in the order of elimination, and so are the places here."""
    count = panel.shape[1]
    at = place[boundary]
    own = 0
    while own < len(at) and at[own] < count:
        own += 1
    for k in range(own):
        for m in range(k, len(at)):
            panel[at[m], at[k]] += update[m, k]
    at -= count
    for k in range(own, len(at)):
        for m in range(k, len(at)):
            rest[at[m], at[k]] += update[m, k]


@kernel
def _forward(ids: Ids, panel: Singles, x: Singles) -> None:
    """Solve for the panel's own unknowns, and take what they contribute from those below."""
    size, count = panel.shape
    z = x[ids]
    for k in range(count):
        found = z[k] / panel[k, k]
        z[k] = found
        for m in range(k + 1, size):
            z[m] -= panel[m, k] * found
    for m in range(size):
        x[ids[m]] = z[m]


@summing_kernel
def _backward(ids: Ids, panel: Singles, x: Singles) -> None:
    """Solve the transposed equations for the panel's own unknowns."""
    size, count = panel.shape
    z = x[ids]
    for j in range(count):
        k = count - 1 - j
        total = np.float32(0)
        for m in range(k + 1, size):
            total += panel[m, k] * z[m]
        z[k] = (z[k] - total) / panel[k, k]
        x[ids[k]] = z[k]
