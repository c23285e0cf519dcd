"""Checkpoints whose values mean nothing but are the same everywhere: each tensor drawn by its key.

The oracle was computed with the published shapes filled this way. A wrong layer, padding or norm
shows in the output.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

TABLE = Path(__file__).with_name("data") / "fba_state_dict.tsv"


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Return the keys and shapes of the file that the paper's authors publish."""
    rows = (line.split("\t") for line in TABLE.read_text().splitlines())
    return {key: tuple(int(side) for side in shape.split("x")) for key, shape in rows}


def filled(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Return a state dict: convolutions of unit gain, norm weights near 1, the rest near 0."""
    return {key: torch.from_numpy(_draw(key, tuple(shape))) for key, shape in shapes.items()}


def _draw(key: str, shape: tuple[int, ...]) -> np.ndarray:
    values = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()))).standard_normal(shape)
    if len(shape) == 4:
        values = values / np.sqrt(np.prod(shape[1:]))
    elif key.endswith(".weight"):
        values = 1 + 0.1 * values
    else:
        values = 0.1 * values
    return values.astype(np.float32)
