"""The chunks that hold an EXR file's pixels: found, counted, and put into a file of their own.

Every chunk of the wanted part is looked up before OpenEXR sees any: a file that lacks one is
truncated, and is never taken for a picture with black lines. What OpenEXR then reads is that one part
alone, mipmap level 0, under a header without foreign attributes.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import numpy as np

from fbamatte.errors import ImageReadError
from fbamatte.imaging import attributes
from fbamatte.imaging.attributes import Typed
from fbamatte.imaging.exr_header import (
    FLAG_LONG_NAMES,
    FLAG_TILED,
    LINES_PER_CHUNK,
    MAGIC,
    FileHeader,
    PartHeader,
    read_header,
)

# A tile may be larger than the picture, but nobody needs more than this.
LARGEST_TILE = 2**24
LEVELS_NONE = 0


def extract_part(stream: BinaryIO, header: FileHeader, part: PartHeader, name: str) -> bytes:
    """Return a complete single-part EXR file that holds level 0 of ``part`` and nothing else.

    Raises
    ------
    ImageReadError
        A chunk is missing, cut short or out of place; names the file and the chunk.
    """
    size = stream.seek(0, io.SEEK_END)
    offsets = _offsets(stream, header, part, name, size)
    pieces = [
        _chunk(stream, header, part, int(at), f"{name}: chunk {i} of {len(offsets)}", size)
        for i, at in enumerate(offsets, 1)
    ]
    _check_places(pieces, part, name)
    return assemble(_bare_attributes(part), pieces, FLAG_TILED if part.tiled else 0)


def assemble(header: Mapping[str, Typed], pieces: Sequence[bytes], flags: int = 0) -> bytes:
    """Return a single-part EXR file of these attributes and chunks, in the order given."""
    names = [n for attribute, (kind, _) in header.items() for n in (attribute, kind)]
    if max(len(_name(n)) for n in names) > 31 or _has_long_channel(header["channels"][1]):
        flags |= FLAG_LONG_NAMES
    head = bytearray(MAGIC + struct.pack("<I", 2 | flags))
    for attribute, (kind, data) in header.items():
        head += _name(attribute) + b"\0" + _name(kind) + b"\0" + struct.pack("<i", len(data)) + data
    head += b"\0"
    sizes = np.array([len(piece) for piece in pieces], np.uint64)
    first = len(head) + 8 * len(pieces)
    table = np.cumsum(sizes, dtype="<u8") - sizes + np.uint64(first)
    return b"".join([bytes(head), table.astype("<u8").tobytes(), *pieces])


def replace_attributes(data: memoryview, wanted: Mapping[str, Typed]) -> bytes:
    """Return the single-part EXR file ``data`` with the attributes in ``wanted`` added or replaced.

    The way around OpenEXR's Python types, which hold no ``m44d``, no string in Latin-1 and no
    rational in unreduced form.
    """
    header = read_header(io.BytesIO(data), "file just written")
    merged = {**header.parts[0].attributes, **wanted}
    first = struct.unpack_from("<Q", data, header.tables_at)[0]
    count = (first - header.tables_at) // 8
    offsets = struct.unpack_from(f"<{count}Q", data, header.tables_at)
    ends = [*offsets[1:], len(data)]
    assert list(offsets) == sorted(offsets), "our own files are written top to bottom"
    return assemble(merged, [data[at:end] for at, end in zip(offsets, ends)])  # type: ignore[misc]  # join takes views


def _name(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _has_long_channel(channel_list: bytes) -> bool:
    at = 0
    while (end := channel_list.find(b"\0", at)) > at:
        if end - at > 31:
            return True
        at = end + 17
    return False


def _bare_attributes(part: PartHeader) -> dict[str, Typed]:
    keep = {name: part.attributes[name] for name in ("channels", "compression", "dataWindow", "displayWindow")}
    keep["lineOrder"] = attributes.typed("lineOrder", 0)
    keep["pixelAspectRatio"] = attributes.typed("float", 1.0)
    keep["screenWindowCenter"] = attributes.typed("v2f", 0.0, 0.0)
    keep["screenWindowWidth"] = attributes.typed("float", 1.0)
    if part.tiled:
        width, height = _tile_size(part)
        keep["tiles"] = attributes.typed("tiledesc", width, height, LEVELS_NONE)
    return keep


def _tile_size(part: PartHeader) -> tuple[int, int]:
    kind, data = part.attributes.get("tiles", ("", b""))
    width, height, _ = struct.unpack("<IIB", data) if kind == "tiledesc" else (0, 0, 0)
    return width, height


def chunk_count(part: PartHeader) -> int:
    """Return how many chunks hold level 0 of a part."""
    window = part.data_window
    if not part.tiled:
        return -(-window.height // LINES_PER_CHUNK[part.compression])
    width, height = _tile_size(part)
    return -(-window.width // width) * -(-window.height // height)


def _offsets(
    stream: BinaryIO, header: FileHeader, part: PartHeader, name: str, size: int
) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    if part.tiled:
        width, height = _tile_size(part)
        largest = max(LARGEST_TILE, 4 * part.data_window.width * part.data_window.height)
        if min(width, height) < 1 or width * height > largest:
            raise ImageReadError(f"{name}: tiles of {width}×{height} pixels; refused")
    count = chunk_count(part)
    at = header.tables_at
    for earlier in header.parts[: part.index]:
        at += 8 * _declared_chunks(earlier, name)
    if header.multipart and _declared_chunks(part, name) < count:
        raise ImageReadError(f"{name}: part {part.index} declares too few chunks for its size")
    if at + 8 * count > size:
        raise ImageReadError(f"{name}: truncated within its table of chunks ({size} bytes)")
    stream.seek(at)
    return np.frombuffer(stream.read(8 * count), "<u8")


def _declared_chunks(part: PartHeader, name: str) -> int:
    kind, data = part.attributes.get("chunkCount", ("", b""))
    count = struct.unpack("<i", data)[0] if kind == "int" else -1
    if count < 0:
        raise ImageReadError(f"{name}: part {part.index} has no chunk count")
    return int(count)


def _chunk(stream: BinaryIO, header: FileHeader, part: PartHeader, at: int, where: str, size: int) -> bytes:
    """Return one chunk as a single-part file holds it: coordinates, size of the data, data."""
    numbers = 5 if part.tiled else 2
    before = 4 if header.multipart else 0
    if at < header.tables_at or at + before + 4 * numbers > size:
        raise ImageReadError(f"{where} is missing: truncated or unfinished file ({size} bytes)")
    stream.seek(at)
    lead = stream.read(before + 4 * numbers)
    if header.multipart and struct.unpack_from("<i", lead)[0] != part.index:
        raise ImageReadError(f"{where} belongs to another part: damaged file")
    length = struct.unpack_from("<i", lead, len(lead) - 4)[0]
    if not 0 <= length <= size - at - len(lead):
        raise ImageReadError(f"{where} is cut short: truncated file ({size} bytes)")
    data = stream.read(length)
    if len(data) != length:
        raise ImageReadError(f"{where} is cut short: file shrank while it was read")
    return lead[before:] + data


def _check_places(pieces: Sequence[bytes], part: PartHeader, name: str) -> None:
    """Refuse chunks that say they belong elsewhere than where the table puts them."""
    window = part.data_window
    if part.tiled:
        across = -(-window.width // _tile_size(part)[0])
        wanted = [(i % across, i // across, 0, 0) for i in range(len(pieces))]
        found = [struct.unpack_from("<4i", piece) for piece in pieces]
    else:
        lines = LINES_PER_CHUNK[part.compression]
        wanted = [(window.y_min + i * lines,) for i in range(len(pieces))]  # type: ignore[misc]  # lines, not tiles
        found = [struct.unpack_from("<i", piece) for piece in pieces]
    for i, (want, have) in enumerate(zip(wanted, found), 1):
        if want != have:
            raise ImageReadError(f"{name}: chunk {i} of {len(pieces)} says it is {have}, expected {want}: damaged file")
