"""Where the bytes of a payload lie, as the .proto says: sizes and places, without pixels and without numpy."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Any, NamedTuple

from fbamatte.errors import FrameError
from fbamatte.rpc.framing import Buffer
from fbamatte.rpc.v1 import matting_pb2 as pb

CHANNELS = {
    pb.PLANE_KIND_PLATE: 3,
    pb.PLANE_KIND_TRIMAP: 1,
    pb.PLANE_KIND_ALPHA: 1,
    pb.PLANE_KIND_FOREGROUND: 3,
    pb.PLANE_KIND_BACKGROUND: 3,
}
PIXEL_BYTES = {pb.PIXEL_TYPE_HALF: 2, pb.PIXEL_TYPE_FLOAT: 4}
ALIGNMENT = 64
"""Bytes; in shared memory each plane starts at a multiple of it."""


class Place(NamedTuple):
    """One plane of a payload.

    Parameters
    ----------
    kind : PlaneKind
        What it shows.
    start, end : int
        Bytes from the start of the payload or of the lease.
    channels : int
        3 for plate, foreground, background; 1 for trimap, alpha.
    pixel_bytes : int
        2 half, 4 float.
    """

    kind: pb.PlaneKind
    start: int
    end: int
    channels: int
    pixel_bytes: int


def places(planes: pb.Planes, *, shared: bool, label: str) -> list[Place]:
    """Return where each of ``planes`` lies.

    Raises
    ------
    FrameError
        If a size is 0, a kind or pixel type is unknown, or a kind comes twice.
    """
    if not planes.width or not planes.height:
        raise FrameError(f"{label}: planes of {planes.width}×{planes.height} pixels")
    found: list[Place] = []
    at = 0
    for plane in planes.planes:
        if plane.kind not in CHANNELS or plane.pixel_type not in PIXEL_BYTES:
            raise FrameError(f"{label}: a plane of kind {plane.kind} and pixel type {plane.pixel_type} is not known")
        if any(plane.kind == other.kind for other in found):
            raise FrameError(f"{label}: {pb.PlaneKind.Name(plane.kind)} comes twice")
        if shared:
            at = -(-at // ALIGNMENT) * ALIGNMENT
        channels, pixel_bytes = CHANNELS[plane.kind], PIXEL_BYTES[plane.pixel_type]
        end = at + planes.width * planes.height * channels * pixel_bytes
        found.append(Place(plane.kind, at, end, channels, pixel_bytes))
        at = end
    return found


def planes_bytes(planes: pb.Planes, *, shared: bool, label: str) -> int:
    """Return how many bytes ``planes`` take up, from the start of the payload or of the lease."""
    found = places(planes, shared=shared, label=label)
    return found[-1].end if found else 0


def payload_bytes(header: Any, label: str) -> int:
    """Return how many bytes of chunks a FrameHeader or MatteHeader declares; with shared memory, of the lease.

    Raises
    ------
    FrameError
        If the kind of payload and the layout do not agree, or a needed plane is missing.
    """
    layout = header.WhichOneof("layout")
    wanted = {pb.PAYLOAD_KIND_EXR: ("exr", "exr_bytes"), pb.PAYLOAD_KIND_PLANES: ("planes",)}
    wanted[pb.PAYLOAD_KIND_SHARED_MEMORY] = ("planes",)
    if layout not in wanted.get(header.payload, ()):
        raise FrameError(f"{label}: payload kind {header.payload} with a layout of {layout or 'nothing'}")
    if layout == "exr_bytes":
        return int(header.exr_bytes)
    if layout == "exr":
        if not header.exr.plate_bytes:
            raise FrameError(f"{label}: the plate's EXR file is declared with 0 bytes")
        return int(header.exr.plate_bytes + header.exr.trimap_bytes)
    if isinstance(header, pb.FrameHeader):
        _check_frame_planes(header.planes, label)
    shared = header.payload == pb.PAYLOAD_KIND_SHARED_MEMORY
    return planes_bytes(header.planes, shared=shared, label=label)


def _check_frame_planes(planes: pb.Planes, label: str) -> None:
    kinds = sorted(plane.kind for plane in planes.planes)
    if kinds != [pb.PLANE_KIND_PLATE, pb.PLANE_KIND_TRIMAP]:
        names = ", ".join(pb.PlaneKind.Name(kind) if kind in CHANNELS else str(kind) for kind in kinds)
        raise FrameError(f"{label}: needs one plate and one trimap, declares {names or 'no planes'}")


def anonymous(size: int) -> mmap.mmap:
    """Return memory whose pages appear as they are written and go back to the system with the object."""
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, max(size, 1))
    # Private, for Linux gives no large pages to shared memory; with small ones half the time goes into faults.
    memory = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE") and size >= 1 << 22:
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


class Payload:
    """A payload being received: takes chunks until it holds the declared number of bytes.

    Nothing is touched beforehand: memory grows with what has really come, so a lying header costs
    nothing.

    Parameters
    ----------
    size : int
        Bytes declared.
    label : str
        What to call the frame in an error.
    into : sequence of memoryview
        Writable bytes to receive into, one after the other, ``size`` in all, instead of memory of its own.
    """

    def __init__(self, size: int, label: str, into: Sequence[memoryview] = ()) -> None:
        self.size = size
        self.label = label
        self.received = 0
        self._into = list(into)
        if not self._into:
            self._allocate()

    def _allocate(self) -> None:
        """Take memory of its own."""
        self._memory = anonymous(self.size)

    def add(self, data: Buffer) -> None:
        """Append a chunk.

        Raises
        ------
        FrameError
            If that makes more bytes than declared, or the chunk is empty or over the limit.
        """
        if self.received + len(data) > self.size:
            raise FrameError(f"{self.label}: more than the {self.size} bytes that its header declares")
        self._store(memoryview(data))
        self.received += len(data)

    def _store(self, data: memoryview) -> None:
        if self._into:
            self._scatter(data)
        else:
            self._memory[self.received : self.received + len(data)] = data

    def _scatter(self, data: memoryview) -> None:
        while len(data):
            target = self._into[0]
            count = min(len(data), len(target))
            target[:count] = data[:count]
            data = data[count:]
            self._into[0] = target[count:]
            if count == len(target) and len(self._into) > 1:
                del self._into[0]

    def finish(self) -> Any:
        """Return all of it as a view; the memory goes when the last view of it goes. Empty where it went elsewhere.

        Raises
        ------
        FrameError
            If fewer bytes came than declared.
        """
        if self.received != self.size:
            raise FrameError(f"{self.label}: {self.received} bytes came, its header declares {self.size}")
        return self._content()

    def _content(self) -> Any:
        return memoryview(b"") if self._into else memoryview(self._memory)[: self.size]
