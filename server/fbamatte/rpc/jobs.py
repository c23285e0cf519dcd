"""What a caller wants done with one frame: the kinds of payload behind one face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fbamatte.errors import UsageError
from fbamatte.frame import EncodedFrame, EncodedMatte
from fbamatte.rpc import codec
from fbamatte.rpc.framing import Buffer, Parts
from fbamatte.rpc.layout import Payload
from fbamatte.rpc.v1 import matting_pb2 as pb


@dataclass(frozen=True)
class Request:
    """What to ask of the server for every frame of a call.

    Parameters
    ----------
    model : str
        Empty: the server's default.
    priority : str
        ``interactive`` or ``batch``; empty: batch.
    precision : str
        ``auto``, ``fp32``, ``bf16``, ``fp16``; empty: the server's.
    pixel_type : str
        ``half`` or ``float``, of the answer; empty: float for planes, half (alpha and trimap float) for EXR.
    rgba : str
        EXR: ``premultiplied``, ``straight`` or ``none``; empty: premultiplied.
    compression : str
        EXR: ``zip``, ``zips``, ``piz``, ``none``, ``dwaa``; empty: zip.
    write_trimap : bool
        EXR: with the trimap that was used.
    traceparent : str
        W3C trace context of the call; empty: none.

    Raises
    ------
    UsageError
        If a word is not one of those above.
    """

    model: str = ""
    priority: str = ""
    precision: str = ""
    pixel_type: str = ""
    rgba: str = ""
    compression: str = ""
    write_trimap: bool = False
    traceparent: str = ""

    def __post_init__(self) -> None:
        for name, known in _WORDS.items():
            word = getattr(self, name)
            if word not in known:
                raise UsageError(f"{name} {word!r} is not known; there is {', '.join(filter(None, known))}")

    def apply(self, header: pb.FrameHeader) -> None:
        """Write it into a header."""
        header.model, header.traceparent = self.model, self.traceparent
        header.priority = codec.PRIORITIES[self.priority]
        header.precision = codec.PRECISIONS[self.precision]
        output = header.output
        output.pixel_type = codec.PIXEL_TYPES[self.pixel_type]
        output.rgba = codec.RGBA[self.rgba]
        output.compression = codec.COMPRESSIONS[self.compression]
        output.write_trimap = self.write_trimap


_WORDS: dict[str, dict[str, Any]] = {
    "priority": codec.PRIORITIES,
    "precision": codec.PRECISIONS,
    "pixel_type": codec.PIXEL_TYPES,
    "rgba": codec.RGBA,
    "compression": codec.COMPRESSIONS,
}


class Job(Protocol):
    """One frame to be matted, in one kind of payload."""

    frame: Any
    """What the caller handed in; given back to its callbacks."""
    label: str
    """What to call it in messages."""

    @property
    def lease_bytes(self) -> int:
        """Bytes of shared memory that it and its answer need; 0: it travels in chunks only."""

    def header(self, key: str) -> pb.FrameHeader:
        """Return its header as if it travelled in chunks, less what `Request` says."""

    def buffers(self) -> Sequence[Buffer | Parts]:
        """Return its payload for chunks."""

    def fill(self, lease: memoryview) -> None:
        """Write its payload into shared memory."""

    def receive(self, header: pb.MatteHeader, size: int) -> Payload:
        """Return where the chunks of its answer go."""

    def read(self, header: pb.MatteHeader, payload: Any) -> Any:
        """Return what the caller gets, from what `receive` gave or from the lease. Copies what is shared."""


class EncodedJob:
    """A frame as EXR bytes, answered as EXR bytes."""

    lease_bytes = 0

    def __init__(self, frame: EncodedFrame) -> None:
        self.frame = frame
        self.label = frame.label

    def header(self, key: str) -> pb.FrameHeader:
        """See `Job`."""
        return codec.encoded_header(self.frame, key)

    def buffers(self) -> list[Buffer]:
        """See `Job`."""
        return [self.frame.plate, self.frame.trimap]

    def fill(self, lease: memoryview) -> None:
        """See `Job`."""
        raise AssertionError(f"EXR bytes do not travel in shared memory, {len(lease)} bytes of it")

    def receive(self, _header: pb.MatteHeader, size: int) -> Payload:
        """See `Job`."""
        return Payload(size, self.label)

    def read(self, header: pb.MatteHeader, payload: memoryview) -> EncodedMatte:
        """See `Job`."""
        return codec.read_encoded(header, bytes(payload))
