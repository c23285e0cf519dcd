"""The encoder: a ResNet-50 of output stride 8, its last two stages dilated instead of strided."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from fbamatte.models.layers import Bottleneck, Layers

INPUTS = 11
"""Normalised image (3), trimap encoding (6), trimap masks (2)."""


class Encoder(nn.Module):
    """Image and trimap in; the stem, the first stage and the last one out."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        width = layers.config.channels
        stem = width(64)
        self.conv1 = layers.conv(INPUTS, stem, 7, stride=2)
        self.bn1 = layers.norm(stem)
        self.layer1 = _stage(layers, stem, width(64), 3)
        self.layer2 = _stage(layers, 4 * width(64), width(128), 4, stride=2)
        self.layer3 = _stage(layers, 4 * width(128), width(256), 6, dilation=2)
        self.layer4 = _stage(layers, 4 * width(256), width(512), 3, dilation=4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return features at 1/2, 1/4 and 1/8 of the size; nothing else is kept."""
        stem = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        shallow = self.layer1(functional.max_pool2d(stem, 3, stride=2, padding=1))
        deep = self.layer4(self.layer3(self.layer2(shallow)))
        return stem, shallow, deep


def _stage(
    layers: Layers, inputs: int, planes: int, blocks: int, *, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Return a stage of bottlenecks; the first keeps the dilation of the stage before it."""
    first = Bottleneck(layers, inputs, planes, stride=stride, dilation=max(dilation // 2, 1), project=True)
    outputs = planes * Bottleneck.expansion
    rest = (Bottleneck(layers, outputs, planes, dilation=dilation) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)
