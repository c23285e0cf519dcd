"""Run a function over a picture in strips of rows: small temporaries, every core at work."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Rows times columns of one strip: a strip's temporaries stay inside a core's cache.
STRIP_PIXELS = 1 << 15


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

    workers = min(len(starts), os.cpu_count() or 1)
    if workers <= 1:
        for start in starts:
            run(start)
        return
    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(run, start) for start in starts]:
            done.result()


def empty_like(array: NDArray[Any]) -> NDArray[np.float32]:
    """Return an uninitialised float32 array of the same shape, to be filled by `in_strips`."""
    return np.empty(array.shape, np.float32)
