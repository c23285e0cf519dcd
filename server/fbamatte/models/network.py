"""The network of the paper: F, B, Alpha Matting (Forte and Pitié 2020), as published."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fbamatte.models.config import NetworkConfig
from fbamatte.models.decoder import Decoder
from fbamatte.models.encoder import Encoder
from fbamatte.models.layers import Layers, WSConv2d, fuse

STRIDE = 8
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class FBANetwork(nn.Module):
    """Alpha, foreground and background from a picture and its trimap.

    Parameters
    ----------
    config : NetworkConfig
        The published network by default.
    """

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        layers = Layers(self.config)
        self.encoder = Encoder(layers)
        self.decoder = Decoder(layers)

    def forward(self, image: Tensor, trimap: Tensor, encoding: Tensor) -> Tensor:
        """Return alpha, F and B after fusion.

        Parameters
        ----------
        image : Tensor, shape (N, 3, H, W)
            Display-encoded, in [0, 1]. Any size: it is padded to multiples of 8, never resampled.
        trimap : Tensor, shape (N, 2, H, W)
            Background and foreground masks.
        encoding : Tensor, shape (N, 6, H, W)
            From `fbamatte.compositing.trimap.encode`.

        Returns
        -------
        Tensor, shape (N, 7, H, W)
            Alpha, F, B in [0, 1], as the image's type; (N, 1, H, W) for a network of alpha alone.
        """
        height, width = image.shape[2:]
        image, trimap, encoding = (padded(x) for x in (image, trimap, encoding))
        normalised = normalise(image)
        features = self.encoder(torch.cat([normalised, encoding, trimap], dim=1).to(self.precision))
        raw = self.decoder(*features, torch.cat([normalised, image, trimap], dim=1))
        del features
        return self.head(raw, image)[..., :height, :width]

    def head(self, raw: Tensor, image: Tensor) -> Tensor:
        """Return the raw channels brought to [0, 1] and fused, in the image's own precision."""
        alpha = raw[:, :1].clamp(0, 1) if self.config.alpha == "clip" else raw[:, :1].sigmoid()
        if self.config.outputs == "alpha":
            return alpha
        foreground, background = raw[:, 1:4].sigmoid(), raw[:, 4:7].sigmoid()
        if self.config.fusion:
            alpha, foreground, background = fuse(image, alpha, foreground, background)
        return torch.cat([alpha, foreground, background], dim=1)

    def lower_precision(self, precision: torch.dtype) -> FBANetwork:
        """Convolve in half precision; norms, the full-size head and the fusion stay in float32."""
        head = set(self.decoder.conv_up4.modules())
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module not in head:
                module.to(precision)
        return self

    @property
    def precision(self) -> torch.dtype:
        """The type of its convolutions' weights, in which its activations are computed."""
        return self.encoder.conv1.weight.dtype

    def fold(self) -> FBANetwork:
        """Standardise the weights once and for all: same output, for inference only."""
        for module in self.modules():
            if isinstance(module, WSConv2d):
                module.fold()
        return self

    @property
    def folded(self) -> bool:
        """Whether `fold` was called: such weights are not the checkpoint's any more."""
        return any(isinstance(module, WSConv2d) and module.folded for module in self.modules())


def normalise(image: Tensor) -> Tensor:
    """Return an image with ImageNet's mean and deviation taken out."""
    # channel by channel: a tensor of constants would have to be brought to the device each time
    planes = zip(image.unbind(1), IMAGE_MEAN, IMAGE_STD)
    return torch.stack([(plane - mean) / std for plane, mean, std in planes], dim=1)


def padded(x: Tensor) -> Tensor:
    """Return (N, C, H, W) grown at the bottom and right to multiples of 8 by repeating its edge.

    A size that is one already comes back untouched. Repeating works for any size, 1×1 included, and
    keeps image, masks and encoding in agreement; at most 7 rows and columns enter the statistics.
    """
    down, right = (-x.shape[2] % STRIDE, -x.shape[3] % STRIDE)
    return functional.pad(x, (0, right, 0, down), mode="replicate") if down or right else x
