"""Which frame the node is asked for, when something below it in the tree shifts or holds time. Main thread only."""

from __future__ import annotations

from typing import Optional

import nuke
from fbamatte_nuke.node import FbaNode


def asked_frame(node: FbaNode, frame: int) -> int:
    """Return the frame that ``node`` is asked for while the viewer shows ``frame``.

    The way from the active viewer up to the node is followed; a TimeOffset on it shifts, a FrameHold
    holds. Where the viewer does not look at the node, or there is no interface, it is ``frame``.
    """
    if not nuke.GUI:
        return frame
    window = nuke.activeViewer()
    viewer = window.node() if window else None
    if viewer is None:
        return frame
    active = window.activeInput()
    top = viewer.input(active) if active is not None else None
    found = _follow(top, node.name, float(frame), 0) if top is not None else None
    return frame if found is None else round(found)


def _follow(start: nuke.Node, goal: str, frame: float, depth: int) -> Optional[float]:
    """Return the frame at which ``start`` asks the node ``goal``; None where it does not lead there."""
    if start.fullName() == goal:
        return frame
    if depth > 500:
        return None
    above = _above(start, frame)
    for index in range(start.inputs()):
        upstream = start.input(index)
        found = _follow(upstream, goal, above, depth + 1) if upstream is not None else None
        if found is not None:
            return found
    return None


def _above(node: nuke.Node, frame: float) -> float:
    if node.Class() == "TimeOffset":
        return frame - float(node["time_offset"].value())
    if node.Class() == "FrameHold":
        return _held(node, frame)
    return frame


def _held(node: nuke.Node, frame: float) -> float:
    knob = node.knob("firstFrame") or node.knob("first_frame")
    if knob is None:
        return frame
    first, increment = float(knob.value()), node.knob("increment")
    step = float(increment.value()) if increment is not None else 0.0
    return first + (frame - first) // step * step if step else first
