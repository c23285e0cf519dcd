"""Maps of features that are written, measured and normalised in strips of rows.

GroupNorm needs the whole picture's statistics, so nothing behind it can start before its convolution
has seen every row. A map is therefore written raw, strip by strip, its statistics gathered on the way,
and normalised in place as the next layer first reads it, while the strip is in the cache.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Optional, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from fbamatte.models.devices import widest
from fbamatte.models.fused import normalised

MARGIN = 4
"""Rows of zeros above and below a map: the widest dilation."""


IN_ONE_PASS = {"cuda"}
"""Devices on which `normalised` is one kernel."""


class Rows(Protocol):
    """What a convolution reads: a picture of features, row by row."""

    height: int
    """Rows of the picture; those outside are zeros."""

    def rows(self, first: int, last: int) -> Tensor:
        """Return rows ``first`` to ``last`` (excluded), shape (1, C, last − first, W)."""
        ...


@dataclass(frozen=True)
class Place:
    """Where maps live.

    Parameters
    ----------
    device : torch.device
        Where strips are computed.
    dtype : torch.dtype
        Of the features.
    folder : str
        Maps are kept in files of this folder instead of memory; empty for memory.
    """

    device: torch.device
    dtype: torch.dtype
    folder: str = ""

    def empty(self, channels: int, height: int, width: int) -> Tensor:
        """Return uninitialised features, shape (1, C, H, W), channels last."""
        shape = (1, height, width, channels)
        if self.folder:
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix="fbamatte-") as file:
                # the mapping outlives the name: nothing is left behind whatever happens
                flat = torch.from_file(file.name, shared=True, size=prod(shape), dtype=self.dtype)
            return flat.view(shape).permute(0, 3, 1, 2)
        return torch.empty(shape, dtype=self.dtype, device=self.device).permute(0, 3, 1, 2)


@dataclass
class Statistics:
    """Mean and variance per channel, gathered strip by strip."""

    counts: list[int] = field(default_factory=list)
    means: list[Tensor] = field(default_factory=list)
    variances: list[Tensor] = field(default_factory=list)

    def add(self, x: Tensor) -> None:
        """Take in a strip, (1, C, H, W)."""
        mean, variance = _moments(x)
        self.counts.append(x.shape[2] * x.shape[3])
        self.means.append(mean)
        self.variances.append(variance)

    def of_groups(self, groups: int) -> tuple[Tensor, Tensor]:
        """Return each channel's group's mean and biased variance over the picture."""
        kind = widest(self.means[0].device)
        means, variances = torch.stack(self.means).to(kind), torch.stack(self.variances).to(kind)
        mean, variance = means[0], variances[0]
        if len(self.counts) > 1:
            weights = means.new_tensor(self.counts)[:, None] / sum(self.counts)
            mean = (weights * means).sum(0)
            variance = (weights * (variances + (means - mean).square())).sum(0)
        size = len(mean) // groups
        mean, variance = mean.view(groups, size), variance.view(groups, size)
        centre = mean.mean(1, keepdim=True)
        spread = (variance + (mean - centre).square()).mean(1, keepdim=True)
        kind = self.means[0].dtype
        return centre.expand(-1, size).flatten().to(kind), spread.expand(-1, size).flatten().to(kind)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance per channel, in float32 whatever ``x`` is."""
    if x.device.type == "mps" or x.dtype == torch.float64:
        variance, mean = torch.var_mean(x if x.dtype == torch.float64 else x.float(), (0, 2, 3), correction=0)
        return mean, variance
    # with float32 running statistics the kernel accumulates in float32, without a float32 copy of x
    running = torch.zeros(2, x.shape[1], device=x.device)
    mean, variance = torch.batch_norm_update_stats(x, running[0], running[1], 0.0)
    return mean, variance


@dataclass(frozen=True, eq=False)
class Normalisation:
    """What a raw map still needs: statistics in, affine, the shortcut, the activation."""

    mean: Tensor
    variance: Tensor
    norm: nn.Module
    slope: float
    shortcut: Optional[FeatureMap]

    def apply(self, x: Tensor, first: int, last: int) -> Tensor:
        """Return normalised rows."""
        weight, bias, epsilon = self.norm.weight, self.norm.bias, self.norm.eps
        if x.device.type in IN_ONE_PASS:
            shortcut = None if self.shortcut is None else self.shortcut.rows(first, last)
            return normalised(x, self.mean, self.variance, weight, bias, epsilon, self.slope, shortcut)  # type: ignore[arg-type]
        out = functional.batch_norm(x, self.mean, self.variance, weight, bias, False, 0.0, epsilon)  # type: ignore[arg-type]
        if self.shortcut is not None:
            out += self.shortcut.rows(first, last)
        if self.slope == 1:
            return out
        return functional.leaky_relu_(out, self.slope) if self.slope else functional.relu_(out)


class FeatureMap:
    """Features of a picture, (1, C, H, W).

    Parameters
    ----------
    place : Place
        Where it lives.
    channels, height, width : int
        Its size.
    """

    def __init__(self, place: Place, channels: int, height: int, width: int) -> None:
        self.height, self.width, self.channels = height, width, channels
        self.device, self._place = place.device, place
        self._buffer: Optional[Tensor] = None
        self._whole: Optional[Tensor] = None
        self._statistics = Statistics()
        self._pending: Optional[Normalisation] = None
        self._done = 0
        self._step = height

    def write(self, first: int, x: Tensor, *, measure: bool = True) -> None:
        """Store raw rows from ``first`` on; a strip that is the whole map is taken over as it is."""
        if measure:
            self._statistics.add(x)
        if x.shape[2] == self.height:
            self._whole = x
            return
        if self._buffer is None:
            self._buffer = self._place.empty(self.channels, self.height + 2 * MARGIN, self.width)
            self._buffer[:, :, :MARGIN] = 0
            self._buffer[:, :, -MARGIN:] = 0
        self._step = min(self._step, x.shape[2])
        self._buffer[:, :, MARGIN + first : MARGIN + first + x.shape[2]] = x

    def normalise(self, norm: nn.Module, slope: float, shortcut: Optional[FeatureMap] = None) -> FeatureMap:
        """Say what is left to do to every row once all are written; it is done as they are read."""
        if isinstance(norm, nn.GroupNorm):
            mean, variance = self._statistics.of_groups(norm.num_groups)
        else:
            mean, variance = norm.running_mean, norm.running_var  # type: ignore[assignment]
        self._statistics = Statistics()
        self._pending = Normalisation(mean, variance, norm, slope, shortcut)
        return self

    def rows(self, first: int, last: int) -> Tensor:
        """Return rows, up to `MARGIN` of zeros beyond the picture included."""
        self._finish(min(last, self.height))
        if self._whole is not None:
            inside = self._whole[:, :, max(first, 0) : last]
            above, below = max(-first, 0), max(last - self.height, 0)
            return functional.pad(inside, (0, 0, above, below)) if above or below else inside
        assert self._buffer is not None
        return self._buffer[:, :, MARGIN + first : MARGIN + last]

    def _finish(self, last: int) -> None:
        """Normalise in place what no reader has asked for before."""
        while self._pending is not None and self._done < last:
            first, self._done = self._done, min(self._done + self._step, self.height)
            if self._whole is not None:
                self._whole = self._pending.apply(self._whole, 0, self.height)
                self._done = self.height
            else:
                assert self._buffer is not None
                strip = self._buffer[:, :, MARGIN + first : MARGIN + self._done]
                strip.copy_(self._pending.apply(strip, first, self._done))
            if self._done == self.height:
                self._pending = None  # lets the shortcut go


class Computed:
    """Rows that are made anew each time they are read: cheaper than keeping them.

    Parameters
    ----------
    height : int
        Rows of the picture.
    make : callable
        ``make(first, last)`` returns rows inside the picture.
    """

    def __init__(self, height: int, make: Callable[[int, int], Tensor]) -> None:
        self.height = height
        self._make = make

    def rows(self, first: int, last: int) -> Tensor:
        """Return rows, zeros beyond the picture included."""
        inside = self._make(max(first, 0), min(last, self.height))
        above, below = max(-first, 0), max(last - self.height, 0)
        return functional.pad(inside, (0, 0, above, below)) if above or below else inside


def doubled(source: FeatureMap, first: int, last: int) -> Tensor:
    """Return rows ``first`` to ``last`` of a map at twice its size, bilinear, borders repeated."""
    above, below = first // 2 - 1, (last + 1) // 2 + 1
    x = source.rows(max(above, 0), min(below, source.height))
    top, bottom = max(-above, 0), max(below - source.height, 0)
    if top or bottom:
        x = functional.pad(x, (0, 0, top, bottom), mode="replicate")
    out = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    return out[:, :, first - 2 * above : last - 2 * above]
