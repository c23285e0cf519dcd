"""How much memory a picture takes, known before it is computed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from fbamatte.errors import ResourceError
from fbamatte.models.tiles import DEFAULT_BUDGET, WHOLE, Strips

WHOLE_LIMIT = 3 << 30
"""On a CPU a picture is computed whole up to here: beyond, strips cost no time worth the memory."""

OUT_OF_MEMORY = (MemoryError, torch.OutOfMemoryError)

SHARE = 0.8
"""Of the memory that is free, so much is planned with."""


@dataclass(frozen=True)
class Cost:
    """Peak bytes above the loaded model: ``constant + per_pixel × pixels``, and buffers that grow until they are full.

    Parameters
    ----------
    constant, per_pixel : float
        Bytes.
    filling : float
        Bytes of buffers per pixel: what threads keep for their strips and the maps' memory that waits for the next.
    full : float
        Bytes of buffers at most.
    """

    constant: float
    per_pixel: float
    filling: float = 0
    full: float = 0

    def of(self, pixels: int) -> int:
        """Return the peak for a picture of so many pixels (padded to multiples of 8)."""
        return round(self.constant + self.per_pixel * pixels + min(self.filling * pixels, self.full))


# `benchmarks/speed_memory.py` measures what these are fitted to. On a CPU with two threads, from 640×800 to 7680×4320;
# "whole" is strips there too, all maps in memory. On every other device: counted from the layers' shapes, not measured
# yet.
COSTS = {
    ("cpu", "fp32", "whole"): Cost(230e6, 462),
    ("cpu", "bf16", "whole"): Cost(100e6, 230, filling=130, full=193e6),
    ("cpu", "fp32", "strips"): Cost(230e6, 462),
    ("cpu", "bf16", "strips"): Cost(100e6, 230, filling=130, full=193e6),
}

FILES = Cost(1e9, 80)
"""With maps in files: pixels in float32 and the result; maps are the system's to keep or write out."""


def cost(device: str, precision: str, mode: str) -> Cost:
    """Return the cost of computing ``whole``, in ``strips`` or with maps in ``files``."""
    kind = device.split(":", maxsplit=1)[0]
    if mode == "files":
        return FILES
    if (kind, precision, mode) in COSTS:
        return COSTS[kind, precision, mode]
    size = 4 if precision == "fp32" else 2
    elements = {"whole": 180, "strips": 110}[mode]
    return Cost(300e6, elements * size + 80)


def available(device: str) -> int:
    """Return the bytes that are free on a device."""
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + cached)
    free = int(psutil.virtual_memory().available)
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    try:
        return min(free, int(limit.read_text()) - int(used.read_text()))
    except (OSError, ValueError):
        return free


@contextmanager
def no_memory() -> Iterator[None]:
    """Make a MemoryError of what torch says when the CPU's memory is out, an untyped RuntimeError."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if any(
            words in str(error).lower() for words in ("not enough memory", "can't allocate memory", "out of memory")
        ):
            raise MemoryError(str(error)) from error
        raise


def plan(height: int, width: int, device: str, precision: str) -> Strips:
    """Return how to compute a picture in the memory that there is.

    Raises
    ------
    ResourceError
        If it does not fit in any way; the message says how much it needs and how much there is.
    """
    pixels = -(-height // 8) * -(-width // 8) * 64
    free = available(device) * SHARE
    limit = free if device.startswith("cuda") else min(free, WHOLE_LIMIT)
    if cost(device, precision, "whole").of(pixels) <= limit:
        return WHOLE
    if cost(device, precision, "strips").of(pixels) <= free:
        return Strips(DEFAULT_BUDGET if device == "cpu" else DEFAULT_BUDGET * 16)
    needed = cost(device, precision, "strips").of(pixels)
    if device == "cpu":
        if cost(device, precision, "files").of(pixels) <= free:
            return Strips(DEFAULT_BUDGET, tempfile.gettempdir())
        needed = cost(device, precision, "files").of(pixels)
    raise ResourceError(
        f"a picture of {width}×{height} takes {needed / 1e9:.1f} GB on {device} in {precision}, "
        f"but {free / 1e9:.1f} GB may be used"
    )
