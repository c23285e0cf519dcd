"""Progress in the words that farms listen for on standard output, one flushed line at a time."""

from __future__ import annotations

import sys
from typing import Optional, TextIO

from fbamatte.farm.progress import Bar, FrameReport, JsonLines, Lines, Progress


class OpenJD:
    """Open Job Description: ``openjd_progress``, ``openjd_status``, ``openjd_fail``.

    The runner looks for these at the start of a line. It judges by the exit code alone: ``openjd_fail``
    only says why.
    """

    def __init__(self, stream: Optional[TextIO] = None) -> None:
        self._say = _Lines(stream)

    def start(self, total: int) -> None:
        """Begin at 0."""
        self._say.start(total)
        self._say.line("openjd_progress: 0.0")

    def frame(self, report: FrameReport) -> None:
        """Tell the share, and what became of the frame."""
        share = self._say.count(report)
        self._say.line(f"openjd_status: {report.sentence}")
        self._say.line(f"openjd_progress: {100 * share:.1f}")

    def close(self) -> None:
        """Nothing is left to say."""

    def ended(self, code: int, summary: str) -> None:
        """Say why the action fails, if it does."""
        if code:
            self._say.line(f"openjd_fail: {_one_line(summary)}")


class Deadline:
    """Deadline 10, whose plug-ins look for ``Progress: 42%``."""

    def __init__(self, stream: Optional[TextIO] = None) -> None:
        self._say = _Lines(stream)

    def start(self, total: int) -> None:
        """Begin at 0."""
        self._say.start(total)
        self._say.line("Progress: 0%")

    def frame(self, report: FrameReport) -> None:
        """Tell the share and what became of the frame."""
        share = self._say.count(report)
        self._say.line(report.sentence)
        self._say.line(f"Progress: {int(100 * share)}%")

    def close(self) -> None:
        """Nothing is left to say."""

    def ended(self, code: int, summary: str) -> None:
        """Say why, for whoever reads the task's log."""
        if code:
            self._say.line(f"Error: {_one_line(summary)}")


class Tractor:
    """Tractor: ``TR_PROGRESS 42%``, and ``TR_EXIT_STATUS`` as the very last line."""

    def __init__(self, stream: Optional[TextIO] = None) -> None:
        self._say = _Lines(stream)

    def start(self, total: int) -> None:
        """Begin at 0."""
        self._say.start(total)
        self._say.line("TR_PROGRESS 0%")

    def frame(self, report: FrameReport) -> None:
        """Tell the share and what became of the frame."""
        share = self._say.count(report)
        self._say.line(report.sentence)
        self._say.line(f"TR_PROGRESS {int(100 * share)}%")

    def close(self) -> None:
        """Nothing is left to say."""

    def ended(self, code: int, summary: str) -> None:
        """Tell the exit code in Tractor's own way as well."""
        if summary:
            self._say.line(_one_line(summary))
        self._say.line(f"TR_EXIT_STATUS {code}")


class _Lines:
    """Flushed lines, and the share of frames that have ended."""

    def __init__(self, stream: Optional[TextIO]) -> None:
        self._stream = stream or sys.stdout
        self._total, self._ended = 1, 0

    def start(self, total: int) -> None:
        self._total, self._ended = max(1, total), 0

    def count(self, report: FrameReport) -> float:
        self._ended += report.state != "retrying"
        return self._ended / self._total

    def line(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


def _one_line(text: str) -> str:
    """Keep a message of several lines from being taken for several messages."""
    return " ".join(text.split())


def progress_for(name: str) -> Progress:
    """Return what tells progress in the way called ``name``, one of `fbamatte.farm.settings.PROGRESS`."""
    if name == "auto":
        name = "bar" if sys.stderr.isatty() else "lines"
    kinds: dict[str, type[Progress]] = {
        "bar": Bar,
        "lines": Lines,
        "openjd": OpenJD,
        "deadline": Deadline,
        "tractor": Tractor,
        "json": JsonLines,
    }
    return kinds[name]()
