"""A session of the stand-in, for tests: start one, press buttons, look at pictures, be ``nuke -t``."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

from nuke_standin import render, runtime
from nuke_standin.images import Picture

import nuke


def start(*, gui: bool = True, plugins: tuple[Path, ...] = ()) -> runtime.State:
    """Begin an empty session; ``plugins`` are NUKE_PATH folders, whose init.py and menu.py run."""
    runtime.state.__init__()  # type: ignore[misc]  # the same object, so that everybody sees it
    runtime.state.gui = nuke.GUI = gui
    nuke.scriptClear()
    for folder in plugins:
        nuke.pluginAddPath(str(folder))
    # A folder that an init.py adds has its own init.py run as well.
    for name in ("init.py", "menu.py") if gui else ("init.py",):
        for folder in runtime.state.plugin_path:
            if (Path(folder) / name).is_file():
                runpy.run_path(str(Path(folder) / name))
    return runtime.state


def press(node: Any, knob: str) -> None:
    """Press a button."""
    node[knob].execute()


def picture(node: Any, frame: int | None = None, view: str = "main") -> Picture:
    """Return what a viewer on ``node`` shows; raise what it would show as an error."""
    return render.look(node, runtime.state.frame if frame is None else frame, view)


def terminal(arguments: list[str], plugins: tuple[Path, ...] = ()) -> None:
    """Be ``nuke -t SCRIPT.py ARGUMENTS``; leaves by SystemExit as Nuke does."""
    start(gui=False, plugins=plugins)
    sys.argv = list(arguments)
    nuke.rawArgs[:] = ["nuke", "-t", *arguments]
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    # python app.py [-p PLUGIN_FOLDER]... SCRIPT.py ARGUMENTS
    rest, found = sys.argv[1:], []
    while rest[:1] == ["-p"]:
        found.append(Path(rest[1]))
        rest = rest[2:]
    terminal(rest, tuple(found))
