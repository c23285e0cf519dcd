"""Memory for planes that is used again: fresh pages cost more time than what is written into them."""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import time
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fbamatte.rpc.layout import anonymous

# The heap is as quick with less.
_SMALL_BYTES = 1 << 22
# Idle for longer it goes back to the system: the pause between two frames of a sequence is shorter.
IDLE_SECONDS = 10.0


@dataclass(eq=False)
class _Slab:
    memory: mmap.mmap
    since: float


class Slabs:
    """Float planes whose memory is taken from those that nobody looks at any more; any thread.

    Without locks, since memory comes back whenever Python frees an array, also in the middle of a call of this
    class on the same thread: each step is one operation on a list.

    Parameters
    ----------
    limit : int
        Bytes that may lie idle.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._idle: list[_Slab] = []

    @property
    def idle_bytes(self) -> int:
        """Bytes that lie idle."""
        return sum(len(slab.memory) for slab in list(self._idle))

    def empty(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return an array of float32 for somebody who writes all of it: it may hold another frame's pixels.

        Its memory comes back when the last view of it goes.
        """
        size = math.prod(shape) * 4
        if size < _SMALL_BYTES:
            return np.empty(shape, np.float32)
        memory = self._take(size) or anonymous(size)
        # numpy keeps this object in every view, which makes it the one to watch.
        owner: Any = (ctypes.c_char * size).from_buffer(memory)
        weakref.finalize(owner, self._give, memory).atexit = False
        array: NDArray[np.float32] = np.frombuffer(owner, np.float32).reshape(shape)
        return array

    def tidy(self, now: float) -> None:
        """Free what has been idle for `IDLE_SECONDS` at the monotonic time ``now``."""
        for slab in list(self._idle):
            if now - slab.since >= IDLE_SECONDS:
                self._remove(slab)

    def _take(self, size: int) -> mmap.mmap | None:
        for slab in reversed(list(self._idle)):
            # Much larger memory is worth more to the next large frame.
            if size <= len(slab.memory) <= 2 * size and self._remove(slab):
                return slab.memory
        return None

    def _give(self, memory: mmap.mmap) -> None:
        self._idle.append(_Slab(memory, time.monotonic()))
        while self.idle_bytes > self._limit:
            with contextlib.suppress(IndexError):
                self._idle.pop(0)

    def _remove(self, slab: _Slab) -> bool:
        """Take a slab out; False where another thread was quicker."""
        try:
            self._idle.remove(slab)
        except ValueError:
            return False
        return True
