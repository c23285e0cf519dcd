"""What the speed benchmarks share: the published network with synthetic weights, pictures, trimaps."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import synthetic_weights
from fbamatte.compositing import trimap as trimaps
from fbamatte.errors import UsageError
from fbamatte.models import fba, registry
from fbamatte.models.base import ModelInfo
from fbamatte.models.checkpoint import load_checkpoint
from fbamatte.models.config import NetworkConfig
from fbamatte.models.devices import resolve_device, resolve_precision
from fbamatte.models.network import FBANetwork


def network(model: str = "", *, fold: bool = True) -> FBANetwork:
    """Return a checkpoint's network, or the published one with values that mean nothing."""
    if model:
        return load_checkpoint(registry.path_of(model), fold=fold)
    made = FBANetwork()
    made.load_state_dict(synthetic_weights.filled(synthetic_weights.published_shapes()))
    return made.eval().fold() if fold else made.eval()


def estimator(device: str, precision: str, model: str = "", width: float = 1.0) -> fba.NetworkEstimator:
    """Return a loaded estimator; of a narrower network with untrained weights where ``width`` is below 1."""
    place = resolve_device(device)
    precision, dtype = resolve_precision(precision, place)
    info = ModelInfo("synthetic", "", "", True, "", 0, "")
    made = network(model) if width == 1 else FBANetwork(NetworkConfig(width=width)).eval().fold()
    return fba.NetworkEstimator(made.to(place), info, precision, dtype)


def precisions(wanted: list[str], device: str = "cpu") -> list[str]:
    """Return those of some precisions that a device computes, and print why the others are left out."""
    refused = {name: why for name in wanted if (why := _refusal(name, device))}
    for name, why in refused.items():
        print(f"{name} left out: {why}", flush=True)
    if len(refused) == len(wanted):
        raise SystemExit("nothing is left to measure")
    return [name for name in wanted if name not in refused]


def _refusal(precision: str, device: str) -> str:
    try:
        resolve_precision(precision, resolve_device(device))
    except UsageError as error:
        return str(error)
    return ""


def picture(height: int, width: int, unknown: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Return a smooth picture and a trimap with a ring of ``unknown`` of its area around an ellipse."""
    rng = np.random.default_rng(0)
    small = ndimage.zoom(rng.random((16, 16, 3)), (height / 16, width / 16, 1), order=1)[:height, :width]
    image = np.clip(small + rng.normal(0, 0.02, (height, width, 1)), 0, 1).astype(np.float32)
    down, across = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    radius = np.hypot(down, across)
    inner, outer = np.quantile(radius[:: max(height // 256, 1), :: max(width // 256, 1)], [0.4, 0.4 + unknown])
    trimap = np.where(radius < inner, 1, np.where(radius > outer, 0, 0.5)).astype(np.float32)
    return image, trimap


def tensors(image: np.ndarray, trimap: np.ndarray) -> tuple[torch.Tensor, ...]:
    """Return what `FBANetwork` takes."""
    planes = (image.transpose(2, 0, 1), trimaps.masks(trimap), trimaps.encode(trimap))
    return tuple(torch.from_numpy(np.ascontiguousarray(x, np.float32))[None] for x in planes)
