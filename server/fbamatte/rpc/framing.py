"""Messages of the Matte stream to bytes and back, without copying pixels more than once.

A chunk holds a mebibyte of pixels. Protobuf would copy it on assignment, again on serialising and
twice more on the way back. A chunk's encoding is fixed by the .proto, so it is written and read here
by hand, as `Chunk`, with its data a view; every other message goes through protobuf.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Optional, Protocol, Union

import grpc

from fbamatte.rpc.v1 import matting_pb2

SERVICE = "fbamatte.rpc.v1.Matting"
CHUNK_BYTES = 1 << 20
"""Most bytes of data in one chunk."""
MESSAGE_BYTES = CHUNK_BYTES + (1 << 16)
"""Most bytes of one message."""
TRANSPORT_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    # A chunk fits into one HTTP/2 frame; the default cuts it into 64.
    ("grpc.http2.max_frame_size", MESSAGE_BYTES),
    # Some chunks may be on their way from the first moment on; gRPC would start with 64 KiB.
    ("grpc.http2.lookahead_bytes", 4 * CHUNK_BYTES),
)
"""What both sides tell gRPC about large messages."""

Buffer = Union[bytes, bytearray, memoryview]


class Parts(Protocol):
    """Bytes that are made as they are sent."""

    def __len__(self) -> int:
        """Return how many bytes there are."""

    def parts(self, size: int) -> Iterator[Buffer]:
        """Yield them in order, ``size`` at a time and the rest."""


class Chunk(NamedTuple):
    """Part of the payload of the frame ``key``: what `parse_request` and `parse_response` give for a chunk."""

    key: str
    data: Buffer


Request = Union[matting_pb2.MatteRequest, Chunk]
Response = Union[matting_pb2.MatteResponse, Chunk]

# Field number and wire type 2 (length-delimited) of `chunk` in each of the two messages.
_REQUEST_CHUNK = matting_pb2.MatteRequest.CHUNK_FIELD_NUMBER << 3 | 2
_RESPONSE_CHUNK = matting_pb2.MatteResponse.CHUNK_FIELD_NUMBER << 3 | 2
_KEY = matting_pb2.Chunk.KEY_FIELD_NUMBER << 3 | 2
_DATA = matting_pb2.Chunk.DATA_FIELD_NUMBER << 3 | 2


def serialize_request(message: Request) -> bytes:
    """Return the bytes of a message to the server."""
    if isinstance(message, Chunk):
        return _write_chunk(_REQUEST_CHUNK, message)
    return bytes(message.SerializeToString())


def serialize_response(message: Response) -> bytes:
    """Return the bytes of a message to the caller."""
    if isinstance(message, Chunk):
        return _write_chunk(_RESPONSE_CHUNK, message)
    return bytes(message.SerializeToString())


def parse_request(data: bytes) -> Request:
    """Return the message to the server that ``data`` holds; a chunk as `Chunk` with a view of ``data``."""
    return _read_chunk(_REQUEST_CHUNK, data) or _unwrap(matting_pb2.MatteRequest.FromString(data))


def parse_response(data: bytes) -> Response:
    """Return the message to the caller that ``data`` holds; a chunk as `Chunk` with a view of ``data``."""
    return _read_chunk(_RESPONSE_CHUNK, data) or _unwrap(matting_pb2.MatteResponse.FromString(data))


def split(key: str, buffers: Iterable[Buffer | Parts], size: int = CHUNK_BYTES) -> Iterator[Chunk]:
    """Yield ``buffers`` one after the other as chunks of at most ``size`` bytes, as views."""
    for buffer in buffers:
        if not isinstance(buffer, (bytes, bytearray, memoryview)):
            yield from (Chunk(key, part) for part in buffer.parts(size))
            continue
        view = memoryview(buffer).cast("B")
        for start in range(0, len(view), size):
            yield Chunk(key, view[start : start + size])


def stub_method(channel: Any) -> Any:
    """Return the multi-callable of Matte on ``channel``; use it instead of the generated stub's."""
    return channel.stream_stream(
        f"/{SERVICE}/Matte", request_serializer=serialize_request, response_deserializer=parse_response
    )


def unary_method(channel: Any, name: str) -> Any:
    """Return the multi-callable of ``ListModels`` or ``GetServerInfo`` on ``channel``."""
    return channel.unary_unary(
        f"/{SERVICE}/{name}",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=getattr(matting_pb2, f"{name}Response").FromString,
    )


def add_to_server(servicer: Any, server: Any) -> None:
    """Register ``servicer`` (``Matte``, ``ListModels``, ``GetServerInfo``) with a grpc or grpc.aio server.

    ``Matte`` gets `Request` objects and yields `Response` objects. Use this instead of the generated
    ``add_MattingServicer_to_server``.
    """
    handlers = {
        "Matte": grpc.stream_stream_rpc_method_handler(
            servicer.Matte, request_deserializer=parse_request, response_serializer=serialize_response
        ),
        "ListModels": _unary(servicer.ListModels, matting_pb2.ListModelsRequest),
        "GetServerInfo": _unary(servicer.GetServerInfo, matting_pb2.GetServerInfoRequest),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


def keep_chunks_in_process() -> bool:
    """Let the C library keep freed memory of a chunk's size; return whether it is one that can.

    gRPC allocates and frees several buffers for each chunk. glibc gives each of them back to the system,
    which hands it out again page by page: a fifth of all the time that a frame's way takes. For programs
    whose whole purpose this is, such as a server; not for a library inside a host.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    # M_MMAP_THRESHOLD: pictures still come from and go back to the system. M_TRIM_THRESHOLD: chunks do not.
    return bool(mallopt(-3, 4 * CHUNK_BYTES)) and bool(mallopt(-1, 64 * CHUNK_BYTES))


def _unary(method: Callable[..., Any], request: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        method,
        request_deserializer=request.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )


def _unwrap(message: Any) -> Any:
    """Give a chunk that was encoded in an unusual field order the same form as any other."""
    if message.WhichOneof("kind") == "chunk":
        return Chunk(message.chunk.key, memoryview(message.chunk.data))
    return message


def _write_chunk(tag: int, chunk: Chunk) -> bytes:
    key = chunk.key.encode()
    inner = b"".join((bytes((_KEY,)), _varint(len(key)), key, bytes((_DATA,)), _varint(len(chunk.data))))
    outer = bytes((tag,)) + _varint(len(inner) + len(chunk.data))
    return b"".join((outer, inner, chunk.data))


def _read_chunk(tag: int, data: bytes) -> Optional[Chunk]:
    """Return the chunk where ``data`` is one in the usual field order; None for anything else."""
    if not data or data[0] != tag:
        return None
    try:
        start = _length(data, 1, None)[0]
        key_start, key_end = _length(data, start, _KEY)
        data_start, data_end = _length(data, key_end, _DATA)
        if _length(data, 1, None)[1] != len(data) or data_end != len(data):
            return None
        return Chunk(data[key_start:key_end].decode(), memoryview(data)[data_start:])
    except (IndexError, UnicodeDecodeError):
        # Protobuf says what is wrong with it.
        return None


def _length(data: bytes, at: int, tag: Optional[int]) -> tuple[int, int]:
    """Return where the length-delimited field at ``at`` starts and ends; ``tag`` None: already read."""
    if tag is not None:
        if data[at] != tag:
            raise IndexError
        at += 1
    length = shift = 0
    while True:
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return at, at + length
        shift += 7


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
