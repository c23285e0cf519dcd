"""Half to float and back, a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable, Optional

import numpy as np
from numpy.typing import NDArray

from fbamatte.rpc.framing import Buffer

Array = NDArray[Any]
Convert = Callable[[Array, Array], None]
"""Casts its second array into its first, both contiguous, of the same shape, one half and the other float; what
half cannot hold becomes the largest half with its sign, what is no number stays. numpy's own way takes several times
as long as a vectorised one, so a server that has one hands it in."""

HALF, _HALF_MAX = np.dtype("<f2"), 65504.0
# Values that numpy casts at a time: what is cast is still in the cache when it is looked at for overflow.
_BLOCK = 1 << 15


class Narrowed:
    """A float plane that becomes half chunk by chunk as it is sent: no second copy of it, and half the waiting.

    Parameters
    ----------
    plane : ndarray
        Not to be changed before all is sent.
    convert : callable, optional
        See `Convert`.
    """

    def __init__(self, plane: Array, convert: Optional[Convert] = None) -> None:
        self._flat = np.ascontiguousarray(plane).reshape(-1)
        self._convert = convert

    def __len__(self) -> int:
        return 2 * int(self._flat.size)

    def parts(self, size: int) -> Iterator[Buffer]:
        """Yield the bytes of half, ``size`` at a time."""
        step = size // 2
        for start in range(0, self._flat.size, step):
            wide = self._flat[start : start + step]
            half = np.empty(wide.shape, HALF)
            cast_flat(half, wide, self._convert)
            yield half.data.cast("B")


def copy_pixels(target: Array, source: Array, convert: Optional[Convert] = None) -> None:
    """Copy ``source`` into ``target``; what is beyond half range becomes the largest half, not infinite."""
    if target.dtype == source.dtype:
        np.copyto(target, source)
        return
    cast_flat(target.reshape(-1), np.ascontiguousarray(source).reshape(-1), convert)


def cast_flat(target: Array, source: Array, convert: Optional[Convert] = None) -> None:
    """Cast ``source`` into ``target``, both flat and contiguous, as `Convert` does; with numpy where there is none."""
    if convert is not None:
        convert(target, source)
        return
    for start in range(0, target.size, _BLOCK):
        half, wide = target[start : start + _BLOCK], source[start : start + _BLOCK]
        _numpy_cast(half, wide)
        if target.dtype == HALF:
            _limit(half, wide)


def _numpy_cast(target: Array, source: Array) -> None:
    with np.errstate(over="ignore"):
        np.copyto(target, source, casting="same_kind")


def _limit(half: Array, wide: Array) -> None:
    """Turn the infinite into the largest half, with the sign of ``wide``; what is no number stays."""
    # Bits from infinity on, above and below zero; many times quicker than isinf.
    if half.size and (half.view(np.int16).max() >= 0x7C00 or half.view(np.uint16).max() >= 0xFC00):
        over = np.isinf(half)
        half[over] = np.copysign(_HALF_MAX, wide[over])
