"""The Qt that this Nuke has: PySide2 up to Nuke 15, PySide6 from 16 on. Everything else imports it from here."""

from __future__ import annotations

import importlib
import sys
from typing import Any

_BINDINGS = ("PySide6", "PySide2")


def _binding() -> str:
    """Return the one that is loaded already, as Nuke's own is; else the first that there is.

    A PySide of another kind may lie on a leaked PYTHONPATH, and two of them in one process crash.
    """
    for name in _BINDINGS:
        if f"{name}.QtWidgets" in sys.modules:
            return name
    for name in _BINDINGS:
        try:
            importlib.import_module(f"{name}.QtWidgets")
        except ImportError:
            continue
        return name
    raise ImportError("neither PySide6 nor PySide2 is here, so there is no panel")


BINDING = _binding()
QtCore: Any = importlib.import_module(f"{BINDING}.QtCore")
QtGui: Any = importlib.import_module(f"{BINDING}.QtGui")
QtWidgets: Any = importlib.import_module(f"{BINDING}.QtWidgets")
