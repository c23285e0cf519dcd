"""What Nuke calls by itself. It only touches what is on the screen: no network, no rendering, no errors."""

from __future__ import annotations

import nuke
from fbamatte_nuke import show
from fbamatte_nuke.jobs import the_queue
from fbamatte_nuke.node import SETTING_KNOBS, FbaNode

_LOOK_AGAIN = frozenset({*SETTING_KNOBS, "inputChange", "frame_range", "render_views", "showPanel"})


def knob_changed(group: nuke.Group, knob: nuke.Knob) -> None:
    """Bring the status up to date when something that a matte depends on has changed."""
    if knob.name() not in _LOOK_AGAIN:
        return
    try:
        if nuke.executing() or the_queue.active():
            return
        node = FbaNode(group)
        if knob.name() == "inputChange":
            node.take_pixel_aspect()
        show.refresh(node)
    except Exception as error:  # an error here would come up again with every knob
        nuke.tprint(f"FBA: {error}")
