"""The network's building blocks: weight-standardised convolution, norm, bottleneck, fusion."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fbamatte.models.config import NetworkConfig

NORM_EPSILON = 1e-5


class WSConv2d(nn.Conv2d):
    """A convolution whose weights are standardised per output channel (Qiao et al. 2019).

    While it is trained it standardises at each call; `fold` does so once and for all.
    """

    folded = False

    def forward(self, x: Tensor) -> Tensor:
        """Convolve with the standardised weights."""
        weight = self.weight if self.folded else standardised(self.weight)
        out: Tensor = self._conv_forward(x, weight, self.bias)
        return out

    def fold(self) -> None:
        """Standardise in double precision and keep the result: for inference only."""
        if not self.folded:
            weight = standardised(self.weight.detach().double()).to(self.weight.dtype)
            self.weight = nn.Parameter(weight, requires_grad=False)
            self.folded = True


def standardised(weight: Tensor) -> Tensor:
    """Return (w − mean) / sqrt(var + 1e-5) per output channel, with the biased variance."""
    variance, mean = torch.var_mean(weight, dim=(1, 2, 3), keepdim=True, unbiased=False)
    scaled: Tensor = (weight - mean) * torch.rsqrt(variance + NORM_EPSILON)
    return scaled


class GroupNorm(nn.GroupNorm):
    """GroupNorm that takes activations of lower precision; its statistics are float32 all the same."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; torch accumulates in float32 whatever the activations are."""
        return functional.group_norm(x, self.num_groups, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


class Layers:
    """Makes layers as one configuration asks for them."""

    def __init__(self, config: NetworkConfig) -> None:
        self.config = config

    def conv(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1, bias: bool = False
    ) -> nn.Conv2d:
        """Return a convolution whose output has its input's size over the stride."""
        kind = WSConv2d if self.config.standardise else nn.Conv2d
        padding = dilation * (kernel // 2)
        return kind(inputs, outputs, kernel, stride, padding, dilation, bias=bias)

    def norm(self, channels: int) -> nn.Module:
        """Return the norm of a layer."""
        if self.config.norm == "batch":
            return nn.BatchNorm2d(channels, NORM_EPSILON)
        return GroupNorm(self.config.groups_of(channels), channels, NORM_EPSILON)


class Bottleneck(nn.Module):
    """ResNet's 1×1, 3×3, 1×1 with a shortcut."""

    expansion = 4

    def __init__(
        self, layers: Layers, inputs: int, planes: int, *, stride: int = 1, dilation: int = 1, project: bool = False
    ) -> None:
        super().__init__()
        outputs = planes * self.expansion
        self.conv1 = layers.conv(inputs, planes, 1)
        self.bn1 = layers.norm(planes)
        self.conv2 = layers.conv(planes, planes, 3, stride=stride, dilation=dilation)
        self.bn2 = layers.norm(planes)
        self.conv3 = layers.conv(planes, outputs, 1)
        self.bn3 = layers.norm(outputs)
        self.downsample = None
        if project:
            self.downsample = nn.Sequential(layers.conv(inputs, outputs, 1, stride=stride), layers.norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(shortcut(x) + residual(x))."""
        out = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        out = functional.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        return functional.relu(out, inplace=True)


def fuse(image: Tensor, alpha: Tensor, foreground: Tensor, background: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return alpha, F and B after the published network's one step of fusion (paper, Eq. 4 to 6).

    Parameters
    ----------
    image, foreground, background : Tensor, shape (N, 3, H, W)
        Display-encoded, in [0, 1].
    alpha : Tensor, shape (N, 1, H, W)

    Notes
    -----
    F first, B with the new F, both cut to [0, 1], alpha last, its prior of weight 0.1.
    """
    foreground = alpha * image + (1 - alpha**2) * foreground - alpha * (1 - alpha) * background
    background = (1 - alpha) * image + (2 * alpha - alpha**2) * background - alpha * (1 - alpha) * foreground
    foreground, background = foreground.clamp(0, 1), background.clamp(0, 1)
    across = foreground - background
    alpha = 0.1 * alpha + ((image - background) * across).sum(dim=1, keepdim=True)
    alpha = alpha / ((across * across).sum(dim=1, keepdim=True) + 0.1)
    return alpha.clamp(0, 1), foreground, background
