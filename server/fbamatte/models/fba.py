"""Estimators that are networks: a checkpoint on a device."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Optional, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from fbamatte.compositing import trimap as trimaps
from fbamatte.errors import FrameError, ResourceError
from fbamatte.models.base import Array, Estimate, ModelInfo
from fbamatte.models.captured import CudaGraphs, Shapes
from fbamatte.models.card import show_licence
from fbamatte.models.checkpoint import build_network, read_checkpoint
from fbamatte.models.closed_form.foreground import FittedEstimate
from fbamatte.models.devices import resolve_device, resolve_precision
from fbamatte.models.fast import FastNetwork
from fbamatte.models.fast_distance import squared_distances
from fbamatte.models.fast_planes import Planes
from fbamatte.models.memory import OUT_OF_MEMORY, SHARE, available, cost, no_memory, plan
from fbamatte.models.network import FBANetwork, padded
from fbamatte.models.tiles import DEFAULT_BUDGET, Strips
from fbamatte.models.transfers import Download, Transfers

log = logging.getLogger(__name__)

Out = TypeVar("Out")

HEAD: Optional[torch.dtype] = torch.float16
"""What the head multiplies on a GPU in half precision: as many bits as TF32, summed in float32."""

INDEXABLE = 2**31 // 64
"""Pixels that are computed whole at most: beyond, the decoder's widest map, 256 channels at half size, has more values
than GPU libraries count."""

GPU_HEAD = 1 << 30
"""Bytes of a strip of the head on a GPU: small ones would not fill it."""


def create_from(path: str | Path, device: str, precision: str, *, name: str = "") -> NetworkEstimator:
    """Return the estimator of a checkpoint; see `load_checkpoint` and `resolve_device` for the errors."""
    place = resolve_device(device)
    precision, dtype = resolve_precision(precision, place)
    with ThreadPoolExecutor(1) as beside:
        compiled = beside.submit(_compile, place, dtype)
        checkpoint = read_checkpoint(path)
        info = checkpoint.card.info(name or Path(path).stem)
        if not info.commercial:
            show_licence(info.name, info.licence)
        made = NetworkEstimator(build_network(checkpoint, path).to(place), info, precision, dtype)
        compiled.result()
    return made


def _compile(place: torch.device, dtype: torch.dtype) -> None:
    """Compile a CPU's loops: file and compiler wait for different things."""
    if place.type == "cpu" and find_spec("numba"):
        from fbamatte.models.fast_loops import compile_loops  # noqa: PLC0415 - a GPU machine may lack numba

        compile_loops(dtype)


class Light(Protocol):
    """What happens to pixels around a network, done on its device; see `fbamatte.engine.device_light`."""

    def encode(self, plate: Tensor) -> Tensor:
        """Return a plate (H, W, 3) as the network sees it."""
        ...

    def solve(
        self, plate: Tensor, encoded: Tensor, alpha: Tensor, colours: Tensor, light: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return α, F and B of a plate for estimates (H, W) and (6, H, W) whose alpha mixes in ``light``."""
        ...


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
    only_unknown : bool, optional
        Leave out what the trimap knows, on a CPU: alpha and what of F and B is seen stay as they are, F where alpha
        is 0 and B where it is 1 become the picture. By default for networks of alpha alone, where nothing changes.
    """

    def __init__(
        self,
        network: FBANetwork,
        info: ModelInfo,
        precision: str,
        dtype: torch.dtype,
        *,
        only_unknown: Optional[bool] = None,
    ) -> None:
        self.info = info
        self.precision = precision
        place = next(network.parameters()).device
        self.device = str(place)
        cuda = place.type == "cuda"
        self.overlaps = cuda and network.config.outputs != "alpha"
        """Whether `start` is worth more than `estimate`."""
        if cuda:
            # fp32 means float32, not the ten bits that GPUs are let to multiply by default
            torch.backends.cudnn.allow_tf32 = False
        head = HEAD if cuda and dtype != torch.float32 else None
        if only_unknown is None:
            only_unknown = network.config.outputs == "alpha"
        self._network: Optional[FastNetwork] = FastNetwork(
            network, dtype, head, consume=True, only_unknown=only_unknown
        )
        self._transfers = Transfers(place)
        self._shapes: Optional[Shapes] = Shapes(self._whole, self._graphs(place)) if cuda else None

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
        bad = image.size - np.count_nonzero(np.isfinite(image))
        if bad:
            raise FrameError(f"picture of {image.shape[1]}×{image.shape[0]} has {bad} values that are NaN or Inf")

        def once(strips: Strips) -> Array:
            masks = self._tensor(trimaps.masks(trimap))
            output: Array = self._through(self._tensor(image.transpose(2, 0, 1)), masks, strips)[0].cpu().numpy()
            return output

        return _estimate(self._in_memory(once, trimap.shape, strips), image, trimap, self.info.light)

    def start(self, plate: Array, trimap: Array, light: Light) -> Download:
        """Begin the whole way from a plate to α, F and B on the device, and return before it is done.

        Parameters
        ----------
        plate : ndarray, shape (H, W, 3)
            Scene-linear, finite.
        trimap : ndarray, shape (H, W)
            0, 1 or unknown.
        light : Light
            What happens before and after the network.

        Raises
        ------
        ResourceError
            As `estimate`.
        """

        def once(strips: Strips) -> Download:
            with self._transfers.picture():
                there, known = self._transfers.up(plate), self._transfers.up(trimap)
                encoded = light.encode(there)
                masks = torch.stack([known <= 0, known >= 1]).float()
                output = self._through(encoded.permute(2, 0, 1)[None], masks[None], strips)[0]
                alpha = output[0].masked_fill(known <= 0, 0).masked_fill(known >= 1, 1)
                return self._transfers.down(*light.solve(there, encoded, alpha, output[1:], self.info.light))

        return self._in_memory(once, trimap.shape)

    def close(self) -> None:
        """Free the weights."""
        self._free()
        self._network = self._shapes = None
        self._free()

    def _in_memory(self, once: Callable[[Strips], Out], shape: tuple[int, ...], strips: Optional[Strips] = None) -> Out:
        """Return ``once(strips)``; a second time in smaller strips if memory runs out."""
        assert self._network is not None, "the estimator is closed"
        strips = strips or self._planned(*shape)
        with suppress(*OUT_OF_MEMORY), torch.inference_mode(), no_memory():
            return once(strips)
        graphs = self._shapes is not None and self._shapes.recorded
        self._free()
        if graphs:  # what they held may be all that was missing
            with suppress(*OUT_OF_MEMORY), torch.inference_mode(), no_memory():
                return once(strips)
            self._free()
        log.warning("out of memory at %d×%d on %s: again in smaller strips", *shape[::-1], self.device)
        try:
            with torch.inference_mode(), no_memory():
                return once(strips.smaller())
        except OUT_OF_MEMORY as error:
            self._free()
            raise ResourceError(
                f"not enough memory for {shape[1]}×{shape[0]} pixels with {self.info.name} on "
                f"{self.device}, not even in small strips"
            ) from error

    def _planned(self, height: int, width: int) -> Strips:
        strips = plan(height, width, self.device, self.precision)
        if self._shapes is None:
            return strips
        if height * width > INDEXABLE and not strips.budget:
            strips = Strips(DEFAULT_BUDGET * 16)
        return replace(strips, head=GPU_HEAD)

    def _through(self, image: Tensor, masks: Tensor, strips: Strips) -> Tensor:
        """Return the network's channels, (1, 7 or 1, H, W)."""
        assert self._network is not None
        planes = (image, masks, squared_distances(masks))
        if self._shapes is None or strips.budget:
            return self._network(Planes(*planes), strips)
        return self._shapes(*(padded(x) for x in planes))[..., : image.shape[2], : image.shape[3]]

    def _whole(self, *planes: Tensor) -> Tensor:
        assert self._network is not None
        return self._network(Planes(*planes), Strips(head=GPU_HEAD))

    def _graphs(self, place: torch.device) -> CudaGraphs:
        cost_of = cost(self.device, self.precision, "whole")
        return CudaGraphs(
            place,
            needed=lambda image, *_: cost_of.of(image.shape[2] * image.shape[3]),
            available=lambda: int(available(self.device) * SHARE),
        )

    def _free(self) -> None:
        if self._shapes is not None:
            self._shapes.clear()
        gc.collect()
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()

    def _tensor(self, planes: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(planes, np.float32))[None].to(self.device)


def _estimate(output: Array, image: Array, trimap: Array, light: str) -> Estimate:
    """Return a network's output with what the trimap knows put in exactly."""
    alpha = np.where(trimap <= 0, np.float32(0), np.where(trimap >= 1, np.float32(1), output[0]))
    if len(output) == 1:
        return FittedEstimate(alpha, np.ascontiguousarray(image, np.float32), light)
    foreground, background = (np.ascontiguousarray(output[k : k + 3].transpose(1, 2, 0)) for k in (1, 4))
    solid, empty = alpha == 1, alpha == 0
    foreground[solid] = image[solid]
    background[empty] = image[empty]
    return Estimate(alpha, foreground, background, light=light)
