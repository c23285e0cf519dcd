"""The folder of imported models."""

from __future__ import annotations

import os
import sys
from pathlib import Path

SUFFIX = ".safetensors"


def models_folder() -> Path:
    """Return where imported models are: ``$FBAMATTE_MODELS``, else the user's data folder."""
    named = os.environ.get("FBAMATTE_MODELS")
    if named:
        return Path(named).expanduser()
    return _user_data() / "fbamatte" / "models"


def installed() -> dict[str, Path]:
    """Return the imported models by name, in order of their names."""
    folder = models_folder()
    if not folder.is_dir():
        return {}
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}")) if not path.name.startswith(".")}


def _user_data() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
