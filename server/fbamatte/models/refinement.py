"""A network that starts where closed-form matting ends: residuals of alpha, F and B."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from fbamatte.compositing import trimap as trimaps
from fbamatte.errors import CheckpointError, FrameError
from fbamatte.models.base import Array, Estimate, ModelInfo
from fbamatte.models.devices import resolve_device, resolve_precision

KEY = "fbamatte_refinement"
INPUTS = 18
"""Image (3), trimap masks (2), encoding (6), closed-form alpha, F and B (7)."""

CHANNELS = (32, 64, 128, 256, 384)
"""At full size, 1/2 … 1/16, at width 1."""

_STRIDE = 16


class RefinementNetwork(nn.Module):
    """A U-Net whose output is added to a closed-form estimate; with fresh weights it adds nothing.

    Parameters
    ----------
    width : float
        Multiplies every layer's channels, rounded to multiples of 8.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.width = width
        sizes = [max(8, round(c * width / 8) * 8) for c in CHANNELS]
        self.stem = _Block(INPUTS, sizes[0])
        self.down = nn.ModuleList(_Block(a, b, stride=2) for a, b in zip(sizes[:-1], sizes[1:]))
        self.deep = _Block(sizes[-1], sizes[-1], dilation=2)
        self.up = nn.ModuleList(_Block(b + a, a) for a, b in zip(sizes[-2::-1], sizes[:0:-1]))
        self.head = nn.Conv2d(sizes[0], 7, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, image: Tensor, trimap: Tensor, encoding: Tensor, prior: Tensor) -> Tensor:
        """Return alpha, F and B in [0, 1], shape (N, 7, H, W).

        Parameters
        ----------
        image, trimap, encoding : Tensor
            As in `FBANetwork.forward`.
        prior : Tensor, shape (N, 7, H, W)
            Closed-form alpha, F and B.
        """
        height, width = image.shape[2:]
        x = torch.cat([image, trimap, encoding, prior], dim=1)
        pad = (0, -width % _STRIDE, 0, -height % _STRIDE)
        x = self.stem(functional.pad(x, pad, mode="replicate") if any(pad) else x)
        levels = [x]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels.pop()
        x = x + self.deep(x)
        for up in self.up:
            skip = levels.pop()
            grown = functional.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=False)
            x = up(torch.cat([grown, skip], dim=1))
        residual = self.head(x)[..., :height, :width]
        refined: Tensor = (prior + residual.to(prior.dtype)).clamp(0, 1)
        return refined


class _Block(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False),
            nn.GroupNorm(max(1, outputs // 8), outputs),
            nn.SiLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.GroupNorm(max(1, outputs // 8), outputs),
            nn.SiLU(inplace=True),
        )


@dataclass(frozen=True, eq=False)
class Loaded:
    """A network and what its file says about it."""

    network: RefinementNetwork
    info: ModelInfo


def save(network: RefinementNetwork, path: str | Path, info: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Write a network's tensors and the fields of its `ModelInfo` as ``.safetensors``."""
    metadata = {"format": "pt", KEY: json.dumps({"width": network.width, "info": info}, ensure_ascii=False)}
    safetensors.torch.save_file({k: v.contiguous().cpu() for k, v in state.items()}, str(path), metadata)


def load(path: str | Path) -> Loaded:
    """Return the network of a file, in eval mode and float32.

    Raises
    ------
    CheckpointError
        If it is no such file.
    """
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            about = json.loads((file.metadata() or {})[KEY])
        network = RefinementNetwork(float(about["width"]))
        network.load_state_dict({k: v.float() for k, v in safetensors.torch.load_file(str(path)).items()})
        return Loaded(network.eval(), ModelInfo(**about["info"]))
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not a refinement network: {error}") from error


def recognises(path: str | Path) -> bool:
    """Return whether a ``.safetensors`` holds a refinement network."""
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            return KEY in (file.metadata() or {})
    except (OSError, safetensors.SafetensorError):
        return False


def info_of(path: str | Path) -> ModelInfo:
    """Return what a file says about its network, the weights left alone; see `load` for the errors."""
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            return ModelInfo(**json.loads((file.metadata() or {})[KEY])["info"])
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a refinement network: {error}") from error


class RefinementEstimator:
    """Closed-form matting, refined: an estimator.

    Parameters
    ----------
    path : path
        Of `save`.
    device, precision : str
        As in `fbamatte.models.registry.load`.
    """

    def __init__(self, path: str | Path, device: str = "auto", precision: str = "auto") -> None:
        place = resolve_device(device)
        self.precision, self._type = resolve_precision(precision, place)
        loaded = load(path)
        self.info, self.device = loaded.info, str(place)
        self._network: RefinementNetwork | None = loaded.network.to(place)

    def estimate(self, image: Array, trimap: Array) -> Estimate:
        """Return alpha, F and B; see `fbamatte.models.base.Estimator.estimate`.

        Raises
        ------
        FrameError
            If a pixel is NaN or Inf.
        """
        from fbamatte.models.closed_form.alpha import closed_form_alpha  # noqa: PLC0415 - numba compiles at import
        from fbamatte.models.closed_form.foreground import estimate_foreground  # noqa: PLC0415

        assert self._network is not None, "the estimator is closed"
        if not np.isfinite(image).all():
            raise FrameError(f"picture of {image.shape[1]}×{image.shape[0]} has values that are NaN or Inf")
        image = np.ascontiguousarray(image, np.float32)
        alpha = closed_form_alpha(image, trimap)
        foreground, background = estimate_foreground(image, alpha)
        prior = np.concatenate([alpha[None], foreground.transpose(2, 0, 1), background.transpose(2, 0, 1)])
        inputs = (image.transpose(2, 0, 1), trimaps.masks(trimap), trimaps.encode(trimap), prior)
        tensors = (torch.from_numpy(np.ascontiguousarray(x, np.float32))[None].to(self.device) for x in inputs)
        lower = self._type != torch.float32
        with torch.inference_mode(), torch.autocast(torch.device(self.device).type, self._type, enabled=lower):
            output = self._network(*tensors)[0].float().cpu().numpy()
        return _known(output, image, trimap)

    def close(self) -> None:
        """Free the weights."""
        self._network = None


def _known(output: Array, image: Array, trimap: Array) -> Estimate:
    """Return a network's output with what the trimap knows put in exactly."""
    alpha = np.where(trimap <= 0, np.float32(0), np.where(trimap >= 1, np.float32(1), output[0]))
    foreground, background = (np.ascontiguousarray(output[k : k + 3].transpose(1, 2, 0)) for k in (1, 4))
    solid, empty = alpha == 1, alpha == 0
    foreground[solid], background[empty] = image[solid], image[empty]
    return Estimate(alpha, foreground, background)
