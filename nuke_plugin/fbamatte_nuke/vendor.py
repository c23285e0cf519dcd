"""The wheels that the installer put beside the plug-in, one folder per Python version."""

from __future__ import annotations

import sys
from pathlib import Path

_HOME = Path(__file__).resolve().parents[1]


def folder() -> Path:
    """Return the folder for this interpreter, such as ``vendor/py310``; it need not exist."""
    return _HOME / "vendor" / f"py{sys.version_info[0]}{sys.version_info[1]}"


def append() -> bool:
    """Put the folder at the end of ``sys.path``, where it overrides nothing of Nuke's; return whether it is there."""
    there = folder().is_dir()
    if there and str(folder()) not in sys.path:
        sys.path.append(str(folder()))
    return there
