"""Scanlines in EXR's ZIP compression, packed by compiled loops and compressed by igzip.

OpenEXR reads what is written here as it reads its own; it would take four times as long to write 3 % less. Layout:
openexr.com, "OpenEXR File Layout", and what its ZIP does to bytes before zlib: the low bytes of all 16 bits first, then
the high ones, each less the one before it.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from fbamatte.compositing import half
from fbamatte.compositing.jit import kernel
from fbamatte.compositing.strips import side_by_side
from fbamatte.imaging.exr_header import LINES_PER_CHUNK
from fbamatte.imaging.image import Plane

ZIPS, ZIP = 2, 3


def zip_chunks(
    channels: Mapping[str, Plane], float_channels: Collection[str], compression: int, y_min: int
) -> tuple[list[bytes], int]:
    """Return the chunks of a scanline file, from top to bottom.

    Parameters
    ----------
    channels : mapping of str to ndarray, shape (H, W)
        In the order in which the file lists them.
    float_channels : collection of str
        Channels to store as float; the others are half.
    compression : int
        `ZIP` or `ZIPS`.
    y_min : int
        Where the data window begins.

    Returns
    -------
    chunks : list of bytes
        Each with its first line and size before the data.
    beyond : int
        Values beyond the range of half, stored as the largest half.
    """
    planes = [(plane, name in float_channels) for name, plane in channels.items()]
    height, lines = planes[0][0].shape[0], LINES_PER_CHUNK[compression]

    def chunk(top: int) -> tuple[bytes, int]:
        packed, beyond = _packed([(plane[top : top + lines], full) for plane, full in planes])
        split = np.empty(packed.nbytes, np.uint8)
        _split(packed.reshape(-1), split)
        data = isal_zlib.compress(split)
        if len(data) >= packed.nbytes:  # a reader takes this size for bytes that are not compressed
            data = packed.tobytes()
        return struct.pack("<ii", y_min + top, len(data)) + data, beyond

    done = side_by_side(chunk, range(0, height, lines))
    return [data for data, _ in done], sum(beyond for _, beyond in done)


def _packed(planes: list[tuple[Plane, bool]]) -> tuple[NDArray[np.uint16], int]:
    """Return the lines of some planes as a file holds them: line by line, channel by channel, in units of 16 bits."""
    height, width = planes[0][0].shape
    packed = np.empty((height, width * sum(2 if full else 1 for _, full in planes)), np.uint16)
    at = beyond = 0
    for plane, full in planes:
        if full:
            packed[:, at : at + 2 * width].view(np.float32)[...] = plane
        else:
            beyond += half.narrow(np.ascontiguousarray(plane), packed[:, at : at + width])
        at += 2 * width if full else width
    return packed, beyond


@kernel
def _split(units: NDArray[np.uint16], out: NDArray[np.uint8]) -> None:
    """Write the differences of all low bytes, then those of all high bytes, the first byte as it is."""
    count = units.shape[0]
    out[0] = np.uint8(units[0])
    out[count] = np.uint8((units[0] >> 8) - units[count - 1] + 128)
    for i in range(1, count):
        out[i] = np.uint8(units[i] - units[i - 1] + 128)
        out[count + i] = np.uint8((units[i] >> 8) - (units[i - 1] >> 8) + 128)


def channel_list(channels: Mapping[str, Any], float_channels: Collection[str]) -> bytes:
    """Return the value of a header's ``channels``, in the order given."""
    listed = b""
    for name in channels:
        listed += name.encode("utf-8", "surrogateescape") + b"\0"
        listed += struct.pack("<iB3xii", 2 if name in float_channels else 1, 0, 1, 1)
    return listed + b"\0"
