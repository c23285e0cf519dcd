"""Pixels to payloads and back: the only module of the wire that imports numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Callable, Optional

import numpy as np
from numpy.typing import NDArray

from fbamatte.errors import FrameError
from fbamatte.frame import Frame, Matte
from fbamatte.rpc import layout
from fbamatte.rpc.codec import PIXEL_TYPES, info_label, read_info, write_info
from fbamatte.rpc.framing import Buffer
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.rpc.values import read_attributes, write_attributes

Array = NDArray[Any]
Convert = Callable[[Array, Array], None]
"""Copies its second array into its first, of another floating-point type, and keeps to half's range. numpy's
own way takes several times as long as a vectorised one, so a server that has one hands it in."""

FRAME_PLANES = (pb.PLANE_KIND_PLATE, pb.PLANE_KIND_TRIMAP)
ANSWER_PLANES = (pb.PLANE_KIND_ALPHA, pb.PLANE_KIND_FOREGROUND, pb.PLANE_KIND_BACKGROUND)
"""What a frame is answered with that asks for nothing else."""
FIELDS = {
    pb.PLANE_KIND_PLATE: "plate",
    pb.PLANE_KIND_TRIMAP: "trimap",
    pb.PLANE_KIND_ALPHA: "alpha",
    pb.PLANE_KIND_FOREGROUND: "foreground",
    pb.PLANE_KIND_BACKGROUND: "background",
}
_DTYPES: dict[pb.PixelType, np.dtype[Any]] = {pb.PIXEL_TYPE_HALF: np.dtype("<f2"), pb.PIXEL_TYPE_FLOAT: np.dtype("<f4")}
_HALF_MAX = 65504.0
# Values converted at a time: source, target and the check for overflow stay in the cache.
_BLOCK = 1 << 17


def describe(width: int, height: int, kinds: Sequence[pb.PlaneKind], pixel_type: pb.PixelType) -> pb.Planes:
    """Return the layout of planes that all have one pixel type."""
    planes = [pb.Plane(kind=kind, pixel_type=pixel_type) for kind in kinds]
    return pb.Planes(width=width, height=height, planes=planes)


def frame_header(frame: Frame, key: str, pixel_type: str = "float") -> pb.FrameHeader:
    """Return the header of ``frame`` as planes of ``pixel_type`` in chunks."""
    header = pb.FrameHeader(key=key, payload=pb.PAYLOAD_KIND_PLANES)
    write_info(header.info, frame)
    height, width = frame.trimap.shape
    header.planes.CopyFrom(describe(width, height, FRAME_PLANES, PIXEL_TYPES[pixel_type]))
    return header


def matte_header(matte: Matte, planes: pb.Planes, key: str, frame_id: str, *, shared: bool = False) -> pb.MatteHeader:
    """Return the header of ``matte`` as ``planes``."""
    header = pb.MatteHeader(key=key, frame_id=frame_id)
    header.payload = pb.PAYLOAD_KIND_SHARED_MEMORY if shared else pb.PAYLOAD_KIND_PLANES
    write_info(header.info, matte)
    write_attributes(header.provenance, matte.provenance, matte.label)
    header.planes.CopyFrom(planes)
    return header


def answer_planes(header: pb.FrameHeader, width: int, height: int) -> pb.Planes:
    """Return the planes that the frame of ``header`` asks to be answered with.

    Raises
    ------
    FrameError
        If it asks for a plane that is no part of an answer, for one twice, or for an unknown type.
    """
    label = info_label(header.info)
    kinds = list(header.output.planes) or ANSWER_PLANES
    for kind in kinds:
        if kind not in FIELDS or kind == pb.PLANE_KIND_PLATE:
            raise FrameError(f"{label}: plane kind {kind} is no part of an answer")
    planes = describe(width, height, kinds, header.output.pixel_type or _plate_type(header))
    layout.places(planes, shared=False, label=label)
    return planes


def _plate_type(header: pb.FrameHeader) -> pb.PixelType:
    for plane in header.planes.planes:
        if plane.kind == pb.PLANE_KIND_PLATE:
            return plane.pixel_type
    return pb.PIXEL_TYPE_HALF


def to_buffers(source: object, planes: pb.Planes, convert: Optional[Convert] = None) -> list[Buffer]:
    """Return the pixels of ``source``, a `Frame` or `Matte`, as ``planes`` lists them, for chunks.

    An array that is of the plane's type and contiguous is handed over as it is, not copied.
    """
    found: list[Buffer] = []
    for plane in planes.planes:
        array = getattr(source, FIELDS[plane.kind])
        dtype = _DTYPES[plane.pixel_type]
        ready = array
        if array.dtype != dtype or not array.flags.c_contiguous:
            ready = np.empty(array.shape, dtype)
            copy_pixels(ready, array, convert)
        found.append(memoryview(ready).cast("B"))
    return found


def to_lease(target: Buffer, source: object, planes: pb.Planes, convert: Optional[Convert] = None) -> None:
    """Write the pixels of ``source``, a `Frame` or `Matte`, into a lease of shared memory."""
    for name, view in _views(target, planes, shared=True, label="shared memory"):
        copy_pixels(view, getattr(source, name), convert)


def read_planes(
    source: Buffer, planes: pb.Planes, *, shared: bool, label: str, convert: Optional[Convert] = None
) -> dict[str, NDArray[np.float32]]:
    """Return the planes in ``source`` as float32 arrays by field name.

    Parameters
    ----------
    source : buffer
        The whole payload, or the lease.
    planes : Planes
        How it lies there.
    shared : bool
        ``source`` is shared memory: planes are aligned, and copied, as the other side may write there.
        Otherwise float planes are views of ``source``.
    label : str
        What to call the frame in an error.
    convert : callable, optional
        See `Convert`.

    Returns
    -------
    dict of ndarray
        (H, W, 3) for plate, foreground, background; (H, W) for trimap, alpha.

    Raises
    ------
    FrameError
        If the layout makes no sense or ``source`` is too small for it.
    """
    found = {}
    for name, view in _views(source, planes, shared=shared, label=label):
        array = view
        # A float plane that follows half planes may lie at an odd place.
        if shared or view.dtype != np.float32 or not view.flags.aligned:
            array = np.empty(view.shape, np.float32)
            copy_pixels(array, view, convert)
        found[name] = array
    return found


def read_frame(header: pb.FrameHeader, payload: Buffer, convert: Optional[Convert] = None) -> Frame:
    """Return the frame whose planes are in ``payload``: chunks put together, or a lease."""
    label = info_label(header.info)
    shared = header.payload == pb.PAYLOAD_KIND_SHARED_MEMORY
    arrays = read_planes(payload, header.planes, shared=shared, label=label, convert=convert)
    return Frame(plate=arrays["plate"], trimap=arrays["trimap"], **read_info(header.info))


def read_matte(header: pb.MatteHeader, payload: Buffer, frame: Frame, convert: Optional[Convert] = None) -> Matte:
    """Return the matte whose planes are in ``payload``; what ``frame`` carried is taken from ``frame`` itself."""
    shared = header.payload == pb.PAYLOAD_KIND_SHARED_MEMORY
    arrays = read_planes(payload, header.planes, shared=shared, label=frame.label, convert=convert)
    provenance = read_attributes(header.provenance)
    return Matte.for_frame(frame, arrays["alpha"], arrays["foreground"], arrays["background"], provenance)


def _views(source: Buffer, planes: pb.Planes, *, shared: bool, label: str) -> Iterator[tuple[str, Array]]:
    for place, plane in zip(layout.places(planes, shared=shared, label=label), planes.planes):
        if place.end > len(source):
            raise FrameError(f"{label}: planes need {place.end} bytes, the payload has {len(source)}")
        shape = (planes.height, planes.width, 3) if place.channels == 3 else (planes.height, planes.width)
        count = planes.height * planes.width * place.channels
        yield FIELDS[plane.kind], np.frombuffer(source, _DTYPES[plane.pixel_type], count, place.start).reshape(shape)


def copy_pixels(target: Array, source: Array, convert: Optional[Convert] = None) -> None:
    """Copy ``source`` into ``target``; what is beyond half range becomes the largest half, not infinite."""
    if target.dtype == source.dtype:
        np.copyto(target, source)
    elif convert is not None:
        convert(target, source)
    elif target.dtype.itemsize < source.dtype.itemsize:
        _narrow(target, source)
    else:
        np.copyto(target, source)


def _narrow(target: Array, source: Array) -> None:
    into, out_of = target.reshape(-1), np.ascontiguousarray(source).reshape(-1)
    for start in range(0, into.size, _BLOCK):
        block, wide = into[start : start + _BLOCK], out_of[start : start + _BLOCK]
        with np.errstate(over="ignore"):
            np.copyto(block, wide, casting="same_kind")
        # Bits from infinity on, above and below zero; many times quicker than isinf.
        if block.view(np.int16).max() >= 0x7C00 or block.view(np.uint16).max() >= 0xFC00:
            over = np.isinf(block)
            block[over] = np.copysign(_HALF_MAX, wide[over])
