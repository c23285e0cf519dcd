"""What the service refuses, cuts short or slows down, over real sockets."""

import re
import time
from concurrent import futures

import grpc
import pytest

from fbamatte.errors import ModelNotFoundError
from fbamatte.rpc.client import Client
from fbamatte.rpc.framing import Chunk
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.testing import serve_in_process
from serving.helpers import Gate, RawStream, frame, in_flight, messages, raw, reserved, wait_until


@pytest.mark.parametrize(
    ("edit", "code", "words"),
    [
        (lambda h: h.planes.ClearField("planes"), "INVALID_ARGUMENT", "needs one plate and one trimap"),
        (lambda h: setattr(h.planes, "width", 0), "INVALID_ARGUMENT", "0×54"),
        (lambda h: setattr(h.planes, "width", 70000), "RESOURCE_EXHAUSTED", "70000×54"),
        (
            lambda h: (setattr(h.planes, "width", 20000), setattr(h.planes, "height", 20000)),
            "RESOURCE_EXHAUSTED",
            "400000000",
        ),
        (lambda h: setattr(h, "payload", pb.PAYLOAD_KIND_EXR), "INVALID_ARGUMENT", "layout"),
        (lambda h: setattr(h, "precision", 99), "INVALID_ARGUMENT", "precision 99"),
        (lambda h: setattr(h.output, "compression", 99), "INVALID_ARGUMENT", "compression 99"),
        (lambda h: h.output.planes.append(pb.PLANE_KIND_PLATE), "INVALID_ARGUMENT", "no part of an answer"),
        (lambda h: setattr(h.output, "payload", pb.PAYLOAD_KIND_SHARED_MEMORY), "INVALID_ARGUMENT", "shared memory"),
        (lambda h: setattr(h.info, "name", "a\nb"), "INVALID_ARGUMENT", "control characters"),
        (lambda h: setattr(h.info, "name", "a" * 2000), "INVALID_ARGUMENT", "2000 bytes"),
        (lambda h: setattr(h, "frame_id", "\x1b[31m"), "INVALID_ARGUMENT", "control characters"),
    ],
)
def test_a_header_is_refused_before_its_payload_comes(address, edit, code, words):
    header = messages(frame(1))[0]
    edit(header.header)
    with raw(address) as stream:
        stream.send(header)
        error = stream.read("error")
    assert (error.code, error.permanent) == (code, True)
    assert words in error.message


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (lambda m: [m[0], m[1], m[1], m[-1]], "more than"),
        (lambda m: [m[0], m[-1]], "0 bytes came"),
        (lambda m: [m[0], Chunk(m[1].key, m[1].data[:-1]), m[2], m[-1]], "20735 bytes|bytes came"),
    ],
)
def test_a_payload_must_be_what_its_header_declares(server, address, sent, words):
    with raw(address) as stream:
        stream.send(*sent(messages(frame(1))), *messages(frame(2)))
        answers = stream.answers(2)
    assert answers["k1"].code == "INVALID_ARGUMENT"
    assert re.search(words, answers["k1"].message)
    assert answers["k2"] == "OK"
    wait_until(lambda: reserved(server) == 0)


@pytest.mark.parametrize(
    "nonsense",
    [
        [pb.MatteRequest()],
        [messages(frame(1))[0], messages(frame(1))[0]],
        [pb.MatteRequest(header=pb.FrameHeader(key=""))],
        [pb.MatteRequest(header=pb.FrameHeader(key="x" * 129))],
        [Chunk("k", b"")],
    ],
    ids=["no kind", "key used twice", "no key", "long key", "empty chunk"],
)
def test_messages_that_make_no_sense_end_the_stream(address, nonsense):
    with raw(address) as stream:
        stream.send(*nonsense)
        assert stream.status() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_stream_that_ends_in_mid_frame_says_so(address):
    with raw(address) as stream:
        stream.send(*messages(frame(1))[:-1])
        stream.close_sending()
        error = stream.read("error")
        assert "ended before its payload was complete" in error.message
        assert stream.status() is grpc.StatusCode.OK


def test_a_frame_can_be_given_up_before_and_after_it_is_complete():
    gate = Gate()
    with serve_in_process(on_load=gate.hold) as server:
        with raw(server.addresses[0]) as stream:
            stream.send(messages(frame(1))[0], pb.MatteRequest(cancel=pb.FrameCancel(key="k1")))
            assert stream.read("error").code == "CANCELLED"
            gate.close()
            for number in (2, 3, 4):
                stream.send(*messages(frame(number)))
                wait_until(lambda: gate.waiting == 1)
            for key in ("k4", "gone"):
                stream.send(pb.MatteRequest(cancel=pb.FrameCancel(key=key)))
            assert stream.answers(1)["k4"].code == "CANCELLED"
            gate.open()
            assert stream.answers(2) == {"k2": "OK", "k3": "OK"}
        wait_until(lambda: reserved(server) == 0 and in_flight(server) == 0)


@pytest.mark.parametrize("lanes", [1, 4], ids=["in the queue", "for the device"])
def test_a_frames_own_deadline_is_honoured_while_it_waits(lanes):
    made, gate = [], Gate()

    def note(estimator):
        made.append(estimator)
        gate.hold(estimator)

    with serve_in_process(lanes=lanes, on_load=note) as server:
        with raw(server.addresses[0]) as stream:
            gate.close()
            stream.send(*messages(frame(1)))
            wait_until(lambda: gate.waiting == 1)
            stream.send(*messages(frame(2), timeout_ms=150))
            late = stream.answers(1)["k2"]
            gate.open()
            assert stream.answers(1) == {"k1": "OK"}
        wait_until(lambda: reserved(server) == 0)
    assert late.code == "DEADLINE_EXCEEDED"
    assert not late.permanent
    assert made[0].calls == 2, "the warm-up and the first frame; the late one never reached the device"


def test_the_streams_deadline_stops_its_work(server, address):
    with raw(address, timeout=0.2) as stream:
        stream.send(*messages(frame(1), model="testing-sleep-0.4"))
        assert stream.status() is grpc.StatusCode.DEADLINE_EXCEEDED
    wait_until(lambda: in_flight(server) == 0 and reserved(server) == 0)


def test_a_stream_is_slowed_down_not_buffered():
    """Beyond its window the server reads no further, and the transport holds the caller back."""
    with serve_in_process(models=("testing-sleep-0.05",), frames_in_flight=3) as server:
        most = 0
        with Client(server.addresses[0], window=32) as client, futures.ThreadPoolExecutor(1) as pool:
            done = pool.submit(lambda: list(client.matte(frame(n) for n in range(40))))
            while not done.done():
                most = max(most, in_flight(server))
                time.sleep(0.002)
        assert len(done.result()) == 40
    assert most == 3


def test_a_full_queue_refuses_early_and_helpfully():
    gate = Gate()
    with (
        serve_in_process(queue_size=2, lanes=1, frames_in_flight=64, on_load=gate.hold) as server,
        raw(server.addresses[0]) as stream,
    ):
        gate.close()
        stream.send(*messages(frame(0)))
        wait_until(lambda: gate.waiting == 1)
        for number in range(1, 8):
            stream.send(*messages(frame(number)))
        refused = list(stream.answers(5).values())
        gate.open()
        assert set(stream.answers(3)) == {"k0", "k1", "k2"}
    assert {error.code for error in refused} == {"RESOURCE_EXHAUSTED"}
    assert not any(error.permanent for error in refused)
    assert "the queue of cpu is full: 2 of 2 frames are waiting" in refused[0].message


def test_streams_are_capped():
    with serve_in_process(streams=2) as server, raw(server.addresses[0]) as first, raw(server.addresses[0]) as second:
        for stream in (first, second):
            stream.send(*messages(frame(1)))
            stream.answers(1)
        with raw(server.addresses[0]) as third:
            assert third.status() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "2 of 2 streams" in third.call.details()
        first.close_sending()
        assert first.status() is grpc.StatusCode.OK
        wait_until(lambda: len(server.desk.streams) == 1)
        with raw(server.addresses[0]) as third:
            third.send(*messages(frame(1)))
            assert third.answers(1) == {"k1": "OK"}


def test_streams_of_one_connection_are_capped():
    settings = {"models": ("testing-sleep-0.2",), "streams_per_connection": 2}
    with serve_in_process(**settings) as server, grpc.insecure_channel(server.addresses[0]) as channel:
        grpc.channel_ready_future(channel).result(60)
        streams = [RawStream(channel) for _ in range(6)]
        for number, stream in enumerate(streams):
            stream.send(*messages(frame(number)))
            stream.close_sending()
        with futures.ThreadPoolExecutor(6) as pool:
            answers = [pool.submit(stream.all_answers) for stream in streams]
            most = 0
            while not all(answer.done() for answer in answers):
                most = max(most, len(server.desk.streams))
                time.sleep(0.01)
    # The transport keeps the others waiting, or refuses them for the caller to try again.
    assert {stream.call.code() for stream in streams} <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    assert sum(answer.result() != {} for answer in answers) >= 2
    assert most <= 2


def test_a_stream_with_nothing_to_do_is_closed():
    with serve_in_process() as server, raw(server.addresses[0]) as stream:
        for number in range(4):
            stream.send(*messages(frame(number)))
            assert stream.answers(1) == {f"k{number}": "OK"}
        # Only now, for who knows how long a busy machine takes between two frames.
        object.__setattr__(server.settings, "stream_idle_timeout", 0.2)
        assert stream.status() is grpc.StatusCode.UNAVAILABLE
        assert "nothing was asked for" in stream.call.details()


def test_the_client_says_what_the_server_said(address):
    with Client(address) as client, pytest.raises(ModelNotFoundError, match="this server has: testing-null"):
        list(client.matte([frame(1)], model="nothing"))
