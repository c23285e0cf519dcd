"""Compiled loops over features of a CPU: one pass each where torch's operations take three to five.

Features are (rows, columns, channels) without gaps: float32, the bits of bfloat16 as uint16, or float64
for tests. Channels are innermost, so that each loop is sixteen lanes wide with AVX-512. Values, scales and
sums of a row are float32, or float64 where the features are.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import numpy as np
import torch
from numba import types
from numba.extending import overload
from torch import Tensor

from fbamatte.compositing.jit import kernel

Features: TypeAlias = np.ndarray[tuple[int, int, int], np.dtype[Any]]
PerChannel: TypeAlias = np.ndarray[tuple[int], np.dtype[Any]]

KINDS = {torch.float32, torch.bfloat16, torch.float64}


def array(x: Tensor) -> Features:
    """Return (1, C, H, W), channels last, as the loops take it: shared memory, (H, W, C)."""
    x = x[0].permute(1, 2, 0)
    found: Features = (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()
    return found


def _wide(value: Any) -> Any:
    """Return a value of a map to compute with."""


def _narrow(value: Any, like: Any) -> Any:
    """Return a computed value, rounded to nearest even, as a map of the type of ``like`` holds it."""


@overload(_wide, strict=False)
def _wide_of(value: Any) -> Any:
    if isinstance(value, types.Integer):
        return lambda value: np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)
    return lambda value: value


@overload(_narrow, strict=False)
def _narrow_of(value: Any, like: Any) -> Any:  # noqa: ARG001 - only its type counts
    if not isinstance(like, types.Integer):
        return lambda value, like: value  # noqa: ARG005

    def rounded(value: Any, like: Any) -> Any:  # noqa: ARG001
        bits = np.float32(value).view(np.uint32)
        odd = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
        return np.uint16(np.uint32(np.uint32(bits + np.uint32(0x7FFF)) + odd) >> np.uint32(16))

    return rounded


@kernel
def store(x: Features, out: Features, pivot: PerChannel, sums: np.ndarray[Any, Any]) -> None:
    """Copy rows and add Σ(x − pivot) and Σ(x − pivot)² to ``sums``, (2, C) of float64."""
    height, width, channels = x.shape
    row = np.empty((2, channels), pivot.dtype)
    for k in range(channels):
        pivot[k] = _wide(x[0, 0, k])
    for i in range(height):
        row[:] = 0
        for j in range(width):
            for k in range(channels):
                value = x[i, j, k]
                out[i, j, k] = value
                away = _wide(value) - pivot[k]
                row[0, k] += away
                row[1, k] += away * away
        for k in range(channels):
            sums[0, k] += row[0, k]
            sums[1, k] += row[1, k]


@kernel
def moments(
    counts: np.ndarray[Any, Any], pivots: np.ndarray[Any, Any], sums: np.ndarray[Any, Any],
    mean: PerChannel, variance: PerChannel, size: int,
) -> None:  # fmt: skip
    """Write each channel's group's mean and biased variance, from what `store` found in strips, one row a strip.

    Groups are ``size`` channels; the strips' pixels are ``counts``.
    """
    strips, channels = pivots.shape
    total = counts.sum()
    for start in range(0, channels, size):
        centre = spread = 0.0
        for k in range(start, start + size):
            for i in range(strips):
                centre += counts[i] * pivots[i, k] + sums[i, 0, k]
        centre /= total * size
        for k in range(start, start + size):
            for i in range(strips):
                away = pivots[i, k] - centre
                spread += sums[i, 1, k] + 2 * away * sums[i, 0, k] + counts[i] * away * away
        mean[start : start + size] = centre
        variance[start : start + size] = max(spread / (total * size), 0.0)


@kernel
def apply(x: Features, left: int, scale: PerChannel, shift: PerChannel, slope: Any, out: Features) -> None:
    """Write the normalised and rectified rows from column ``left`` on; ``out`` is not ``x``: vectors need that."""
    height, width, channels = out.shape
    for i in range(height):
        for j in range(width):
            for k in range(channels):
                value = _wide(x[i, left + j, k]) * scale[k] + shift[k]
                out[i, j, k] = _narrow(max(value, value * slope), out[i, j, k])


@kernel
def join(
    x: Features, scale: PerChannel, shift: PerChannel, slope: Any,
    shortcut: Features, its_scale: PerChannel, its_shift: PerChannel,
) -> None:  # fmt: skip
    """Normalise rows, add a shortcut that has its own affine map, and rectify: in place."""
    height, width, channels = x.shape
    for i in range(height):
        for j in range(width):
            for k in range(channels):
                value = _wide(x[i, j, k]) * scale[k] + shift[k]
                value += _wide(shortcut[i, j, k]) * its_scale[k] + its_shift[k]
                x[i, j, k] = _narrow(max(value, value * slope), x[i, j, k])


@kernel
def put(x: Features, scale: PerChannel, shift: PerChannel, slope: Any, at: int, out: Features) -> None:
    """Write the normalised and rectified rows into the channels of ``out`` from ``at`` on."""
    height, width, channels = x.shape
    for i in range(height):
        for j in range(width):
            target = out[i, j, at : at + channels]
            for k in range(channels):
                value = _wide(x[i, j, k]) * scale[k] + shift[k]
                target[k] = _narrow(max(value, value * slope), x[i, j, k])


@kernel
def double(
    x: Features, above: int, before: int, height: int, width: int, first: int, left: int, out: Features
) -> None:  # fmt: skip
    """Write a part of a map at twice its size, bilinear, edges repeated, into the first channels of ``out``.

    ``x`` holds rows from ``above`` and columns from ``before`` on of a map of ``height`` × ``width``; ``out`` begins
    at row ``first`` and column ``left`` of the doubled one.
    """
    rows, columns, _ = out.shape
    channels = x.shape[2]
    near, far = np.float32(0.75), np.float32(0.25)
    for i in range(rows):
        row = first + i
        one = x[row // 2 - above]
        two = x[min(max(row // 2 + (1 if row % 2 else -1), 0), height - 1) - above]
        for j in range(columns):
            column = left + j
            a = column // 2 - before
            b = min(max(column // 2 + (1 if column % 2 else -1), 0), width - 1) - before
            p, q, r, s, target = one[a], one[b], two[a], two[b], out[i, j, :channels]
            for k in range(channels):
                value = near * (near * _wide(p[k]) + far * _wide(q[k]))
                value += far * (near * _wide(r[k]) + far * _wide(s[k]))
                target[k] = _narrow(value, target[k])


@kernel
def pool(x: Features, across: np.ndarray[Any, Any], down: np.ndarray[Any, Any], out: np.ndarray[Any, Any]) -> None:
    """Add what rows give to averages over bins, (n, n, C).

    ``across``, (n, columns), and ``down``, (n, rows), are each pixel's share in each bin.
    """
    height, width, channels = x.shape
    bins = len(across)
    row = np.empty((bins, channels), out.dtype)
    for i in range(height):
        row[:] = 0
        for j in range(width):
            for b in range(bins):
                share = across[b, j]
                if share != 0:
                    for k in range(channels):
                        row[b, k] += share * _wide(x[i, j, k])
        for a in range(bins):
            share = down[a, i]
            if share != 0:
                for b in range(bins):
                    for k in range(channels):
                        out[a, b, k] += share * row[b, k]


@cache
def compile_loops(kind: torch.dtype) -> None:
    """Call every loop once for maps of a type, so that no picture waits for the compiler."""
    x = array(torch.zeros(1, 8, 2, 2, dtype=kind).contiguous(memory_format=torch.channels_last))
    scale, sums = np.zeros(8, np.float64 if kind == torch.float64 else np.float32), np.zeros((2, 8))
    slope = scale.dtype.type(0)
    store(x, x.copy(), scale, sums)
    moments(np.ones(1), scale[None], sums[None], np.zeros(8), np.zeros(8), 4)
    wide = np.zeros(x.shape, scale.dtype)
    for source, out in ((x, x.copy()), (x, wide), (wide, wide.copy())):
        apply(source, 0, scale, scale, slope, out)
    join(x.copy(), scale, scale, slope, x, scale, scale)
    put(x, scale, scale, slope, 0, x.copy())
    shares = np.ones((1, 2), scale.dtype)
    pool(x, shares, shares, np.zeros((1, 1, 8), scale.dtype))
    double(x, 0, 0, 2, 2, 0, 0, np.zeros((4, 4, 8), x.dtype))
