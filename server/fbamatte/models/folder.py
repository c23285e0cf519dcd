"""The folders of models: those that come with the package, and those that were imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

SUFFIX = ".safetensors"

SHIPPED = Path(__file__).with_name("shipped")
"""Files of the package itself, each with its card inside and beside it."""


def models_folder() -> Path:
    """Return where imported models are: ``$FBAMATTE_MODELS``, else the user's data folder."""
    named = os.environ.get("FBAMATTE_MODELS")
    if named:
        return Path(named).expanduser()
    return _user_data() / "fbamatte" / "models"


def shipped() -> dict[str, Path]:
    """Return the models that come with the package by name."""
    return _files(SHIPPED)


def installed() -> dict[str, Path]:
    """Return the imported models by name, in order of their names."""
    return _files(models_folder())


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}")) if not path.name.startswith(".")}


def _user_data() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
