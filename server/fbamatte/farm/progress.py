"""How a batch tells what it does: a bar on a terminal, lines elsewhere, JSON for programs."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any, Optional, Protocol, TextIO

from tqdm import tqdm


@dataclass(frozen=True)
class FrameReport:
    """What became of one frame.

    Parameters
    ----------
    frame, view : int, str
        Which one.
    state : str
        ``done``, ``skipped`` (it was there already, complete and of the same inputs), ``failed``, or
        ``retrying``: it failed and will be tried again, so another report of it is to come.
    output : str
        The matte's file.
    seconds : float
        From the start of its preparation to the end of its last computation; 0 unless done.
    read_seconds, estimate_seconds, write_seconds : float
        For its files, on the device, for the matte and its contact sheet.
    recomposition_error : float
        Largest |C − αF − (1−α)B| / max(1, |C|) over the frame, before rounding to half.
    clamped, nonfinite : int
        Values beyond half range that were written as the largest half; plate pixels that were NaN or Inf.
    error : str
        Why it failed.
    retryable : bool
        Whether trying again later may help.
    preview : str
        Its contact sheet's file.
    """

    frame: int
    view: str
    state: str
    output: str = ""
    seconds: float = 0.0
    recomposition_error: float = 0.0
    clamped: int = 0
    nonfinite: int = 0
    error: str = ""
    retryable: bool = False
    read_seconds: float = 0.0
    estimate_seconds: float = 0.0
    write_seconds: float = 0.0
    preview: str = ""

    @property
    def where(self) -> str:
        """The frame's number and view as people write them."""
        return f"{self.frame} ({self.view})" if self.view else str(self.frame)

    @property
    def work_seconds(self) -> float:
        """Reading, estimating and writing, without waiting in line for any of them."""
        return self.read_seconds + self.estimate_seconds + self.write_seconds

    @property
    def sentence(self) -> str:
        """One line for people."""
        text = f"frame {self.where} {self.state}"
        if self.error:
            return f"{text}: {' '.join(self.error.split())}"
        notes = [f"{self.seconds:.2f} s"] if self.state == "done" else []
        if self.nonfinite:
            notes.append(f"{self.nonfinite} NaN or Inf plate pixels replaced by their neighbours")
        if self.clamped:
            notes.append(f"{self.clamped} values beyond half range written as 65504")
        return f"{text}: {self.output}" + (f" ({', '.join(notes)})" if notes else "")

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return asdict(self)


class Progress(Protocol):
    """Is told of every frame as it ends."""

    def start(self, total: int) -> None:
        """Begin; ``total`` frames are to come."""

    def frame(self, report: FrameReport) -> None:
        """One more frame has ended, or will be tried again."""

    def close(self) -> None:
        """No more frames will come."""

    def ended(self, code: int, summary: str) -> None:
        """Tell that the whole run has ended; ``summary`` says what failed, if anything."""


class Bar:
    """A progress bar; failures and repairs are printed above it."""

    def __init__(self, stream: Optional[TextIO] = None) -> None:
        self._stream = stream or sys.stderr

    def start(self, total: int) -> None:
        """Show the empty bar."""
        self._bar = tqdm(total=total, unit="frame", file=self._stream, dynamic_ncols=True)

    def frame(self, report: FrameReport) -> None:
        """Move on by one frame."""
        if report.error or report.nonfinite or report.clamped:
            self._bar.write(report.sentence, file=self._stream)
        self._bar.update(report.state != "retrying")

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()

    def ended(self, code: int, summary: str) -> None:
        """Nothing is left to say."""


class Lines:
    """One plain line a frame with the share done so far, for logs."""

    def __init__(self, stream: Optional[TextIO] = None) -> None:
        self._stream = stream or sys.stderr

    def start(self, total: int) -> None:
        """Remember the total."""
        self._total, self._ended = total, 0

    def frame(self, report: FrameReport) -> None:
        """Write the line."""
        self._ended += report.state != "retrying"
        percent = 100 * self._ended // max(1, self._total)
        print(f"{percent:3d}% {report.sentence}", file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing is left to say."""

    def ended(self, code: int, summary: str) -> None:
        """Nothing is left to say."""


class JsonLines:
    """One JSON object a frame, for programs."""

    def __init__(self, stream: Optional[TextIO] = None) -> None:
        self._stream = stream or sys.stdout

    def start(self, total: int) -> None:
        """Nothing is said before the first frame."""

    def frame(self, report: FrameReport) -> None:
        """Write the object."""
        print(json.dumps(report.as_dict(), ensure_ascii=False), file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing is left to say."""

    def ended(self, code: int, summary: str) -> None:
        """Nothing is left to say."""
