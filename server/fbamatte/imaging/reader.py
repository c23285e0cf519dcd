"""Any picture file: EXR through OpenEXR, DPX, TIFF, PNG and JPEG through OpenImageIO."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio  # noqa: N813  the name by which everybody knows it

from fbamatte.errors import ImageReadError
from fbamatte.frame import Window
from fbamatte.imaging import attributes
from fbamatte.imaging.attributes import Value
from fbamatte.imaging.exr import read_exr
from fbamatte.imaging.exr_header import DEFAULT_LIMITS, MAGIC, Limits
from fbamatte.imaging.image import Image, Plane
from fbamatte.imaging.jpeg import is_whole_jpeg

# The formats that are opened at all, by their first bytes; other decoders never see a file.
SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
    b"SDPX": "dpx",
    b"XPDS": "dpx",
}

# How these formats' attributes are called in an EXR.
_EXR_NAMES = {
    "smpte:TimeCode": "timeCode",
    "smpte:KeyCode": "keyCode",
    "FramesPerSecond": "framesPerSecond",
    "dpx:FrameRate": "framesPerSecond",
    "ImageDescription": "comments",
    "Copyright": "owner",
    "DateTime": "capDate",
    "ExposureTime": "expTime",
    "FNumber": "aperture",
}
# How the pixels were packed, which says nothing about the picture.
_PACKING = ("compression", "planarconfig", "PixelAspectRatio", "ICCProfile", "tiff:", "jpeg:", "png:", "dpx:")
_KEPT_DPX = ("dpx:FrameRate", "dpx:InputDevice", "dpx:InputDeviceSerialNumber", "dpx:FramePosition")


def read_image(
    path: str | os.PathLike[str], *, part: str | int | None = None, view: str = "", limits: Limits | None = None
) -> Image:
    """Read a picture file, told by its content, not by its name.

    Parameters
    ----------
    path : path
    part : str or int, optional
        Part or layer of an EXR.
    view : str
        Stereo view of an EXR.
    limits : Limits, optional
        What the file may ask for, checked before pixels are read.

    Returns
    -------
    Image
        Planes as float32: integers to 0–1 (16 bits stay 16 bits), half and float as they are.

    Raises
    ------
    ImageReadError
        Missing, of an unknown kind, truncated, damaged or refused; names the file.
    """
    name = os.fspath(path)
    try:
        with Path(path).open("rb") as stream:
            start = stream.read(8)
    except OSError as error:
        raise ImageReadError(f"{name}: {error.strerror or error}") from error
    if start.startswith(MAGIC) or (name.lower().endswith(".exr") and len(start) < 8):
        return read_exr(path, part=part, view=view, limits=limits)
    kind = next((kind for signature, kind in SIGNATURES.items() if start.startswith(signature)), "")
    if not kind:
        what = "is empty" if not start else "is no EXR, DPX, TIFF, PNG or JPEG"
        raise ImageReadError(f"{name}: file {what}")
    if kind == "jpeg" and not is_whole_jpeg(Path(path)):
        raise ImageReadError(f"{name}: truncated JPEG")
    with _opened(name, kind) as source:
        spec = source.spec()
        _check(spec, name, Path(path).stat().st_size, limits or DEFAULT_LIMITS)
        pixels = source.read_image("float")
        if pixels is None:
            raise ImageReadError(f"{name}: truncated or damaged: {source.geterror()}")
    return _image(spec, pixels, name, view)


@contextlib.contextmanager
def _opened(name: str, kind: str) -> Iterator[Any]:
    # Colour stays as stored: a plate is not to be multiplied by its alpha behind our back.
    config = oiio.ImageSpec()
    config["oiio:UnassociatedAlpha"] = 1
    source = oiio.ImageInput.open(name, config)
    if source is None:
        raise ImageReadError(f"{name}: {oiio.geterror()}")
    try:
        if source.format_name() != kind:
            raise ImageReadError(f"{name}: begins as {kind} but reads as {source.format_name()}")
        yield source
    finally:
        source.close()


def _check(spec: Any, name: str, size: int, limits: Limits) -> None:
    pixels, decoded = spec.width * spec.height, spec.image_bytes(True)
    if spec.depth > 1 or spec.nchannels > limits.channels:
        raise ImageReadError(f"{name}: {spec.nchannels} channels, depth {spec.depth}; refused")
    # In memory every value takes four bytes, whatever it took in the file.
    if pixels > limits.pixels or pixels * spec.nchannels * 4 > limits.decoded_bytes:
        raise ImageReadError(f"{name}: {spec.width}×{spec.height} pixels, limit {limits.pixels}; refused")
    if decoded > limits.ratio_free_bytes and decoded > limits.ratio * size:
        raise ImageReadError(f"{name}: {size} bytes claim to hold {decoded} bytes of pixels; refused")


def _image(spec: Any, pixels: Any, name: str, view: str) -> Image:
    channels = _planes(tuple(spec.channelnames), pixels)
    aspect = float(spec.get_float_attribute("PixelAspectRatio", 1.0))
    window = Window(spec.x, spec.y, spec.x + spec.width - 1, spec.y + spec.height - 1)
    full = Window(spec.full_x, spec.full_y, spec.full_x + spec.full_width - 1, spec.full_y + spec.full_height - 1)
    return Image(
        channels=channels,
        display_window=full,
        data_window=window,
        pixel_aspect=aspect if aspect > 0 else 1.0,
        view=view,
        colorspace=str(spec.get_string_attribute("oiio:ColorSpace")),
        metadata=_metadata(spec),
        name=name,
        windowed=False,
    )


def _planes(names: tuple[str, ...], pixels: Any) -> dict[str, Plane]:
    pixels = pixels.reshape(pixels.shape[0], pixels.shape[1], -1)
    # Grey pictures call their channel I or Y, depending on the format.
    renamed = ["Y" if n in {"I", "Y", "channel0"} and len(names) <= 2 else n for n in names]
    return {channel: np.ascontiguousarray(pixels[..., i]) for i, channel in enumerate(renamed)}


def _metadata(spec: Any) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for entry in spec.extra_attribs:
        packing = entry.name.startswith(_PACKING) and entry.name not in _KEPT_DPX
        if packing or (entry.name.startswith("oiio:") and entry.name != "oiio:ColorSpace"):
            continue
        value = _value(entry)
        name = _EXR_NAMES.get(entry.name, entry.name)
        if name == "framesPerSecond" and isinstance(value, float):
            value = _frame_rate(value)
        if value is not None:
            found[name] = value
    return found


def _frame_rate(rate: float) -> Value | None:
    """Return a rate as the ratio that EXR holds: whole, or the NTSC rate close by (SMPTE RP 136)."""
    if not 0 < rate < 1e6:
        return None
    whole = round(rate)
    if whole and abs(rate - whole) < 1e-4:
        return attributes.typed("rational", whole, 1)
    ntsc = round(rate * 1.001)
    if abs(rate - ntsc * 1000 / 1001) < 1e-3:
        return attributes.typed("rational", ntsc * 1000, 1001)
    return attributes.typed("rational", round(rate * 1000), 1000)


def _value(entry: Any) -> Value | None:
    kind, value = str(entry.type), entry.value
    if kind in {"string", "int", "float"}:
        return value if kind != "float" or np.isfinite(value) else None
    if kind == "uint":
        return int(value) if value in attributes.INT32 else None
    if kind == "timecode":
        return attributes.typed("timecode", *value)
    if kind == "keycode":
        return attributes.typed("keycode", *value)
    if kind in {"rational", "rational2i"}:
        return attributes.typed("rational", *value)
    return None
