"""Nuke's main thread, its queue, what it is doing, and the callbacks it makes."""

from __future__ import annotations

import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any


class OffMainThreadError(RuntimeError):
    """A node was touched from another thread. The real Nuke crashes, hangs or corrupts; this one says so."""


class State:
    """Everything that a Nuke session holds and that is no node."""

    def __init__(self) -> None:
        self.root: Any = None
        self.gui = True
        self.executing = False
        self.in_callback = 0
        self.in_queue = False
        self.frame = 1
        self.queue: queue.Queue[Callable[[], None]] = queue.Queue()
        self.printed: list[str] = []
        self.dialogs: list[str] = []
        self.answers: list[Any] = []
        self.progress: list[Any] = []
        self.press_cancel_at = 101
        self.longest_gap = 0.0
        self.executed: list[tuple[str, int, str]] = []
        self.context: list[tuple[Any, Any]] = []
        self.callbacks: dict[str, list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str]]] = {}
        self.plugin_path: list[str] = []
        self.menus: dict[str, Any] = {}
        self.undo_disabled = 0
        self.pixels: dict[int, Any] = {}


state = State()


def check_thread(what: str) -> None:
    """Raise where this is not the main thread."""
    if threading.current_thread() is not threading.main_thread():
        raise OffMainThreadError(f"{what} from thread {threading.current_thread().name}")


class Guarded:
    """Base of all that only the main thread may touch: every public attribute is checked."""

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_"):
            check_thread(f"{object.__getattribute__(self, '__class__').__name__}.{name}")
            if object.__getattribute__(self, "__dict__").get("_deleted"):
                raise ValueError("A PythonObject is not attached to a node")
        return object.__getattribute__(self, name)


def say(text: str) -> None:
    """Print where Nuke prints: the script editor, or the terminal."""
    state.printed.append(text)
    if not state.gui:
        sys.stderr.write(text + "\n")


def execute_with_result(call: Callable[..., Any], args: Any = (), kwargs: Any = None) -> Any:
    """As nuke.executeInMainThreadWithResult: an exception is printed and None comes back."""
    if threading.current_thread() is threading.main_thread():
        raise RuntimeError("executeInMainThreadWithResult must not be called from the main thread")
    done: queue.Queue[Any] = queue.Queue()

    def run() -> None:
        result = None
        try:
            result = call(*_arguments(args), **(kwargs or {}))
        except BaseException:
            say(traceback.format_exc())
        done.put(result)

    state.queue.put(run)
    return done.get()


def execute_later(call: Callable[..., Any], args: Any = (), kwargs: Any = None) -> None:
    """As nuke.executeInMainThread: nothing comes back, an exception is printed."""

    def run() -> None:
        try:
            call(*_arguments(args), **(kwargs or {}))
        except BaseException:
            say(traceback.format_exc())

    state.queue.put(run)


def _arguments(args: Any) -> tuple[Any, ...]:
    return tuple(args) if isinstance(args, (tuple, list)) else (args,)


def pump(until: Callable[[], bool], seconds: float = 60.0) -> None:
    """Be the interface's event loop until ``until()``; note the longest time that one event took."""
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            raise TimeoutError(f"nothing happened for {seconds} s; printed: {state.printed[-3:]}")
        try:
            event = state.queue.get(timeout=0.01)
        except queue.Empty:
            continue
        started = time.monotonic()
        state.in_queue = True
        try:
            event()
        finally:
            state.in_queue = False
        state.longest_gap = max(state.longest_gap, time.monotonic() - started)


def drain() -> None:
    """Do what is in the queue."""
    pump(state.queue.empty)


def dialog(text: str) -> None:
    """Open a dialog: not possible without an interface, and a freeze from within the queue."""
    check_thread("a dialog")
    if not state.gui:
        raise RuntimeError(f"a dialog without an interface: {text}")
    if state.in_queue:
        raise RuntimeError(f"a modal dialog from executeInMainThread freezes Nuke: {text}")
    state.dialogs.append(text)


def register(kind: str, call: Callable[..., Any], args: Any, kwargs: Any, node_class: str) -> None:
    """Remember a callback."""
    state.callbacks.setdefault(kind, []).append((call, _arguments(args), kwargs or {}, node_class))


def unregister(kind: str, call: Callable[..., Any]) -> None:
    """Forget a callback."""
    state.callbacks[kind] = [entry for entry in state.callbacks.get(kind, []) if entry[0] is not call]


def fire(kind: str, node: Any, knob: Any = None, code: str = "", aborts: bool = False) -> None:
    """Run a node's own code, then the callbacks; an exception is printed, or aborts where it is a render's."""
    entries = [entry for entry in state.callbacks.get(kind, []) if entry[3] in ("*", node.Class())]
    runs: list[Callable[[], Any]] = [lambda: _run_code(code)] if code else []
    runs += [lambda entry=entry: entry[0](*entry[1], **entry[2]) for entry in entries]  # type: ignore[misc]
    state.context.append((node, knob))
    state.in_callback += 1
    try:
        for run in runs:
            try:
                run()
            except Exception as error:  # noqa: PERF203 - each on its own, as Nuke does
                if aborts:
                    raise RuntimeError(f"{kind}: {error}") from error
                say(traceback.format_exc())
    finally:
        state.in_callback -= 1
        state.context.pop()


def _run_code(code: str) -> None:
    import nuke  # the module that stands in

    exec(compile(code, "<knob>", "exec"), {"nuke": nuke, "__name__": "__main__"})


def fire_input_changed(node: Any) -> None:
    """Fire knobChanged with the name inputChange, as Nuke does when something is connected."""
    root = node._root()
    if state.gui and root is not None and not root._quiet:
        fire("knobChanged", node, _InputChange(), node._knobs["knobChanged"]._value or "")


class _InputChange:
    def name(self) -> str:
        return "inputChange"
