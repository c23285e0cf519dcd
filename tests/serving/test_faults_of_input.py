"""Faults of what callers send, by the numbers of the project's list; each prints what it measured (pytest -rP)."""

import gc
import time

import grpc
import numpy as np
import psutil
import pytest

from fbamatte.engine import Engine
from fbamatte.errors import FbaMatteError
from fbamatte.frame import Frame
from fbamatte.rpc.client import Client
from fbamatte.rpc.framing import MESSAGE_BYTES, SERVICE, Chunk
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.testing import NullEstimator
from serving import attacks
from serving.helpers import frame, in_flight, messages, raw, reserved, wait_until


def rss() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


def answer_to(address, *items):
    """Send messages and return the answer to their one frame."""
    with raw(address) as stream:
        stream.send(*items)
        return next(iter(stream.answers(1).values()))


def test_7_headers_that_claim_too_much_are_refused_before_anything_is_allocated(server, address):
    data = attacks.exr()
    bombs = {
        "2^31 pixels a side": attacks.with_window(data, 0, 0, 2**31 - 1, 2**31 - 1),
        "negative to positive": attacks.with_window(data, -(2**31), -(2**31), 2**31 - 1, 2**31 - 1),
        "far out": attacks.with_window(data, 2**31 - 32, 0, 2**31 - 1, 15),
        "10^6 channels": attacks.with_channels(data, 10**6),
        "a ratio of 10^6": attacks.with_window(data, 0, 0, 10999, 10999),
        "no header at all": b"\x76\x2f\x31\x01" + bytes(64),
        "not an EXR": b"GIF89a" + bytes(64),
    }
    answer_to(address, *attacks.exr_messages(data))
    before, slowest = rss(), 0.0
    for name, bomb in bombs.items():
        begin = time.monotonic()
        answer = answer_to(address, *attacks.exr_messages(bomb))
        slowest = max(slowest, time.monotonic() - begin)
        assert answer != "OK", name
        assert answer.code in {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}, name
        assert answer.permanent, name
        assert "plate.exr" in answer.message, name
    grown = rss() - before
    print(f"fault 7: {len(bombs)} refused, the slowest in {slowest * 1000:.0f} ms, RSS +{grown / 2**20:.0f} MiB")
    assert grown <= 64 * 2**20


@pytest.mark.parametrize("broken", ["plate", "trimap"])
def test_an_exr_frame_without_a_name_is_named_by_its_number(address, broken):
    """Callers other than our own client have nothing but the message."""
    data = attacks.exr()
    parts = {"plate": data, "trimap": data, broken: data[: len(data) // 2]}
    sent = attacks.exr_messages(parts["plate"], trimap=parts["trimap"])
    sent[0].header.info.name, sent[0].header.info.number = "", 1042
    answer = answer_to(address, *sent)
    assert answer.code == "INVALID_ARGUMENT"
    assert f"{broken} of frame 1042" in answer.message


def test_7_a_compressed_bomb_in_the_payload_is_bounded(server, address):
    """A black picture compresses a thousandfold; what it unpacks to is bounded by the header's own size."""
    answer = answer_to(address, *attacks.exr_messages(attacks.exr()[:-200]))
    assert answer.code == "INVALID_ARGUMENT"
    assert answer_to(address, *attacks.exr_messages(attacks.exr())) == "OK"


def test_8_pixels_that_are_no_numbers_do_not_spread(address):
    clean = frame(1)
    plate = clean.plate.copy()
    bad = np.zeros(plate.shape[:2], bool)
    for value, (y, x) in zip([np.nan, np.inf, -np.inf, 1e-45], [(3, 5), (20, 40), (30, 50), (50, 90)], strict=True):
        plate[y, x], bad[y, x] = value, True
    with Client(address) as client:
        (spoilt,) = client.matte([Frame(plate=plate, trimap=clean.trimap)])
        (matte,) = client.matte([clean])
    contaminated = sum(
        int((getattr(spoilt, name) != getattr(matte, name)).reshape(*bad.shape, -1).any(-1)[~bad].sum())
        for name in ("alpha", "foreground", "background")
    )
    print(f"fault 8: {contaminated} pixels contaminated, {spoilt.provenance['nonfinite_pixels']} counted")
    assert contaminated == 0
    assert spoilt.provenance["nonfinite_pixels"] == 3
    assert all(np.isfinite(getattr(spoilt, name)).all() for name in ("alpha", "foreground", "background"))


@pytest.mark.parametrize("size", [(1, 1), (1, 997), (997, 1), (2, 2), (7, 13), (251, 241), (4099, 3)])
def test_10_any_size_works(address, size):
    item = frame(1, *size)
    known = Frame(plate=item.plate, trimap=np.round(item.trimap)) if min(size) < 3 or size[0] < 4 else item
    with Client(address) as client:
        (matte,) = client.matte([known])
    assert matte.alpha.shape == (size[1], size[0])
    np.testing.assert_array_equal(matte.alpha, Engine(estimator=NullEstimator()).matte_one(known).alpha)


@pytest.mark.parametrize("size", [(16384, 16384), (65537, 1), (2**31, 1), (2**32 - 1, 2**32 - 1)])
def test_10_or_is_over_a_limit_that_the_message_names(address, size):
    header = messages(frame(1))[0]
    header.header.planes.width, header.header.planes.height = size
    error = answer_to(address, header)
    assert (error.code, error.permanent) == ("RESOURCE_EXHAUSTED", True)
    assert str(size[0]) in error.message
    assert "this server takes" in error.message


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_11_a_trimap_that_knows_everything_is_copied_exactly(address, value):
    item = Frame(plate=frame(1).plate, trimap=np.full((54, 96), value, np.float32))
    with Client(address) as client:
        (matte,) = client.matte([item])
    np.testing.assert_array_equal(matte.alpha, item.trimap)
    np.testing.assert_array_equal(matte.foreground if value else matte.background, item.plate)


@pytest.mark.parametrize(
    "values", [(0.5,), (0.0, 0.5), (0.5, 1.0)], ids=["all unknown", "no foreground", "no background"]
)
def test_11_a_trimap_that_says_too_little_is_refused(address, values):
    trimap = np.resize(np.array(values, np.float32), (54, 96))
    with Client(address) as client, pytest.raises(FbaMatteError) as refused:
        list(client.matte([Frame(plate=frame(1).plate, trimap=trimap, number=12)]))
    assert refused.value.status == "INVALID_ARGUMENT"
    assert "frame 12" in str(refused.value)


def test_12_nothing_is_resized(address):
    answer = answer_to(address, *attacks.exr_messages(attacks.exr(32, 16), trimap=attacks.exr(30, 16)))
    assert answer.code == "INVALID_ARGUMENT"
    assert "32×16" in answer.message
    assert "30×16" in answer.message


def test_15_a_message_at_the_limit_and_one_byte_over(address):
    """The transport lets the one through, to be refused by us, and not the other."""

    def status(size):
        # a chunk for a frame that is not there, as large as the message may be
        for overhead in range(8, 24):
            data = bytes(size - overhead)
            message = pb.MatteRequest(chunk=pb.Chunk(key="k", data=data)).SerializeToString()
            if len(message) == size:
                break
        with grpc.insecure_channel(address) as channel:
            call = channel.stream_stream(f"/{SERVICE}/Matte")(iter([message]), timeout=60)
            with pytest.raises(grpc.RpcError):
                next(call)
            return call.code()

    assert status(MESSAGE_BYTES) is grpc.StatusCode.INVALID_ARGUMENT
    assert status(MESSAGE_BYTES + 1) is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_15_a_declared_size_costs_nothing_until_it_comes(server, address):
    before = rss()
    with raw(address) as stream:
        for number in range(4):
            header = messages(frame(number))[0]
            header.header.planes.width = header.header.planes.height = 6000
            stream.send(header)
        wait_until(lambda: in_flight(server) == 4)
        grown = rss() - before
        stream.send(*[Chunk(f"k{number}", bytes(2**20)) for number in range(4)])
        stream.send(*[pb.MatteRequest(end=pb.FrameEnd(key=f"k{number}")) for number in range(4)])
        answers = stream.answers(4)
    assert {error.code for error in answers.values()} == {"INVALID_ARGUMENT"}
    wait_until(lambda: reserved(server) == 0)
    print(f"fault 15: 2.3 GB declared, RSS +{grown / 2**20:.1f} MiB")
    assert grown < 32 * 2**20
