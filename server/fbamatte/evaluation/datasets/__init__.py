"""Data sets, read from where their users have them; none is bundled.

A data set is opened with `open_dataset` and gives shots of one or more frames with the truth that it knows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fbamatte.errors import UsageError
from fbamatte.evaluation.datasets.base import Case, DataSet, Shot
from fbamatte.evaluation.datasets.composed import AdobeTraining, Composition1k, Distinctions646
from fbamatte.evaluation.datasets.made import Procedural, ProceduralClips, ProceduralDisplay
from fbamatte.evaluation.datasets.plates import Plates
from fbamatte.evaluation.datasets.real import Aim500, AlphaMattingTest, AlphaMattingTraining, Folder

__all__ = ["NAMES", "Case", "DataSet", "Shot", "open_dataset"]

_SETS: dict[str, Callable[[Path, Path | None], DataSet]] = {
    Composition1k.name: Composition1k,
    AdobeTraining.name: AdobeTraining,
    AlphaMattingTraining.name: AlphaMattingTraining,
    AlphaMattingTest.name: AlphaMattingTest,
    Distinctions646.name: Distinctions646,
    Aim500.name: Aim500,
    Folder.name: Folder,
    Plates.name: Plates,
    Procedural.name: Procedural,
    ProceduralDisplay.name: ProceduralDisplay,
    ProceduralClips.name: ProceduralClips,
}
NAMES = tuple(_SETS)


def open_dataset(name: str, root: str | Path, backgrounds: str | Path = "") -> DataSet:
    """Return a data set, its lists read and its folders found.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    root : path
        Where it is; for the procedural sets ``COUNT[@SIZE]``.
    backgrounds : path
        Of the pictures that a composed set puts behind its foregrounds; empty: in or beside the root.

    Raises
    ------
    UsageError
        If there is no such set.
    ImageReadError
        Naming the file or folder that is missing.
    """
    if name not in _SETS:
        raise UsageError(f"no data set called {name!r}; there are: {', '.join(NAMES)}")
    return _SETS[name](Path(root), Path(backgrounds) if str(backgrounds) else None)
