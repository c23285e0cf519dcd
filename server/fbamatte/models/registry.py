"""The estimators by name. A new one is one module and one line here.

A module of the registry has ``INFO`` (a `ModelInfo`) and ``create(device, precision) -> Estimator``.
Checkpoints that come with the package and those imported into the models folder are found by their file's name,
any other by its path.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import cast

from fbamatte.errors import ModelNotFoundError
from fbamatte.models.base import Estimator, ModelInfo
from fbamatte.models.card import describe_file, recognises_refinement
from fbamatte.models.folder import SUFFIX, installed, shipped

DEFAULT = "closed-form"

BUILT_IN = {
    "closed-form": "fbamatte.models.closed_form",
}

_CHECKPOINTS = (SUFFIX, ".pth", ".pt")


def names() -> list[str]:
    """Return the names that `load` takes: the built-in ones, those that are shipped, then the imported ones."""
    return list(dict.fromkeys((*BUILT_IN, *shipped(), *installed())))


def reserved() -> frozenset[str]:
    """Return the names that no imported model can take."""
    return frozenset((*BUILT_IN, *shipped()))


def describe(name_or_path: str | Path) -> ModelInfo:
    """Return what is known about a model without loading it onto a device.

    Raises
    ------
    ModelNotFoundError
        If there is no such model; the message lists those that exist.
    CheckpointError
        If its file is no checkpoint.
    """
    name = str(name_or_path)
    if name in BUILT_IN:
        return cast("ModelInfo", import_module(BUILT_IN[name]).INFO)
    path, known_as = _checkpoint(name)
    if path.suffix == SUFFIX:
        return describe_file(path, known_as)
    from fbamatte.models.checkpoint import read_checkpoint  # brings torch

    return read_checkpoint(path).card.info(known_as)


def load(name_or_path: str | Path, device: str = "auto", precision: str = "auto") -> Estimator:
    """Return a ready estimator.

    Parameters
    ----------
    name_or_path : str or path
        One of `names`, or the path of a ``.safetensors`` or ``.pth``.
    device : str
        ``auto``, ``cpu``, ``cuda:N`` or ``mps``.
    precision : str
        ``auto``, ``fp32``, ``bf16`` or ``fp16``.

    Raises
    ------
    ModelNotFoundError
        If there is no such model; the message lists those that exist.
    CheckpointError
        If its file is no checkpoint.
    UsageError
        If the device or the precision is unknown or not to be had.
    """
    name = str(name_or_path)
    if device not in ("auto", "cpu") or precision not in ("auto", "fp32"):
        from fbamatte.models.devices import resolve_device, resolve_precision  # brings torch

        resolve_precision(precision, resolve_device(device))
    if name in BUILT_IN:
        return cast("Estimator", import_module(BUILT_IN[name]).create(device, precision))
    path, known_as = _checkpoint(name)
    if path.suffix == SUFFIX and recognises_refinement(path):
        from fbamatte.models.refinement import RefinementEstimator  # brings torch

        return RefinementEstimator(path, device, precision, name=known_as)
    from fbamatte.models.fba import create_from  # brings torch

    return create_from(path, device, precision, name=known_as)


def path_of(name_or_path: str | Path) -> Path:
    """Return the file of a model that has one.

    Raises
    ------
    ModelNotFoundError
        If there is no such file.
    """
    return _checkpoint(str(name_or_path))[0]


def _checkpoint(name: str) -> tuple[Path, str]:
    """Return the file of a model and what to call it."""
    models = {**installed(), **shipped()}
    if name in models:
        return models[name], name
    path = Path(name).expanduser()
    if path.suffix in _CHECKPOINTS and path.is_file():
        return path, path.stem
    advice = "; `fbamatte models import FBA.pth` adds the paper's" if name == "fba" else ""
    raise ModelNotFoundError(f"no model called {name!r}; there are: {', '.join(names())}{advice}")
