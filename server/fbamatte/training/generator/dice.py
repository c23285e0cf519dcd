"""Chance: one stream of numbers on the host, one on the device, both from one seed."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Dice:
    """Draws of one picture.

    Parameters
    ----------
    seed : int
    device : torch.device
        Where tensors are drawn. Its numbers are its own: a CPU draws others than a GPU.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.device = device
        self._host = random.Random(seed)
        self._device = torch.Generator(device).manual_seed(seed)

    def between(self, low: float, high: float) -> float:
        """Return a number, all equally likely."""
        return self._host.uniform(low, high)

    def spread(self, low: float, high: float) -> float:
        """Return a number whose logarithm is equally likely: small ones as often as large ones."""
        return math.exp(self._host.uniform(math.log(low), math.log(high)))

    def whole(self, low: int, high: int) -> int:
        """Return an integer from low up to high itself."""
        return self._host.randint(low, high)

    def chance(self, probability: float) -> bool:
        """Return whether something of this probability happens."""
        return self._host.random() < probability

    def pick(self, items: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """Return one of the items."""
        return self._host.choices(items, weights)[0]

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Return numbers between low and high on the device."""
        return low + (high - low) * torch.rand(shape, generator=self._device, device=self.device)

    def normal(self, *shape: int, scale: float = 1.0) -> Tensor:
        """Return normal numbers on the device."""
        return scale * torch.randn(shape, generator=self._device, device=self.device)

    def indices(self, below: int, count: int) -> Tensor:
        """Return integers from 0 up to below, on the device."""
        return torch.randint(below, (count,), generator=self._device, device=self.device)
