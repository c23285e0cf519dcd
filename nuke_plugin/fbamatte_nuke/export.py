"""One frame of one view out of Nuke: plate and trimap as EXR files. Main thread only."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

import nuke
from fbamatte_nuke import exrfile, host
from fbamatte_nuke.node import FbaNode, unrecorded
from fbamatte_nuke.problems import Cancelled, Problem, from_os

UNUSED = "fba-export.exr"
"""The file name of the inner Writes while nothing is exported."""
# What is read back here must be so, whatever has been done to the Writes.
_FORMAT = {"PlateOut": {"datatype": "32 bit float"}, "TrimapOut": {"datatype": "16 bit half", "compression": "none"}}
_CANCEL_WORDS = ("cancelled", "canceled", "aborted")


@dataclass(frozen=True)
class Exported:
    """What was written.

    Parameters
    ----------
    plate, trimap : Path
        EXR files: R, G, B in float, and A in half with 0, 0.5 and 1.
    warning : str
        Something odd about the trimap that does not keep it from being matted; else empty.
    refused : tuple, optional
        Message and advice, where the trimap leaves nothing to decide.
    """

    plate: Path
    trimap: Path
    warning: str = ""
    refused: Optional[tuple[str, str]] = None

    def remove(self) -> None:
        """Delete both files."""
        self.plate.unlink(missing_ok=True)
        self.trimap.unlink(missing_ok=True)


def check(node: FbaNode) -> None:
    """Make sure that ``node`` can be exported at all.

    Raises
    ------
    Problem
        If proxy mode is on, an input is missing, or an input is in error.
    """
    if nuke.root()["proxy"].value():
        raise Problem(
            f"{node.name}: proxy mode is on, and a matte of a proxy is no matte of the plate",
            "Turn proxy mode off (Ctrl+P), then render again",
            fatal=True,
        )
    for name in ("plate", "roto"):
        if node.input(name) is None:
            raise Problem(f"{node.name}: nothing is connected to {name}", f"Connect a {name}", fatal=True)
    node.take_pixel_aspect()


def export_frame(node: FbaNode, frame: int, view: str, folder: Path, label: str) -> Exported:
    """Render plate and trimap of ``frame`` in ``view`` into ``folder``.

    Parameters
    ----------
    label : str
        How messages name the frame.

    Raises
    ------
    host.Busy
        If Nuke is rendering something else.
    Problem
        If an input cannot be rendered, the files cannot be used, or the disk is full.
    """
    # The file name carries the frame as Nuke fills it in, so that a leftover is never taken for another frame.
    plate, trimap = folder / f"plate.{view}.%04d.exr", folder / f"trimap.{view}.%04d.exr"
    with _writing(node, {"PlateOut": plate, "TrimapOut": trimap}) as writes:
        for write in writes:
            _render(write, frame, view, label)
    return _looked_at(Exported(Path(str(plate) % frame), Path(str(trimap) % frame)), label)


@contextlib.contextmanager
def _writing(node: FbaNode, targets: dict[str, Path]) -> Iterator[list[nuke.Node]]:
    """Enable the inner Writes for the time of one export, outside the undo history."""
    writes = [node.inner(name) for name in targets]
    with unrecorded():
        try:
            for write, (name, target) in zip(writes, targets.items()):
                write["file"].setValue(target.as_posix())
                for knob, value in _FORMAT[name].items():
                    write[knob].setValue(value)
                write["disable"].setValue(False)
            yield writes
        finally:
            for write in writes:
                write["disable"].setValue(True)
                # Still an EXR by its name: Nuke makes a Write's knobs by the kind of file.
                write["file"].setValue(UNUSED)


def _render(write: nuke.Node, frame: int, view: str, label: str) -> None:
    try:
        host.execute(write, frame, view)
    except host.Busy:
        raise
    except nuke.CancelledError as error:
        raise Cancelled(f"{label}: cancelled") from error
    except RuntimeError as error:
        text = str(error).strip() or "Nuke gave no reason"
        if any(word in text.lower() for word in _CANCEL_WORDS):
            raise Cancelled(f"{label}: cancelled") from error
        if "No space left" in text:
            raise from_os(OSError(28, os.strerror(28)), f"{label}: exporting") from error
        raise Problem(f"{label}: Nuke could not render it: {text}", "Put the input right, then render again") from error


def _looked_at(exported: Exported, label: str) -> Exported:
    try:
        exrfile.check(exported.plate)
        background, unknown, foreground = exrfile.trimap_counts(exported.trimap)
    except (exrfile.UnreadableExr, OSError) as error:
        raise Problem(f"{label}: the exported frame cannot be used: {error}", "Render it again") from error
    if not unknown:
        what = "known" if foreground and background else "foreground" if foreground else "background"
        message = f"{label}: the trimap is all {what}, so there is nothing to matte"
        advice = (
            "Check the roto on this frame in the view Trimap, widen inside width and outside width, "
            "or set empty trimap to keep"
        )
        return replace(exported, refused=(message, advice))
    missing = [name for name, count in (("foreground", foreground), ("background", background)) if not count]
    return replace(exported, warning=f"{label}: the trimap has no sure {missing[0]}") if missing else exported
