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
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk, dtrsm, strsv
from scipy.linalg.lapack import dpotrf
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # ships no types

from fbamatte.models import interruption
from fbamatte.models.closed_form.dissection import Front
from fbamatte.models.closed_form.jit import kernel
from fbamatte.models.closed_form.laplacian import Doubles, Ids, System

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
    blocks : list of (columns, boundary, diagonal, below)
        ``diagonal`` (k, k) is lower triangular, ``below`` (b, k); single precision.
    """

    blocks: list[tuple[Ids, Ids, Any, Any]]

    def solve(self, rhs: Doubles) -> Doubles:
        """Return x of L Lᵀ x = rhs, to single precision."""
        x = rhs.astype(np.float32)
        for columns, boundary, diagonal, below in self.blocks:
            x[columns] = step = strsv(diagonal, x[columns], lower=1)
            x[boundary] -= below @ step
        for columns, boundary, diagonal, below in reversed(self.blocks):
            x[columns] = strsv(diagonal, x[columns] - x[boundary] @ below, lower=1, trans=1)
        return x.astype(np.float64)


def factorise(system: System, fronts: list[Front]) -> Factor:
    """Return the factor of the system's matrix.

    Raises
    ------
    NotDefiniteError
        If a pivot is not positive.
    """
    with _blas_threads:
        return Factor(list(_blocks(system, fronts)))


def _blocks(system: System, fronts: list[Front]) -> Iterator[tuple[Ids, Ids, Any, Any]]:
    place = np.full(len(system.rhs), -1, np.int32)
    updates: dict[int, tuple[Any, Ids]] = {}
    blas = ThreadpoolController().select(user_api="blas")
    for position, front in enumerate(fronts):
        interruption.check()
        count = len(front.columns)
        left = [updates.pop(child) for child in front.children if child in updates]  # an island leaves nothing
        matrix = _gather(system, front, left, place)
        threads: AbstractContextManager[object] = nullcontext()
        if len(matrix) < MANY_THREADS_FROM:
            threads = blas.limit(limits=1)
        with threads:
            diagonal, below, rest = _eliminate(matrix, count)
        if len(front.boundary):
            updates[position] = (rest, front.boundary)
        if count:
            yield front.columns, front.boundary, diagonal, below


def _gather(system: System, front: Front, updates: list[tuple[Any, Ids]], place: Ids) -> Any:
    """Return the front's dense matrix (lower triangle): its own rows of A and what its children left."""
    ids = np.concatenate([front.columns, front.boundary])
    matrix = np.zeros((len(ids), len(ids)), order="F")
    _set_places(ids, place)
    _add_rows(matrix, front.columns, system.index, system.ys, system.xs, system.values, place)
    for rest, boundary in updates:
        _add_update(matrix, rest, boundary, place)
    _clear_places(ids, place)
    return matrix


def _eliminate(matrix: Any, count: int) -> tuple[Any, Any, Any]:
    """Return the first ``count`` columns of L, in single precision, and the Schur complement of the rest."""
    if not count:
        return None, None, matrix
    diagonal, info = dpotrf(matrix[:count, :count], lower=1, clean=1)
    if info:
        raise NotDefiniteError
    if count == len(matrix):
        return diagonal.astype(np.float32), np.zeros((0, count), np.float32), None
    below = dtrsm(1.0, diagonal, matrix[count:, :count], side=1, lower=1, trans_a=1)
    rest = dsyrk(-1.0, below, beta=1.0, c=matrix[count:, count:], lower=1)
    return diagonal.astype(np.float32), below.astype(np.float32), rest


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
    matrix: Doubles, columns: Ids, index: Ids, ys: Ids, xs: Ids, values: NDArray[np.float64], place: Ids
) -> None:
    for k in range(len(columns)):
        row = columns[k]
        for m in range(25):
            other = index[ys[row] + m // 5 - 2, xs[row] + m % 5 - 2]
            # What is not in this front was eliminated below it, and its entry with it.
            if other >= 0 and place[other] >= k:
                matrix[place[other], k] += values[row, m]


@kernel
def _add_update(matrix: Doubles, rest: Doubles, boundary: Ids, place: Ids) -> None:
    for k in range(len(boundary)):
        column = place[boundary[k]]
        for m in range(k, len(boundary)):
            row = place[boundary[m]]
            matrix[max(row, column), min(row, column)] += rest[m, k]
