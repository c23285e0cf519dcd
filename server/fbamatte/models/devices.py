"""Where and how precisely a network computes."""

from __future__ import annotations

import platform
import re

import torch

from fbamatte.errors import UsageError
from fbamatte.models.base import PRECISIONS

WITHOUT_FLOAT64 = {"mps"}

# Whether this build of torch can keep weights in oneDNN's own layout; those for other processors cannot.
PACKS = torch.backends.mkldnn.is_available() and hasattr(  # type: ignore[no-untyped-call]  # torch ships it untyped
    torch.ops.mkldnn, "_reorder_convolution_weight"
)

_ARM = platform.machine().lower() in {"arm64", "aarch64"}

BF16_TAKES = "Arm's BF16 extension" if _ARM else "AVX512 (BW, VL and DQ) or AVX-NE-CONVERT"
"""What oneDNN asks of a processor before it convolves in bfloat16."""

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
        If the name is none, or the device cannot compute so.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}; use {', '.join(PRECISIONS)}")
    if device.type == "cpu":
        if precision == "fp16":
            raise UsageError("fp16 is for GPUs; use auto or fp32 on the CPU")
        if precision == "bf16" and not computes_bf16():
            raise UsageError(f"bf16 takes {BF16_TAKES}, which this processor lacks; use --precision auto or fp32")
    if precision == "auto":
        precision = "bf16" if device.type == "cpu" and computes_bf16() and multiplies_bf16() else "fp32"
    return precision, _TYPES[precision]


def computes_bf16() -> bool:
    """Return whether a CPU's convolutions in bfloat16 are to be had at all, be they slower than in float32.

    oneDNN says so itself, by what it asks before it lays weights out. A torch without it has loops for any processor.
    """
    return not PACKS or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def multiplies_bf16() -> bool:
    """Return whether this processor has instructions that multiply bfloat16."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
