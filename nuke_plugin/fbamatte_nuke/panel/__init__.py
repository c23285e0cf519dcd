"""The dockable panel. Its parts know no Nuke; only `Panel` does, and is made when it is asked for."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Make `Panel`: Nuke's panes build it without arguments."""
    if name != "Panel":
        raise AttributeError(name)
    from fbamatte_nuke.panel.source import Source
    from fbamatte_nuke.panel.window import Window

    class Panel(Window):
        """The panel, tied to this Nuke."""

        def __init__(self) -> None:
            super().__init__(Source())

    globals()["Panel"] = Panel
    return Panel
