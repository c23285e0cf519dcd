"""Half floats in compiled loops: numba knows none, LLVM does."""

from __future__ import annotations

import os
import platform
from typing import Any, Final

import llvmlite.binding
import llvmlite.ir
import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from fbamatte.compositing.jit import kernel

HALF_MAX: Final = np.float32(np.finfo(np.float16).max)
_INFINITE: Final = np.float32(65520.0)  # the least that rounds beyond the largest half


def is_native() -> bool:
    """Return whether the processor converts by itself; else LLVM calls a function that numba does not have."""
    if os.environ.get("NUMBA_CPU_NAME"):
        return False
    return platform.machine() in {"arm64", "aarch64"} or bool(llvmlite.binding.get_host_cpu_features().get("f16c"))


def _bits_of_half(_typing: Any, _value: Any) -> Any:
    def emit(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.bitcast(builder.fptrunc(values[0], llvmlite.ir.HalfType()), llvmlite.ir.IntType(16))

    return types.uint16(types.float32), emit


def _half_of_bits(_typing: Any, _bits: Any) -> Any:
    def emit(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.fpext(builder.bitcast(values[0], llvmlite.ir.HalfType()), llvmlite.ir.FloatType())

    return types.float32(types.uint16), emit


# One instruction each, to be called in kernels alone, and only where `is_native`.
to_half: Any = intrinsic(_bits_of_half)
from_half: Any = intrinsic(_half_of_bits)


def narrow(plane: NDArray[np.float32], half: NDArray[np.uint16]) -> int:
    """Write a plane in half floats, nothing infinite; return how many values were beyond their range.

    Parameters
    ----------
    plane : ndarray, shape (H, W), float32
        What is beyond the range of half becomes the largest half; NaN stays NaN.
    half : ndarray, shape (H, W), uint16
        Written: the bits of the half floats.
    """
    return _narrow(plane, half) if _NATIVE else _narrow_by_numpy(plane, half)


@kernel
def _narrow(plane: NDArray[np.float32], half: NDArray[np.uint16]) -> int:
    beyond = 0
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            value = plane[y, x]
            beyond += abs(value) >= _INFINITE
            # Comparisons with what is no number are false, so it stays.
            value = HALF_MAX if value > HALF_MAX else value
            value = -HALF_MAX if value < -HALF_MAX else value
            half[y, x] = to_half(value)
    return beyond


def _narrow_by_numpy(plane: NDArray[np.float32], half: NDArray[np.uint16]) -> int:
    with np.errstate(over="ignore", invalid="ignore"):
        half[...] = plane.astype(np.float16).view(np.uint16)
    infinite = (half & 0x7FFF) == 0x7C00
    half[infinite] -= 1  # the largest half stands just below infinity, of either sign
    return int(np.count_nonzero(infinite))


_NATIVE: Final = is_native()
