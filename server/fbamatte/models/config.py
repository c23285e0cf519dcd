"""Which network a checkpoint holds: the published one, or one of the paper's variants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import gcd
from typing import Any

from fbamatte.errors import CheckpointError

NORMS = ("group", "batch")
ALPHA_HEADS = ("clip", "sigmoid")
OUTPUTS = ("alpha_fb", "alpha")

_WIDTH_STEP = 8


@dataclass(frozen=True)
class NetworkConfig:
    """The choices that the paper's Tables 2 and 3 vary; the defaults are the published network.

    Parameters
    ----------
    norm : str
        ``group`` or ``batch``.
    groups : int
        Groups of GroupNorm at full width. A narrower network has fewer, so that a group keeps about its
        channels: 1×1 pooling gives each channel one value, and a lone value normalises to nothing.
    standardise : bool
        Whether convolutions standardise their weights.
    alpha : str
        ``clip`` cuts the alpha channel to [0, 1], ``sigmoid`` squashes it.
    outputs : str
        ``alpha_fb``: alpha, F and B. ``alpha``: alpha alone; F and B are then left to another method.
    fusion : bool
        Whether one step of the fusion of alpha, F and B ends the network.
    width : float
        Multiplies every layer's channels, rounded to multiples of 8.
    """

    norm: str = "group"
    groups: int = 32
    standardise: bool = True
    alpha: str = "clip"
    outputs: str = "alpha_fb"
    fusion: bool = True
    width: float = 1.0

    def __post_init__(self) -> None:
        for name, known in (("norm", NORMS), ("alpha", ALPHA_HEADS), ("outputs", OUTPUTS)):
            if getattr(self, name) not in known:
                raise CheckpointError(f"network {name} is {getattr(self, name)!r}; known: {', '.join(known)}")
        if not 0 < self.width <= 4 or self.groups < 1:
            raise CheckpointError(f"network width {self.width} or groups {self.groups} is out of range")

    @property
    def head_channels(self) -> int:
        """Channels of the last layer: 7, or 1 for alpha alone."""
        return 7 if self.outputs == "alpha_fb" else 1

    def channels(self, published: int) -> int:
        """Return how many channels a layer has that has ``published`` in the published network."""
        if self.width == 1:
            return published
        return max(_WIDTH_STEP, round(published * self.width / _WIDTH_STEP) * _WIDTH_STEP)

    def groups_of(self, channels: int) -> int:
        """Return how many groups a layer's GroupNorm has: a divisor, at least two channels in each."""
        return gcd(max(1, round(self.groups * self.width)), max(1, channels // 2))

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as a checkpoint's metadata keeps them."""
        return asdict(self)


def config_from_dict(values: Mapping[str, Any]) -> NetworkConfig:
    """Return the configuration of a checkpoint's metadata.

    Raises
    ------
    CheckpointError
        If it has a setting that this version does not know.
    """
    try:
        return NetworkConfig(**values)
    except TypeError as error:
        raise CheckpointError(f"unknown network setting: {error}") from error


def config_of_shapes(shapes: Mapping[str, tuple[int, ...]]) -> NetworkConfig:
    """Recognise a network by the keys and shapes of its tensors.

    What no tensor shows is taken as published: alpha clipped, fusion on, weights standardised with
    GroupNorm and not with BatchNorm.

    Raises
    ------
    CheckpointError
        If they are not of an FBA network; the message names what is missing.
    """
    widest, head = "encoder.layer4.0.conv1.weight", "decoder.conv_up4.4.weight"
    for key in ("encoder.conv1.weight", widest, head):
        if len(shapes.get(key, ())) != 4:
            raise CheckpointError(f"not an FBA network: no convolution {key!r}")
    outputs = {7: "alpha_fb", 1: "alpha"}.get(shapes[head][0])
    if outputs is None:
        raise CheckpointError(f"not an FBA network: {head!r} has {shapes[head][0]} outputs, not 7 or 1")
    norm = "batch" if "encoder.bn1.running_mean" in shapes else "group"
    return NetworkConfig(
        norm=norm,
        standardise=norm == "group",
        outputs=outputs,
        fusion=outputs == "alpha_fb",
        width=shapes[widest][0] / 512,  # the widest layer, as it is rounded the least
    )
