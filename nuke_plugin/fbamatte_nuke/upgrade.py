"""An FBA node of an older script, rebuilt from the installed gizmo. Main thread only."""

from __future__ import annotations

import nuke
from fbamatte_nuke import show
from fbamatte_nuke.node import INPUTS, FbaNode
from fbamatte_nuke.problems import Problem

# Belong to the new inside, not to the artist.
_NOT_KEPT = frozenset({"fba_version", "knobChanged", "help", "name", "onCreate", "status", "cache_info", "about"})
_NO_VALUE = frozenset({"Tab_Knob", "PyScript_Knob", "Text_Knob", "BeginTabGroup_Knob", "EndTabGroup_Knob"})


def upgrade(node: FbaNode) -> FbaNode:
    """Replace ``node`` by a new one with its name, knobs, connections and cached frames.

    Raises
    ------
    Problem
        If no FBA gizmo is installed.
    """
    old = node.group
    parent = old.parent()
    with parent:
        for other in nuke.selectedNodes():
            other.setSelected(False)
        try:
            new = nuke.createNode("FBA", inpanel=False)
        except RuntimeError as error:
            raise Problem(f"{node.name}: the FBA gizmo is not installed ({error})", "Install the plug-in") from error
    _take_knobs(old, new)
    for index in range(len(INPUTS)):
        new.setInput(index, old.input(index))
    for follower in old.dependent(nuke.INPUTS, False):
        for index in range(follower.inputs()):
            if follower.input(index) is old or follower.input(index) == old:
                follower.setInput(index, new)
    name, x, y = old.name(), old.xpos(), old.ypos()
    nuke.delete(old)
    new.setName(name)
    new.setXYpos(x, y)
    rebuilt = FbaNode(new)  # type: ignore[arg-type]  # the gizmo is a Group
    run = rebuilt.run()
    if run is not None:
        show.play(rebuilt, run)
    show.refresh(rebuilt)
    return rebuilt


def _take_knobs(old: nuke.Node, new: nuke.Node) -> None:
    for name, knob in old.knobs().items():
        goal = new.knob(name)
        if goal is not None and name not in _NOT_KEPT and knob.Class() not in _NO_VALUE:
            # As text, so that animation and expressions come along.
            goal.fromScript(knob.toScript())
