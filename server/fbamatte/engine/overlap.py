"""A stage of a pipeline: work on the next item while the caller still holds the last one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import TypeVar

from fbamatte.compositing.strips import at_work

In = TypeVar("In")
Out = TypeVar("Out")


class _End:
    """Marks the end of a stage's output."""


class _Broken:
    """Carries an exception from the stage's thread to the reader of its output."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


# How often a thread that waits for a place looks whether its reader has gone.
_LOOK_S = 0.05


def overlap(function: Callable[[In], Out], items: Iterable[In], *, ahead: int = 1) -> Generator[Out]:
    """Yield ``function(item)`` in order, computed in a thread of its own up to ``ahead`` items early.

    Stages are chained by passing one's result as the next one's ``items``; a chain runs at the speed
    of its slowest stage and holds ``ahead`` results per stage at most. An exception of ``function`` or
    ``items`` is raised where its result would have come. Closing the generator ends the thread after the
    item it is at; nobody waits for that.
    """
    if ahead < 1:
        raise ValueError(f"ahead is {ahead}; a stage works at least 1 item ahead")
    done: Queue[Out | _End | _Broken] = Queue(maxsize=ahead)
    closed = threading.Event()

    def hand_over(result: Out | _End | _Broken) -> None:
        while not closed.is_set():
            with suppress(Full):
                done.put(result, timeout=_LOOK_S)
                return

    def work() -> None:
        source = iter(items)
        try:
            for item in source:
                with at_work():
                    result = function(item)
                hand_over(result)
                if closed.is_set():
                    break
            hand_over(_End())
        except BaseException as error:  # the reader raises it: nothing is swallowed here
            hand_over(_Broken(error))
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=work, name=f"stage-{getattr(function, '__name__', 'work')}", daemon=True)
    thread.start()
    try:
        yield from _results(done)
    finally:
        closed.set()


def _results(done: Queue[Out | _End | _Broken]) -> Iterator[Out]:
    while True:
        try:
            # with a time limit, since a wait without one cannot be interrupted on every system
            result = done.get(timeout=1)
        except Empty:
            continue
        if isinstance(result, _End):
            return
        if isinstance(result, _Broken):
            raise result.error
        yield result
