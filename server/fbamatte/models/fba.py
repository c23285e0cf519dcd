"""Estimators that are networks: a checkpoint on a device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fbamatte.compositing import trimap as trimaps
from fbamatte.errors import FrameError
from fbamatte.models.base import Array, Estimate, ModelInfo
from fbamatte.models.card import show_licence
from fbamatte.models.checkpoint import build_network, read_checkpoint
from fbamatte.models.closed_form.foreground import estimate_foreground
from fbamatte.models.devices import resolve_device, resolve_precision
from fbamatte.models.network import FBANetwork


def create_from(path: str | Path, device: str, precision: str, *, name: str = "") -> NetworkEstimator:
    """Return the estimator of a checkpoint; see `load_checkpoint` and `resolve_device` for the errors."""
    place = resolve_device(device)
    precision, dtype = resolve_precision(precision, place)
    checkpoint = read_checkpoint(path)
    info = checkpoint.card.info(name or Path(path).stem)
    if not info.commercial:
        show_licence(info.name, info.licence)
    network = build_network(checkpoint, path).lower_precision(dtype).to(place)
    return NetworkEstimator(network.to(memory_format=torch.channels_last), info, precision)  # type: ignore[call-overload]  # torch's stubs lack it


class NetworkEstimator:
    """A network in the shape of an estimator."""

    def __init__(self, network: FBANetwork, info: ModelInfo, precision: str) -> None:
        self.info = info
        self.precision = precision
        self.device = str(next(network.parameters()).device)
        self._network: FBANetwork | None = network

    def estimate(self, image: Array, trimap: Array) -> Estimate:
        """Return alpha, F and B; see `fbamatte.models.base.Estimator.estimate`.

        Raises
        ------
        FrameError
            If a pixel is NaN or Inf: the norms would spread it over the whole picture.
        """
        assert self._network is not None, "the estimator is closed"
        bad = image.size - np.count_nonzero(np.isfinite(image))
        if bad:
            raise FrameError(f"picture of {image.shape[1]}×{image.shape[0]} has {bad} values that are NaN or Inf")
        with torch.inference_mode():
            output = self._network(
                self._tensor(image.transpose(2, 0, 1)),
                self._tensor(trimaps.masks(trimap)),
                self._tensor(trimaps.encode(trimap)),
            )
        return _estimate(output[0].float().cpu().numpy(), image, trimap)

    def close(self) -> None:
        """Free the weights."""
        self._network = None
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()

    def _tensor(self, planes: Array) -> Tensor:
        batch = torch.from_numpy(np.ascontiguousarray(planes, np.float32))[None]
        return batch.to(self.device, memory_format=torch.channels_last)


def _estimate(output: Array, image: Array, trimap: Array) -> Estimate:
    """Return a network's output with what the trimap knows put in exactly."""
    alpha = np.where(trimap <= 0, np.float32(0), np.where(trimap >= 1, np.float32(1), output[0]))
    fitted = len(output) == 1
    if fitted:
        foreground, background = estimate_foreground(np.ascontiguousarray(image, np.float32), alpha)
    else:
        foreground, background = (np.ascontiguousarray(output[k : k + 3].transpose(1, 2, 0)) for k in (1, 4))
    solid, empty = alpha == 1, alpha == 0
    foreground[solid] = image[solid]
    background[empty] = image[empty]
    return Estimate(alpha, foreground, background, fitted)
