"""A stand-in for the part of nukescripts that the plug-in uses."""

from __future__ import annotations

import types
from typing import Any

registered: dict[str, tuple[str, str]] = {}


def _register(widget: str, name: str, id: str, create: bool = False) -> Any:
    registered[id] = (widget, name)


panels = types.SimpleNamespace(registerWidgetAsPanel=_register)
