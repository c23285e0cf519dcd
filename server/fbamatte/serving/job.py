"""One frame on its way through the server: who wants it, until when, and what each stage took."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from fbamatte.errors import CancelledError, DeadlineError, FbaMatteError
from fbamatte.frame import Frame, Matte
from fbamatte.serving.queue import Priority


class Work(Protocol):
    """What turns a payload into a frame and a matte into an answer."""

    def decode(self) -> Frame:
        """Return the frame; any thread."""

    def encode(self, matte: Matte) -> Any:
        """Return the answer; any thread."""


class Watcher(Protocol):
    """Told what happens to every job: metrics, log, traces."""

    def stage_ended(self, stage: str, seconds: float) -> None:
        """Note that a stage is over, well or not."""

    def job_ended(self, job: Job) -> None:
        """Note that a job has its outcome."""

    def job_answered(self, job: Job) -> None:
        """Look at a job whose caller has been told; its matte is there for the last time."""


class Stage(NamedTuple):
    """A stage that is over: when it began and ended, on the monotonic clock."""

    name: str
    begin: float
    end: float


@dataclass(eq=False)
class Job:
    """One frame between its last payload byte and its answer.

    Parameters
    ----------
    work : Work
        Its payload and how to answer.
    model, precision : str
        Which estimator.
    priority, caller
        Where it stands in the queue.
    frame_id : str
        Names it in logs, metrics and traces.
    label : str
        Names it in messages.
    deadline : float, optional
        On the monotonic clock, so that setting the wall clock changes nothing.
    watcher : Watcher
        Told when a stage or the job is over.
    on_done : callable
        Called once with the job when it has its ``answer`` or ``error``.
    on_stage : callable, optional
        Called with the name of each stage that begins.
    traceparent : str
        W3C trace context of the caller.
    """

    work: Work
    model: str
    precision: str
    priority: Priority
    caller: tuple[str, str]
    frame_id: str
    label: str
    deadline: float | None
    watcher: Watcher
    on_done: Callable[[Job], None]
    on_stage: Callable[[str], None] | None = None
    traceparent: str = ""
    started: float = field(default_factory=time.monotonic)
    stages: list[Stage] = field(default_factory=list)
    place: Any = None
    device: str = ""
    answer: Any = None
    error: FbaMatteError | None = None
    matte: Matte | None = None
    ended: bool = False
    _cancelled: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _on_cancel: Callable[[], object] | None = None

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the answer any more."""
        return self._cancelled

    def check(self) -> None:
        """Stop here if nobody waits for the answer any more.

        Raises
        ------
        CancelledError, DeadlineError
        """
        if self._cancelled:
            raise CancelledError(f"{self.label}: cancelled")
        if self.remaining() <= 0:
            raise DeadlineError(f"{self.label}: not done before its deadline, {self.waited():.1f} s after it arrived")

    def remaining(self) -> float:
        """Return the seconds until the deadline; infinity without one."""
        return float("inf") if self.deadline is None else self.deadline - time.monotonic()

    def waited(self) -> float:
        """Return the seconds since it was made."""
        return time.monotonic() - self.started

    def cancel(self) -> None:
        """Say that nobody wants the answer any more. The work stops at the next stage."""
        with self._lock:
            self._cancelled = True
            stop = self._on_cancel
        if stop is not None:
            stop()

    def when_cancelled(self, stop: Callable[[], object] | None) -> None:
        """Call ``stop`` on cancellation; None forgets it."""
        with self._lock:
            self._on_cancel = stop
            late = self._cancelled
        if late and stop is not None:
            stop()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; a job that nobody waits for does not enter it."""
        self.check()
        begin = time.monotonic()
        if self.on_stage:
            self.on_stage(name)
        try:
            yield
        finally:
            self.spent(name, begin)

    def spent(self, stage: str, begin: float) -> None:
        """Book a stage that is over now."""
        end = time.monotonic()
        self.stages.append(Stage(stage, begin, end))
        self.watcher.stage_ended(stage, end - begin)

    def seconds(self) -> dict[str, float]:
        """Return what each stage took."""
        return {stage.name: round(stage.end - stage.begin, 6) for stage in self.stages}

    def succeed(self, answer: Any) -> None:
        """Give the answer to whoever waits, unless the job has ended already."""
        self._end(answer, None)

    def fail(self, error: FbaMatteError) -> None:
        """Give the error to whoever waits, unless the job has ended already."""
        self._end(None, error)

    def _end(self, answer: Any, error: FbaMatteError | None) -> None:
        with self._lock:
            if self.ended:
                return
            self.ended = True
        self.answer, self.error = answer, error
        self.watcher.job_ended(self)
        self.on_done(self)
        self.watcher.job_answered(self)
        self.matte = None
