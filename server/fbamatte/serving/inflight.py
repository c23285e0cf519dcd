"""A frame in flight: its payload until it is decoded, its answer until it is sent, and what both take."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from fbamatte.errors import FrameError
from fbamatte.frame import Frame, Matte
from fbamatte.imaging import matte_exr
from fbamatte.imaging.exr import Limits, read_exr
from fbamatte.imaging.exr_header import read_header
from fbamatte.rpc import codec, pixels
from fbamatte.rpc.framing import Buffer, Parts
from fbamatte.rpc.layout import Payload
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.rpc.values import write_attributes
from fbamatte.serving.admission import Admitted, check_size
from fbamatte.serving.budget import BYTES_PER_PIXEL, MemoryBudget
from fbamatte.serving.convert import convert
from fbamatte.serving.job import Job
from fbamatte.serving.settings import ServerSettings
from fbamatte.serving.slabs import Slabs

_RGBA: dict[int, Literal["premultiplied", "straight", "none"]] = {
    pb.RGBA_CONTENT_PREMULTIPLIED: "premultiplied",
    pb.RGBA_CONTENT_STRAIGHT: "straight",
    pb.RGBA_CONTENT_NONE: "none",
}
_COMPRESSION = {number: name for name, number in codec.COMPRESSIONS.items() if name}
# Decoded bytes of one EXR pixel: more channels than any plate with its passes has.
_EXR_PIXEL_BYTES = 256


@dataclass(frozen=True)
class Answer:
    """What goes back: a header, then buffers in chunks."""

    header: pb.MatteHeader
    buffers: Sequence[Buffer | Parts]


@dataclass(frozen=True)
class Memory:
    """What frames in flight may take: payloads that came in, frames that are worked on; and where planes come from."""

    payloads: MemoryBudget
    work: MemoryBudget
    slabs: Slabs


class InFlight:
    """One frame from its header to the last byte of its answer.

    Parameters
    ----------
    header : FrameHeader
        As it came.
    admitted : Admitted
        What it comes to.
    settings : ServerSettings
        The limits.
    memory : Memory
        Where it reserves what it takes; its payload is reserved by whoever makes this.
    lease : memoryview, optional
        The shared memory that its pixels are in.
    """

    def __init__(
        self,
        header: pb.FrameHeader,
        admitted: Admitted,
        settings: ServerSettings,
        memory: Memory,
        lease: memoryview | None = None,
    ) -> None:
        self.header = header
        self.key = header.key
        self.admitted = admitted
        self.label = admitted.label
        self.begun = self.heard = time.monotonic()
        self.job: Job | None = None
        self.complete = False
        # Share of the way that the caller was last told of.
        self.reported = 0.0
        self._settings = settings
        self._memory = memory
        self._lease = lease
        self._payload = None if lease is not None else _payload(header, admitted, memory.slabs)
        self._view: Any = lease
        self._held_payload = 0 if lease is not None else admitted.memory_bytes
        self._held_work = 0
        self._guard = threading.Lock()

    @property
    def shared(self) -> bool:
        """Whether its pixels are in shared memory."""
        return self._lease is not None

    def add(self, data: Buffer) -> None:
        """Append a chunk of payload; raise `FrameError` where it is more than declared."""
        self.heard = time.monotonic()
        if self._payload is None:
            raise FrameError(f"{self.label}: chunks for a frame that is in shared memory")
        self._payload.add(data)

    def finish_payload(self) -> None:
        """Say that the payload is complete; raise `FrameError` where it is not."""
        if self._payload is not None:
            self._view = self._payload.finish()
        self._payload = None
        self.complete = True

    def decode(self) -> Frame:
        """Return the frame and let go of its payload."""
        view = self._view
        assert view is not None, "decoded twice, or before it was complete"
        frame = self._decode_exr(view) if self.header.payload == pb.PAYLOAD_KIND_EXR else self._decode_planes(view)
        if not self.shared and self.header.payload == pb.PAYLOAD_KIND_EXR:
            self._view = None
            self._release_payload()
        return frame

    def encode(self, matte: Matte) -> Answer:
        """Return the answer as the frame asked for it."""
        # A frame may be a view of its planes: the payload goes with it, not before.
        self._view = None
        self._release_payload()
        kind = self.header.output.payload or self.header.payload
        if kind == pb.PAYLOAD_KIND_EXR:
            return self._encode_exr(matte)
        height, width = matte.alpha.shape
        planes = pixels.answer_planes(self.header, width, height)
        shared = kind == pb.PAYLOAD_KIND_SHARED_MEMORY
        header = pixels.matte_header(matte, planes, self.key, self.admitted.frame_id, shared=shared)
        if not shared:
            return Answer(header, pixels.to_buffers(matte, planes, convert))
        assert self._lease is not None
        pixels.to_lease(self._lease, matte, planes, convert)
        return Answer(header, [])

    def release(self) -> None:
        """Give back all that is reserved; may be called twice."""
        self._view = self._payload = self._lease = None
        self._release_payload()
        with self._guard:
            held, self._held_work = self._held_work, 0
        self._memory.work.release(held)

    def _release_payload(self) -> None:
        with self._guard:
            held, self._held_payload = self._held_payload, 0
        self._memory.payloads.release(held)

    def _reserve_work(self, count: int) -> None:
        job = self.job
        assert job is not None
        size = count * BYTES_PER_PIXEL
        self._memory.work.reserve(size, self.admitted.priority, self.label, wait=_patience(job, self._settings))
        with self._guard:
            self._held_work += size

    def _decode_planes(self, view: pixels.Content) -> Frame:
        self._reserve_work(self.admitted.pixels)
        return pixels.read_frame(self.header, view, convert, self._memory.slabs.empty)

    def _decode_exr(self, view: memoryview) -> Frame:
        plate_bytes = self.header.exr.plate_bytes
        plate, trimap = io.BytesIO(view[:plate_bytes]), io.BytesIO(view[plate_bytes:])
        limits = self._exr_limits()
        self._reserve_work(self._exr_pixels(plate, limits))
        info = self.header.info
        plate_image = read_exr(plate, view=info.view, limits=limits, name=f"plate of {self.label}")
        if self.header.exr.trimap_bytes:
            trimap_image = read_exr(trimap, limits=limits, name=f"trimap of {self.label}")
        elif "fba_trimap.A" in plate_image.channels:
            trimap_image = plate_image
        else:
            raise FrameError(f"{self.label}: no second EXR file and no channel fba_trimap.A in the plate's")
        frame = matte_exr.frame_from_images(
            plate_image, trimap_image, number=info.number, view=info.view, input_space=info.colorspace, name=info.name
        )
        return self._overridden(frame)

    def _overridden(self, frame: Frame) -> Frame:
        """Let what the header says win over what the file says."""
        said = codec.read_info(self.header.info)
        wins: dict[str, Any] = {name: said[name] for name in ("display_window", "data_window") if name in said}
        if self.header.info.pixel_aspect:
            wins["pixel_aspect"] = said["pixel_aspect"]
        return replace(frame, metadata={**frame.metadata, **said["metadata"]}, **wins)

    def _exr_limits(self) -> Limits:
        most = self._settings.frame_pixels
        return Limits(pixels=most, decoded_bytes=min(most * _EXR_PIXEL_BYTES, self._memory.work.total))

    def _exr_pixels(self, plate: io.BytesIO, limits: Limits) -> int:
        """Return the pixels that an EXR says it has, within the limits."""
        windows = [part.data_window for part in read_header(plate, self.label, limits).parts]
        return max(check_size(window.width, window.height, self._settings, self.label) for window in windows)

    def _encode_exr(self, matte: Matte) -> Answer:
        output = self.header.output
        fmt = matte_exr.MatteFormat(
            rgba=_RGBA.get(output.rgba, "premultiplied"),
            pixel_type="float" if output.pixel_type == pb.PIXEL_TYPE_FLOAT else "half",
            compression=_COMPRESSION.get(output.compression, "zip"),
            write_trimap=output.write_trimap,
        )
        data = matte_exr.encode_matte(matte, fmt)
        header = codec.encoded_answer(self.header.info, len(data), self.key, self.admitted.frame_id)
        write_attributes(header.provenance, matte.provenance, matte.label)
        return Answer(header, [data])


def _payload(header: pb.FrameHeader, admitted: Admitted, slabs: Slabs) -> Payload:
    """Return where its chunks go; pixels become float as they come."""
    if header.payload == pb.PAYLOAD_KIND_PLANES:
        return pixels.PlanesPayload(header.planes, admitted.label, convert, slabs.empty)
    return Payload(admitted.payload_bytes, admitted.label)


def _patience(job: Job, settings: ServerSettings) -> Callable[[], bool]:
    """Return a wait that ends with the job, or when it has taken as long as a caller may stand still."""
    until = time.monotonic() + settings.stall_timeout

    def wait() -> bool:
        job.check()
        return time.monotonic() < until

    return wait
