"""Pixels to payloads and back; imports numpy, as `fbamatte.rpc.casting` does and nothing else of the wire."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Callable, Optional, Union

import numpy as np
from numpy.typing import NDArray

from fbamatte.errors import FrameError
from fbamatte.frame import Frame, Matte
from fbamatte.rpc import layout
from fbamatte.rpc.casting import HALF, Convert, Narrowed, cast_flat, copy_pixels
from fbamatte.rpc.codec import PIXEL_TYPES, info_label, read_info, write_info
from fbamatte.rpc.framing import Buffer, Parts
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.rpc.values import read_attributes, write_attributes

Array = NDArray[Any]
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


def to_buffers(source: object, planes: pb.Planes, convert: Optional[Convert] = None) -> list[Buffer | Parts]:
    """Return the pixels of ``source``, a `Frame` or `Matte`, as ``planes`` lists them, for chunks.

    An array that is of the plane's type and contiguous is handed over as it is, not copied.
    """
    found: list[Buffer | Parts] = []
    for plane in planes.planes:
        array, dtype = getattr(source, FIELDS[plane.kind]), _DTYPES[plane.pixel_type]
        if array.dtype != dtype and dtype == HALF:
            found.append(Narrowed(array, convert))
        else:
            found.append(np.ascontiguousarray(array, dtype).data.cast("B"))
    return found


def to_lease(target: Buffer, source: object, planes: pb.Planes, convert: Optional[Convert] = None) -> None:
    """Write the pixels of ``source``, a `Frame` or `Matte`, into a lease of shared memory."""
    for name, view in _views(target, planes, shared=True, label="shared memory"):
        copy_pixels(view, getattr(source, name), convert)


def float_bytes(planes: pb.Planes) -> int:
    """Return the bytes that ``planes`` take as float."""
    channels = sum(layout.CHANNELS.get(plane.kind, 0) for plane in planes.planes)
    return int(planes.width * planes.height * channels * 4)


Empty = Callable[[tuple[int, ...]], Array]
"""Makes an array of float32 whose content is written before it is read."""


def _empty(shape: tuple[int, ...]) -> Array:
    return np.empty(shape, np.float32)


class PlanesPayload(layout.Payload):
    """A payload of planes being received: half becomes float as it comes, so that nothing is left to do.

    Parameters
    ----------
    planes : Planes
        What it holds.
    label : str
        What to call the frame in an error.
    convert, empty : callable, optional
        See `Convert` and `Empty`.

    Raises
    ------
    FrameError
        If the layout makes no sense.
    """

    def __init__(self, planes: pb.Planes, label: str, convert: Optional[Convert] = None, empty: Empty = _empty) -> None:
        self._places = layout.places(planes, shared=False, label=label)
        # Pages appear as they are written, as for any other payload.
        self._arrays = {FIELDS[place.kind]: empty(_shape(planes, place)) for place in self._places}
        self._convert = convert
        self._odd = b""
        super().__init__(self._places[-1].end if self._places else 0, label)

    def _allocate(self) -> None:
        """Its planes are its memory."""

    def _store(self, data: memoryview) -> None:
        at = self.received
        while len(data):
            place = self._places[0]
            count = min(len(data), place.end - at)
            flat = self._arrays[FIELDS[place.kind]].reshape(-1)
            if place.pixel_bytes == 4:
                flat.data.cast("B")[at - place.start : at - place.start + count] = data[:count]
            else:
                self._widen(flat, at - place.start, data[:count])
            at, data = at + count, data[count:]
            if at == place.end:
                del self._places[0]

    def _widen(self, flat: Array, at: int, data: memoryview) -> None:
        """Cast halves that start ``at`` bytes into their plane; a chunk may end in the middle of one."""
        if at % 2:
            flat[at // 2] = np.frombuffer(self._odd + bytes(data[:1]), HALF)[0]
            at, data = at + 1, data[1:]
        whole = len(data) // 2
        cast_flat(flat[at // 2 : at // 2 + whole], np.frombuffer(data, HALF, whole), self._convert)
        self._odd = bytes(data[2 * whole :])

    def _content(self) -> dict[str, Array]:
        return self._arrays


Content = Union[Buffer, dict[str, Array]]
"""A whole payload: its bytes, or what `PlanesPayload` has made of them."""


def read_planes(
    source: Content,
    planes: pb.Planes,
    *,
    shared: bool,
    label: str,
    convert: Optional[Convert] = None,
    empty: Empty = _empty,
) -> dict[str, NDArray[np.float32]]:
    """Return the planes in ``source`` as float32 arrays by field name.

    Parameters
    ----------
    source : buffer or dict
        The whole payload, or the lease.
    planes : Planes
        How it lies there.
    shared : bool
        ``source`` is shared memory: planes are aligned, and copied, as the other side may write there.
        Otherwise float planes are views of ``source``.
    label : str
        What to call the frame in an error.
    convert, empty : callable, optional
        See `Convert` and `Empty`.

    Returns
    -------
    dict of ndarray
        (H, W, 3) for plate, foreground, background; (H, W) for trimap, alpha.

    Raises
    ------
    FrameError
        If the layout makes no sense or ``source`` is too small for it.
    """
    if isinstance(source, dict):
        return source
    found = {}
    for name, view in _views(source, planes, shared=shared, label=label):
        array = view
        # A float plane that follows half planes may lie at an odd place.
        if shared or view.dtype != np.float32 or not view.flags.aligned:
            array = empty(view.shape)
            copy_pixels(array, view, convert)
        found[name] = array
    return found


def read_frame(
    header: pb.FrameHeader, payload: Content, convert: Optional[Convert] = None, empty: Empty = _empty
) -> Frame:
    """Return the frame whose planes are in ``payload``: chunks put together, or a lease."""
    label = info_label(header.info)
    shared = header.payload == pb.PAYLOAD_KIND_SHARED_MEMORY
    arrays = read_planes(payload, header.planes, shared=shared, label=label, convert=convert, empty=empty)
    return Frame(plate=arrays["plate"], trimap=arrays["trimap"], **read_info(header.info))


def read_matte(header: pb.MatteHeader, payload: Content, frame: Frame, convert: Optional[Convert] = None) -> Matte:
    """Return the matte whose planes are in ``payload``; what ``frame`` carried is taken from ``frame`` itself."""
    shared = header.payload == pb.PAYLOAD_KIND_SHARED_MEMORY
    arrays = read_planes(payload, header.planes, shared=shared, label=frame.label, convert=convert)
    provenance = read_attributes(header.provenance)
    return Matte.for_frame(frame, arrays["alpha"], arrays["foreground"], arrays["background"], provenance)


def _views(source: Buffer, planes: pb.Planes, *, shared: bool, label: str) -> Iterator[tuple[str, Array]]:
    for place, plane in zip(layout.places(planes, shared=shared, label=label), planes.planes):
        if place.end > len(source):
            raise FrameError(f"{label}: planes need {place.end} bytes, the payload has {len(source)}")
        count = planes.height * planes.width * place.channels
        flat = np.frombuffer(source, _DTYPES[plane.pixel_type], count, place.start)
        yield FIELDS[plane.kind], flat.reshape(_shape(planes, place))


def _shape(planes: pb.Planes, place: layout.Place) -> tuple[int, ...]:
    return (planes.height, planes.width, 3) if place.channels == 3 else (planes.height, planes.width)
