"""The one thread that owns a device."""

from __future__ import annotations

import heapq
import itertools
import platform
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psutil

Result = TypeVar("Result")

# An urgent call overtakes the calls of at most so many turns, so nothing waits for ever.
URGENT_TURNS = 8


@dataclass(order=True)
class _Call:
    turn: int
    number: int
    future: Future[Any] = field(compare=False)
    run: Callable[[], Any] = field(compare=False)


class DeviceThread:
    """Runs every call that touches one device, one after the other, on one thread.

    Parameters
    ----------
    name : str
        The device, such as ``cpu`` or ``cuda:0``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._calls: list[_Call] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        # A daemon: a forced stop does not wait for a call that cannot be interrupted.
        self._thread = threading.Thread(target=self._run, name=f"device-{name}", daemon=True)
        self._thread.start()

    def submit(self, function: Callable[..., Result], *args: Any, urgent: bool = False) -> Future[Result]:
        """Queue a call and return its future; cancelling the future takes it out again.

        Raises
        ------
        RuntimeError
            If the thread was closed.
        """
        future: Future[Result] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError(f"device {self.name} is closed")
            number = next(self._numbers)
            turn = number - (URGENT_TURNS if urgent else 0)
            heapq.heappush(self._calls, _Call(turn, number, future, lambda: function(*args)))
            self._changed.notify()
        return future

    def owns(self) -> bool:
        """Return whether the caller is on this device's thread."""
        return threading.current_thread() is self._thread

    def close(self, timeout: float | None = None) -> None:
        """Finish what is queued and end the thread; wait for it at most ``timeout`` seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._calls or self._closed)
                if not self._calls:
                    return
                call = heapq.heappop(self._calls)
            _answer(call)
            del call  # else it would keep its pixels alive until the next call


def _answer(call: _Call) -> None:
    if not call.future.set_running_or_notify_cancel():
        return
    try:
        call.future.set_result(call.run())
    except BaseException as error:  # the caller's to handle: the thread lives on
        call.future.set_exception(error)


def memory_of(device: str) -> tuple[int, int]:
    """Return the bytes (in use, in all) of a device's memory; (0, 0) where not known.

    Never loads torch: a server that has not used a GPU has nothing to report.
    """
    torch = sys.modules.get("torch")
    if device.startswith("cuda") and torch is not None and torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info(device)
        return total - free, total
    if device == "cpu":
        memory = psutil.virtual_memory()
        return psutil.Process().memory_info().rss, memory.total
    return 0, 0


def title_of(device: str) -> str:
    """Return what the maker calls a device."""
    torch = sys.modules.get("torch")
    if device.startswith("cuda") and torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(device))
    return platform.processor() or platform.machine() if device == "cpu" else device
