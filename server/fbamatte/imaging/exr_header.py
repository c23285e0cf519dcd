"""The header of an EXR file, read without touching a pixel.

OpenEXR reads the pixels; this reads what stands before them, for three reasons: a file that asks for
too much is refused before anything is allocated, a truncated file is always noticed, and attributes
come back bit for bit whatever their type. Layout: openexr.com, "OpenEXR File Layout".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from fbamatte.errors import ImageReadError
from fbamatte.frame import Window
from fbamatte.imaging import attributes
from fbamatte.imaging.attributes import Typed

MAGIC = b"\x76\x2f\x31\x01"
FLAG_TILED, FLAG_LONG_NAMES, FLAG_DEEP, FLAG_MULTIPART = 0x200, 0x400, 0x800, 0x1000
PIXEL_TYPES = ("uint", "half", "float")

# Lines that one chunk of a scanline image holds, by the number of its compression.
LINES_PER_CHUNK = {0: 1, 1: 1, 2: 1, 3: 16, 4: 32, 5: 16, 6: 32, 7: 32, 8: 32, 9: 256, 10: 256, 11: 32, 12: 256, 13: 1}


@dataclass(frozen=True)
class Limits:
    """What a file may ask for; checked on its header, before any pixel is read or allocated.

    Parameters
    ----------
    pixels : int
        Pixels in the data window, and in the display window.
    channels : int
        Channels of one part.
    parts : int
        Parts of one file.
    attributes : int
        Attributes of one part.
    header_bytes : int
        All headers of the file together.
    decoded_bytes : int
        Pixel data of the part that is read, once decompressed.
    ratio : float
        Decoded bytes per byte of file, asked only above ``ratio_free_bytes``: a black picture
        compresses a thousandfold and is no attack while it is small.
    ratio_free_bytes : int
        Decoded size up to which any ratio goes.
    """

    pixels: int = 2**28
    channels: int = 1024
    parts: int = 256
    attributes: int = 4096
    header_bytes: int = 16 * 2**20
    decoded_bytes: int = 2**34
    ratio: float = 1000.0
    ratio_free_bytes: int = 2**30


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class ChannelInfo:
    """One channel of a part: ``pixel_type`` is ``uint``, ``half`` or ``float``."""

    name: str
    pixel_type: str
    x_sampling: int
    y_sampling: int

    @property
    def bytes_per_sample(self) -> int:
        """Bytes of one value."""
        return 2 if self.pixel_type == "half" else 4


@dataclass(frozen=True)
class PartHeader:
    """One part: its attributes as the file holds them, and the few that this program reads itself."""

    index: int
    attributes: Mapping[str, Typed]
    channels: tuple[ChannelInfo, ...]
    data_window: Window
    display_window: Window
    compression: int
    tiled: bool
    deep: bool

    @property
    def name(self) -> str:
        """Name of the part; empty where it has none."""
        return self.text("name")

    @property
    def view(self) -> str:
        """View that the part belongs to; empty where it says none."""
        return self.text("view")

    def text(self, name: str) -> str:
        """Return a string attribute, empty where absent."""
        kind, data = self.attributes.get(name, ("string", b""))
        return data.decode("utf-8", "replace") if kind == "string" else ""

    @property
    def decoded_bytes(self) -> int:
        """Bytes of all channels, decompressed, at full sampling."""
        return self.data_window.width * self.data_window.height * sum(c.bytes_per_sample for c in self.channels)


@dataclass(frozen=True)
class FileHeader:
    """All parts of a file, its version field, and where the chunk tables begin."""

    parts: tuple[PartHeader, ...]
    version: int
    tables_at: int

    @property
    def multipart(self) -> bool:
        """Whether chunks begin with the number of their part."""
        return bool(self.version & FLAG_MULTIPART)


def read_header(stream: BinaryIO, name: str, limits: Limits = DEFAULT_LIMITS) -> FileHeader:
    """Return the headers of the EXR file that ``stream`` stands at the beginning of.

    Raises
    ------
    ImageReadError
        Not an EXR, truncated within its header, malformed, or beyond ``limits``; names the file.
    """
    cursor = _Cursor(stream, name, limits.header_bytes)
    if cursor.take(4) != MAGIC:
        raise ImageReadError(f"{name}: not an EXR file")
    version = cursor.number("<I")
    if version & 0xFF != 2:
        raise ImageReadError(f"{name}: EXR file version {version & 0xFF}; only version 2 is known")
    parts: list[PartHeader] = []
    while True:
        raw = _read_attributes(cursor, limits)
        if not raw and parts and version & FLAG_MULTIPART:
            break
        parts.append(_part(raw, len(parts), version, name, limits))
        if not version & FLAG_MULTIPART:
            break
        if len(parts) > limits.parts:
            raise ImageReadError(f"{name}: more than {limits.parts} parts; refused")
    return FileHeader(tuple(parts), version, cursor.at)


class _Cursor:
    """Reads forward, never past the end of the file nor past what headers may take."""

    def __init__(self, stream: BinaryIO, name: str, budget: int) -> None:
        self.stream, self.name, self.budget, self.at = stream, name, budget, 0

    def take(self, size: int) -> bytes:
        self.at += size
        if self.at > self.budget:
            raise ImageReadError(f"{self.name}: header needs more than {self.budget} bytes; refused")
        data = self.stream.read(size)
        if len(data) != size:
            empty = self.at == size and not data
            raise ImageReadError(f"{self.name}: {'file is empty' if empty else 'truncated within its header'}")
        return data

    def number(self, layout: str) -> int:
        return int(struct.unpack(layout, self.take(struct.calcsize(layout)))[0])

    def string(self) -> str:
        found = bytearray()
        while (byte := self.take(1)) != b"\0":
            found += byte
            if len(found) > 255:
                raise ImageReadError(f"{self.name}: attribute name longer than 255 bytes; not an EXR header")
        return found.decode("utf-8", "surrogateescape")


def _read_attributes(cursor: _Cursor, limits: Limits) -> dict[str, Typed]:
    found: dict[str, Typed] = {}
    count = 0
    while attribute := cursor.string():
        count += 1
        if count > limits.attributes:
            raise ImageReadError(f"{cursor.name}: more than {limits.attributes} attributes; refused")
        kind = cursor.string()
        size = cursor.number("<i")
        if size < 0:
            raise ImageReadError(f"{cursor.name}: attribute {attribute!r} has a size of {size} bytes")
        # The shortest entry of a channel list takes 18 bytes: refuse a long list before reading it.
        if kind == "chlist" and size > limits.channels * (255 + 17):
            raise ImageReadError(f"{cursor.name}: more than {limits.channels} channels; refused")
        data = cursor.take(size)
        if problem := attributes.problem(attribute, kind, data):
            raise ImageReadError(f"{cursor.name}: {problem}")
        found[attribute] = (kind, data)
    return found


def _part(raw: dict[str, Typed], index: int, version: int, name: str, limits: Limits) -> PartHeader:
    where = f"{name}, part {index}" if version & FLAG_MULTIPART else name
    kind = raw.get("type", ("string", b""))[1].decode("latin-1")
    part = PartHeader(
        index=index,
        attributes=raw,
        channels=_channels(_required(raw, "channels", "chlist", where), where, limits),
        data_window=_window(_required(raw, "dataWindow", "box2i", where), "data window", where, limits),
        display_window=_window(_required(raw, "displayWindow", "box2i", where), "display window", where, limits),
        compression=_required(raw, "compression", "compression", where)[0],
        tiled=kind == "tiledimage" if kind else bool(version & FLAG_TILED),
        deep=kind.startswith("deep") or bool(not kind and version & FLAG_DEEP),
    )
    if part.compression not in LINES_PER_CHUNK:
        raise ImageReadError(f"{where}: compression number {part.compression} is unknown")
    if part.decoded_bytes > limits.decoded_bytes:
        raise ImageReadError(f"{where}: {part.decoded_bytes} bytes of pixels, limit {limits.decoded_bytes}; refused")
    return part


def _required(raw: dict[str, Typed], attribute: str, kind: str, where: str) -> bytes:
    found = raw.get(attribute)
    if found is None or found[0] != kind:
        raise ImageReadError(f"{where}: header has no {attribute!r} of type {kind!r}")
    return found[1]


def _window(data: bytes, what: str, where: str, limits: Limits) -> Window:
    window = Window(*struct.unpack("<4i", data))
    if window.width < 1 or window.height < 1:
        raise ImageReadError(f"{where}: {what} is empty: {window}")
    if window.width * window.height > limits.pixels:
        raise ImageReadError(f"{where}: {what} is {window}, limit {limits.pixels} pixels; refused")
    # Beyond this, sums of coordinates overflow in other people's readers.
    if max(map(abs, (window.x_min, window.y_min, window.x_max, window.y_max))) >= 2**30:
        raise ImageReadError(f"{where}: {what} lies too far out: {window}; refused")
    return window


def _channels(data: bytes, where: str, limits: Limits) -> tuple[ChannelInfo, ...]:
    found: list[ChannelInfo] = []
    at = 0
    while data[at : at + 1] not in (b"\0", b""):
        end = data.find(b"\0", at)
        if end < 0 or end + 17 > len(data):
            raise ImageReadError(f"{where}: channel list is cut short")
        kind, x_sampling, y_sampling = struct.unpack_from("<i4xii", data, end + 1)
        channel = data[at:end].decode("utf-8", "surrogateescape")
        if not 0 <= kind < len(PIXEL_TYPES) or x_sampling < 1 or y_sampling < 1:
            raise ImageReadError(f"{where}: channel {channel!r} has an unknown pixel type or sampling")
        found.append(ChannelInfo(channel, PIXEL_TYPES[kind], x_sampling, y_sampling))
        if len(found) > limits.channels:
            raise ImageReadError(f"{where}: more than {limits.channels} channels; refused")
        at = end + 17
    if not found:
        raise ImageReadError(f"{where}: has no channels")
    return tuple(found)
