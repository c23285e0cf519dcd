"""Estimators that are networks: a checkpoint on a device."""

from __future__ import annotations

import gc
import logging
from contextlib import suppress
from pathlib import Path
from typing import Optional

import numpy as np
import torch
from torch import Tensor

from fbamatte.compositing import trimap as trimaps
from fbamatte.errors import FrameError, ResourceError
from fbamatte.models.base import Array, Estimate, ModelInfo
from fbamatte.models.card import show_licence
from fbamatte.models.checkpoint import build_network, read_checkpoint
from fbamatte.models.closed_form.foreground import estimate_foreground
from fbamatte.models.devices import resolve_device, resolve_precision
from fbamatte.models.fast import FastNetwork
from fbamatte.models.fast_distance import squared_distances
from fbamatte.models.fast_planes import Planes
from fbamatte.models.memory import OUT_OF_MEMORY, no_memory, plan
from fbamatte.models.network import FBANetwork
from fbamatte.models.tiles import Strips

log = logging.getLogger(__name__)


def create_from(path: str | Path, device: str, precision: str, *, name: str = "") -> NetworkEstimator:
    """Return the estimator of a checkpoint; see `load_checkpoint` and `resolve_device` for the errors."""
    place = resolve_device(device)
    precision, dtype = resolve_precision(precision, place)
    checkpoint = read_checkpoint(path)
    info = checkpoint.card.info(name or Path(path).stem)
    if not info.commercial:
        show_licence(info.name, info.licence)
    network = build_network(checkpoint, path).to(place)
    return NetworkEstimator(network, info, precision, dtype)


class NetworkEstimator:
    """A network in the shape of an estimator.

    Parameters
    ----------
    network : FBANetwork
        In eval mode, on its device, in float32; its weights are taken over.
    info : ModelInfo
        What it is.
    precision : str
        The name of ``dtype``.
    dtype : torch.dtype
        In which it convolves.
    """

    def __init__(self, network: FBANetwork, info: ModelInfo, precision: str, dtype: torch.dtype) -> None:
        self.info = info
        self.precision = precision
        self.device = str(next(network.parameters()).device)
        self._network: Optional[FastNetwork] = FastNetwork(network, dtype, consume=True)

    def estimate(self, image: Array, trimap: Array, strips: Optional[Strips] = None) -> Estimate:
        """Return alpha, F and B; see `fbamatte.models.base.Estimator.estimate`.

        Parameters
        ----------
        image, trimap : ndarray
            Of one picture.
        strips : Strips, optional
            How to cut it; by default as the memory that is free allows.

        Raises
        ------
        FrameError
            If a pixel is NaN or Inf: the norms would spread it over the whole picture.
        ResourceError
            If memory does not suffice, neither as planned nor in smaller strips.
        """
        assert self._network is not None, "the estimator is closed"
        bad = image.size - np.count_nonzero(np.isfinite(image))
        if bad:
            raise FrameError(f"picture of {image.shape[1]}×{image.shape[0]} has {bad} values that are NaN or Inf")
        strips = strips or plan(trimap.shape[0], trimap.shape[1], self.device, self.precision)
        return _estimate(self._output(image, trimap, strips), image, trimap)

    def close(self) -> None:
        """Free the weights."""
        self._network = None
        self._free()

    def _output(self, image: Array, trimap: Array, strips: Strips) -> Array:
        """Return the network's channels, (7 or 1, H, W); a second time in smaller strips if memory runs out."""
        with suppress(*OUT_OF_MEMORY):
            return self._once(image, trimap, strips)
        self._free()
        log.warning("out of memory at %d×%d on %s: again in smaller strips", *trimap.shape[::-1], self.device)
        try:
            return self._once(image, trimap, strips.smaller())
        except OUT_OF_MEMORY as error:
            self._free()
            raise ResourceError(
                f"not enough memory for {trimap.shape[1]}×{trimap.shape[0]} pixels with {self.info.name} on "
                f"{self.device}, not even in small strips"
            ) from error

    def _once(self, image: Array, trimap: Array, strips: Strips) -> Array:
        assert self._network is not None
        with torch.inference_mode(), no_memory():
            masks = self._tensor(trimaps.masks(trimap))
            planes = Planes(self._tensor(image.transpose(2, 0, 1)), masks, squared_distances(masks))
            found: Array = self._network(planes, strips)[0].float().cpu().numpy()
        return found

    def _free(self) -> None:
        gc.collect()
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()

    def _tensor(self, planes: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(planes, np.float32))[None].to(self.device)


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
