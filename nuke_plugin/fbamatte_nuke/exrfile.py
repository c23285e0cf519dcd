"""EXR files as far as the node needs them, in plain Python: is one whole, and what does its trimap say.

Nuke's interpreter is not given numpy or OpenEXR, so this reads headers and counts bytes. It knows
what the server and the node's own Writes produce: one part of scanlines. Layout: "OpenEXR file
layout", openexr.com.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

MAGIC = 20000630
# Rows per block by compression: none, RLE, ZIPS, ZIP, PIZ, PXR24, B44, B44A, DWAA, DWAB.
_ROWS = (1, 1, 1, 16, 32, 16, 32, 32, 32, 256)
_TILED_DEEP_OR_PARTS = 0x200 | 0x800 | 0x1000
_LONGEST_HEADER = 1 << 20


class UnreadableExr(ValueError):  # noqa: N818 - says what the file is
    """A file that is not a whole EXR of scanlines; the message says why, without the path."""


@dataclass(frozen=True)
class ExrInfo:
    """What an EXR file's header says.

    Parameters
    ----------
    channels : dict
        Name → pixel type: 0 unsigned, 1 half, 2 float.
    data_window, display_window : tuple
        x min, y min, x max, y max, corners included.
    compression : int
        The file's own number for it; 0 is none.
    attributes : dict
        Text and numbers among the other attributes, such as ``fbamatte/model``.
    """

    channels: dict[str, int]
    data_window: tuple[int, int, int, int]
    display_window: tuple[int, int, int, int]
    compression: int
    attributes: dict[str, Any] = field(default_factory=dict)


def check(path: Path) -> ExrInfo:
    """Return the header of the EXR at ``path`` after making sure that all its blocks are there.

    Raises
    ------
    UnreadableExr
        If it is no EXR, cut off, or of a kind that the server does not write.
    OSError
        If it cannot be opened.
    """
    with path.open("rb") as stream:
        info = _header(stream)
        _blocks(stream, info, path.stat().st_size)
    return info


def trimap_counts(path: Path) -> tuple[int, int, int]:
    """Return how many pixels of an uncompressed one-channel half trimap are background, unknown, foreground.

    Raises
    ------
    UnreadableExr
        If the file is not that, or holds anything but 0, 0.5 and 1.
    """
    background = unknown = foreground = 0
    with path.open("rb") as stream:
        info = _header(stream)
        if info.compression or list(info.channels.values()) != [1]:
            raise UnreadableExr(f"channels {info.channels} with compression {info.compression}, needed one plain half")
        for start, size in _blocks(stream, info, path.stat().st_size):
            stream.seek(start)
            # As little-endian halves 0 is 00 00, 0.5 is 00 38 and 1 is 00 3c: the high bytes say it all.
            high = stream.read(size)[1::2]
            foreground += high.count(0x3C)
            unknown += high.count(0x38)
            background += high.count(0x00)
    left, bottom, right, top = info.data_window
    if background + unknown + foreground != (right - left + 1) * (top - bottom + 1):
        raise UnreadableExr("values other than 0, 0.5 and 1")
    return background, unknown, foreground


def _header(stream: BinaryIO) -> ExrInfo:
    magic, version = struct.unpack("<II", _exactly(stream, 8))
    if magic != MAGIC:
        raise UnreadableExr("it is no EXR file")
    if version & _TILED_DEEP_OR_PARTS:
        raise UnreadableExr("it is tiled, deep or of several parts")
    raw: dict[str, tuple[str, bytes]] = {}
    while True:
        name = _text(stream)
        if not name:
            break
        kind = _text(stream)
        (size,) = struct.unpack("<I", _exactly(stream, 4))
        if size > _LONGEST_HEADER or stream.tell() > _LONGEST_HEADER:
            raise UnreadableExr(f"its header is damaged at {name!r}")
        raw[name] = (kind, _exactly(stream, size))
    try:
        return _info(raw)
    except (KeyError, struct.error, IndexError) as error:
        raise UnreadableExr(f"its header is damaged: {error}") from error


def _info(raw: dict[str, tuple[str, bytes]]) -> ExrInfo:
    known = {"channels", "dataWindow", "displayWindow", "compression"}
    compression = raw["compression"][1][0]
    if compression >= len(_ROWS):
        raise UnreadableExr(f"compression {compression} is not known")
    data_window = struct.unpack("<4i", raw["dataWindow"][1])
    display_window = struct.unpack("<4i", raw["displayWindow"][1])
    attributes = {name: _value(*entry) for name, entry in raw.items() if name not in known}
    return ExrInfo(_channels(raw["channels"][1]), data_window, display_window, compression, attributes)


def _channels(data: bytes) -> dict[str, int]:
    found: dict[str, int] = {}
    while data and data[0]:
        name, _, rest = data.partition(b"\0")
        found[name.decode("utf-8", "replace")] = struct.unpack_from("<i", rest)[0]
        # Pixel type, linear flag and padding, x and y sampling.
        data = rest[16:]
    return found


def _value(kind: str, data: bytes) -> Any:
    """Return text and numbers as such and everything else as bytes."""
    simple = {"int": "<i", "float": "<f", "double": "<d", "rational": "<iI", "timecode": "<II"}
    if kind == "string":
        return data.decode("utf-8", "replace")
    if kind in simple:
        numbers = struct.unpack(simple[kind], data)
        return numbers[0] if len(numbers) == 1 else numbers
    return data


def _blocks(stream: BinaryIO, info: ExrInfo, size: int) -> list[tuple[int, int]]:
    """Return start and length of every block of pixels, having checked that each is inside the file."""
    height = info.data_window[3] - info.data_window[1] + 1
    rows = _ROWS[info.compression]
    count = -(-height // rows)
    if not 0 < count <= 1 << 24:
        raise UnreadableExr(f"its data window is {info.data_window}")
    offsets = struct.unpack(f"<{count}Q", _exactly(stream, 8 * count))
    table_end = stream.tell()
    found = []
    for number, offset in enumerate(offsets):
        missing = f"it is cut off: block {number + 1} of {count} is missing"
        # A writer that was killed leaves zeros in the table.
        if offset < table_end or offset + 8 > size:
            raise UnreadableExr(missing)
        stream.seek(offset)
        row, length = struct.unpack("<iI", _exactly(stream, 8))
        if offset + 8 + length > size or not info.data_window[1] <= row <= info.data_window[3]:
            raise UnreadableExr(missing)
        found.append((offset + 8, length))
    return found


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise UnreadableExr("it is cut off")
    return data


def _text(stream: BinaryIO) -> str:
    found = bytearray()
    while True:
        byte = _exactly(stream, 1)
        if byte == b"\0":
            return found.decode("utf-8", "replace")
        found += byte
        if len(found) > 255:
            raise UnreadableExr("its header is damaged")
