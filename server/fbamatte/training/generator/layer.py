"""A foreground in the making: what it covers, and its light times that."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Layer:
    """Coverage (H, W) in [0, 1] and premultiplied scene-linear light (3, H, W)."""

    alpha: Tensor
    light: Tensor

    @classmethod
    def solid(cls, alpha: Tensor, color: Tensor) -> Layer:
        """Return a layer of a coverage and straight colours."""
        return cls(alpha, alpha * color)

    def over(self, other: Layer) -> Layer:
        """Return this layer in front of another."""
        clear = 1 - self.alpha
        return Layer(self.alpha + clear * other.alpha, self.light + clear * other.light)
