"""Half to float and back, many times faster than numpy does it."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from numpy.typing import NDArray

# What comes in chunks is read only, and is only read.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")


def convert(target: NDArray[Any], source: NDArray[Any]) -> None:
    """Cast ``source`` into ``target`` of the same shape, half or float each; see `fbamatte.rpc.casting.Convert`."""
    torch.from_numpy(target).copy_(torch.from_numpy(source))
