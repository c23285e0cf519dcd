"""A mini-batch: pictures, trimaps and their truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fbamatte.training.distance import encoding, masks


@dataclass(frozen=True, eq=False)
class Batch:
    """What the loop trains on; colours are display-encoded, in [0, 1].

    Parameters
    ----------
    image, foreground, background : Tensor, shape (N, 3, H, W)
    alpha : Tensor, shape (N, 1, H, W)
    trimap : Tensor, shape (N, 1, H, W)
        0, 0.5, 1.
    names : tuple of str
        What to call each picture in a message: enough to draw it again.
    evidence : Tensor, shape (N, PLANES, H, W), optional
        Of `fbamatte.models.evidence.gather`, where it has been gathered already.
    """

    image: Tensor
    alpha: Tensor
    foreground: Tensor
    background: Tensor
    trimap: Tensor
    names: tuple[str, ...]
    evidence: Tensor | None = None

    @property
    def unknown(self) -> Tensor:
        """1 where the trimap says neither, shape (N, 1, H, W)."""
        return ((self.trimap > 0) & (self.trimap < 1)).float()

    @property
    def masks(self) -> Tensor:
        """Background and foreground masks, shape (N, 2, H, W)."""
        return masks(self.trimap)

    @property
    def encoding(self) -> Tensor:
        """The trimap's encoding, shape (N, 6, H, W)."""
        return encoding(self.trimap)

    def to(self, device: torch.device) -> Batch:
        """Return the same on a device."""
        planes = (self.image, self.alpha, self.foreground, self.background, self.trimap)
        image, alpha, foreground, background, trimap = (x.to(device, non_blocking=True) for x in planes)
        evidence = None if self.evidence is None else self.evidence.to(device, non_blocking=True)
        return Batch(image, alpha, foreground, background, trimap, self.names, evidence)


class Source(Protocol):
    """Where mini-batches come from. What a step gets depends on nothing but the step: that makes resuming exact."""

    @property
    def samples_per_epoch(self) -> int:
        """How many pictures an epoch has."""
        ...

    def batch(self, step: int) -> Batch:
        """Return the mini-batch of a step, the same each time."""
        ...
