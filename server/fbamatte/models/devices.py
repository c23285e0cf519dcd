"""Where and how precisely a network computes."""

from __future__ import annotations

import re

import torch

from fbamatte.errors import UsageError
from fbamatte.models.base import PRECISIONS

WITHOUT_FLOAT64 = {"mps"}

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(device: str) -> torch.device:
    """Return the device of a name; ``auto`` is the first GPU there is, else the CPU.

    Raises
    ------
    UsageError
        If the name is none, or that device is not in this machine; the message says what is.
    """
    if device == "auto":
        return torch.device(available_devices()[-1])
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
        raise UsageError(f"unknown device {device!r}; use auto, cpu, cuda:N or mps")
    wanted = "cuda:0" if device == "cuda" else device
    if wanted not in available_devices():
        raise UsageError(f"no device {device!r} in this machine; there are: {', '.join(available_devices())}")
    return torch.device(wanted)


def widest(device: torch.device) -> torch.dtype:
    """Return the most precise type that a device computes in."""
    return torch.float32 if device.type in WITHOUT_FLOAT64 else torch.float64


def available_devices() -> list[str]:
    """Return this machine's devices, the CPU first, the preferred one last."""
    devices = ["cpu"]
    if torch.backends.mps.is_available():
        devices.append("mps")
    devices += [f"cuda:{n}" for n in reversed(range(torch.cuda.device_count()))]
    return devices


def resolve_precision(precision: str, device: torch.device) -> tuple[str, torch.dtype]:
    """Return a precision's name and type.

    ``auto`` is bf16 on processors that multiply it in hardware (AMX or AVX512-BF16), fp32 everywhere else.

    Raises
    ------
    UsageError
        If the name is none.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}; use {', '.join(PRECISIONS)}")
    name = precision if precision != "auto" else "bf16" if device.type == "cpu" and multiplies_bf16() else "fp32"
    if name == "fp16" and device.type == "cpu":
        raise UsageError("fp16 is for GPUs; use bf16 or fp32 on the CPU")
    return name, _TYPES[name]


def multiplies_bf16() -> bool:
    """Return whether this processor has instructions that multiply bfloat16."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
