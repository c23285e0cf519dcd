"""What a frame carries to messages and back, without its pixels and so without numpy.

Pixels are in `fbamatte.rpc.pixels`, which imports numpy; a host that moves EXR bytes needs only this.
"""

from __future__ import annotations

from typing import Any

from fbamatte.errors import FrameError
from fbamatte.frame import EncodedFrame, EncodedMatte, Window
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.rpc.values import read_attributes, write_attributes

PIXEL_TYPES = {"": pb.PIXEL_TYPE_UNSPECIFIED, "half": pb.PIXEL_TYPE_HALF, "float": pb.PIXEL_TYPE_FLOAT}
PRIORITIES = {"": pb.PRIORITY_UNSPECIFIED, "interactive": pb.PRIORITY_INTERACTIVE, "batch": pb.PRIORITY_BATCH}
PRECISIONS = {
    "": pb.PRECISION_UNSPECIFIED,
    "auto": pb.PRECISION_AUTO,
    "fp32": pb.PRECISION_FP32,
    "bf16": pb.PRECISION_BF16,
    "fp16": pb.PRECISION_FP16,
}
RGBA = {
    "": pb.RGBA_CONTENT_UNSPECIFIED,
    "premultiplied": pb.RGBA_CONTENT_PREMULTIPLIED,
    "straight": pb.RGBA_CONTENT_STRAIGHT,
    "none": pb.RGBA_CONTENT_NONE,
}
COMPRESSIONS = {
    "": pb.COMPRESSION_UNSPECIFIED,
    "zip": pb.COMPRESSION_ZIP,
    "zips": pb.COMPRESSION_ZIPS,
    "piz": pb.COMPRESSION_PIZ,
    "none": pb.COMPRESSION_NONE,
    "dwaa": pb.COMPRESSION_DWAA,
}


def write_window(target: pb.Window, window: Window) -> None:
    """Fill a window message."""
    target.SetInParent()
    target.x_min, target.y_min = window.x_min, window.y_min
    target.x_max, target.y_max = window.x_max, window.y_max


def read_window(source: pb.Window, label: str) -> Window:
    """Return a window; raise `FrameError` where its corners are crossed."""
    if source.x_max < source.x_min or source.y_max < source.y_min:
        corners = f"({source.x_min}, {source.y_min}) – ({source.x_max}, {source.y_max})"
        raise FrameError(f"{label}: a window with crossed corners {corners}")
    return Window(source.x_min, source.y_min, source.x_max, source.y_max)


def write_info(target: pb.FrameInfo, frame: Any) -> None:
    """Fill in what ``frame``, a `Frame` or `Matte`, carries besides pixels."""
    target.number, target.view, target.name = frame.number, frame.view, frame.name
    target.pixel_aspect, target.colorspace = frame.pixel_aspect, frame.colorspace
    write_window(target.display_window, frame.display_window)
    write_window(target.data_window, frame.data_window)
    write_attributes(target.attributes, frame.metadata, frame.label)


def read_info(info: pb.FrameInfo) -> dict[str, Any]:
    """Return what ``info`` says as keyword arguments of `Frame`; a window that is missing stays out.

    Raises
    ------
    FrameError
        If a window's corners are crossed or the pixel aspect is not above 0.
    """
    label = info_label(info)
    found: dict[str, Any] = {
        "number": info.number,
        "view": info.view,
        "name": info.name,
        "pixel_aspect": info.pixel_aspect or 1.0,
        "colorspace": info.colorspace,
        "metadata": read_attributes(info.attributes),
    }
    if info.HasField("display_window"):
        found["display_window"] = read_window(info.display_window, label)
    if info.HasField("data_window"):
        found["data_window"] = read_window(info.data_window, label)
    if not 0 < found["pixel_aspect"] < float("inf"):
        raise FrameError(f"{label}: pixel aspect is {info.pixel_aspect}, needed more than 0")
    return found


def info_label(info: pb.FrameInfo) -> str:
    """Return what to call a frame in a message, as ``Frame.label``."""
    return EncodedFrame(b"", number=info.number, view=info.view, name=info.name).label


def encoded_header(frame: EncodedFrame, key: str) -> pb.FrameHeader:
    """Return the header of ``frame`` as EXR bytes in chunks: its plate, then its trimap."""
    header = pb.FrameHeader(key=key, payload=pb.PAYLOAD_KIND_EXR)
    header.info.number, header.info.view, header.info.name = frame.number, frame.view, frame.name
    header.info.colorspace = frame.colorspace
    header.exr.plate_bytes, header.exr.trimap_bytes = len(frame.plate), len(frame.trimap)
    return header


def encoded_answer(info: pb.FrameInfo, exr_bytes: int, key: str, frame_id: str) -> pb.MatteHeader:
    """Return the header of an answer of ``exr_bytes`` bytes of EXR to the frame of ``info``."""
    header = pb.MatteHeader(key=key, frame_id=frame_id, payload=pb.PAYLOAD_KIND_EXR, exr_bytes=exr_bytes)
    header.info.CopyFrom(info)
    # They are in the file.
    header.info.ClearField("attributes")
    return header


def read_encoded(header: pb.MatteHeader, payload: bytes) -> EncodedMatte:
    """Return an answer that came as EXR bytes."""
    provenance = read_attributes(header.provenance)
    info = header.info
    return EncodedMatte(payload, number=info.number, view=info.view, name=info.name, provenance=provenance)
