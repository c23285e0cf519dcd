"""Strips side by side on the cores of a CPU: each thread computes whole strips alone.

Threads inside every operation would meet after each; threads over strips meet once a layer, and every
core finds its strip in its own cache. Results do not depend on how many threads there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock

import torch

_lock = Lock()
_pools: dict[int, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=_pools.clear)  # a child process has none of its parent's threads


def each(work: Callable[[int, int], None], strips: Iterable[tuple[int, int]]) -> None:
    """Call ``work(first, last)`` for every strip, on as many threads as torch has for one operation."""
    todo, threads = list(strips), torch.get_num_threads()
    if threads == 1 or len(todo) == 1:
        for strip in todo:
            work(*strip)
        return
    inference = torch.is_inference_mode_enabled()

    def run(strip: tuple[int, int]) -> None:
        with torch.inference_mode(inference):
            work(*strip)

    list(_pool(threads).map(run, todo))


def _pool(threads: int) -> ThreadPoolExecutor:
    with _lock:
        if threads not in _pools:
            _pools[threads] = _started(threads)
        return _pools[threads]


def _started(threads: int) -> ThreadPoolExecutor:
    """Return a pool in whose threads torch's own operations stay on one thread."""
    together = Barrier(threads + 1)
    pool = ThreadPoolExecutor(threads, "strips")

    def begin() -> None:
        torch.get_num_threads()  # a thread takes over the common number when it first asks: before, not after
        torch.set_num_threads(1)  # OpenMP keeps it for each calling thread
        together.wait()

    begun = [pool.submit(begin) for _ in range(threads)]
    together.wait()
    for each_one in begun:
        each_one.result()
    torch.set_num_threads(threads)  # what threads that are yet to come start with
    return pool
