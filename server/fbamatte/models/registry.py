"""The estimators by name. A new one is one module and one line here.

A module of the registry has ``INFO`` (a `ModelInfo`) and ``create(device, precision) -> Estimator``.
Checkpoints that were imported into the models folder are found by their file's name.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import cast

from fbamatte.errors import ModelNotFoundError
from fbamatte.models.base import Estimator, ModelInfo

DEFAULT = "closed-form"

_MODULES = {
    "closed-form": "fbamatte.models.closed_form",
}


def names() -> list[str]:
    """Return the names that `load` takes: the built-in ones first."""
    return list(_MODULES)


def describe(name_or_path: str | Path) -> ModelInfo:
    """Return what is known about a model without loading it.

    Raises
    ------
    ModelNotFoundError
        If there is no such model; the message lists those that exist.
    """
    return cast("ModelInfo", import_module(_module(name_or_path)).INFO)


def load(name_or_path: str | Path, device: str = "auto", precision: str = "auto") -> Estimator:
    """Return a ready estimator.

    Raises
    ------
    ModelNotFoundError
        If there is no such model; the message lists those that exist.
    """
    return cast("Estimator", import_module(_module(name_or_path)).create(device, precision))


def _module(name: str | Path) -> str:
    if str(name) not in _MODULES:
        raise ModelNotFoundError(f"no model called {str(name)!r}; there are: {', '.join(names())}")
    return _MODULES[str(name)]
