"""Giving up an estimate in the middle, because nobody waits for it any more.

A thread that runs an estimate says what to ask, with `interruptible`; an estimator asks, with `check`, wherever it can
stop: between the fronts of a factorisation, the strips of a layer, the views of an augmentation.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Optional

_here = threading.local()


@contextmanager
def interruptible(ask: Callable[[], None]) -> Iterator[None]:
    """Let `check` call ``ask`` on this thread meanwhile; it raises what the estimate is to end with."""
    _here.ask = ask
    try:
        yield
    finally:
        del _here.ask


def asked() -> Optional[Callable[[], None]]:
    """Return what `check` calls on this thread, for another thread that goes on with its work."""
    return getattr(_here, "ask", None)


def check() -> None:
    """Raise where nobody waits for what this thread estimates; return at once where nobody was asked to watch."""
    ask = asked()
    if ask is not None:
        ask()
