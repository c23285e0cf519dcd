"""A run's state on disk: everything to go on exactly, in pieces small enough to carry about."""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fbamatte.errors import CheckpointError, OutputError, UsageError
from fbamatte.training.recipe import Recipe

PIECE = 15 << 20
"""Bytes in a file at most."""

INDEX = "state.json"


@dataclass(frozen=True)
class Saved:
    """What is in a state: the next step, and tensors by what they belong to."""

    step: int
    parts: dict[str, Any]


def save_state(folder: Path, recipe: Recipe, step: int, parts: dict[str, Any]) -> None:
    """Write a state beside the old one, and only then forget that.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(parts, buffer)
    data = buffer.getbuffer()
    pieces = [f"state-{step:08d}.{at // PIECE:03d}" for at in range(0, len(data), PIECE)]
    index = {"step": step, "recipe": json.loads(recipe.as_json()), "pieces": pieces, "sha256": _digest(data)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(pieces):
            _write(folder / name, data[number * PIECE : (number + 1) * PIECE])
        _write(folder / INDEX, memoryview(json.dumps(index, indent=1).encode()))
        for old in folder.glob("state-*.[0-9][0-9][0-9]"):
            if old.name not in pieces:
                old.unlink()
    except OSError as error:
        raise OutputError(f"{folder}: cannot write the run's state: {error.strerror or error}") from error


def load_state(folder: Path, recipe: Recipe) -> Saved | None:
    """Return the state in a folder, or None where there is none.

    Raises
    ------
    CheckpointError
        If a piece is missing or damaged.
    UsageError
        If the state is of another recipe; the message names the first setting that differs.
    """
    index_path = folder / INDEX
    if not index_path.is_file():
        return None
    try:
        index = json.loads(index_path.read_bytes())
        data = b"".join((folder / name).read_bytes() for name in index["pieces"])
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{index_path}: the run's state cannot be read: {error}") from error
    if _digest(memoryview(data)) != index["sha256"]:
        raise CheckpointError(f"{index_path}: the run's state is damaged; its pieces have another hash")
    wanted = json.loads(recipe.as_json())
    for key, value in wanted.items():
        if index["recipe"].get(key) != value:
            raise UsageError(
                f"{folder}: holds a run with {key} = {index['recipe'].get(key)!r}, not {value!r}; "
                "give another folder, or the recipe that it was begun with"
            )
    parts = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return Saved(int(index["step"]), parts)


def _write(path: Path, data: memoryview) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _digest(data: memoryview) -> str:
    return hashlib.sha256(data).hexdigest()
