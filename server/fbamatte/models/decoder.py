"""The decoder: pyramid pooling, three times ×2 with skips, and the head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fbamatte.models.layers import Bottleneck, Layers

POOL_SIZES = (1, 2, 3, 6)

HEAD_INPUTS = 8
"""Normalised image (3), image (3), trimap masks (2)."""

SLOPE = 0.01


class Decoder(nn.Module):
    """Features in, raw channels of alpha, F and B at full size out."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        width = layers.config.channels
        deep, shallow, stem = (width(512) * Bottleneck.expansion, width(64) * Bottleneck.expansion, width(64))
        pooled, wide, thin = width(256), width(256), width(64)
        self.ppm = nn.ModuleList(_pool(layers, size, deep, pooled) for size in POOL_SIZES)
        self.conv_up1 = nn.Sequential(
            *_block(layers, deep + len(POOL_SIZES) * pooled, wide), *_block(layers, wide, wide)
        )
        self.conv_up2 = nn.Sequential(*_block(layers, wide + shallow, wide))
        self.conv_up3 = nn.Sequential(*_block(layers, wide + stem, thin))
        self.conv_up4 = nn.Sequential(
            nn.Conv2d(thin + HEAD_INPUTS, width(32), 3, padding=1),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Conv2d(width(32), width(16), 3, padding=1),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Conv2d(width(16), layers.config.head_channels, 1),
        )

    def forward(self, stem: Tensor, shallow: Tensor, deep: Tensor, full_size: Tensor) -> Tensor:
        """Return raw head channels.

        Parameters
        ----------
        stem, shallow, deep : Tensor
            The encoder's features at 1/2, 1/4 and 1/8.
        full_size : Tensor, shape (N, 8, H, W)
            Normalised image, image, trimap masks; the head computes in its type.
        """
        x = self.conv_up1(torch.cat([deep, *(_to_size_of(deep, pool(deep)) for pool in self.ppm)], dim=1))
        x = self.conv_up2(torch.cat([_doubled(x), shallow], dim=1))
        x = self.conv_up3(torch.cat([_doubled(x), stem], dim=1))
        return self.conv_up4(torch.cat([_doubled(x).to(full_size.dtype), full_size], dim=1))  # type: ignore[no-any-return]


def _pool(layers: Layers, size: int, inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(size), *_block(layers, inputs, outputs, kernel=1))


def _block(layers: Layers, inputs: int, outputs: int, kernel: int = 3) -> tuple[nn.Module, ...]:
    return (
        layers.conv(inputs, outputs, kernel, bias=True),
        layers.norm(outputs),
        nn.LeakyReLU(SLOPE, inplace=True),
    )


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _to_size_of(target: Tensor, x: Tensor) -> Tensor:
    return functional.interpolate(x, size=target.shape[2:], mode="bilinear", align_corners=False)
