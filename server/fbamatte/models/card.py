"""A model's card: what a checkpoint says about itself, kept in its ``.safetensors`` metadata."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import safetensors

from fbamatte.errors import CheckpointError
from fbamatte.models.base import ModelInfo
from fbamatte.models.config import NetworkConfig, config_from_dict

KEY = "fbamatte"
"""The metadata entry, JSON."""

REFINEMENT_KEY = "fbamatte_refinement"
"""The entry of a refining network, JSON: its width, evidence and `ModelInfo`."""

NON_COMMERCIAL = "non-commercial use only (trained on the Adobe Deep Image Matting data)"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Card:
    """What a checkpoint is.

    Parameters
    ----------
    name, title, licence, commercial, sha256, parameters, description
        As in `ModelInfo`; the hash is of the weights, not of the file that holds the card too.
    config : NetworkConfig
        The network that the weights fit.
    source : str
        Where the weights come from: file, hash, recipe.
    light : str
        That its data was composited in: ``linear``, or ``display`` as the authors' was.
    """

    name: str
    title: str
    licence: str
    commercial: bool
    sha256: str
    parameters: int
    description: str
    config: NetworkConfig
    source: str
    light: str = "linear"

    def as_metadata(self) -> dict[str, str]:
        """Return the ``.safetensors`` metadata: text by name."""
        return {"format": "pt", KEY: json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)}

    def info(self, name: str = "") -> ModelInfo:
        """Return what a user should know, under the name that the user knows."""
        return ModelInfo(
            name=name or self.name,
            title=self.title,
            licence=self.licence,
            commercial=self.commercial,
            sha256=self.sha256,
            parameters=self.parameters,
            description=f"{self.description} {self.source}".strip(),
            light=self.light,
        )


def describe_file(path: str | Path, name: str = "") -> ModelInfo:
    """Return what a ``.safetensors`` of either kind says about itself, under the name that the user knows.

    Raises
    ------
    CheckpointError
        If it is no model of ours.
    """
    if not recognises_refinement(path):
        return read_card(path).info(name)
    about = read_refinement(path)
    return replace(about, name=name or about.name)


def recognises_refinement(path: str | Path) -> bool:
    """Return whether a ``.safetensors`` holds a refining network."""
    try:
        return REFINEMENT_KEY in _metadata(path)
    except CheckpointError:
        return False


def read_refinement(path: str | Path) -> ModelInfo:
    """Return what a refining network's file says about it, the weights left alone.

    Raises
    ------
    CheckpointError
        If it is no such file.
    """
    try:
        return ModelInfo(**json.loads(_metadata(path)[REFINEMENT_KEY])["info"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: not a refinement network: {error}") from error


def _metadata(path: str | Path) -> dict[str, str]:
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            return dict(file.metadata() or {})
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: not a readable checkpoint: {error}") from error


def read_card(path: str | Path) -> Card:
    """Return what a ``.safetensors`` says about itself, its weights left alone.

    Raises
    ------
    CheckpointError
        If it is no checkpoint of ours.
    """
    metadata = _metadata(path)
    if KEY not in metadata:
        raise CheckpointError(f"{path}: says nothing about its network; `fbamatte models import` a .pth instead")
    try:
        values = json.loads(metadata[KEY])
        return Card(**{**values, "config": config_from_dict(values["config"])})
    except (ValueError, TypeError, KeyError, CheckpointError) as error:
        raise CheckpointError(f"{path}: its description cannot be read: {error}") from error


def undeclared(name: str, config: NetworkConfig, sha256: str, parameters: int, file_sha256: str) -> Card:
    """Return the card of a ``.pth``, which has none.

    The published network is taken for the authors' own file; whatever it is, the strictest licence
    holds until somebody says otherwise.
    """
    ours = config == NetworkConfig()
    return Card(
        name=name,
        title="F, B, Alpha Matting (Forte and Pitié 2020)" if ours else "A variant of F, B, Alpha Matting",
        licence=NON_COMMERCIAL if ours else "unknown: taken as non-commercial",
        commercial=False,
        sha256=sha256,
        parameters=parameters,
        description="The paper's network, weights by its authors." if ours else "A variant of the paper's network.",
        config=config,
        source=f"Imported from a .pth of SHA-256 {file_sha256}.",
        light="display",
    )


@cache
def show_licence(name: str, licence: str) -> None:
    """Say once in a process that a model's licence forbids commercial use."""
    log.warning("model %s: %s", name, licence)
