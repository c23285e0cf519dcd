"""The FBA node as the rest of the plug-in sees it: its knobs, inputs and inner nodes. Main thread only."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import nuke
from fbamatte_nuke import cache, preferences
from fbamatte_nuke.problems import Problem

INPUTS = ("plate", "roto", "inside", "outside", "edge", "bg")
VIEW_MODES = ("Result", "Alpha", "Foreground", "Background", "Trimap", "Trimap overlay", "Comp", "Status")
SETTING_KNOBS = ("inside_width", "outside_width", "trimap_hi", "trimap_lo", "model", "input_space", "pixel_type")
"""Knobs whose value changes the matte; those that only change what is shown or how are not here."""


def is_fba(node: Optional[nuke.Node]) -> bool:
    """Whether ``node`` is an FBA node. Its class is Group, so the version knob tells."""
    return isinstance(node, nuke.Group) and node.knob("fba_version") is not None


def find_all(group: Optional[nuke.Group] = None) -> list[FbaNode]:
    """Return every FBA node of the script, also inside other groups, in the order of their names."""
    return sorted((FbaNode(found) for found in _walk(group or nuke.root())), key=lambda node: node.name)


def _walk(group: nuke.Group) -> Iterator[nuke.Group]:
    for node in group.nodes():
        if is_fba(node):
            yield node  # type: ignore[misc]  # is_fba has made sure
        elif isinstance(node, nuke.Group):
            yield from _walk(node)


def find(name: str) -> FbaNode:
    """Return the FBA node of that full name, such as ``FBA1`` or ``Group1.FBA1``.

    Raises
    ------
    Problem
        If there is none.
    """
    node = nuke.toNode(name)
    if not is_fba(node):
        names = ", ".join(found.name for found in find_all()) or "none"
        raise Problem(f"{name} is no FBA node of this script", f"Its FBA nodes: {names}", fatal=True)
    return FbaNode(node)  # type: ignore[arg-type]  # is_fba has made sure


@contextlib.contextmanager
def unrecorded() -> Iterator[None]:
    """Change knobs without a trace in the artist's undo history."""
    nuke.Undo.disable()
    try:
        yield
    finally:
        nuke.Undo.enable()


class FbaNode:
    """One FBA node.

    Parameters
    ----------
    group : nuke.Group
        The node itself.
    """

    def __init__(self, group: nuke.Group) -> None:
        self.group = group

    @property
    def name(self) -> str:
        """Its full name, such as ``FBA1``."""
        return self.group.fullName()

    def knob(self, name: str) -> nuke.Knob:
        """Return a knob.

        Raises
        ------
        Problem
            If the node is of an older version that lacks it.
        """
        knob = self.group.knob(name)
        if knob is None:
            raise Problem(f"{self.name} has no knob {name}", "Press Upgrade this node on its About tab", fatal=True)
        return knob

    def value(self, name: str) -> Any:
        """Return a knob's value."""
        return self.knob(name).value()

    def text(self, name: str) -> str:
        """Return a text knob's value without blanks around it."""
        return str(self.value(name) or "").strip()

    def assign(self, name: str, value: Any) -> None:
        """Set a knob where it does not have that value yet, so that nothing is refreshed in vain."""
        knob = self.knob(name)
        if knob.value() != value:
            knob.setValue(value)

    def inner(self, name: str) -> nuke.Node:
        """Return a node of its inside: Cache, PlateOut, TrimapOut.

        Raises
        ------
        Problem
            If somebody has taken it apart.
        """
        found = self.group.node(name)
        if found is None:
            raise Problem(f"{self.name} has lost its inner node {name}", "Press Upgrade this node", fatal=True)
        return found

    def input(self, name: str) -> Optional[nuke.Node]:
        """Return what is connected to the input of that name."""
        return self.group.input(INPUTS.index(name))

    def take_pixel_aspect(self) -> None:
        """Let the trimap know the plate's pixel aspect; keep what it knows where the plate is in error just now."""
        plate = self.input("plate")
        if plate is None:
            return
        try:
            aspect = float(plate.pixelAspect())
        except RuntimeError:
            return
        self.assign("pixel_aspect", aspect if aspect > 0 else 1.0)

    def views(self) -> list[str]:
        """Return the views to matte.

        Raises
        ------
        Problem
            If the knob names one that the script does not have.
        """
        there = list(nuke.views())
        wanted = self.text("render_views").replace(",", " ").split() or there
        unknown = [view for view in wanted if view not in there]
        if unknown:
            raise Problem(f"{self.name}: the script has no view {unknown[0]}", f"Its views: {', '.join(there)}")
        return wanted

    def plate_frames(self) -> list[int]:
        """Return the frames that the plate has, which need not be the script's."""
        plate = self.input("plate")
        if plate is None:
            return []
        span = plate.frameRange()
        return list(range(int(span.first()), int(span.last()) + 1))

    def cache_base(self) -> Path:
        """Return the folder that holds this node's runs.

        From the knob, else ``FBAMATTE_CACHE``, else the preferences, else a folder ``fbamatte``
        beside the script, else, while the script has no name, the user's folder for temporary files.
        """
        chosen = str(self.knob("cache_dir").evaluate() or "").strip()  # type: ignore[attr-defined]  # a File_Knob
        base = chosen or preferences.load().cache_dir
        script = Path(nuke.root().name())
        if not base:
            saved = script.is_absolute()
            base = str(script.parent / "fbamatte") if saved else str(Path(tempfile.gettempdir()) / _temporary_name())
        return Path(base).expanduser() / cache.safe_name(self.name)

    def run(self) -> Optional[cache.Run]:
        """Return the run that the node shows; None where it shows none yet."""
        folder = self.text("run_folder")
        return cache.Run(Path(folder)) if folder else None

    def server(self) -> str:
        """Return the server's address: from the knob, else as the preferences say."""
        return self.text("server") or preferences.load().server


def _temporary_name() -> str:
    """Return a folder name that two users of one machine do not share."""
    return f"fbamatte-{os.environ.get('USER') or os.environ.get('USERNAME') or 'user'}"
