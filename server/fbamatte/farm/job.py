"""One run over a sequence: what to matte, where to, and how to go about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from fbamatte.errors import OutputError, RetryableError
from fbamatte.farm.lock import remove_leftovers
from fbamatte.farm.progress import FrameReport
from fbamatte.imaging.matte_exr import MatteFormat
from fbamatte.imaging.sequence import FrameSequence, compact

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
    existing : str
        Frames that are there already: ``skip`` those that are whole and of these inputs and settings,
        ``overwrite`` them, or ``error``: do nothing at all then.
    retries : int
        How often to try again what may yet succeed.
    continue_on_error : bool
        Whether the other frames go on when one fails for good.
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
    existing: str = "skip"
    retries: int = 0
    continue_on_error: bool = True
    preview: Optional[Path] = None

    def make_folders(self) -> None:
        """Find out before the first frame whether there is anywhere to write.

        Raises
        ------
        OutputError
            If a folder cannot be made, or if frames are there that must not be.
        """
        folders = {self.output.path(*key).parent for key in self.frames}
        if self.preview is not None:
            folders.add(self.preview)
        for folder in sorted(folders):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"{folder}: this folder cannot be made: {error.strerror}") from error
            remove_leftovers(folder)
        if self.existing == "error":
            self._refuse_existing()

    def _refuse_existing(self) -> None:
        there = [number for number, view in self.frames if self.output.path(number, view).exists()]
        if there:
            raise OutputError(
                f"{self.output.pattern}: frames {compact(set(there))} are there already; "
                "--existing skip keeps those that are right, --existing overwrite makes all again"
            )


def left_over(frames: Iterable[Key], reports: Iterable[FrameReport]) -> list[Key]:
    """Return the frames that no report speaks of, in order."""
    ended = {(report.frame, report.view) for report in reports}
    return [key for key in frames if key not in ended]


def exit_code(reports: Iterable[FrameReport]) -> int:
    """Return 0 if every frame is there, 1 if some failed for good, 75 if all that failed may yet succeed."""
    failed = [report for report in reports if report.state == "failed"]
    if not failed:
        return 0
    return RetryableError.exit_code if all(report.retryable for report in failed) else 1
