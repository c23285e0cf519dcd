"""EXR files and streams in and out, pixels through `OpenEXR.File`.

Any data window, half and float, scanline and tiled, one part or many, one view or more. What cannot
be read right is refused by name: deep pixels, subsampled and luminance-chroma channels.
"""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import OpenEXR
from numpy.typing import NDArray

from fbamatte.errors import FrameError, ImageReadError, UsageError
from fbamatte.frame import Window
from fbamatte.imaging import attributes
from fbamatte.imaging.exr_chunks import extract_part, replace_attributes
from fbamatte.imaging.exr_header import DEFAULT_LIMITS, ChannelInfo, FileHeader, Limits, PartHeader, read_header
from fbamatte.imaging.exr_select import STRUCTURAL, channel_names, choose, views_of
from fbamatte.imaging.image import AsFloat, Image, Plane
from fbamatte.imaging.quiet import captured_stdout

__all__ = ["COMPRESSIONS", "DEFAULT_LIMITS", "HALF_MAX", "Limits", "encode_exr", "read_exr", "write_exr"]

HALF_MAX = float(np.finfo(np.float16).max)
COMPRESSIONS = {
    "none": OpenEXR.NO_COMPRESSION,
    "zips": OpenEXR.ZIPS_COMPRESSION,
    "zip": OpenEXR.ZIP_COMPRESSION,
    "piz": OpenEXR.PIZ_COMPRESSION,
    "dwaa": OpenEXR.DWAA_COMPRESSION,
}
Source = str | os.PathLike[str] | bytes | BinaryIO
FloatChannels = Collection[str] | Literal["all"]


def read_exr(
    source: Source,
    *,
    part: str | int | None = None,
    view: str = "",
    limits: Limits | None = None,
    name: str = "",
) -> Image:
    """Read one view of one part of an EXR.

    Parameters
    ----------
    source : path, bytes or binary stream
        A stream is read from its beginning and must seek.
    part : str or int, optional
        Part by name or number, or layer by name; by default the first part with a picture.
    view : str
        Stereo view; by default the file's default view.
    limits : Limits, optional
        What the file may ask for, checked before pixels are read.
    name : str
        What to call the source in messages; by default its path.

    Returns
    -------
    Image
        Planes as float32, exactly the file's values.

    Raises
    ------
    ImageReadError
        Missing, not an EXR, truncated, damaged, refused; names the file.
    """
    if isinstance(source, bytes):
        return _read_stream(io.BytesIO(source), name or "EXR in memory", part, view, limits or DEFAULT_LIMITS)
    if isinstance(source, (str, os.PathLike)):
        try:
            with Path(source).open("rb") as stream:
                return _read_stream(stream, name or os.fspath(source), part, view, limits or DEFAULT_LIMITS)
        except OSError as error:
            raise ImageReadError(f"{name or os.fspath(source)}: {error.strerror or error}") from error
    return _read_stream(
        source, name or str(getattr(source, "name", "EXR stream")), part, view, limits or DEFAULT_LIMITS
    )


def _read_stream(stream: BinaryIO, name: str, part: str | int | None, view: str, limits: Limits) -> Image:
    stream.seek(0)
    header = read_header(stream, name, limits)
    chosen, layer = choose(header, part, view, name)
    _check_ratio(chosen, stream.seek(0, io.SEEK_END), limits, name)
    kept = channel_names(chosen, view, layer, name)
    skipped = _unusable(chosen, kept, name)
    planes = _decode(extract_part(stream, header, chosen, name), name)
    channels = AsFloat({picture: planes[own] for own, picture in kept.items() if own not in skipped})
    return _image(header, chosen, channels, view, name, {kept[own]: why for own, why in skipped.items()})


def _check_ratio(part: PartHeader, size: int, limits: Limits, name: str) -> None:
    decoded = part.decoded_bytes
    if decoded > limits.ratio_free_bytes and decoded > limits.ratio * size:
        raise ImageReadError(f"{name}: {size} bytes claim to hold {decoded} bytes of pixels; refused")


def _unusable(part: PartHeader, kept: Mapping[str, str], name: str) -> dict[str, str]:
    """Return the kept channels that hold no colour or coverage; refuse files that cannot be read right."""
    names = [channel.name for channel in part.channels]
    if {"RY", "BY"} & set(kept.values()):
        raise ImageReadError(f"{name}: luminance-chroma (Y RY BY) is not supported; convert it to R G B first")
    for channel in part.channels:
        if (channel.x_sampling, channel.y_sampling) != (1, 1):
            raise ImageReadError(f"{name}: channel {channel.name} is subsampled, which is not supported")
        if not _is_text(channel) or names.count(channel.name) > 1:
            raise ImageReadError(f"{name}: channel name {channel.name!r} is not text, or there twice")
    return {
        c.name: "32-bit integers (UINT) are no light"
        for c in part.channels
        if c.pixel_type == "uint" and c.name in kept
    }


def _is_text(channel: ChannelInfo) -> bool:
    try:
        channel.name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _decode(data: bytes, name: str) -> dict[str, NDArray[Any]]:
    _use_threads()
    with captured_stdout() as printed:  # OpenEXR prints why it left a part out
        try:
            parts = OpenEXR.File(io.BytesIO(data), separate_channels=True).parts
        except Exception as error:  # the binding raises whatever C++ threw
            raise ImageReadError(f"{name}: damaged: {error}") from error
    if len(parts) != 1:
        raise ImageReadError(f"{name}: damaged: {printed().strip() or 'pixels cannot be decoded'}")
    return {channel: info.pixels for channel, info in parts[0].channels.items()}


_pool_owners: list[int] = []


def _use_threads() -> None:
    """Let OpenEXR work on all cores, but not in a forked process: its threads stayed with the parent."""
    me = os.getpid()
    if not _pool_owners and OpenEXR.global_thread_count() == 0:
        OpenEXR.set_global_thread_count(min(os.cpu_count() or 1, 16))
    elif _pool_owners and _pool_owners[-1] != me:
        OpenEXR.set_global_thread_count(0)
    _pool_owners[:] = [me]


def _image(
    header: FileHeader,
    part: PartHeader,
    channels: Mapping[str, Plane],
    view: str,
    name: str,
    skipped: Mapping[str, str],
) -> Image:
    # In a multi-part file shared attributes may stand in the first part alone.
    raw = {**header.parts[0].attributes, **part.attributes} if header.multipart else part.attributes
    names_a_part = {"name"} if header.multipart else set()
    metadata = {
        key: attributes.decode(*value)
        for key, value in raw.items()
        if key not in STRUCTURAL and key not in names_a_part
    }
    views = views_of(part)
    aspect = attributes.numbers_of(raw.get("pixelAspectRatio", ("", b"")))
    return Image(
        channels=channels,
        display_window=part.display_window,
        data_window=part.data_window,
        pixel_aspect=aspect[0] if aspect else 1.0,
        view=part.view or view or (views[0] if views else ""),
        colorspace=_colorspace(metadata),
        metadata=metadata,
        name=name,
        skipped=skipped,
    )


def _colorspace(metadata: Mapping[str, attributes.Value]) -> str:
    for key in ("fbamatte/colorspace", "colorInteropID", "oiio:ColorSpace"):
        if isinstance(value := metadata.get(key), str) and value:
            return value
    return ""


def write_exr(
    target: str | os.PathLike[str] | BinaryIO,
    image: Image,
    *,
    compression: str = "zip",
    float_channels: FloatChannels = frozenset(),
) -> int:
    """Write a picture as a single-part scanline EXR.

    Parameters
    ----------
    target : path or binary stream
        A path is written in place; `matte_exr.write_matte` is the one that writes atomically.
    image : Image
    compression : str
        ``zip``, ``zips``, ``piz``, ``none`` or ``dwaa``.
    float_channels : collection of str, or "all"
        Channels to store as float; the others are half.

    Returns
    -------
    int
        Values beyond the range of half, which were written as the largest half.
    """
    data, beyond = encode_exr(image, compression=compression, float_channels=float_channels)
    if isinstance(target, (str, os.PathLike)):
        Path(target).write_bytes(data)
    else:
        target.write(data)
    return beyond


def encode_exr(
    image: Image,
    *,
    compression: str = "zip",
    float_channels: FloatChannels = frozenset(),
    overflow_attribute: str = "",
) -> tuple[bytes, int]:
    """Return what `write_exr` writes, and the count of values beyond the range of half.

    ``overflow_attribute`` is the attribute that holds that count, where there are such values.
    """
    if compression not in COMPRESSIONS:
        raise UsageError(f"compression {compression!r}: known are {', '.join(COMPRESSIONS)}")
    from fbamatte.compositing import half  # noqa: PLC0415  # brings numba, which who only reads can do without

    full = image.channels if float_channels == "all" else float_channels
    beyond = 0
    planes: dict[str, NDArray[Any]] = {}
    for channel, plane in image.channels.items():
        if channel in full:
            planes[channel] = np.ascontiguousarray(plane, np.float32)
        else:
            planes[channel] = np.empty(plane.shape, np.float16)
            beyond += half.narrow(plane, planes[channel].view(np.uint16))
    header = {
        "type": OpenEXR.scanlineimage,
        "compression": COMPRESSIONS[compression],
        "dataWindow": _box(image.data_window),
        "displayWindow": _box(image.display_window),
        "pixelAspectRatio": float(image.pixel_aspect),
    }
    _use_threads()
    buffer = io.BytesIO()
    OpenEXR.File(header, planes).write(buffer)
    wanted = _checked_attributes(image)
    if beyond and overflow_attribute:
        wanted[overflow_attribute] = attributes.encode(beyond)
    return replace_attributes(buffer.getbuffer(), wanted), beyond


def _checked_attributes(image: Image) -> dict[str, attributes.Typed]:
    found = {name: attributes.encode(value) for name, value in image.metadata.items() if name not in STRUCTURAL}
    if image.view:
        found["view"] = attributes.encode(image.view)
    for name, value in found.items():
        if problem := attributes.problem(name, *value):
            raise FrameError(f"{image.name}: {problem}")
    return found


def _box(window: Window) -> tuple[tuple[int, int], tuple[int, int]]:
    return (window.x_min, window.y_min), (window.x_max, window.y_max)
