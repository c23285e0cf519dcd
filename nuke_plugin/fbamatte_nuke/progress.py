"""Nuke's progress bar, kept on the main thread; silent where there is no interface."""

from __future__ import annotations

import threading
import time
from typing import Any, Optional

import nuke
from fbamatte_nuke import host

_POLL_SECONDS = 0.4


class Progress:
    """A bar with a cancel button.

    Parameters
    ----------
    title : str
        What is going on, such as ``FBA FBA1``.
    cancel : threading.Event
        Set when the user presses the bar's button.
    """

    def __init__(self, title: str, cancel: threading.Event) -> None:
        self._title = title
        self._cancel = cancel
        self._task: Optional[Any] = None
        self._polled = 0.0
        self._message = ""

    def step(self, done: int, total: int, message: str) -> bool:
        """Show that ``done`` of ``total`` are done; return whether to go on."""
        if nuke.GUI:
            host.call(self._show, 100 * done // max(1, total), f"{message}   {done} of {total} done")
        return not self._cancel.is_set()

    def cancelled(self, stage: str = "") -> bool:
        """Whether the user has pressed the button; ``stage`` is shown meanwhile. From any thread.

        Nuke is asked a few times a second at most.
        """
        now = time.monotonic()
        if nuke.GUI and not self._cancel.is_set() and now - self._polled > _POLL_SECONDS:
            self._polled = now
            host.call(self._poll, stage)
        return self._cancel.is_set()

    def close(self) -> None:
        """Take the bar away."""
        if self._task is not None:
            host.call(self._drop)

    def _show(self, percent: int, message: str) -> None:
        if self._task is None:
            self._task = nuke.ProgressTask(self._title)
        self._message = message
        self._task.setMessage(message)
        self._task.setProgress(percent)
        self._poll()

    def _poll(self, stage: str = "") -> None:
        if self._task is None:
            return
        if stage:
            self._task.setMessage(f"{self._message}   {stage}")
        if self._task.isCancelled():
            self._cancel.set()

    def _drop(self) -> None:
        # Nuke closes the bar when the task is deleted, which must happen on this thread.
        self._task = None
