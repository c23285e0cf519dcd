"""Half to float and back, a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable, Optional

import numpy as np
from numpy.typing import NDArray

from fbamatte.rpc.framing import Buffer

Array = NDArray[Any]
Convert = Callable[[Array, Array], None]
"""Casts its second array into its first, of the same shape and another floating-point type; what half cannot
hold may become infinite. numpy's own way takes several times as long as a vectorised one, so a server that has
one hands it in."""

HALF, _HALF_MAX = np.dtype("<f2"), 65504.0
# Values cast at a time between chunks and planes: what is cast stays in the cache, and torch does so few of
# them on the calling thread, where more would wait for its pool a thousand times a frame.
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
            cast_blocks(half, wide, self._convert)
            _limit(half, wide)
            yield half.data.cast("B")


def copy_pixels(target: Array, source: Array, convert: Optional[Convert] = None) -> None:
    """Copy ``source`` into ``target``; what is beyond half range becomes the largest half, not infinite."""
    if target.dtype == source.dtype:
        np.copyto(target, source)
        return
    source = np.ascontiguousarray(source)
    if convert is not None:
        convert(target, source)
        if target.dtype == HALF:
            _limit(target.reshape(-1), source.reshape(-1))
    else:
        cast_blocks(target.reshape(-1), source.reshape(-1), None)
        if target.dtype == HALF:
            _limit(target.reshape(-1), source.reshape(-1))


def cast_blocks(target: Array, source: Array, convert: Optional[Convert]) -> None:
    """Cast ``source`` into ``target``, both flat, a little at a time."""
    cast = convert or _numpy_cast
    for start in range(0, target.size, _BLOCK):
        cast(target[start : start + _BLOCK], source[start : start + _BLOCK])


def _numpy_cast(target: Array, source: Array) -> None:
    with np.errstate(over="ignore"):
        np.copyto(target, source, casting="same_kind")


def _limit(half: Array, wide: Array) -> None:
    """Turn the infinite into the largest half, with the sign of ``wide``; what is no number stays."""
    # Bits from infinity on, above and below zero; many times quicker than isinf.
    if half.size and (half.view(np.int16).max() >= 0x7C00 or half.view(np.uint16).max() >= 0xFC00):
        over = np.isinf(half)
        half[over] = np.copysign(_HALF_MAX, wide[over])
