"""Checkpoints: the authors' ``.pth`` and our ``.safetensors``, read without running anything in them."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from fbamatte.errors import CheckpointError, OutputError, UsageError
from fbamatte.models import card, registry
from fbamatte.models.card import Card, read_card
from fbamatte.models.config import NetworkConfig, config_of_shapes
from fbamatte.models.folder import SUFFIX
from fbamatte.models.network import FBANetwork

State = dict[str, Tensor]

_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A file's tensors, all its own, and what is known about them."""

    state: State
    card: Card


def load_checkpoint(path: str | Path, *, fold: bool = True) -> FBANetwork:
    """Return the network of a checkpoint, in eval mode and float32.

    Parameters
    ----------
    path : path
        The authors' ``.pth`` (unpickled weights-only) or a ``.safetensors`` of `save_checkpoint`.
    fold : bool
        Standardise the weights once and for all; False to train on.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, no checkpoint, of another network or not what its hash
        says; the message names the file.
    """
    return build_network(read_checkpoint(path), path, fold=fold)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Return a checkpoint's tensors and card, its hash checked; see `load_checkpoint` for the errors."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    state, found = _read_safetensors(path) if path.suffix == SUFFIX else (_read_pickle(path), None)
    digest = weights_digest(state)
    if found is None:
        config = _recognised(state, path)
        return Checkpoint(state, card.undeclared(path.stem, config, digest, _count(state), file_digest(path)))
    if found.sha256 != digest:
        raise CheckpointError(f"{path}: its weights have SHA-256 {digest}, but it was saved with {found.sha256}")
    return Checkpoint(state, found)


def build_network(checkpoint: Checkpoint, path: str | Path, *, fold: bool = True) -> FBANetwork:
    """Return the network that a checkpoint holds; ``path`` is for messages."""
    with torch.device("meta"):
        network = FBANetwork(checkpoint.card.config)
    _compare(network.state_dict(), checkpoint.state, path)
    # integers (BatchNorm's counters) stay as they are; half-precision files are computed in float32
    state = {key: value.float() if value.is_floating_point() else value for key, value in checkpoint.state.items()}
    network.load_state_dict(state, assign=True)
    return network.eval().fold() if fold else network.eval()


def import_checkpoint(path: str | Path, target_dir: str | Path, *, name: str = "") -> Path:
    """Convert a checkpoint to ``.safetensors`` in a folder of models and return the new file.

    Parameters
    ----------
    path : path
        The authors' ``.pth`` or a ``.safetensors``.
    target_dir : path
        Made if it is not there.
    name : str
        What the model will be called; by default the file's own name in lower case.

    Raises
    ------
    CheckpointError
        If the file is no checkpoint; nothing is written then.
    UsageError
        If the name cannot be one.
    OutputError
        If the folder cannot be written to.
    """
    refining = Path(path).suffix == SUFFIX and card.recognises_refinement(path)
    checkpoint = None if refining else read_checkpoint(path)
    if checkpoint:
        build_network(checkpoint, path)
    name = name or Path(path).stem.lower().replace(" ", "-")
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a model's name; use letters, digits, '-', '_' and '.'")
    if name in registry.reserved():
        raise UsageError(f"{name!r} comes with the program; give the model another name with --name")
    target = Path(target_dir) / f"{name}{SUFFIX}"
    if checkpoint:
        write_checkpoint(Checkpoint(checkpoint.state, replace(checkpoint.card, name=name)), target)
    else:
        from fbamatte.models.refinement import load  # noqa: PLC0415 - which needs what is here

        load(path)
        write_file(target, Path(path).read_bytes())
    return target


def save_checkpoint(network: FBANetwork, path: str | Path, description: Mapping[str, Any]) -> Card:
    """Write a network that we trained, its configuration and card beside its weights.

    Parameters
    ----------
    network : FBANetwork
        Not folded.
    path : path
        Ends in ``.safetensors``.
    description : mapping
        The card's ``title``, ``licence``, ``commercial``, ``source`` and ``description``.
    """
    assert not network.folded, "folded weights are not the network's own"
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    made = Card(
        name=Path(path).stem,
        config=network.config,
        sha256=weights_digest(state),
        parameters=_count(state),
        **description,
    )
    write_checkpoint(Checkpoint(state, made), path)
    return made


def write_checkpoint(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write a ``.safetensors``; it appears under its name only when complete.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    write_file(Path(path), safetensors.torch.save(checkpoint.state, checkpoint.card.as_metadata()))


def write_file(path: Path, data: bytes) -> None:
    """Write a model's file; it appears under its name only when complete.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot write the checkpoint: {error.strerror or error}") from error


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of keys, types, shapes and values: the same in a ``.pth`` and a ``.safetensors``."""
    digest = hashlib.sha256()
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.view(-1).view(torch.uint8).numpy().data if value.numel() else b"")
    return digest.hexdigest()


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _count(state: Mapping[str, Tensor]) -> int:
    return sum(value.numel() for key, value in state.items() if not key.endswith("num_batches_tracked"))


def _read_safetensors(path: Path) -> tuple[State, Card]:
    found = read_card(path)
    try:
        return safetensors.torch.load_file(path), found
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: not a readable checkpoint: {error}") from error


def _read_pickle(path: Path) -> State:
    """Unpickle tensors and nothing else: torch refuses whatever would run code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle protocols of files that are no checkpoints
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a broken pickle raises whatever it likes
        # torch's first line is how to run the code after all, advice that nobody is to have from us
        lines = [line for line in str(error).splitlines() if line.strip() and "weights_only" not in line]
        reason = lines[0] if lines else type(error).__name__
        raise CheckpointError(f"{path}: not a checkpoint, or one that wants to run code; refused: {reason}") from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in loaded.items()
    ):
        raise CheckpointError(f"{path}: holds a {type(loaded).__name__}, not a network's tensors by name")
    return {key.removeprefix("module."): value.contiguous() for key, value in loaded.items()}


def _recognised(state: State, path: Path) -> NetworkConfig:
    try:
        return config_of_shapes({key: tuple(value.shape) for key, value in state.items()})
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _compare(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], path: str | Path) -> None:
    """Name the first tensor that differs."""
    for key, value in wanted.items():
        if key not in found:
            raise CheckpointError(f"{path}: tensor {key!r} is missing")
        if found[key].shape != value.shape:
            sizes = ("×".join(map(str, x.shape)) or "a scalar" for x in (found[key], value))
            raise CheckpointError(f"{path}: tensor {key!r} is {next(sizes)}, its network needs {next(sizes)}")
    extra = sorted(found.keys() - wanted.keys())
    if extra:
        raise CheckpointError(f"{path}: tensor {extra[0]!r} is of no network that is known")
