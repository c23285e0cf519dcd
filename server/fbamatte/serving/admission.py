"""What a frame's header may ask for, checked before a byte of its payload is stored."""

from __future__ import annotations

import unicodedata
import uuid
from dataclasses import dataclass

from fbamatte.errors import FrameError
from fbamatte.rpc import codec, layout, pixels
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.serving.catalogue import Catalogue
from fbamatte.serving.failures import LimitError
from fbamatte.serving.queue import Priority
from fbamatte.serving.settings import ServerSettings

KEY_BYTES, ID_BYTES, NAME_BYTES, VIEW_BYTES, TRACE_BYTES = 128, 64, 1024, 255, 128
_PRECISIONS = {number: name for name, number in codec.PRECISIONS.items() if name}


@dataclass(frozen=True)
class Admitted:
    """What a header comes to once it is checked.

    Parameters
    ----------
    label : str
        What to call the frame in messages.
    frame_id : str
        What to call it in logs, metrics and traces.
    model, precision : str
        Which estimator; both are names of ours.
    priority : Priority
        Who goes first.
    payload_bytes : int
        Bytes that will come in chunks, or that lie in its shared memory.
    lease_bytes : int
        Bytes that its shared memory must hold: those, and later its answer.
    memory_bytes : int
        Bytes that what comes in chunks takes here: pixels become float as they come.
    pixels : int
        Width times height; 0 where only the EXR file knows.
    """

    label: str
    frame_id: str
    model: str
    precision: str
    priority: Priority
    payload_bytes: int
    lease_bytes: int
    memory_bytes: int
    pixels: int


def check_key(key: str) -> None:
    """Raise `FrameError` where a frame's key cannot be one."""
    if not 1 <= len(key.encode()) <= KEY_BYTES:
        raise FrameError(f"a frame's key has {len(key.encode())} bytes, needed 1 to {KEY_BYTES}")


def admit(header: pb.FrameHeader, settings: ServerSettings, catalogue: Catalogue) -> Admitted:
    """Check all that a header says.

    Raises
    ------
    FrameError
        If it makes no sense.
    LimitError
        If it asks for more than this server ever gives.
    ModelNotFoundError
        If it asks for a model that is not ours.
    """
    _check_texts(header)
    label = codec.info_label(header.info)
    _check_numbers(header, label)
    size = layout.payload_bytes(header, label)
    count = 0
    if header.WhichOneof("layout") == "planes":
        count = check_size(header.planes.width, header.planes.height, settings, label)
    if size > settings.payload_bytes:
        raise LimitError(f"{label}: a payload of {size} bytes, this server takes {int(settings.payload_bytes)}")
    if header.output.payload == pb.PAYLOAD_KIND_SHARED_MEMORY and header.payload != pb.PAYLOAD_KIND_SHARED_MEMORY:
        raise FrameError(f"{label}: an answer in shared memory needs a frame that came in it")
    # Wrong wishes are told now, not after the frame has been matted.
    planes = pixels.answer_planes(header, max(header.planes.width, 1), max(header.planes.height, 1))
    answer = layout.planes_bytes(planes, shared=True, label=label)
    shared = (header.output.payload or header.payload) == pb.PAYLOAD_KIND_SHARED_MEMORY
    return Admitted(
        label=label,
        frame_id=header.frame_id or str(uuid.uuid4()),
        model=catalogue.resolve(header.model),
        precision=_PRECISIONS.get(header.precision, settings.precision),
        priority=Priority.INTERACTIVE if header.priority == pb.PRIORITY_INTERACTIVE else Priority.BATCH,
        payload_bytes=size,
        lease_bytes=max(size, answer) if shared else size,
        memory_bytes=max(size, pixels.float_bytes(header.planes)),
        pixels=count,
    )


def check_size(width: int, height: int, settings: ServerSettings, label: str) -> int:
    """Return the pixels of a frame of this size; raise `LimitError` where it is over a limit."""
    if width > settings.frame_side or height > settings.frame_side:
        raise LimitError(f"{label}: {width}×{height} pixels, this server takes {settings.frame_side} a side")
    if width * height > settings.frame_pixels:
        raise LimitError(
            f"{label}: {width}×{height} is {width * height} pixels, this server takes {settings.frame_pixels}"
        )
    return width * height


def _check_numbers(header: pb.FrameHeader, label: str) -> None:
    output = header.output
    for what, number, known in (
        ("priority", header.priority, pb.Priority.values()),
        ("precision", header.precision, pb.Precision.values()),
        ("payload of the answer", output.payload, pb.PayloadKind.values()),
        ("pixel type", output.pixel_type, pb.PixelType.values()),
        ("content of R, G, B", output.rgba, pb.RgbaContent.values()),
        ("compression", output.compression, pb.Compression.values()),
    ):
        if number not in known:
            raise FrameError(f"{label}: {what} {number} is not known to this server")


def _check_texts(header: pb.FrameHeader) -> None:
    info = header.info
    texts = (
        ("name", info.name, NAME_BYTES),
        ("view", info.view, VIEW_BYTES),
        ("colour space", info.colorspace, VIEW_BYTES),
        ("frame id", header.frame_id, ID_BYTES),
        ("trace context", header.traceparent, TRACE_BYTES),
        ("model", header.model, VIEW_BYTES),
    )
    for what, text, most in texts:
        if len(text.encode()) > most:
            raise FrameError(f"frame {info.number}: its {what} has {len(text.encode())} bytes, allowed {most}")
        # They would draw lines of their own into a log.
        if any(unicodedata.category(letter) == "Cc" for letter in text):
            raise FrameError(f"frame {info.number}: its {what} {text[:80]!r} has control characters")
