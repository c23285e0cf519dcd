"""Nuke's main thread: the only thread that may touch nodes.

``nuke.executeInMainThreadWithResult`` prints an exception and returns ``None``, and refuses to be
called from the main thread. `call` gives back the value or raises the very error, from any thread.
"""

from __future__ import annotations

import threading
import time
import traceback
from typing import Any, Callable, TypeVar

import nuke
from fbamatte_nuke.problems import Problem

Result = TypeVar("Result")

BUSY_SECONDS = 60.0
"""How long to wait for Nuke to finish a render of its own before giving a frame up."""
_BUSY_WORDS = "already executing"


def on_main_thread() -> bool:
    """Whether this is the thread that Nuke's interface, or its script in terminal mode, runs on."""
    return threading.current_thread() is threading.main_thread()


def call(function: Callable[..., Result], *arguments: Any, **keywords: Any) -> Result:
    """Return ``function(...)`` run on Nuke's main thread; raise what it raised, with its traceback there.

    Raises
    ------
    Problem
        If Nuke did not run it, as when it is closing.
    """
    if on_main_thread():
        return function(*arguments, **keywords)
    outcome = nuke.executeInMainThreadWithResult(  # type: ignore[no-untyped-call]  # the stubs are silent
        _capture, (function, arguments, keywords)
    )
    if outcome is None:
        raise Problem("Nuke did not answer; it may be closing", fatal=True)
    value, error, trace = outcome
    if error is not None:
        error.main_thread_traceback = trace
        raise error
    return value  # type: ignore[no-any-return]  # nuke's stubs say Any


def post(function: Callable[..., Any], *arguments: Any) -> None:
    """Have ``function`` run on the main thread some time soon; an error is printed, never lost."""
    if on_main_thread():
        _printed(function, arguments)
    else:
        nuke.executeInMainThread(_printed, (function, arguments))


def execute(node: nuke.Node, frame: int, view: str) -> None:
    """Run a Write for one frame and view, here on the main thread.

    Raises
    ------
    Busy
        If Nuke is rendering something else just now.
    RuntimeError
        As Nuke raises it: an input that cannot be read, a disk that is full, a cancel.
    """
    if nuke.executing():
        raise Busy
    try:
        nuke.execute(node, frame, frame, 1, [view])
    except RuntimeError as error:
        if _BUSY_WORDS in str(error):
            raise Busy from error
        raise


def is_gone(error: BaseException) -> bool:
    """Whether Nuke says that a node is no more: it was deleted, or its script closed."""
    return isinstance(error, ValueError) and "not attached" in str(error)


class Busy(RuntimeError):  # noqa: N818 - a state of Nuke, not an error of anybody's
    """Nuke is rendering something else."""


def patiently(function: Callable[..., Result], *arguments: Any, stopped: Callable[[], bool]) -> Result:
    """Return `call` of ``function``, trying again while Nuke is busy, until ``stopped()`` or `BUSY_SECONDS`."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return call(function, *arguments)
        except Busy as busy:  # noqa: PERF203 - it waits anyway
            if stopped() or time.monotonic() > deadline or on_main_thread():
                raise Problem("Nuke is rendering something else", "Render again when it is done") from busy
            time.sleep(0.2)


def _capture(
    function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[Any, Any, str]:
    try:
        return function(*arguments, **keywords), None, ""
    except BaseException as error:  # it is raised again in the thread that asked
        return None, error, traceback.format_exc()


def _printed(function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        function(*arguments)
    except Exception as error:
        if is_gone(error):
            return
        nuke.tprint(f"FBA: {traceback.format_exc()}")
