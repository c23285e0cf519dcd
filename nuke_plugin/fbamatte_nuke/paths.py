"""Where the plug-in's own files are, and the wheels that the installer put beside it."""

from __future__ import annotations

import sys
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]
"""The NUKE_PATH folder that init.py is in."""


def gizmos() -> str:
    """Return the folder of the gizmos and icons: beside the plug-in, or where it runs from a checkout."""
    places = (HOME / "gizmos", HOME.parent / "gizmos")
    return next((place for place in places if (place / "FBA.gizmo").is_file()), places[0]).as_posix()


def wheels() -> Path:
    """Return the folder of this interpreter's wheels, such as ``vendor/py310``; it need not exist."""
    return HOME / "vendor" / f"py{sys.version_info[0]}{sys.version_info[1]}"


def append_wheels() -> bool:
    """Put the wheels at the end of ``sys.path``, overriding nothing of Nuke's; return whether there are any."""
    there = wheels().is_dir()
    if there and str(wheels()) not in sys.path:
        sys.path.append(str(wheels()))
    return there
