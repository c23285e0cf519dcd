"""Run a function over a picture in strips of rows: small temporaries, every core at work."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Rows times columns of one strip: a strip's temporaries stay inside a core's cache.
STRIP_PIXELS = 1 << 15


_at_work = 0
_counting = threading.Lock()


@contextmanager
def at_work() -> Iterator[None]:
    """Count as one of several that work side by side, for as long as the block runs; see `workers`."""
    global _at_work  # noqa: PLW0603  one count for the process, whose cores these are
    with _counting:
        _at_work += 1
    try:
        yield
    finally:
        with _counting:
            _at_work -= 1


def workers() -> int:
    """Return how many threads a caller may use: the cores, divided among all that are `at_work`, at least one.

    A frame alone gets every core; where the stages of a sequence fill the cores already, more threads would only take
    turns on them.
    """
    return max(1, (os.cpu_count() or 1) // max(1, _at_work))


def in_strips(function: Callable[..., None], *arrays: NDArray[Any]) -> None:
    """Call ``function(*views)`` for strips of rows that together cover ``arrays``.

    Parameters
    ----------
    function : callable
        Writes its result into the views; NumPy releases the interpreter lock inside it.
    arrays : ndarray, shape (H, W, ...)
        All of the same height, inputs and outputs alike.
    """
    height = arrays[0].shape[0]
    rows = max(1, STRIP_PIXELS // max(1, arrays[0].shape[1]))
    starts = range(0, height, rows)

    def run(start: int) -> None:
        function(*(array[start : start + rows] for array in arrays))

    threads = min(len(starts), workers())
    if threads <= 1:
        for start in starts:
            run(start)
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(run, start) for start in starts]:
            done.result()


def empty_like(array: NDArray[Any]) -> NDArray[np.float32]:
    """Return an uninitialised float32 array of the same shape, to be filled by `in_strips`."""
    return np.empty(array.shape, np.float32)
