"""What the node shows: which run its inner Read plays, and its status in words. Main thread only."""

from __future__ import annotations

from typing import Optional

import nuke
from fbamatte_nuke import cache, survey
from fbamatte_nuke.node import FbaNode, unrecorded
from fbamatte_nuke.problems import Problem


def show_frame(node: FbaNode, run: cache.Run, frame: int) -> None:
    """Let the node show ``run``, which has just got ``frame``."""
    with unrecorded():
        _show_frame(node, run, frame)


def _show_frame(node: FbaNode, run: cache.Run, frame: int) -> None:
    first_ever = not node.value("has_result")
    same_run = node.text("run_folder") == run.folder.as_posix()
    first = min(frame, int(node.value("cached_first"))) if same_run and not first_ever else None
    last = max(frame, int(node.value("cached_last"))) if same_run and not first_ever else None
    play(node, run, first, last)
    if first_ever and node.value("view_mode") == "Trimap overlay":
        # The first matte ever is what the artist pressed the button for.
        node.assign("view_mode", "Result")


def play(node: FbaNode, run: cache.Run, first: Optional[int] = None, last: Optional[int] = None) -> None:
    """Point the inner Read at ``run``; ``first`` and ``last`` where they are known already."""
    if first is None or last is None:
        frames = [frame for view in nuke.views() for frame in run.frames(view)]
        if not frames:
            return
        first, last = min(frames), max(frames)
    read = node.inner("Cache")
    for name, value in (("first", first), ("last", last), ("origfirst", first), ("origlast", last)):
        read[name].setValue(value)
    if read["file"].value() != run.pattern:
        read["file"].setValue(run.pattern)
    else:
        # A frame that was missing a moment ago: Nuke remembers that it was.
        reload = read.knob("reload")
        if reload is not None:
            reload.execute()  # type: ignore[attr-defined]  # a Script_Knob
    node.assign("run_folder", run.folder.as_posix())
    node.assign("cached_first", first)
    node.assign("cached_last", last)
    node.assign("has_result", True)


def refresh(node: FbaNode, thorough: bool = False, run: Optional[cache.Run] = None) -> Optional[survey.Survey]:
    """Bring the status texts up to date; a problem is what they then say, none is raised.

    Parameters
    ----------
    thorough : bool
        Look into every file, which takes time; else only what there is, by name.
    run : Run, optional
        One whose failures count though the node does not show it yet.
    """
    try:
        found = survey.survey(node, thorough=thorough, pending=run)
    except Problem as problem:
        say(node, str(problem))
        return None
    say(node, found.text(), found.line())
    if thorough:
        node.assign("cache_info", str(cache.usage(node.cache_base())))
    return found


def say(node: FbaNode, text: str, line: Optional[str] = None) -> None:
    """Write ``text`` as the node's status and ``line``, or its beginning, under the node's name."""
    short = line if line is not None else text
    with unrecorded():
        node.assign("status", text)
        node.assign("status_line", short if len(short) <= 80 else short[:77] + "...")
