"""A sequence of plates in, a sequence of mattes out: read, matte and write side by side, resume, never half a file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Optional

import numpy as np

from fbamatte.compositing.recomposition import recomposition_error
from fbamatte.compositing.trimap import from_roto
from fbamatte.engine.engine import frame_digest
from fbamatte.engine.overlap import overlap
from fbamatte.errors import FbaMatteError, ImageReadError, OutputError, RetryableError
from fbamatte.farm.lock import OutputLock, remove_leftovers
from fbamatte.farm.progress import FrameReport, Progress
from fbamatte.frame import Frame, Matte
from fbamatte.imaging import preview
from fbamatte.imaging.exr import read_exr
from fbamatte.imaging.frames import frame_from_images
from fbamatte.imaging.matte_exr import MATTE_CHANNELS, PROVENANCE, MatteFormat, write_matte
from fbamatte.imaging.reader import read_image
from fbamatte.imaging.sequence import FrameSequence

OnError = Callable[[Frame, FbaMatteError], None]
# What mattes frames: that verb of an engine here, or of a client of one elsewhere.
MatteVerb = Callable[[Iterable[Frame], OnError], Iterator[Matte]]
Key = tuple[int, str]


@dataclass(frozen=True)
class Job:
    """What to matte and where to.

    Parameters
    ----------
    plate, matte : FrameSequence
        The plates, and their trimaps or rotos.
    output : FrameSequence
        Where the mattes go.
    frames : tuple of (int, str)
        Frame number and view of each.
    widths : (float, float), optional
        Inside and outside width in pixels if ``matte`` is a roto; None if it is a trimap.
    input_space : str
        Colour space of the plates; empty: as the files say.
    settings : str
        Whatever else decides the pixels, model and precision among it, for resume.
    overwrite : bool
        Make frames again that are there already.
    preview : Path, optional
        Folder of contact sheets.
    """

    plate: FrameSequence
    matte: FrameSequence
    output: FrameSequence
    frames: tuple[Key, ...]
    widths: Optional[tuple[float, float]] = None
    input_space: str = ""
    settings: str = ""
    format: MatteFormat = field(default_factory=MatteFormat)
    overwrite: bool = False
    preview: Optional[Path] = None


class Batch:
    """One run of a job; ``run`` returns the report of every frame that ended."""

    def __init__(self, job: Job, matte: MatteVerb, progress: Progress) -> None:
        self.job = job
        self.reports: list[FrameReport] = []
        self._matte = matte
        self._progress = progress
        # reading, matting and writing each have a thread, and all three report
        self._reporting = threading.Lock()
        self._writing = threading.Lock()
        self._held: dict[Key, tuple[Frame, OutputLock]] = {}
        self._fatal: Optional[FbaMatteError] = None

    def run(self) -> list[FrameReport]:
        """Matte every frame of the job that is not there already.

        Raises
        ------
        ResourceError, OutputError
            If the output cannot go on: a full disk, a folder that may not be written. The frames
            written so far are whole.
        """
        self._make_folders()
        self._progress.start(len(self.job.frames))
        written = overlap(self._write, self._matte(self._frames(), self._on_error))
        try:
            for _ in written:
                if self._fatal is not None:
                    raise self._fatal
            if self._fatal is not None:
                raise self._fatal
        finally:
            written.close()
            self._let_go()
            self._progress.close()
        return self.reports

    def _make_folders(self) -> None:
        """Find out before the first frame whether there is anywhere to write."""
        folders = {self.job.output.path(*key).parent for key in self.job.frames}
        if self.job.preview is not None:
            folders.add(self.job.preview)
        for folder in sorted(folders):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"{folder}: this folder cannot be made: {error.strerror}") from error
            remove_leftovers(folder)

    def _let_go(self) -> None:
        """Wait for the file being written, then give back what is held."""
        self._writing.acquire(timeout=4)
        for _, lock in self._held.values():
            lock.release()
        self._held.clear()
        # never released: nothing more is written once a batch has ended

    def _frames(self) -> Iterator[Frame]:
        """Read ahead, yielding what is to be matted."""
        for frame in overlap(self._read, self.job.frames):
            if self._fatal is not None:
                return
            if frame is not None:
                yield frame

    def _read(self, key: Key) -> Optional[Frame]:
        """Return a frame that holds its output's lock; None if it is done already or failed."""
        output = self.job.output.path(*key)
        lock = None
        try:
            lock = OutputLock(output)
            frame = self._load(key)
            if not self.job.overwrite and self._is_done(output, frame):
                lock.release()
                self._report(FrameReport(*key, state="skipped", output=str(output)))
                return None
            self._held[key] = frame, lock
        except FbaMatteError as error:
            self._fail(key, error, lock)
        else:
            return frame
        return None

    def _load(self, key: Key) -> Frame:
        plate_path, matte_path = self.job.plate.path(*key), self.job.matte.path(*key)
        for path in (plate_path, matte_path):
            if not path.exists():
                raise ImageReadError(f"{path}: missing")
        number, view = key
        plate, matte = read_image(plate_path, view=view), read_image(matte_path, view=view)
        frame = frame_from_images(plate, matte, number=number, view=view, input_space=self.job.input_space)
        if self.job.widths is None:
            return frame
        return replace(frame, trimap=from_roto(frame.trimap, *self.job.widths))

    def _is_done(self, output: Path, frame: Frame) -> bool:
        """Whether a complete matte of these very inputs and settings is there."""
        if not output.exists():
            return False
        try:
            made = read_exr(output)
        except ImageReadError:
            return False
        said = made.metadata.get
        return (
            set(made.channels) >= MATTE_CHANNELS
            and said(f"{PROVENANCE}settings") == self.job.settings
            and said(f"{PROVENANCE}digest") == frame_digest(frame)
        )

    def _write(self, matte: Matte) -> None:
        key = (matte.number, matte.view)
        frame, lock = self._held[key]
        output = self.job.output.path(*key)
        with self._writing:
            try:
                clamped = write_matte(output, matte.with_provenance(settings=self.job.settings), self.job.format)
                self._write_preview(frame, matte)
            except FbaMatteError as error:
                self._fail(key, error, lock)
                self._fatal = error
                return
            finally:
                self._held.pop(key, None)
                lock.release()
        worst = recomposition_error(frame.plate, matte.alpha, matte.foreground, matte.background)
        self._report(
            FrameReport(
                *key,
                state="done",
                output=str(output),
                seconds=float(matte.provenance.get("seconds", 0)),
                recomposition_error=float(np.nanmax(worst)),
                clamped=clamped,
                nonfinite=int(matte.provenance.get("nonfinite_pixels", 0)),
            )
        )

    def _write_preview(self, frame: Frame, matte: Matte) -> None:
        if self.job.preview is None:
            return
        name = self.job.output.path(matte.number, matte.view).with_suffix(".png").name
        preview.write_png(self.job.preview / name, preview.contact_sheet(frame, matte))

    def _on_error(self, frame: Frame, error: FbaMatteError) -> None:
        key = (frame.number, frame.view)
        _, lock = self._held.pop(key)
        self._fail(key, error, lock)

    def _fail(self, key: Key, error: FbaMatteError, lock: Optional[OutputLock]) -> None:
        if lock is not None:
            lock.release()
        retryable = isinstance(error, RetryableError)
        self._report(FrameReport(*key, state="failed", error=str(error), retryable=retryable))

    def _report(self, report: FrameReport) -> None:
        with self._reporting:
            self.reports.append(report)
            self._progress.frame(report)


def exit_code(reports: list[FrameReport]) -> int:
    """Return 0 if every frame is there, 1 if some failed for good, 75 if all that failed may yet succeed."""
    failed = [report for report in reports if report.state == "failed"]
    if not failed:
        return 0
    return RetryableError.exit_code if all(report.retryable for report in failed) else 1
