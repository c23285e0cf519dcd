"""EXR files by Nuke's rules: how channels are named, where windows lie, what metadata is called."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
from nuke_standin.images import Box, Format, Picture

_PLAIN = {
    "r": "red",
    "red": "red",
    "g": "green",
    "green": "green",
    "b": "blue",
    "blue": "blue",
    "a": "alpha",
    "alpha": "alpha",
}
_WRITTEN = {"rgba.red": "R", "rgba.green": "G", "rgba.blue": "B", "rgba.alpha": "A"}
_COMPRESSION = {
    "none": OpenEXR.NO_COMPRESSION,
    "Zip (1 scanline)": OpenEXR.ZIPS_COMPRESSION,
    "Zip (16 scanlines)": OpenEXR.ZIP_COMPRESSION,
    "PIZ Wavelet (32 scanlines)": OpenEXR.PIZ_COMPRESSION,
    "RLE": OpenEXR.RLE_COMPRESSION,
}
_OWN = frozenset(
    {
        "channels",
        "compression",
        "dataWindow",
        "displayWindow",
        "lineOrder",
        "pixelAspectRatio",
        "type",
        "screenWindowCenter",
        "screenWindowWidth",
    }
)


def channel_name(written: str, views: tuple[str, ...] = ("main",)) -> str:
    """Return what Nuke calls a channel of a file: at most layer and channel, views dropped."""
    parts = [re.sub(r"[^A-Za-z0-9]", "_", re.sub(r"^\d+", "", part)) for part in written.split(".", 2)]
    parts = [part for part in parts if part not in views]
    last = _PLAIN.get(parts[-1].lower(), parts[-1])
    if len(parts) == 1:
        if last == "Y":
            return "rgba.red"
        return f"rgba.{last}" if last in _PLAIN.values() else f"other.{last}"
    return f"{parts[0]}.{last}"


def read(path: Path, views: tuple[str, ...], offset_negative: bool) -> Picture:
    """Return the picture in a file; a border of one black pixel where data and display window differ."""
    with OpenEXR.File(str(path), separate_channels=True) as file:
        header = dict(file.header())
        pixels = {name: np.asarray(channel.pixels, np.float32) for name, channel in file.channels().items()}
    (left, top), (right, bottom) = _window(header["displayWindow"])
    (data_left, data_top), (data_right, data_bottom) = _window(header["dataWindow"])
    shift_x, shift_y = (left, top) if offset_negative or (left, top) > (0, 0) else (0, 0)
    height = bottom - top + 1
    format_ = Format(right - left + 1, height, header.get("pixelAspectRatio", 1.0))
    bbox = Box(
        data_left - shift_x,
        height - 1 - (data_bottom - shift_y),
        data_right - shift_x + 1,
        height - (data_top - shift_y),
    )
    channels = {channel_name(name, views): plane for name, plane in pixels.items()}
    picture = Picture(format_, bbox, channels, _metadata(path))
    if bbox == format_.box():
        return picture
    return picture.over(Box(bbox.x() - 1, bbox.y() - 1, bbox.r() + 1, bbox.t() + 1))


def _window(window: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    (left, top), (right, bottom) = window
    return (int(left), int(top)), (int(right), int(bottom))


def attributes(data: bytes) -> tuple[dict[str, tuple[str, bytes]], int]:
    """Return every attribute of a file as type and bytes, and where the header ends."""
    found, at = {}, 8
    while data[at]:
        name_end = data.index(b"\0", at)
        type_end = data.index(b"\0", name_end + 1)
        (size,) = struct.unpack_from("<i", data, type_end + 1)
        found[data[at:name_end].decode()] = (
            data[name_end + 1 : type_end].decode(),
            data[type_end + 5 : type_end + 5 + size],
        )
        at = type_end + 5 + size
    return found, at + 1


def inject(data: bytes, more: dict[str, tuple[str, bytes]]) -> bytes:
    """Return a file of scanlines with further attributes, of any type, byte for byte."""
    there, end = attributes(data)
    added = b"".join(
        name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value
        for name, (kind, value) in sorted(more.items())
        if name not in there
    )
    (first,) = struct.unpack_from("<Q", data, end)
    count = (first - end) // 8
    table = struct.pack(f"<{count}Q", *(at + len(added) for at in struct.unpack_from(f"<{count}Q", data, end)))
    # Names of more than 31 characters need a flag.
    flags = 0x400 if any(len(name) > 31 for name in more) else 0
    version = struct.pack("<I", struct.unpack_from("<I", data, 4)[0] | flags)
    return data[:4] + version + data[8 : end - 1] + added + b"\0" + table + data[first:]


def _metadata(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"input/filename": path.as_posix(), "input/filereader": "exr"}
    for name, (kind, value) in attributes(path.read_bytes())[0].items():
        if name in _OWN:
            continue
        found[f"exr/{name}"] = (kind, value)
        if kind == "timecode":
            digits = f"{struct.unpack('<II', value)[0]:08x}"
            found["input/timecode"] = ":".join(digits[at : at + 2] for at in range(0, 8, 2))
        if name == "framesPerSecond":
            top, bottom = struct.unpack("<iI", value)
            found["input/frame_rate"] = top / bottom
    return found


def write(path: Path, picture: Picture, channels: list[str], half: bool, compression: str, metadata: bool) -> None:
    """Write ``channels`` of ``picture``; raise RuntimeError as Nuke does where the file cannot be written."""
    height = picture.format.height()
    box = picture.bbox
    header: dict[str, Any] = {
        "type": OpenEXR.scanlineimage,
        "compression": _COMPRESSION[compression],
        "displayWindow": ((0, 0), (picture.format.width() - 1, height - 1)),
        "dataWindow": ((box.x(), height - box.t()), (box.r() - 1, height - 1 - box.y())),
        "pixelAspectRatio": picture.format.pixelAspect(),
    }
    kind = np.float16 if half else np.float32
    planes = {_WRITTEN.get(name, name): np.ascontiguousarray(picture.channel(name).astype(kind)) for name in channels}
    buffer = io.BytesIO()
    OpenEXR.File(header, planes).write(buffer)
    more = {"nuke/version": ("string", b"stand-in"), "nuke/node_hash": ("string", b"0123456789abcdef")}
    if metadata:
        more.update({name[4:]: value for name, value in picture.metadata.items() if name.startswith("exr/")})
    try:
        path.write_bytes(inject(buffer.getvalue(), more))
    except OSError as error:
        raise RuntimeError(f"{path}: {error.strerror}") from error
