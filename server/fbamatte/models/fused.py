"""Functions of single pixels as one kernel: compiled on CUDA, eager elsewhere and where compiling fails.

torch.compile rather than kernels of our own: each function exists once, in torch, and a test can run that
same function on a CPU, eager and compiled.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Optional, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from fbamatte.models.decoder import SLOPE

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)


class Fused(Generic[P, R]):
    """A function that is compiled when it is first given tensors of a device that compiling pays on.

    Parameters
    ----------
    function : callable
        Of tensors; any sizes.
    devices : set of str
        On which it is compiled.
    """

    def __init__(self, function: Callable[P, R], devices: frozenset[str] = frozenset({"cuda"})) -> None:
        self.function, self._devices = function, devices
        self._compiled: Optional[Callable[P, R]] = None
        self._refused = False

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what the function returns."""
        first = args[0]
        if self._refused or not isinstance(first, Tensor) or first.device.type not in self._devices:
            return self.function(*args, **kwargs)
        try:
            if self._compiled is None:
                keep_compiled_code()
                self._compiled = torch.compile(self.function, dynamic=True, fullgraph=True)
            return self._compiled(*args, **kwargs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # no compiler, no Triton, a torch that cannot: slower, not wrong
            name = getattr(self.function, "__name__", "function")
            log.warning("%s is not compiled: %s: %s", name, type(error).__name__, str(error).split("\n", 1)[0])
            self._refused = True
            return self.function(*args, **kwargs)


def keep_compiled_code() -> None:
    """Let compiled code survive the process, in the user's cache folder unless the environment says where."""
    folder = user_cache()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))


def user_cache() -> Path:
    """Return this system's folder for what can be made again."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "fbamatte"


def normalised(
    x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, epsilon: float, slope: float,
    shortcut: Optional[Tensor] = None,
) -> Tensor:  # fmt: skip
    """Return a strip of features normalised, joined with its shortcut and rectified, in one pass.

    Parameters
    ----------
    x : Tensor, shape (1, C, H, W)
        Channels last.
    mean, variance, weight, bias : Tensor, shape (C,)
        Float32.
    epsilon : float
        Added to the variance.
    slope : float
        Below zero: 0 for ReLU, `SLOPE` for the decoder's, 1 for none.
    shortcut : Tensor, optional, shape (1, C, H, W)
        Added before rectifying.
    """
    height, width = x.shape[2:]
    scale = weight * torch.rsqrt(variance + epsilon)
    affine = (scale, bias - mean * scale)
    if shortcut is not None:
        assert slope == 0, "only bottlenecks have a shortcut"
        out = _JOINED(_pixels(x), *affine, _pixels(shortcut))
    else:
        out = _BY_SLOPE[slope](_pixels(x), *affine)
    return out.view(height, width, -1).permute(2, 0, 1)[None]


def _pixels(x: Tensor) -> Tensor:
    """Return (1, C, H, W) as (H·W, C), without a copy where channels are last."""
    return x[0].permute(1, 2, 0).reshape(-1, x.shape[1])


def _scaled(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return (x.to(scale.dtype) * scale + shift).to(x.dtype)


def _rectified(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return functional.relu(x.to(scale.dtype) * scale + shift).to(x.dtype)


def _leaky(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return functional.leaky_relu(x.to(scale.dtype) * scale + shift, SLOPE).to(x.dtype)


def _joined(x: Tensor, scale: Tensor, shift: Tensor, shortcut: Tensor) -> Tensor:
    return functional.relu(x.to(scale.dtype) * scale + shift + shortcut.to(scale.dtype)).to(x.dtype)


_JOINED = Fused(_joined)
# One function each: torch compiles a function anew for every type it meets, but only so many times.
_BY_SLOPE = {0: Fused(_rectified), SLOPE: Fused(_leaky), 1: Fused(_scaled)}
