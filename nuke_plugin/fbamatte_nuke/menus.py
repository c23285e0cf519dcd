"""The FBA menu among Nuke's nodes, its entries in the menu bar, and the dockable panel."""

from __future__ import annotations

import nuke

PANEL_ID = "com.fbamatte.panel"
# Nuke evaluates this text wherever it builds its panes, where nothing is imported.
PANEL_CLASS = "__import__('fbamatte_nuke.panel', fromlist=['Panel']).Panel"


def add() -> None:
    """Add everything; called once, by menu.py."""
    nodes = nuke.menu("Nodes").addMenu("FBA", icon="FBA.png")
    nodes.addCommand("FBA", "nuke.createNode('FBA')", icon="FBA.png")
    nodes.addCommand("FBATrimap", "nuke.createNode('FBATrimap')", icon="FBATrimap.png")
    bar = nuke.menu("Nuke").addMenu("FBA")
    bar.addCommand("Render selected", "from fbamatte_nuke import menus; menus.render_selected()")
    bar.addCommand("Cancel all", "from fbamatte_nuke import jobs; jobs.the_queue.cancel()")
    bar.addCommand("Check all nodes", "from fbamatte_nuke import menus; menus.check_all()")
    _register_panel()


def render_selected() -> None:
    """Start the range of every FBA node that is selected."""
    from fbamatte_nuke import actions, node

    for found in nuke.selectedNodes():
        if node.is_fba(found):
            actions.render_range(found)  # type: ignore[arg-type]  # is_fba has made sure


def check_all() -> None:
    """Bring the status of every FBA node up to date."""
    from fbamatte_nuke import node, show

    for found in node.find_all():
        show.refresh(found)


def _register_panel() -> None:
    from nukescripts import panels  # type: ignore[import-not-found]  # no stubs exist for it

    panels.registerWidgetAsPanel(PANEL_CLASS, "FBA", PANEL_ID)
