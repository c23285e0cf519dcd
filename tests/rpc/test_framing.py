"""Chunks by hand are the same bytes as chunks by protobuf."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf.message import DecodeError

from fbamatte.rpc import framing
from fbamatte.rpc.framing import Chunk
from fbamatte.rpc.v1 import matting_pb2 as pb


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16383, 16384, framing.CHUNK_BYTES])
@pytest.mark.parametrize("key", ["1", "k" * 127, "k" * 128, "sh010/🎬"])
def test_a_chunk_is_what_protobuf_would_write_and_read(size: int, key: str) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    message = pb.Chunk(key=key, data=data)
    request, response = pb.MatteRequest(chunk=message), pb.MatteResponse(chunk=message)
    chunk = Chunk(key, memoryview(data))
    assert pb.MatteRequest.FromString(framing.serialize_request(chunk)) == request
    assert pb.MatteResponse.FromString(framing.serialize_response(chunk)) == response
    for parsed in (
        framing.parse_request(request.SerializeToString()),
        framing.parse_response(response.SerializeToString()),
    ):
        assert isinstance(parsed, Chunk)
        assert (parsed.key, bytes(parsed.data)) == (key, data)


def test_the_data_of_a_chunk_is_a_view_and_not_a_copy() -> None:
    wire = framing.serialize_request(Chunk("a", b"x" * 1000))
    parsed = framing.parse_request(wire)
    assert isinstance(parsed, Chunk)
    assert isinstance(parsed.data, memoryview)
    assert parsed.data.obj is wire


def test_fields_in_another_order_are_understood() -> None:
    inner = b"\x12\x03abc" + b"\x0a\x01k"
    assert framing.parse_request(b"\x12" + bytes((len(inner),)) + inner) == ("k", b"abc")
    # Protobuf takes the last of a field that comes twice.
    inner = b"\x0a\x01k\x12\x01a\x12\x02bc"
    assert framing.parse_request(b"\x12" + bytes((len(inner),)) + inner) == ("k", b"bc")


def test_other_messages_come_as_they_are() -> None:
    message = pb.MatteRequest(end=pb.FrameEnd(key="7"))
    assert framing.parse_request(framing.serialize_request(message)) == message
    assert framing.parse_request(b"") == pb.MatteRequest()


def test_broken_bytes_are_refused_and_never_read_beyond_their_end() -> None:
    good = framing.serialize_request(Chunk("key", b"data" * 10))
    random = np.random.default_rng(1)
    for cut in range(1, len(good)):
        with pytest.raises(DecodeError):
            framing.parse_request(good[:cut])
    for _ in range(2000):
        broken = bytearray(good)
        broken[random.integers(len(broken))] = random.integers(256)
        try:
            parsed = framing.parse_request(bytes(broken))
        except DecodeError:
            continue
        expected = None
        try:
            expected = pb.MatteRequest.FromString(bytes(broken))
        except DecodeError:
            pytest.fail(f"protobuf refuses {bytes(broken)!r}, which was read as {parsed!r}")
        if isinstance(parsed, Chunk):
            assert (expected.chunk.key, expected.chunk.data) == (parsed.key, bytes(parsed.data))
        else:
            assert expected == parsed


def test_payloads_are_cut_without_copies() -> None:
    pixels = np.arange(1000, dtype=np.float32).reshape(10, 100)
    chunks = list(framing.split("k", [memoryview(pixels), b"tail"], size=1024))
    assert [len(chunk.data) for chunk in chunks] == [1024, 1024, 1024, 928, 4]
    assert b"".join(chunk.data for chunk in chunks) == pixels.tobytes() + b"tail"
    assert np.shares_memory(np.frombuffer(chunks[1].data, np.uint8), pixels)
