"""What a run has found so far, in one table that grows a line at a time and survives being cut off."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fbamatte.errors import OutputError, UsageError
from fbamatte.evaluation.figures import FIGURES

if sys.platform != "win32":
    import fcntl

_HEAD = ("model", "item", "width", "height", "problem")
COLUMNS = (*_HEAD, *(figure.key for figure in FIGURES))


@dataclass(frozen=True)
class Row:
    """One model on one shot.

    Parameters
    ----------
    model, item : str
        Which.
    width, height : int
        Of the picture.
    figures : dict
        Values by key.
    problem : str
        Why there are none; empty where there are.
    """

    model: str
    item: str
    width: int = 0
    height: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    problem: str = ""

    @property
    def group(self) -> str:
        """What the item is one of: a procedural family, a trimap's folder; empty where there is no such thing."""
        if "/" in self.item:
            return self.item.split("/")[0]
        head, dash, tail = self.item.rpartition("-")
        return head if dash and tail.isdigit() else ""


class Results:
    """The table ``results.csv`` of a folder, and ``run.json``, which says what it is a table of.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    settings : dict
        What decides the figures, besides model and item.

    Raises
    ------
    UsageError
        If the folder holds the results of other settings.
    OutputError
        If it cannot be written, or another run is writing into it.
    """

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.folder = folder
        self.path = folder / "results.csv"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _hold(folder / ".lock")
            self._agree(settings)
            self._rows = {(row.model, row.item): row for row in _read(self.path)}
            self._rewrite()
        except OSError as error:
            raise OutputError(f"{folder}: cannot write results: {error.strerror or error}") from error

    def _agree(self, settings: dict[str, str]) -> None:
        said = self.folder / "run.json"
        if said.exists():
            before = json.loads(said.read_text(encoding="utf-8"))
            differing = [key for key in settings if before.get(key) != settings[key]]
            if differing:
                key = differing[0]
                raise UsageError(
                    f"{self.folder} holds results with {key} {before.get(key)!r}, not {settings[key]!r}; "
                    "choose another folder with -o, or delete it"
                )
        else:
            _replace(said, json.dumps(settings, indent=1) + "\n")

    def _rewrite(self) -> None:
        # Drops what a killed run left half written, and failures: those are tried again.
        kept = [row for row in self._rows.values() if not row.problem]
        self._rows = {(row.model, row.item): row for row in kept}
        _replace(self.path, _text([_HEADER, *map(_cells, kept)]))

    def close(self) -> None:
        """Let another run have the folder."""
        self._lock.close()

    def has(self, model: str, item: str) -> bool:
        """Return whether this one is measured."""
        return (model, item) in self._rows

    def add(self, row: Row) -> None:
        """Append a row; once this returns it is on the disk."""
        self._rows[row.model, row.item] = row
        try:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(_text([_cells(row)]))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"{self.path}: cannot write: {error.strerror or error}") from error

    def rows(self, models: Iterable[str], items: Iterable[str]) -> list[Row]:
        """Return the rows of these models and items, in their order."""
        wanted = list(items)
        return [self._rows[m, i] for m in models for i in wanted if (m, i) in self._rows]


_HEADER = list(COLUMNS)


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _hold(path: Path) -> IO[str]:
    """Return an open file that no other process holds; it is let go when it is closed, however this process ends."""
    held = path.open("w", encoding="utf-8")
    if sys.platform != "win32":
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            held.close()
            raise OutputError(f"{path.parent}: another run is writing its results there") from error
    return held


def _cells(row: Row) -> list[str]:
    head = [row.model, row.item, str(row.width), str(row.height), row.problem.replace("\n", " ")]
    return head + [repr(row.figures[f.key]) if f.key in row.figures else "" for f in FIGURES]


def _text(lines: list[list[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()


def _read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    lines = list(csv.reader(io.StringIO(whole)))
    if not lines:
        return []
    header = lines[0]
    return [_row(dict(zip(header, cells))) for cells in lines[1:] if len(cells) == len(header)]


def _row(cells: dict[str, str]) -> Row:
    figures = {f.key: float(cells[f.key]) for f in FIGURES if cells.get(f.key)}
    return Row(cells["model"], cells["item"], int(cells["width"]), int(cells["height"]), figures, cells["problem"])
