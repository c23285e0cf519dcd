"""The heap of a process that runs for months."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import time
from collections.abc import Callable
from typing import Optional

from fbamatte.rpc import framing

TRIM_SECONDS = 10.0
"""How often freed memory goes back to the system."""

_HEAPS = 2
_M_ARENA_MAX = -8


class Heap:
    """Memory that was freed goes back to the system: a server for months must not hold what it once needed.

    glibc learns from the first large block that is freed to keep the like of it, per thread, and keeps
    smaller ones wherever a younger one lies behind them: in each of up to eight heaps per processor, which streams'
    threads fill one after the other. With another C library nothing is done.
    """

    def __init__(self) -> None:
        self._trim: Callable[[int], int] = lambda _: 0
        self._trimmed = time.monotonic()
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            self._trim = library.malloc_trim
            # Large blocks do not come from there, and of small ones there are few at a time.
            library.mallopt(_M_ARENA_MAX, _HEAPS)
        framing.keep_chunks_in_process()

    def settle(self) -> None:
        """Leave what was loaded so far out of all collections, which makes them quick."""
        gc.collect()
        gc.freeze()

    def close(self) -> None:
        """Let collections see everything again, for a process that goes on without the server."""
        gc.unfreeze()

    def tidy(self) -> None:
        """Collect cycles and give back what is free, now and then.

        Python alone would collect all only when its objects have grown by a quarter, and a cycle of few
        objects may hold a large picture.
        """
        if time.monotonic() - self._trimmed > TRIM_SECONDS:
            gc.collect()
            self._trim(0)
            self._trimmed = time.monotonic()


class _Mallinfo2(ctypes.Structure):
    """What glibc 2.33 and later say of malloc; see mallinfo2(3)."""

    _names = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    _fields_ = [(name, ctypes.c_size_t) for name in _names]


def allocated() -> Optional[int]:
    """Return the bytes that malloc has given out and not got back, or None where the C library does not say.

    What leaks grows here. A process that grows while this stays holds free memory in pieces.
    """
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError, TypeError):  # another C library; Windows has no process-wide one
        return None
    ask.restype = _Mallinfo2
    found = ask()
    return int(found.uordblks + found.hblkhd)
