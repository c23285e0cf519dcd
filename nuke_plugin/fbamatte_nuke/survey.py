"""The state of every frame: cached, stale, missing or failed. Main thread only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Optional

from fbamatte_nuke import cache, key
from fbamatte_nuke.frames import format_frames, parse_frames
from fbamatte_nuke.node import FbaNode

STATES = ("cached", "stale", "missing", "failed")


@dataclass(frozen=True)
class FrameState:
    """One view of one frame: ``state`` is one of `STATES`, ``reason`` says why it is not cached."""

    state: str
    reason: str = ""


@dataclass(frozen=True)
class Survey:
    """What a node has.

    Parameters
    ----------
    name : str
        The node.
    states : dict
        (view, frame) → FrameState, over the node's frame range.
    fresh : bool
        Whether what is shown belongs to the inputs as they are.
    """

    name: str
    states: dict[tuple[str, int], FrameState] = field(default_factory=dict)
    fresh: bool = True

    def frames(self, state: str) -> list[int]:
        """Return the frames of which at least one view is in ``state``."""
        return sorted({frame for (_, frame), found in self.states.items() if found.state == state})

    def failures(self) -> list[tuple[str, int, str]]:
        """Return view, frame and reason of what failed."""
        return [(view, frame, found.reason) for (view, frame), found in self.states.items() if found.state == "failed"]

    def line(self) -> str:
        """Return a few words for under the node's name."""
        counts = {state: len(self.frames(state)) for state in STATES}
        if not counts["cached"] and not counts["stale"] and not counts["failed"]:
            return "no matte yet"
        return ", ".join(f"{count} {state}" for state, count in counts.items() if count)

    def text(self) -> str:
        """Return the status in words, one line per state; the reason of each failure."""
        lines = []
        for state in STATES[:3]:
            frames = self.frames(state)
            if frames:
                lines.append(f"{state} {format_frames(frames)}")
        if self.frames("stale"):
            lines.append("The inputs or settings have changed: press Render range")
        shown = dict.fromkeys(reason for _, _, reason in self.failures())
        lines += [f"failed: {reason}" for reason in list(shown)[:5]]
        if len(shown) > 5:
            lines.append(f"and {len(shown) - 5} more: see the FBA panel")
        return "\n".join(lines) or "no matte yet"


def wanted_frames(node: FbaNode) -> list[int]:
    """Return the frames of the node's range: its knob, else all of the plate's."""
    text = node.text("frame_range")
    return parse_frames(text) if text else node.plate_frames()


def survey(
    node: FbaNode,
    frames: Optional[Iterable[int]] = None,
    *,
    thorough: bool = True,
    pending: Optional[cache.Run] = None,
) -> Survey:
    """Return the state of ``frames``, or of the node's range and whatever else is cached.

    Parameters
    ----------
    thorough : bool
        Look into every file: whether it is whole, and whether what it was made of has been written
        again. Otherwise a frame that is there by name counts, which costs nothing with any number.
    pending : Run, optional
        A run whose failures count although the node does not show it yet.
    """
    run, views = node.run(), node.views()
    fresh = run is None or not run.key or run.key == key.quick_key(node)
    there = {view: set(run.frames(view)) if run is not None else set() for view in views}
    asked = set(wanted_frames(node)).union(*there.values()) if frames is None else set(frames)
    journal = run.journal() if run is not None else {}
    if pending is not None and (run is None or pending.folder != run.folder):
        journal.update({task: entry for task, entry in pending.journal().items() if entry["state"] == "failed"})
    states = {}
    for view in views:
        for frame in sorted(asked):
            entry = journal.get((view, frame), {})
            if entry.get("state") == "failed":
                found = FrameState("failed", str(entry.get("reason", "")))
            elif run is None or frame not in there[view]:
                found = FrameState("missing")
            else:
                found = _there(run, view, frame, entry if thorough else None, fresh)
            states[view, frame] = found
    return Survey(node.name, states, fresh)


def _there(run: cache.Run, view: str, frame: int, entry: Optional[dict[str, Any]], fresh: bool) -> FrameState:
    """Return the state of a frame that has a file; with its journal entry, look into it."""
    if entry is not None:
        found = run.look(view, frame)
        if found.state == "unreadable":
            return FrameState("failed", f"{run.path(view, frame)} cannot be read: {found.reason}. Render it again")
        fresh = fresh and cache.unchanged(entry)
    return FrameState("cached") if fresh else FrameState("stale", "the inputs have changed")
