"""Headers, layouts and pixels."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from fbamatte.errors import FrameError
from fbamatte.frame import EncodedFrame, Frame, Matte, Window
from fbamatte.rpc import casting, codec, framing, layout, pixels
from fbamatte.rpc.v1 import matting_pb2 as pb

RANDOM = np.random.default_rng(5)


def frame(height: int = 13, width: int = 17) -> Frame:
    return Frame(
        plate=RANDOM.normal(0.0, 20.0, (height, width, 3)).astype(np.float32),
        trimap=RANDOM.random((height, width), np.float32),
        number=-3,
        view="left",
        display_window=Window(0, 0, 99, 99),
        data_window=Window(-5, -7, -6 + width, -8 + height),
        pixel_aspect=2.0,
        colorspace="ACEScg",
        metadata={"timeCode": (1, 2), "framesPerSecond": Fraction(24)},
        name="plate.-3.exr",
    )


def through(header: pb.FrameHeader, buffers: list[framing.Buffer | framing.Parts]) -> memoryview:
    payload = layout.Payload(layout.payload_bytes(header, "frame"), "frame")
    for chunk in framing.split("k", buffers, size=100):
        payload.add(chunk.data)
    return payload.finish()


def joined(buffers: list[framing.Buffer | framing.Parts]) -> bytes:
    return b"".join(chunk.data for chunk in framing.split("k", buffers))


def test_a_frame_in_float_comes_through_exactly() -> None:
    sent = frame()
    header = pb.FrameHeader.FromString(pixels.frame_header(sent, "k").SerializeToString())
    got = pixels.read_frame(header, through(header, pixels.to_buffers(sent, header.planes)))
    assert np.array_equal(got.plate, sent.plate)
    assert np.array_equal(got.trimap, sent.trimap)
    for name in ("number", "view", "display_window", "data_window", "pixel_aspect", "colorspace", "metadata", "name"):
        assert getattr(got, name) == getattr(sent, name)


def test_float_planes_are_handed_over_without_a_copy() -> None:
    sent = frame()
    header = pixels.frame_header(sent, "k")
    buffers = pixels.to_buffers(sent, header.planes)
    assert np.shares_memory(np.frombuffer(buffers[0], np.float32), sent.plate)
    payload = through(header, buffers)
    got = pixels.read_frame(header, payload)
    assert np.shares_memory(got.plate, np.frombuffer(payload, np.uint8))


def test_half_rounds_to_nearest_and_stops_at_its_largest_value() -> None:
    sent = frame()
    sent.plate[0, 0] = (1e6, -1e6, 65504.0)
    sent.plate[1, 1] = (np.inf, -np.inf, np.nan)
    header = pixels.frame_header(sent, "k", "half")
    got = pixels.read_frame(header, through(header, pixels.to_buffers(sent, header.planes)))
    assert got.plate[0, 0].tolist() == [65504.0, -65504.0, 65504.0]
    # Never infinite; what is no number stays visible.
    assert got.plate[1, 1, :2].tolist() == [65504.0, -65504.0]
    assert np.isnan(got.plate[1, 1, 2])
    assert np.array_equal(got.plate[2:], sent.plate[2:].astype(np.float16).astype(np.float32))


def test_an_overflow_far_into_a_large_plane_is_found() -> None:
    wide = np.zeros(300_001, np.float32)
    wide[299_999] = 70_000.0
    half = np.empty(wide.shape, np.float16)
    casting.copy_pixels(half, wide)
    assert half[299_999] == np.float16(65504)
    assert np.isfinite(half).all()


@pytest.mark.parametrize("pixel_type", ["half", "float"])
def test_shared_planes_are_aligned_and_copied(pixel_type: str) -> None:
    sent = frame()
    header = pixels.frame_header(sent, "k", pixel_type)
    header.payload = pb.PAYLOAD_KIND_SHARED_MEMORY
    places = layout.places(header.planes, shared=True, label="")
    assert [place.start % layout.ALIGNMENT for place in places] == [0, 0]
    lease = memoryview(bytearray(layout.payload_bytes(header, "")))
    pixels.to_lease(lease, sent, header.planes)
    got = pixels.read_frame(header, lease)
    assert not np.shares_memory(got.plate, np.frombuffer(lease, np.uint8))
    expected = sent.plate if pixel_type == "float" else sent.plate.astype(np.float16).astype(np.float32)
    assert np.array_equal(got.plate, expected)


def test_float_after_half_may_lie_at_an_odd_place() -> None:
    sent = frame(3, 3)
    planes = pixels.describe(3, 3, pixels.FRAME_PLANES, pb.PIXEL_TYPE_HALF)
    planes.planes[1].pixel_type = pb.PIXEL_TYPE_FLOAT
    content = joined(pixels.to_buffers(sent, planes))
    assert layout.places(planes, shared=False, label="")[1].start % 4 == 2
    got = pixels.read_planes(content, planes, shared=False, label="")
    assert got["trimap"].flags.aligned
    assert np.array_equal(got["trimap"], sent.trimap)


def test_an_answer_carries_what_was_asked_for() -> None:
    sent = frame()
    matte = Matte.for_frame(sent, sent.trimap, sent.plate, -sent.plate, {"model": "none", "seconds": 1.5})
    header = pixels.frame_header(sent, "k", "half")
    assert [plane.pixel_type for plane in pixels.answer_planes(header, 17, 13).planes] == [pb.PIXEL_TYPE_HALF] * 3
    header.output.planes.extend([pb.PLANE_KIND_BACKGROUND, pb.PLANE_KIND_TRIMAP])
    header.output.pixel_type = pb.PIXEL_TYPE_FLOAT
    planes = pixels.answer_planes(header, 17, 13)
    answer = pixels.matte_header(matte, planes, "k", "id")
    content = joined(pixels.to_buffers(matte, planes))
    assert len(content) == layout.payload_bytes(answer, "")
    got = pixels.read_planes(content, answer.planes, shared=False, label="")
    assert list(got) == ["background", "trimap"]
    assert np.array_equal(got["background"], matte.background)


def test_a_matte_gets_back_what_its_frame_carried() -> None:
    sent = frame()
    matte = Matte.for_frame(sent, sent.trimap, sent.plate, -sent.plate, {"model": "none"})
    planes = pixels.describe(17, 13, pixels.ANSWER_PLANES, pb.PIXEL_TYPE_FLOAT)
    answer = pixels.matte_header(matte, planes, "k", "id")
    got = pixels.read_matte(answer, joined(pixels.to_buffers(matte, planes)), sent)
    assert got.metadata is sent.metadata
    assert got.provenance == {"model": "none"}
    assert np.array_equal(got.background, -sent.plate)


@pytest.mark.parametrize("kind", [pb.PLANE_KIND_PLATE, pb.PLANE_KIND_UNSPECIFIED])
def test_an_answer_has_no_plate(kind: int) -> None:
    header = pixels.frame_header(frame(), "k")
    header.output.planes.append(kind)
    with pytest.raises(FrameError, match="no part of an answer"):
        pixels.answer_planes(header, 17, 13)


def test_exr_bytes_are_declared_as_they_are() -> None:
    header = codec.encoded_header(EncodedFrame(b"plate", b"trimap", 7, "right", "ACEScg", "a.exr"), "k")
    assert layout.payload_bytes(header, "") == 11
    assert (header.exr.plate_bytes, header.exr.trimap_bytes) == (5, 6)
    answer = codec.encoded_answer(header.info, 3, "k", "id")
    got = codec.read_encoded(answer, b"exr")
    assert (got.exr, got.number, got.view, got.name) == (b"exr", 7, "right", "a.exr")


def planes(width: int = 4, height: int = 4, kinds: tuple[int, ...] = (1, 2), pixel_type: int = 2) -> pb.FrameHeader:
    header = pb.FrameHeader(key="k", payload=pb.PAYLOAD_KIND_PLANES)
    header.planes.CopyFrom(pixels.describe(width, height, kinds, pixel_type))  # type: ignore[arg-type]
    return header


LYING = [
    (pb.FrameHeader(payload=pb.PAYLOAD_KIND_UNSPECIFIED), "layout of nothing"),
    (pb.FrameHeader(payload=pb.PAYLOAD_KIND_PLANES, exr=pb.ExrFiles(plate_bytes=1)), "layout of exr"),
    (pb.FrameHeader(payload=99, exr=pb.ExrFiles(plate_bytes=1)), "payload kind 99"),
    (pb.FrameHeader(payload=pb.PAYLOAD_KIND_EXR, exr=pb.ExrFiles(trimap_bytes=1)), "0 bytes"),
    (planes(width=0), "0×4"),
    (planes(kinds=(1,)), "PLANE_KIND_PLATE"),
    (planes(kinds=()), "no planes"),
    (planes(kinds=(1, 2, 2)), "one plate and one trimap"),
    (planes(kinds=(1, 3)), "PLANE_KIND_ALPHA"),
    (planes(kinds=(1, 77)), "77"),
    (planes(pixel_type=0), "pixel type 0"),
    (planes(pixel_type=9), "pixel type 9"),
]


@pytest.mark.parametrize(("header", "word"), LYING, ids=[word for _, word in LYING])
def test_a_header_that_makes_no_sense_is_refused(header: pb.FrameHeader, word: str) -> None:
    with pytest.raises(FrameError, match=word) as caught:
        layout.payload_bytes(header, "plate.7.exr")
    assert "plate.7.exr" in str(caught.value)


def test_sizes_do_not_overflow() -> None:
    header = planes(width=2**32 - 1, height=2**32 - 1)
    assert layout.payload_bytes(header, "") == (2**32 - 1) ** 2 * 16


def test_a_payload_holds_exactly_what_was_declared() -> None:
    payload = layout.Payload(10, "frame 7")
    payload.add(b"12345678")
    with pytest.raises(FrameError, match="8 bytes came, its header declares 10"):
        payload.finish()
    with pytest.raises(FrameError, match="more than the 10 bytes"):
        payload.add(b"901")
    payload.add(b"90")
    assert bytes(payload.finish()) == b"1234567890"


@pytest.mark.parametrize("pixel_types", [(1, 1), (2, 2), (1, 2), (2, 1)])
@pytest.mark.parametrize("step", [1, 2, 3, 7, 100, 5000])
def test_planes_received_in_any_pieces_are_the_planes(step: int, pixel_types: tuple[int, int]) -> None:
    sent = frame(5, 7)
    planes = pixels.describe(7, 5, pixels.FRAME_PLANES, pb.PIXEL_TYPE_HALF)
    for plane, pixel_type in zip(planes.planes, pixel_types):
        plane.pixel_type = pixel_type
    content = joined(pixels.to_buffers(sent, planes))
    payload = pixels.PlanesPayload(planes, "frame 7")
    with pytest.raises(FrameError, match="0 bytes came"):
        payload.finish()
    for start in range(0, len(content), step):
        payload.add(content[start : start + step])
    with pytest.raises(FrameError, match="more than"):
        payload.add(b"x")
    got = pixels.read_planes(payload.finish(), planes, shared=False, label="")
    expected = pixels.read_planes(content, planes, shared=False, label="")
    for name in ("plate", "trimap"):
        assert np.array_equal(got[name], expected[name])
        assert got[name].dtype == np.float32


def test_half_is_made_chunk_by_chunk() -> None:
    sent = frame(100, 100)
    sent.plate[50, 50, 1] = -1e9
    planes = pixels.describe(100, 100, pixels.FRAME_PLANES, pb.PIXEL_TYPE_HALF)
    plate, trimap = pixels.to_buffers(sent, planes)
    assert (len(plate), len(trimap)) == (60000, 20000)
    calls = []

    def convert(target: np.ndarray, source: np.ndarray) -> None:
        calls.append(source.size)
        target[...] = np.clip(source, -65504, 65504)

    (lazy, _) = pixels.to_buffers(sent, planes, convert)
    parts = lazy.parts(16384)
    first = next(parts)
    assert calls == [8192]
    got = np.frombuffer(b"".join([first, *parts]), np.float16)
    assert sum(calls) == 30000
    assert got.min() == -65504
    assert np.array_equal(got, np.clip(sent.plate, -65504, 65504).astype(np.float16).reshape(-1))


@pytest.mark.parametrize("step", [1, 3, 7, 100])
def test_a_payload_goes_straight_into_buffers_that_are_there(step: int) -> None:
    targets = [bytearray(5), bytearray(1), bytearray(14)]
    payload = layout.Payload(20, "frame 7", into=[memoryview(target) for target in targets])
    content = bytes(range(20))
    for start in range(0, 20, step):
        payload.add(content[start : start + step])
    with pytest.raises(FrameError, match="more than the 20 bytes"):
        payload.add(b"x")
    assert len(payload.finish()) == 0
    assert b"".join(targets) == content


def test_a_large_declaration_takes_no_memory_until_bytes_come() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as statm:  # noqa: PTH123
            return int(statm.read().split()[1]) * 4096

    before = resident()
    payload = layout.Payload(1 << 32, "frame 7")
    payload.add(b"x" * 1000)
    assert resident() - before < 8 << 20


@pytest.mark.parametrize("aspect", [-1.0, float("nan"), float("inf")])
def test_a_pixel_aspect_that_cannot_be_is_refused(aspect: float) -> None:
    with pytest.raises(FrameError, match="pixel aspect"):
        codec.read_info(pb.FrameInfo(number=7, pixel_aspect=aspect))


def test_what_is_missing_has_its_documented_meaning() -> None:
    found = codec.read_info(pb.FrameInfo())
    assert found["pixel_aspect"] == 1.0
    assert "display_window" not in found
    assert "data_window" not in found


def test_crossed_corners_are_refused() -> None:
    info = pb.FrameInfo(number=7, data_window=pb.Window(x_min=5, x_max=4))
    with pytest.raises(FrameError, match=r"frame 7: .*crossed corners \(5, 0\)"):
        codec.read_info(info)
