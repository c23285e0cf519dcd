"""What became of a run: data for programs, a page for people, a sentence for the log."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fbamatte import __version__
from fbamatte.farm.job import Job, left_over
from fbamatte.farm.progress import FrameReport
from fbamatte.imaging.matte_exr import write_atomic
from fbamatte.imaging.sequence import compact


@dataclass
class RunReport:
    """A run as a whole.

    Parameters
    ----------
    job : Job
    command : list of str
        The arguments it was started with, to start it again.
    model : str
        What estimated.
    frames : list of FrameReport
        Of the frames that ended, in the order in which they did.
    started : float
        Seconds since the epoch.
    seconds : float
        From start to end.
    code : int
        The exit code.
    stopped_by : str
        What ended it before its time; empty where nothing did.
    """

    job: Job
    command: list[str]
    model: str
    frames: list[FrameReport]
    started: float = field(default_factory=time.time)
    seconds: float = 0.0
    code: int = 0
    stopped_by: str = ""

    def of_state(self, state: str) -> list[FrameReport]:
        """Return the reports of one state, by frame."""
        return sorted((r for r in self.frames if r.state == state), key=lambda r: (r.frame, r.view))

    @property
    def not_reached(self) -> list[int]:
        """Numbers of the frames that never ended."""
        return sorted({number for number, _ in left_over(self.job.frames, self.frames)})

    @property
    def still_to_do(self) -> str:
        """The frames that are not there, as ``--frames`` takes them; empty if all are."""
        return ranges([*(r.frame for r in self.of_state("failed")), *self.not_reached])

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        numbers = {state: ranges(r.frame for r in self.of_state(state)) for state in ("done", "skipped", "failed")}
        return {
            "version": __version__,
            "exit_code": self.code,
            "stopped_by": self.stopped_by,
            "still_to_do": self.still_to_do,
            "asked_for": ranges(number for number, _ in self.job.frames),
            **numbers,
            "not_reached": ranges(self.not_reached),
            "command": self.command,
            "plate": self.job.plate.pattern,
            "output": self.job.output.pattern,
            "model": self.model,
            "machine": platform.node(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self.started)),
            "seconds": round(self.seconds, 3),
            "frames": [report.as_dict() for report in sorted(self.frames, key=lambda r: (r.frame, r.view))],
        }

    def write(self, path: Path) -> None:
        """Write it as a page or as data, as the name says; ``path`` holds all of it or what it held before.

        Raises
        ------
        ResourceError, OutputError
            If there is no room, or no right to write.
        """
        from fbamatte.farm.page import page  # noqa: PLC0415 - few runs want a page, and it brings Pillow

        text = page(self) if path.suffix.lower() == ".html" else json.dumps(self.as_dict(), indent=1) + "\n"
        write_atomic(path, text.encode())

    def sentences(self) -> list[str]:
        """Return what a wrangler wants to know, one line each; the last ones name what is missing."""
        done, skipped, failed = (self.of_state(state) for state in ("done", "skipped", "failed"))
        lines = []
        if done:
            worst = max(report.recomposition_error for report in done)
            rate = len(done) / max(self.seconds, 1e-3)
            lines.append(f"{len(done)} done at {rate:.2f} frames per second, worst recomposition error {worst:.1e}")
        if skipped:
            lines.append(f"{len(skipped)} skipped: complete, of the same inputs and settings (--overwrite redoes them)")
        return lines + ([self.failure] if failed or self.not_reached else [])

    @property
    def failure(self) -> str:
        """One line that says what is missing and how to ask for it again; empty if nothing is."""
        failed, missed = self.of_state("failed"), self.not_reached
        if not failed and not missed:
            return ""
        counts = [f"{len(failed)} failed"] * bool(failed) + [f"{len(missed)} not reached"] * bool(missed)
        return f"{', '.join(counts)}: --frames {self.still_to_do}"


def ranges(numbers: Iterable[int]) -> str:
    """Return frame numbers as a range to paste: ``1001-1003,1010``; empty for none."""
    found = set(numbers)
    return compact(found) if found else ""
