"""What is submitted, whatever the farm: frames, paths that hold on every machine, the command of one task."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fbamatte.errors import OutputError, UsageError
from fbamatte.farm.job import Job
from fbamatte.farm.plan import plan
from fbamatte.farm.settings import MatteSettings, to_flags
from fbamatte.imaging.matte_exr import write_atomic
from fbamatte.imaging.sequence import compact
from fbamatte.settings import option

# What a model given as a file ends in; any other is a name that each worker looks up.
MODEL_FILES = (".safetensors", ".pth", ".pt")
# Fields that every farm gives in its own words.
FRAME_FIELDS = frozenset({"frames", "frame_syntax", "start", "end"})


@dataclass(frozen=True)
class SubmitSettings:
    """How the job is to look on the farm."""

    bundle: str = option("", "write the job into this folder", metavar="FOLDER")
    name: str = option("", "of the job (default: from the plates)", metavar="NAME")
    frames_per_task: int = option(10, "frames that one task makes", metavar="N")
    gpus: int = option(1, "GPUs that a task needs; 0: it runs on the CPU", metavar="N")
    priority: int = option(50, "of the job, 0 to 100", metavar="N")
    executable: str = option("fbamatte", "the command on the farm's machines", metavar="PATH")
    comp: str = option(
        "", "Open Job Description: then render this Nuke script, which reads the mattes", metavar="SCRIPT"
    )
    nuke: str = option("nuke", "Nuke on the farm's machines", metavar="PATH")

    def __post_init__(self) -> None:
        if not self.bundle:
            raise UsageError("--bundle FOLDER is missing: where should the job be written?")
        for name, least in (("frames_per_task", 1), ("gpus", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"--{name.replace('_', '-')} {getattr(self, name)}: needed {least} or more")
        if not 0 <= self.priority <= 100:
            raise UsageError(f"--priority {self.priority}: needed 0 to 100")


@dataclass(frozen=True)
class Submission:
    """A run of ``fbamatte matte`` for a farm.

    Parameters
    ----------
    matte : MatteSettings
        With absolute paths.
    submit : SubmitSettings
    job : Job
        The same, resolved: which frames, which files.
    """

    matte: MatteSettings
    submit: SubmitSettings
    job: Job

    @classmethod
    def of(cls, matte: MatteSettings, submit: SubmitSettings) -> Submission:
        """Return the submission of these settings.

        Raises
        ------
        UsageError
            If they cannot be split into tasks.
        ImageReadError
            If there are no plates and no frames were named.
        """
        if matte.report:
            raise UsageError("--report: every task would write over it; run `fbamatte matte --report` on the whole")
        if matte.engine != "local":
            raise UsageError("--engine ray is a farm of its own: it takes the whole job, not one task of another farm")
        if submit.comp and not Path(submit.comp).is_file():
            raise UsageError(f"--comp {submit.comp}: no such script")
        paths: dict[str, Any] = {name: _absolute(getattr(matte, name)) for name in _path_fields(matte)}
        settings = replace(matte, **paths)
        return cls(settings, replace(submit, comp=_absolute(submit.comp)), plan(settings))

    @property
    def name(self) -> str:
        """What the job is called."""
        return self.submit.name or f"fbamatte {Path(self.matte.plate).name}"

    @property
    def numbers(self) -> list[int]:
        """Frame numbers, in order."""
        return sorted(set(self.job.plate.numbers))

    @property
    def frames(self) -> str:
        """The frames in the words of artists: ``1001-1100x2``."""
        return compact(self.numbers)

    @property
    def has_gaps(self) -> bool:
        """Whether frames between the first and the last are not asked for."""
        numbers = self.numbers
        return numbers[-1] - numbers[0] + 1 > len(numbers)

    @property
    def frames_per_task(self) -> int:
        """For farms that tell a task its first and its last frame alone: then a task must not span a gap."""
        return 1 if self.has_gaps else self.submit.frames_per_task

    def chunks(self) -> list[list[int]]:
        """Return the frames of each task, for farms where the submitter decides."""
        numbers, size = self.numbers, self.submit.frames_per_task
        return [numbers[at : at + size] for at in range(0, len(numbers), size)]

    def arguments(self, progress: str, *frames: str, without: frozenset[str] = frozenset()) -> list[str]:
        """Return what follows the executable in the command of one task.

        Parameters
        ----------
        progress : str
            How to tell progress.
        frames : str
            Arguments that say which frames, with whatever the farm replaces in them.
        without : frozenset of str
            Settings that the farm gives in its own way.
        """
        settings = replace(self.matte, progress=progress, json=False)
        return ["matte", *to_flags(settings, without=FRAME_FIELDS | without), *frames]

    def write(self, files: Mapping[str, str]) -> Path:
        """Write the files of the job into its folder and return the folder.

        Raises
        ------
        OutputError
            If that folder cannot be made or written.
        """
        folder = Path(self.submit.bundle)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: this folder cannot be made: {error.strerror}") from error
        for name, text in files.items():
            write_atomic(folder / name, text.encode())
        return folder


# A farm: writes its files and returns what to tell the user.
Submitter = Callable[[Submission], str]


def _absolute(path: str) -> str:
    return os.path.abspath(path) if path else ""  # noqa: PTH100 - a pattern, and links stay links


def _path_fields(settings: MatteSettings) -> list[str]:
    names = ["plate", "trimap", "roto", "output", "preview"]
    return names + ["model"] * settings.model.endswith(MODEL_FILES)
