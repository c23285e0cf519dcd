"""What the parts of `speed_gpu.py` share: plates, networks, clocks and peaks on any device."""

from __future__ import annotations

import argparse
import gc
import json
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from speed_cases import network as published
from torch import Tensor
from torch.nn import functional

from fbamatte.compositing import trimap as trimaps
from fbamatte.imaging import curve
from fbamatte.models import fast_maps, fba
from fbamatte.models.base import Estimate, ModelInfo
from fbamatte.models.config import NetworkConfig
from fbamatte.models.devices import resolve_device, resolve_precision
from fbamatte.models.network import FBANetwork

TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def facts(options: argparse.Namespace) -> dict[str, Any]:
    """Return the machine and the versions."""
    cuda = options.device.startswith("cuda")
    name = torch.cuda.get_device_name(options.device) if cuda else platform.processor()
    triton = version("triton") if find_spec("triton") else None
    return {
        "part": options.part, "device": name, "python": platform.python_version(),
        "torch": torch.__version__, "cuda": torch.version.cuda, "triton": triton,
        "model": options.model or "synthetic", "width": options.width, "unknown": options.unknown,
    }  # fmt: skip


def rows_of(path: Path | None) -> list[dict[str, Any]]:
    """Return the rows of an earlier run."""
    return list(json.loads(path.read_text())["rows"]) if path and path.is_file() else []


def network(options: argparse.Namespace, *, fold: bool) -> FBANetwork:
    """Return the published network, or a narrow one, for whoever changes it."""
    return deepcopy(_network(options.model, options.width, fold))


@cache
def _network(model: str, width: float, fold: bool) -> FBANetwork:
    if width == 1:
        return published(model, fold=fold)
    torch.manual_seed(0)
    made = FBANetwork(NetworkConfig(width=width)).eval()
    return made.fold() if fold else made


def estimator(options: argparse.Namespace, precision: str) -> fba.NetworkEstimator:
    """Return a loaded estimator."""
    place = resolve_device(options.device)
    name, dtype = resolve_precision(precision, place)
    info = ModelInfo("synthetic", "", "", commercial=True, sha256="", parameters=0, description="")
    made = fba.NetworkEstimator(network(options, fold=True).to(place), info, name, dtype)
    made.overlaps = True
    return made


@cache
def scene(height: int, width: int, unknown: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a plate from −0.05 to some 30, and a trimap with a ring of ``unknown`` of its area around an ellipse."""
    torch.manual_seed(0)
    smooth = functional.interpolate(torch.rand(1, 3, 16, 16), size=(height, width), mode="bilinear")[0]
    plate = (smooth**6 * 60 - 0.05 + 0.02 * torch.randn(3, height, width)).permute(1, 2, 0).contiguous()
    radius = torch.hypot(torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)[None])
    every = radius[:: max(height // 256, 1), :: max(width // 256, 1)].flatten()
    inner, outer = every.quantile(0.4), every.quantile(0.4 + unknown)
    trimap = torch.full((height, width), 0.5).masked_fill(radius < inner, 1).masked_fill(radius > outer, 0)
    return plate.numpy(), trimap.numpy()


def encoded(plate: np.ndarray) -> np.ndarray:
    """Return a plate as networks see it."""
    return np.clip(curve.encode(plate), 0, 1)


def stacked(estimate: Estimate) -> np.ndarray:
    """Return α, F and B as (7, H, W)."""
    colours = (estimate.foreground.transpose(2, 0, 1), estimate.background.transpose(2, 0, 1))
    return np.concatenate([estimate.alpha[None], *colours])


@contextmanager
def plain(
    options: argparse.Namespace, *, tf32: bool = False, precision: str = "fp32", compile_it: bool = False
) -> Iterator[Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Give the network as published: ordinary memory in and out, kernel by kernel, the encoding made beforehand."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = tf32
    made: Callable[..., Tensor] = network(options, fold=compile_it).to(options.device)
    if precision != "fp32":
        made.lower_precision(TYPES[precision])  # type: ignore[attr-defined]
    if compile_it:
        made = torch.compile(made.to(memory_format=torch.channels_last), dynamic=False)  # type: ignore[attr-defined]
    ready: dict[tuple[int, ...], tuple[np.ndarray, ...]] = {}

    def run(plate: np.ndarray, trimap: np.ndarray) -> np.ndarray:
        if trimap.shape not in ready:
            image = encoded(plate).transpose(2, 0, 1)
            ready[trimap.shape] = (np.ascontiguousarray(image), trimaps.masks(trimap), trimaps.encode(trimap))
        given = (torch.from_numpy(x)[None].to(options.device) for x in ready[trimap.shape])
        output: np.ndarray = made(*given)[0].float().cpu().numpy()
        return output

    try:
        yield run
    finally:
        torch.backends.cudnn.allow_tf32 = before
        forget(options.device)


def on_device(plate: np.ndarray, trimap: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return image and masks there."""
    image = torch.from_numpy(encoded(plate)).to(device).permute(2, 0, 1)[None]
    return image, torch.from_numpy(trimaps.masks(trimap))[None].to(device)


def changes(precision: str, device: torch.device) -> dict[str, AbstractContextManager[object]]:
    """Return what can be taken away from the GPU path, by name."""
    found: dict[str, AbstractContextManager[object]] = {
        "as it is": nullcontext(),
        "without graphs": mock.patch.object(fba.NetworkEstimator, "_graphs", _no_graphs),
        "normalised in three passes": mock.patch.object(fast_maps, "IN_ONE_PASS", set()),
    }
    if precision != "fp32" and device.type == "cuda":
        found["head in float32"] = mock.patch.object(fba, "HEAD", None)
    return found


def _no_graphs(self: object, place: torch.device) -> Callable[..., object]:
    del self, place

    def refuse(*_: object) -> object:
        raise RuntimeError("switched off for the measurement")

    return refuse


def finished(function: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """Return a call that ends when the device has ended, and gives nothing back."""

    def run() -> None:
        function()
        synchronize(str(device))

    return run


def synchronize(device: str) -> None:
    """Wait for a device."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def timed(run: Callable[[], object], options: argparse.Namespace) -> dict[str, Any]:
    """Return first, median and least seconds of a run that leaves nothing in flight, and what it found."""
    seconds, found = [], None
    for _ in range(options.repeat + 2):  # the second one records, so the third is the first as ever after
        started = time.perf_counter()
        found = run()
        seconds.append(time.perf_counter() - started)
    late = seconds[2:] or seconds
    return {
        "first_seconds": round(seconds[0], 5), "second_seconds": round(seconds[1], 5),
        "seconds": round(float(np.median(late)), 5), "least_seconds": round(min(late), 5),
        **({"found": found} if found is not None else {}),
    }  # fmt: skip


def forget(device: str) -> None:
    """Free what nobody holds."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def start_of_peak(device: str, made: fba.NetworkEstimator) -> int:
    """Forget recordings and peaks; return the bytes in use now."""
    made._free()
    if not device.startswith("cuda"):
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    return int(torch.cuda.memory_allocated(device))


def peak(device: str) -> int:
    """Return the allocator's peak in bytes; 0 where there is no such thing."""
    return int(torch.cuda.max_memory_allocated(device)) if device.startswith("cuda") else 0


def reserved(device: str) -> int:
    """Return what the allocator holds of the device, in use or not."""
    return int(torch.cuda.memory_reserved(device)) if device.startswith("cuda") else 0


def fits(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield constant and bytes a pixel for each precision and mode: least squares of the relative error."""
    for precision, mode in sorted({(str(row["precision"]), str(row["mode"])) for row in rows}):
        points = [row for row in rows if (row["precision"], row["mode"]) == (precision, mode) and row["bytes"]]
        if len(points) < 2:
            continue
        pixels, used = (np.array([float(row[name]) for row in points]) for name in ("pixels", "bytes"))
        constant, slope = np.linalg.lstsq(np.stack([1 / used, pixels / used], axis=1), np.ones(len(used)))[0]
        ratio = (constant + slope * pixels) / used
        yield {
            "fit": f"{precision} {mode}", "constant": round(float(constant)), "per_pixel": round(float(slope), 1),
            "worst_ratio": round(float(np.maximum(ratio, 1 / ratio).max()), 3),
        }  # fmt: skip
