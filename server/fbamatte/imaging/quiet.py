"""Keep one thread's prints away from standard output, where another program may read our JSON."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any


class _PerThread:
    """Stands in for ``sys.stdout``: catches what the listed threads write, passes on all else."""

    def __init__(self, target: Any) -> None:
        self.target = target
        self.caught: dict[int, list[str]] = {}

    def write(self, text: str) -> int:
        pieces = self.caught.get(threading.get_ident())
        if pieces is None:
            return int(self.target.write(text) or 0)
        pieces.append(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)


_lock = threading.Lock()
_active: _PerThread | None = None
# Kept for ever and used again: a print() that runs on another thread meanwhile holds sys.stdout by a borrowed
# reference alone (in CPython before 3.14), and crashes the process when that object goes.
_routers: list[_PerThread] = []


def _router_for(target: Any) -> _PerThread:
    for router in _routers:
        if router.target is target:
            return router
    _routers.append(_PerThread(target))
    return _routers[-1]


@contextlib.contextmanager
def captured_stdout() -> Iterator[Callable[[], str]]:
    """Catch what this thread prints; yields a function that returns it. Other threads print as ever."""
    global _active  # noqa: PLW0603  sys.stdout is one per process, and so is what stands in for it
    me = threading.get_ident()
    pieces: list[str] = []
    with _lock:
        if _active is None:
            _active = _router_for(sys.stdout)
            sys.stdout = _active
        router = _active
        outer = router.caught.get(me)
        router.caught[me] = pieces
    try:
        yield lambda: "".join(pieces)
    finally:
        with _lock:
            if outer is None:
                del router.caught[me]
            else:
                router.caught[me] = outer
            if not router.caught:
                # Somebody else may have put their own stream in meanwhile: leave that one alone.
                if sys.stdout is router:
                    sys.stdout = router.target
                _active = None
