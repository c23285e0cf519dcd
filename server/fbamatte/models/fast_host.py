"""Maps on a CPU: written and read by several threads, strip by strip, in one pass each.

A map keeps what its convolution gave. Whoever reads it gets normalised rows in a buffer of the thread's
own, which the next read of that thread overwrites: it stays in the core's cache, and nothing is written
back that will not be read again. Only a block's output, read three times, is normalised in place.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable
from typing import Optional

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor, nn

from fbamatte.models import fast_loops
from fbamatte.models.fast_loops import PerChannel, array
from fbamatte.models.fast_maps import Place

HUGE = 2 << 20

KEPT = 96 << 20
"""Bytes that wait for a map of their size; maps of large pictures go at once, so that they never wait in vain."""

_local = threading.local()


def scratch(name: str, channels: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    """Return this thread's buffer of a name, (1, C, H, W), channels last: what it held is lost."""
    size = channels * height * width * dtype.itemsize
    buffers: dict[str, Tensor] = _local.__dict__.setdefault("buffers", {})
    if name not in buffers or buffers[name].numel() < size:
        buffers.pop(name, None)
        buffers[name] = torch.empty(size, dtype=torch.uint8)
    return buffers[name][:size].view(dtype).view(1, height, width, channels).permute(0, 3, 1, 2)


class Arena:
    """Memory for maps: what one layer frees the next of the same size takes, its pages already there."""

    def __init__(self) -> None:
        self._free: list[Tensor] = []

    def take(self, size: int) -> Tensor:
        """Return at least ``size`` uninitialised bytes, at most an eighth more."""
        fitting = [flat for flat in self._free if size <= flat.numel() <= size * 9 // 8]
        if not fitting:
            return _pages(size)
        best = min(fitting, key=Tensor.numel)
        self._free = [flat for flat in self._free if flat is not best]
        return best

    def give(self, flat: Tensor) -> None:
        """Take back what nobody reads any more; at most `KEPT` bytes are kept, small pieces first."""
        self._free = sorted([*self._free, flat], key=Tensor.numel)
        while self._free and sum(map(Tensor.numel, self._free)) > KEPT:
            self._free.pop()

    def clear(self) -> None:
        """Let go of what is free: maps to come have other sizes."""
        self._free.clear()


def _pages(size: int) -> Tensor:
    """Return bytes in pages of 2 MiB where the system has them: fewer faults on first use."""
    if size < HUGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(size, dtype=torch.uint8)
    # shared pages, Python's default, are never large
    pages = mmap.mmap(-1, -(-size // HUGE) * HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=torch.uint8)


class Affine:
    """What turns a raw map into a normalised one: a scale and a shift per channel, then the activation."""

    def __init__(self, scale: PerChannel, shift: PerChannel, slope: float) -> None:
        self.scale, self.shift, self.slope = scale, shift, scale.dtype.type(slope)

    @classmethod
    def rectifier(cls, channels: int, slope: float, kind: DTypeLike) -> Affine:
        """Return one that is the activation alone; slope 1 changes nothing."""
        return cls(np.ones(channels, kind), np.zeros(channels, kind), slope)


class HostMap:
    """A `FeatureMap` for the CPU.

    Parameters
    ----------
    place : Place
        Its type and folder.
    arena : Arena
        Where it takes its memory if it is not in a file.
    channels, height, width : int
        Its size.
    """

    def __init__(self, place: Place, arena: Arena, channels: int, height: int, width: int) -> None:
        self.channels, self.height, self.width, self.device = channels, height, width, place.device
        self._kind = np.float64 if place.dtype == torch.float64 else np.float32
        self._unchanged = Affine.rectifier(channels, 1, self._kind)
        self._arena = arena
        self._flat: Optional[Tensor] = None
        if place.folder:
            self._buffer = place.empty(channels, height, width)
        else:
            size = channels * height * width * place.dtype.itemsize
            self._flat = arena.take(size)
            self._buffer = self._flat[:size].view(place.dtype).view(1, height, width, channels).permute(0, 3, 1, 2)
        self._measured: dict[int, tuple[int, PerChannel, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]] = {}
        self._affine: Optional[Affine] = None
        self._shortcut: Optional[HostMap] = None

    def __del__(self) -> None:
        """Hand the memory on."""
        if self._flat is not None:
            self._arena.give(self._flat)

    def write(self, first: int, x: Tensor, *, measure: bool = True) -> None:
        """Store raw rows from ``first`` on."""
        target = self._buffer[:, :, first : first + x.shape[2]]
        if not measure:
            target.copy_(x)
            return
        pivot, sums = np.empty(self.channels, self._kind), np.zeros((2, self.channels))
        fast_loops.store(array(x), array(target), pivot, sums)
        self._measured[first] = (x.shape[2] * self.width, pivot, sums)

    def normalise(self, norm: nn.Module, slope: float, shortcut: Optional[HostMap] = None) -> HostMap:
        """Say what is left to do to every row once all are written; it is done as they are read."""
        mean, variance = self._moments(norm)
        weight, bias = (p.detach().double().numpy() for p in (norm.weight, norm.bias))  # type: ignore[operator]
        scale = weight / np.sqrt(variance + norm.eps)
        self._affine = Affine(scale.astype(self._kind), (bias - mean * scale).astype(self._kind), slope)
        self._shortcut = shortcut
        self._measured = {}
        return self

    def _moments(self, norm: nn.Module) -> tuple[np.ndarray, np.ndarray]:
        """Return each channel's mean and biased variance: its group's over the picture, or the trained ones."""
        if not isinstance(norm, nn.GroupNorm):
            return norm.running_mean.double().numpy(), norm.running_var.double().numpy()  # type: ignore[operator]
        parts = [self._measured[first] for first in sorted(self._measured)]  # in order: the same sum every time
        counts, pivots, sums = (np.array(part) for part in zip(*parts))
        mean, variance = np.empty((2, self.channels))
        fast_loops.moments(counts.astype(float), pivots, sums, mean, variance, self.channels // norm.num_groups)
        return mean, variance

    @property
    def joins(self) -> bool:
        """Whether a shortcut is still to be added."""
        return self._shortcut is not None

    def rows(self, first: int, last: int, left: int = 0, right: Optional[int] = None) -> Tensor:
        """Return rows, zeros beyond the picture included, of the columns from ``left`` to ``right`` (excluded).

        Good until this thread's next read.
        """
        assert self._shortcut is None, "its first reader settles a map with a shortcut"
        right = self.width if right is None else right
        inside = first >= 0 and last <= self.height
        if self._affine is None and inside and right - left == self.width:
            return self._buffer[:, :, first:last]
        above, below = max(first, 0), min(last, self.height)
        out = scratch("rows", self.channels, last - first, right - left, self._buffer.dtype)
        out[:, :, : above - first] = 0
        out[:, :, below - first :] = 0
        by, x = self._affine or self._unchanged, array(self._buffer[:, :, above:below])
        fast_loops.apply(x, left, by.scale, by.shift, by.slope, array(out[:, :, above - first : below - first]))
        return out

    def settled(self, first: int, last: int) -> Tensor:
        """Return rows of a map with a shortcut after finishing them in place.

        Its first reader reads each row once, and calls `settle` when it has read all.
        """
        out = self._buffer[:, :, first:last]
        if self._shortcut is not None:
            assert self._affine is not None
            assert self._shortcut._shortcut is None, "a shortcut has been read before"
            by, its = self._affine, self._shortcut._affine or self._unchanged
            assert its.slope == 1
            other = array(self._shortcut._buffer[:, :, first:last])
            fast_loops.join(array(out), by.scale, by.shift, by.slope, other, its.scale, its.shift)
        return out

    def settle(self) -> None:
        """Note that every row is normalised; lets the shortcut go."""
        self._affine = self._shortcut = None

    def put(self, first: int, last: int, at: int, out: Tensor) -> None:
        """Write rows inside the picture into the channels of ``out`` from ``at`` on."""
        assert self._shortcut is None
        by = self._affine or self._unchanged
        fast_loops.put(array(self._buffer[:, :, first:last]), by.scale, by.shift, by.slope, at, array(out))

    def double(self, first: int, last: int, out: Tensor, left: int = 0) -> None:
        """Write rows at twice the size, from column ``left`` on, into the first channels of ``out``."""
        above, below = max(first // 2 - 1, 0), min((last + 1) // 2 + 1, self.height)
        before, behind = max(left // 2 - 1, 0), min((left + out.shape[3] + 1) // 2 + 1, self.width)
        x = array(self.rows(above, below, before, behind))
        fast_loops.double(x, above, before, self.height, self.width, first, left, array(out))


class HostComputed:
    """Rows that are made anew each time they are read, into this thread's own buffer.

    Parameters
    ----------
    channels, height, width : int
        Its size.
    dtype : torch.dtype
        Of its values.
    make : callable
        ``make(first, last, out)`` writes rows inside the picture into ``out``.
    """

    def __init__(
        self, channels: int, height: int, width: int, dtype: torch.dtype, make: Callable[[int, int, Tensor], None]
    ) -> None:
        self.channels, self.height, self.width, self._dtype, self._make = channels, height, width, dtype, make

    def rows(self, first: int, last: int) -> Tensor:
        """Return rows, zeros beyond the picture included; good until this thread's next read."""
        out = scratch("made", self.channels, last - first, self.width, self._dtype)
        above, below = max(first, 0), min(last, self.height)
        out[:, :, : above - first] = 0
        out[:, :, below - first :] = 0
        self._make(above, below, out[:, :, above - first : below - first])
        return out
