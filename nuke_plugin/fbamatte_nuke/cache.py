"""Where finished frames live: one folder per state of the inputs, so that pixels are never stale.

::

    <cache folder>/<node>/<run key>-<revision>/run.json          what this run was made of
                                               journal.jsonl     one line per frame that ended
                                               main/fba.1001.exr one file per view and frame

Nuke's own cache goes by file name. So a name is only ever given to one state of the inputs: when
anything changes, the key and with it the folder changes. No Nuke in here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from fbamatte_nuke import exrfile

FILE_NAME = "fba.%04d.exr"
_FRAME = re.compile(r"fba\.(-?\d+)\.exr$")
_RUN = re.compile(r"(?P<key>[0-9a-f]{16})-(?P<revision>\d+)$")


@dataclass(frozen=True)
class FrameFile:
    """One view of one frame on disk: ``state`` is cached, missing or unreadable; ``reason`` says why."""

    state: str
    reason: str = ""


@dataclass(frozen=True)
class Usage:
    """What a folder takes up."""

    files: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.files} file{'' if self.files == 1 else 's'}, {readable_bytes(self.bytes)}"


class Run:
    """The frames of one state of the inputs.

    Parameters
    ----------
    folder : Path
        The run's own folder; made by `make`, need not exist to be asked about.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._checked: dict[Path, tuple[int, int, FrameFile]] = {}

    @property
    def key(self) -> str:
        """The run key in the folder's name; empty for a folder of another name."""
        match = _RUN.match(self.folder.name)
        return match["key"] if match else ""

    @property
    def pattern(self) -> str:
        """The file name for a Read: forward slashes, ``%V`` for the view, ``%04d`` for the frame."""
        return f"{self.folder.as_posix()}/%V/{FILE_NAME}"

    def path(self, view: str, frame: int) -> Path:
        """Return the file of ``frame`` in ``view``."""
        return self.folder / view / (FILE_NAME % frame)

    def part(self, view: str, frame: int) -> Path:
        """Return the name under which a frame grows before it is complete; never matched by the Read."""
        return self.path(view, frame).with_name(f".{FILE_NAME % frame}.{os.getpid()}.part")

    def make(self, about: dict[str, Any]) -> None:
        """Create the folder and say in ``run.json`` what it was made of; keep it if it is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        described = self.folder / "run.json"
        if not described.exists():
            _write_whole(described, json.dumps(about, indent=1, sort_keys=True).encode())

    def about(self) -> dict[str, Any]:
        """Return what `make` wrote; empty if there is nothing or it is damaged."""
        try:
            found = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def commit(self, view: str, frame: int, **entry: Any) -> Path:
        """Give a complete part its name, durably, and note it in the journal.

        Raises
        ------
        UnreadableExr
            If the part is not a whole EXR; it is removed.
        OSError
            If it cannot be flushed or renamed.
        """
        part, path = self.part(view, frame), self.path(view, frame)
        try:
            exrfile.check(part)
        except exrfile.UnreadableExr:
            part.unlink()
            raise
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
        self.note(view, frame, "done", **entry)
        return path

    def note(self, view: str, frame: int, state: str, **entry: Any) -> None:
        """Append a line to the journal: ``state`` is done or failed, with ``reason`` where it failed."""
        line = json.dumps({"view": view, "frame": frame, "state": state, "at": round(time.time(), 3), **entry})
        self.folder.mkdir(parents=True, exist_ok=True)
        # One short write in append mode: two processes may note at the same time.
        with (self.folder / "journal.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    def journal(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Return the last line of each view and frame; a damaged line is passed over."""
        found: dict[tuple[str, int], dict[str, Any]] = {}
        try:
            text = (self.folder / "journal.jsonl").read_text(encoding="utf-8")
        except OSError:
            return found
        for line in text.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                found[str(entry["view"]), int(entry["frame"])] = entry
        return found

    def look(self, view: str, frame: int) -> FrameFile:
        """Return the state of a frame's file; asks the disk again only when the file has changed."""
        path = self.path(view, frame)
        try:
            stat = path.stat()
        except OSError:
            return FrameFile("missing")
        known = self._checked.get(path)
        if known and known[:2] == (stat.st_mtime_ns, stat.st_size):
            return known[2]
        found = _look(path)
        self._checked[path] = (stat.st_mtime_ns, stat.st_size, found)
        return found

    def frames(self, view: str) -> list[int]:
        """Return the frame numbers that have a file, whole or not, in order."""
        return sorted(frame for frame, _ in _frame_files(self.folder / view))

    def usage(self) -> Usage:
        """Return what the run takes up."""
        return usage(self.folder)


def _look(path: Path) -> FrameFile:
    try:
        exrfile.check(path)
    except (exrfile.UnreadableExr, OSError) as error:
        return FrameFile("unreadable", str(error))
    return FrameFile("cached")


def _frame_files(folder: Path) -> Iterator[tuple[int, Path]]:
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            match = _FRAME.match(path.name)
            if match:
                yield int(match[1]), path


def mark(path: str) -> Optional[list[int]]:
    """Return a file's time of change in nanoseconds and its size; None where it is not there."""
    try:
        stat = Path(path).stat()
    except (OSError, ValueError):
        return None
    return [stat.st_mtime_ns, stat.st_size]


def unchanged(entry: dict[str, Any]) -> bool:
    """Whether the files that a frame was made of are as its journal ``entry`` has them."""
    files = entry.get("files")
    return isinstance(files, dict) and all(mark(path) == known for path, known in files.items())


def runs(node_folder: Path) -> list[Run]:
    """Return a node's runs, the newest first."""
    try:
        found = [path for path in node_folder.iterdir() if _RUN.match(path.name)]
    except OSError:
        return []
    return [Run(path) for path in sorted(found, key=lambda path: (path.stat().st_mtime, path.name), reverse=True)]


def latest(node_folder: Path, key: str) -> Optional[Run]:
    """Return the run of ``key`` with the highest revision."""
    found = [run for run in runs(node_folder) if run.key == key]
    return max(found, key=_revision, default=None)


def next_revision(node_folder: Path, key: str) -> Run:
    """Return a run of ``key`` that has no folder yet."""
    last = latest(node_folder, key)
    return Run(node_folder / f"{key}-{_revision(last) + 1 if last else 1}")


def _revision(run: Run) -> int:
    match = _RUN.match(run.folder.name)
    return int(match["revision"]) if match else 0


def carry_over(source: Run, target: Run, view: str, frame: int, entry: dict[str, Any]) -> None:
    """Give ``target`` a frame that ``source`` has: a hard link where the disk can, else a copy."""
    goal = target.path(view, frame)
    goal.parent.mkdir(parents=True, exist_ok=True)
    part = target.part(view, frame)
    part.unlink(missing_ok=True)
    try:
        os.link(source.path(view, frame), part)
    except OSError:
        shutil.copyfile(source.path(view, frame), part)
    part.replace(goal)
    target.note(
        view, frame, "done", **{key: entry[key] for key in entry if key not in {"view", "frame", "state", "at"}}
    )


def usage(folder: Path) -> Usage:
    """Return files and bytes below ``folder``; nothing if it is not there."""
    files = size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file():
                files, size = files + 1, size + path.stat().st_size
    return Usage(files, size)


def remove(folder: Path) -> Usage:
    """Delete ``folder`` and return what it took up."""
    freed = usage(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return freed


def safe_name(name: str) -> str:
    """Return ``name`` as a folder name: letters, digits, dot, dash and underscore of any alphabet."""
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "node"


def readable_bytes(count: int) -> str:
    """Return ``count`` as people say it, such as ``3.2 GB``."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.1f} {unit}"


def _write_whole(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)
