"""Giving up an estimate in the middle, because nobody waits for it any more.

A thread that runs an estimate says what to ask, with `interruptible`; an estimator asks, with `check`, wherever it can
stop: between the fronts of a factorisation, the strips of a layer, the views of an augmentation.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_here = threading.local()


@contextmanager
def interruptible(ask: Callable[[], None]) -> Iterator[None]:
    """Let `check` call ``ask`` on this thread meanwhile; it raises what the estimate is to end with."""
    _here.ask = ask
    try:
        yield
    finally:
        del _here.ask


def check() -> None:
    """Raise where nobody waits for what this thread estimates; return at once where nobody was asked to watch."""
    ask = getattr(_here, "ask", None)
    if ask is not None:
        ask()
