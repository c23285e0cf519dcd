"""A sequence of plates in, a sequence of mattes out: read, matte and write side by side, resume, never half a file."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Optional

from fbamatte.engine.overlap import overlap
from fbamatte.errors import FbaMatteError, InternalError, RetryableError
from fbamatte.farm import work
from fbamatte.farm.job import Job, Key, exit_code, left_over
from fbamatte.farm.lock import OutputLock
from fbamatte.farm.progress import FrameReport, Progress
from fbamatte.frame import Frame, Matte
from fbamatte.imaging.sequence import compact

__all__ = ["Batch", "Job", "MatteVerb", "exit_code"]

OnError = Callable[[Frame, FbaMatteError], None]
# What mattes frames: that verb of an engine here, or of a client of one elsewhere.
MatteVerb = Callable[[Iterable[Frame], OnError], Iterator[Matte]]

# Pauses before the first, second … retry; the last one goes for all later ones.
PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0)


class Batch:
    """One run of a job; ``run`` returns the report of every frame that ended."""

    def __init__(self, job: Job, matte: MatteVerb, progress: Progress) -> None:
        self.job = job
        self.reports: list[FrameReport] = []
        self._matte = matte
        self._progress = progress
        self._retries_left = job.retries
        # reading, matting and writing each have a thread, and all three report
        self._reporting = threading.Lock()

    def run(self) -> list[FrameReport]:
        """Matte every frame of the job that is not there already.

        Raises
        ------
        ResourceError, OutputError
            If the output cannot go on: a full disk, a folder that may not be written. The frames
            written so far are whole.
        UnavailableError
            If no server can be reached.
        """
        self.job.make_folders()
        self._progress.start(len(self.job.frames))
        try:
            while not self._round():
                pause = PAUSES_S[min(self.job.retries - self._retries_left, len(PAUSES_S) - 1)]
                self._retries_left -= 1
                time.sleep(pause)
        finally:
            self._progress.close()
        return self.reports

    def _round(self) -> bool:
        """Matte what has not ended yet; return whether nothing is left to be tried again."""
        try:
            _Round(self.job, self._matte, self._report).run(left_over(self.job.frames, self.reports))
        except RetryableError:
            if not self._retries_left:
                raise
        if self._is_to_stop():
            return True
        left = left_over(self.job.frames, self.reports)
        if left and not self._retries_left:
            raise InternalError(f"frames {compact({number for number, _ in left})} got lost on the way")
        return not left

    def _is_to_stop(self) -> bool:
        return not self.job.continue_on_error and exit_code(self.reports) != 0

    def _report(self, report: FrameReport) -> bool:
        """Take in what became of a frame; return whether the others go on."""
        with self._reporting:
            if report.state == "failed" and report.retryable and self._retries_left:
                again = f"{report.error} (will be tried again)"
                report = FrameReport(report.frame, report.view, state="retrying", error=again, retryable=True)
            else:
                self.reports.append(report)
            self._progress.frame(report)
            return not self._is_to_stop()


class _Held(NamedTuple):
    """A frame on its way, with the right to write its matte."""

    frame: Frame
    lock: OutputLock
    read_seconds: float


class _Round:
    """Each frame once. A retry gets a round of its own, so that a late thread of this one cannot meddle."""

    def __init__(self, job: Job, matte: MatteVerb, report: Callable[[FrameReport], bool]) -> None:
        self.job = job
        self._matte = matte
        self._tell = report
        # held by whoever reads or writes a file, and by nobody ever again once the round has ended
        self._reading, self._writing = threading.Lock(), threading.Lock()
        self._held: dict[Key, _Held] = {}
        self._fatal: Optional[FbaMatteError] = None
        self._stopped = False

    def run(self, keys: list[Key]) -> None:
        written = overlap(self._write, self._matte(self._frames(keys), self._on_error))
        try:
            for _ in written:
                if self._stopped:
                    break
            if self._fatal is not None:
                raise self._fatal
        finally:
            written.close()
            self._let_go()

    def _let_go(self) -> None:
        """Wait for the files being written and read, then give back what is held."""
        self._stopped = True
        self._writing.acquire(timeout=3)
        self._reading.acquire(timeout=1)
        for held in self._held.values():
            held.lock.release()
        self._held.clear()

    def _frames(self, keys: list[Key]) -> Iterator[Frame]:
        """Read ahead, yielding what is to be matted."""
        for frame in overlap(self._read, keys):
            if self._stopped:
                return
            if frame is not None:
                yield frame

    def _read(self, key: Key) -> Optional[Frame]:
        """Return a frame that holds its output's lock; None if it is done already or failed."""
        with self._reading:
            return None if self._stopped else self._hold(key)

    def _hold(self, key: Key) -> Optional[Frame]:
        started = time.monotonic()
        lock = None
        try:
            lock = OutputLock(self.job.output.path(*key))
            frame = work.load(self.job, key)
            if work.is_done(self.job, frame):
                lock.release()
                self._report(work.skipped(self.job, key))
                return None
            self._held[key] = _Held(frame, lock, time.monotonic() - started)
        except FbaMatteError as error:
            self._fail(key, error, lock)
        else:
            return frame
        return None

    def _write(self, matte: Matte) -> None:
        key = (matte.number, matte.view)
        frame, lock, seconds = self._held[key]
        with self._writing:
            try:
                report = work.store(self.job, frame, matte, seconds)
            except FbaMatteError as error:
                self._fail(key, error, lock)
                self._fatal, self._stopped = error, True
                return
            finally:
                self._held.pop(key, None)
                lock.release()
        self._report(report)

    def _on_error(self, frame: Frame, error: FbaMatteError) -> None:
        key = (frame.number, frame.view)
        self._fail(key, error, self._held.pop(key).lock)

    def _fail(self, key: Key, error: FbaMatteError, lock: Optional[OutputLock]) -> None:
        if lock is not None:
            lock.release()
        self._report(work.failed(key, error))

    def _report(self, report: FrameReport) -> None:
        if not self._tell(report):
            self._stopped = True
