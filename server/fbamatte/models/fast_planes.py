"""What the network sees of a frame, made row by row: the encoding's six channels are never all there."""

from __future__ import annotations

from typing import Optional

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fbamatte.compositing.encoding import ENCODING_CROP, ENCODING_SIGMAS
from fbamatte.models.network import STRIDE, normalise


class Planes:
    """A picture, its trimap's masks and how near they are, padded to multiples of 8 by their edge.

    Parameters
    ----------
    image : Tensor, shape (1, 3, H, W)
        Display-encoded, in [0, 1].
    masks : Tensor, shape (1, 2, H, W)
        Background and foreground, 0 and 1.
    nearness : Tensor
        The encoding, shape (1, 6, H, W), or the squared distances to the masks, (1, 2, H, W), of which
        the encoding is made as it is needed.
    """

    def __init__(self, image: Tensor, masks: Tensor, nearness: Tensor) -> None:
        self._image, self._masks, self._nearness = image, masks, nearness
        self.shape = (image.shape[2], image.shape[3])
        self.height, self.width = (-(-side // STRIDE) * STRIDE for side in self.shape)
        self.device = image.device

    def image_rows(self, first: int, last: int, left: int = 0, right: Optional[int] = None) -> Tensor:
        """Return rows of the padded image, (1, 3, last − first, right − left)."""
        return self._padded(self._image, first, last, left, right)

    def unknown(self, first: int, last: int, left: int, right: int) -> bool:
        """Return whether the trimap leaves any pixel open there."""
        masks = self._masks[:, :, first:last, left:right]
        return bool((masks.amax(1) == 0).any())

    def known(self) -> Tensor:
        """Return what the trimap says of alpha, F and B, (1, 7, H, W): where it says nothing, anything."""
        return torch.cat([self._masks[:, 1:], self._image, self._image], dim=1)

    def encoder_input(self, first: int, last: int) -> Tensor:
        """Return rows of the encoder's eleven channels."""
        image, masks, nearness = (self._padded(x, first, last) for x in (self._image, self._masks, self._nearness))
        x = torch.cat([normalise(image), _encoding(nearness), masks], dim=1)
        return x.contiguous(memory_format=torch.channels_last)

    def head_input(self, first: int, last: int, left: int = 0, right: Optional[int] = None) -> Tensor:
        """Return rows of what the head sees at full size: eight channels."""
        image, masks = (self._padded(x, first, last, left, right) for x in (self._image, self._masks))
        return torch.cat([normalise(image), image, masks], dim=1)

    def _padded(self, x: Tensor, first: int, last: int, left: int = 0, right: Optional[int] = None) -> Tensor:
        height, width = self.shape
        right = self.width if right is None else right
        x = x[:, :, min(first, height - 1) : min(last, height), min(left, width - 1) : min(right, width)]
        down, across = last - first - x.shape[2], right - left - x.shape[3]
        return functional.pad(x, (0, across, 0, down), mode="replicate") if down or across else x


def _encoding(nearness: Tensor) -> Tensor:
    """Return six channels; see `fbamatte.compositing.trimap.encode`."""
    if nearness.shape[1] != 2:
        return nearness
    out = nearness.new_empty(*nearness.shape[:2], len(ENCODING_SIGMAS), *nearness.shape[2:])
    for k, sigma in enumerate(ENCODING_SIGMAS):
        torch.mul(nearness, -0.5 / (sigma * ENCODING_CROP) ** 2, out=out[:, :, k])
    if out.device.type == "cpu":
        # torch's own, MKL's by the look of it, is now and then 1e-4 off on a process's first call with two threads
        np.exp(out.numpy(), out=out.numpy())
    else:
        out.exp_()
    return out.flatten(1, 2)
