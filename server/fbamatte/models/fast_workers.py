"""Strips side by side on the cores of a CPU: each thread computes whole strips alone.

Threads inside every operation would meet after each; threads over strips meet once a layer, and every
core finds its strip in its own cache. Results do not depend on how many threads there are.

A picture has a leader: one of these threads, which does what lies between the layers and its share of the strips.
Were it the caller's thread, torch would wake OpenMP's threads for every small product, and those spin on the cores
long after.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier, Event, Lock
from typing import TypeVar

import torch

from fbamatte.models import interruption

Out = TypeVar("Out")

_lock = Lock()
_pools: dict[int, ThreadPoolExecutor] = {}
_here = threading.local()
os.register_at_fork(after_in_child=_pools.clear)  # a child process has none of its parent's threads


class AbandonedError(Exception):
    """Ends a picture whose caller waits no more."""


def led(work: Callable[[], Out]) -> Out:
    """Return ``work()``, done by a thread that has helpers for `each`: as many in all as torch has for one operation.

    Where the caller stops waiting (an interrupt), work ends where it next asks whether anybody waits.
    """
    threads = torch.get_num_threads()
    if threads == 1:  # among them a leader's own
        return work()
    inference, ask, gone = torch.is_inference_mode_enabled(), interruption.asked(), Event()

    def check() -> None:
        if gone.is_set():
            raise AbandonedError
        if ask is not None:
            ask()

    def lead() -> Out:
        with torch.inference_mode(inference), interruption.interruptible(check):
            return work()

    done = _pool(threads).submit(lead)
    try:
        return done.result()
    except BaseException:
        gone.set()
        wait([done])
        raise


def each(work: Callable[..., None], strips: Iterable[tuple[int, ...]]) -> None:
    """Call ``work(*strip)`` for every strip, beside each other where the caller is `led`."""
    todo = list(strips)
    if getattr(_here, "threads", 1) == 1 or len(todo) == 1:
        for strip in todo:
            work(*strip)
        return
    inference, left, task = torch.is_inference_mode_enabled(), iter(todo), [work]

    def some() -> None:
        try:
            with torch.inference_mode(inference):
                for strip in left:  # whoever asks gets the next one
                    task[0](*strip)
        except BaseException:
            list(left)  # nobody begins another
            raise

    helpers = [_here.pool.submit(some) for _ in range(min(_here.threads, len(todo)) - 1)]
    try:
        some()
    finally:
        # whoever has not begun is not needed, and might never begin: other pictures' leaders are in the same pool
        for helper in helpers:
            if not helper.cancel():
                helper.result()
        task.clear()  # a thread may keep `some` a moment longer: the maps behind it must go as the leader goes on


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
        _here.pool, _here.threads = pool, threads
        together.wait()

    begun = [pool.submit(begin) for _ in range(threads)]
    together.wait()
    for each_one in begun:
        each_one.result()
    torch.set_num_threads(threads)  # what threads that are yet to come start with
    return pool
