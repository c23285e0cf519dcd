"""The service over real sockets: what goes in and what comes out."""

import io
import re
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from fbamatte import EncodedFrame
from fbamatte.engine import Engine
from fbamatte.errors import FbaMatteError, ModelNotFoundError
from fbamatte.frame import Window
from fbamatte.imaging.exr import write_exr
from fbamatte.imaging.image import Image
from fbamatte.imaging.matte_exr import decode_matte
from fbamatte.rpc.client import Client
from fbamatte.rpc.framing import Chunk
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.testing import NullEstimator, serve_in_process
from serving.helpers import RawStream, frame, in_flight, messages, raw, reserved, wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = tmp_path_factory.mktemp("sockets") / "s.sock"
    models = ("testing-null", "testing-sleep-0.05", "testing-broken", "testing-wire", "testing-sleep-0.4")
    with serve_in_process(listen=("127.0.0.1:0", f"unix:{path}"), models=models) as running:
        yield running


@pytest.fixture
def address(server):
    return server.addresses[0]


def exr_bytes(item):
    channels = {name: item.plate[..., n] for n, name in enumerate("RGB")} | {"fba_trimap.A": item.trimap}
    image = Image(channels, item.display_window, item.data_window, item.pixel_aspect, metadata=item.metadata, name="x")
    target = io.BytesIO()
    write_exr(target, image, float_channels="all")
    return target.getvalue()


def assert_same_matte(ours, theirs):
    for plane in ("alpha", "foreground", "background"):
        np.testing.assert_array_equal(getattr(ours, plane), getattr(theirs, plane), err_msg=plane)


@pytest.mark.parametrize("number", [0, 1], ids=["tcp", "unix"])
def test_planes_come_back_as_the_engine_makes_them_bit_for_bit(server, number):
    items = [frame(n, width=97, height=31) for n in range(6)]
    engine = Engine(estimator=NullEstimator())
    with Client(server.addresses[number]) as client:
        mattes = {matte.number: matte for matte in client.matte(items)}
    for item in items:
        assert_same_matte(mattes[item.number], engine.matte_one(item))


def test_exr_comes_back_as_the_engine_makes_it(address):
    item = frame(
        1001,
        data_window=Window(-7, 3, 88, 56),
        display_window=Window(0, 0, 79, 59),
        pixel_aspect=2.0,
        metadata={"owner": "show", "comments": "take 3"},
    )
    with Client(address) as client:
        sent = EncodedFrame(exr_bytes(item), number=1001, name="plate.1001.exr")
        (answer,) = client.matte_exr([sent], pixel_type="float")
    matte = decode_matte(answer.exr)
    assert_same_matte(matte, Engine(estimator=NullEstimator()).matte_one(item))
    assert (matte.data_window, matte.display_window) == (item.data_window, item.display_window)
    assert matte.pixel_aspect == 2.0
    assert matte.metadata["owner"] == "show"
    assert answer.provenance["model"] == "testing-null"


def test_the_header_wins_over_the_exr(address):
    with raw(address) as stream:
        data = exr_bytes(frame(5))
        header = pb.FrameHeader(key="k", payload=pb.PAYLOAD_KIND_EXR, exr=pb.ExrFiles(plate_bytes=len(data)))
        header.output.payload = pb.PAYLOAD_KIND_PLANES
        header.info.number, header.info.pixel_aspect, header.info.name = -3, 1.5, "plate.exr"
        header.info.display_window.x_max = 959
        header.info.attributes["take"].integer = 4
        stream.send(pb.MatteRequest(header=header), Chunk("k", data), pb.MatteRequest(end=pb.FrameEnd(key="k")))
        info = stream.read("header").info
    assert (info.number, info.pixel_aspect, info.display_window.x_max, info.data_window.x_max) == (-3, 1.5, 959, 95)
    assert info.attributes["take"].integer == 4


def test_shared_memory_gives_the_same_pixels_and_leaves_nothing(server):
    before = set(Path("/dev/shm").iterdir())
    items = [frame(n) for n in range(8)]
    with Client(server.addresses[1], shared_memory=True) as client:
        shared = {matte.number: matte for matte in client.matte(items)}
    with Client(server.addresses[0]) as client:
        for matte in client.matte(items):
            assert_same_matte(shared[matte.number], matte)
    assert set(Path("/dev/shm").iterdir()) == before


def test_shared_memory_is_lent_over_unix_sockets_only(server):
    request = pb.MatteRequest(memory_request=pb.MemoryRequest(tag=7, bytes=4096))
    with raw(server.addresses[0]) as stream:
        stream.send(request)
        lease = stream.read("memory_lease")
        assert (lease.tag, lease.segment) == (7, "")
        assert "Unix socket only" in lease.refusal
    with raw(server.addresses[1]) as stream:
        stream.send(request)
        lease = stream.read("memory_lease")
        assert lease.bytes >= 4096
        header = messages(frame(1))[0].header
        header.payload, header.lease = pb.PAYLOAD_KIND_SHARED_MEMORY, "of somebody else"
        stream.send(pb.MatteRequest(header=header))
        assert "no lease" in stream.read("error").message
        # names a segment, as nobody may
        header.lease = lease.segment
        stream.send(pb.MatteRequest(header=header))
        assert stream.read("error").code == "INVALID_ARGUMENT"


def test_frames_are_answered_as_they_finish():
    models = ("testing-wire", "testing-sleep-0.4")
    with serve_in_process(models=models, device=("fake:0", "fake:1")) as server, raw(server.addresses[0]) as stream:
        stream.send(*messages(frame(1), model="testing-sleep-0.4"), *messages(frame(2), model="testing-wire"))
        assert list(stream.answers(2)) == ["k2", "k1"]


def test_chunks_of_several_frames_may_be_interleaved(address):
    first, second = (messages(frame(n, 300, 200)) for n in (1, 2))
    mixed = [message for pair in zip(first, second, strict=True) for message in pair]
    with raw(address) as stream:
        stream.send(*mixed)
        stream.close_sending()
        assert stream.answers(2) == {"k1": "OK", "k2": "OK"}
        assert stream.status() is grpc.StatusCode.OK


def test_one_bad_frame_does_not_end_the_stream(address):
    with raw(address) as stream:
        bad = messages(frame(1), model="no-such-model")
        stream.send(*bad, *messages(frame(2)))
        answers = stream.answers(2)
    assert (answers["k1"].code, answers["k1"].permanent, answers["k2"]) == ("NOT_FOUND", True, "OK")
    assert "testing-null" in answers["k1"].message


def test_a_model_that_cannot_be_loaded_is_one_frames_trouble(address):
    with raw(address) as stream:
        stream.send(*messages(frame(1), model="testing-broken"), *messages(frame(2)))
        answers = stream.answers(2)
    assert answers["k1"].code == "INVALID_ARGUMENT"
    assert answers["k2"] == "OK"


def test_an_estimator_that_breaks_is_one_frames_trouble(server):
    class Broken(NullEstimator):
        def estimate(self, image, trimap):
            raise ValueError("a mistake of ours")

    def spoil(estimator):
        estimator.__class__ = Broken

    with serve_in_process(models=("testing-null", "testing-wire")) as other:
        pool = other.scheduler.workers[0].pool
        with pool.lease(pool.loaded()[0]) as engine:
            spoil(engine._estimator)
        with raw(other.addresses[0]) as stream:
            stream.send(*messages(frame(1)), *messages(frame(2), model="testing-wire"))
            answers = stream.answers(2)
    assert answers["k1"].code == "INTERNAL"
    assert "frame 1: ValueError: a mistake of ours" in answers["k1"].message
    assert answers["k2"] == "OK"


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


def test_a_frame_can_be_given_up_before_and_after_it_is_complete(server, address):
    with raw(address) as stream:
        stream.send(messages(frame(1))[0], pb.MatteRequest(cancel=pb.FrameCancel(key="k1")))
        assert stream.read("error").code == "CANCELLED"
        for number in (2, 3, 4):
            stream.send(*messages(frame(number), model="testing-sleep-0.4"))
        stream.send(
            pb.MatteRequest(cancel=pb.FrameCancel(key="k4")), pb.MatteRequest(cancel=pb.FrameCancel(key="gone"))
        )
        answers = stream.answers(3)
    assert answers["k4"].code == "CANCELLED"
    assert answers["k2"] == answers["k3"] == "OK"
    wait_until(lambda: reserved(server) == 0 and in_flight(server) == 0)


def test_a_frames_own_deadline_is_honoured_while_it_waits():
    made = []
    with serve_in_process(models=("testing-sleep-0.4",), on_load=made.append) as server:
        with raw(server.addresses[0]) as stream:
            stream.send(*messages(frame(1)), *messages(frame(2), timeout_ms=150))
            answers = stream.answers(2)
        wait_until(lambda: reserved(server) == 0)
    assert answers["k1"] == "OK"
    assert answers["k2"].code == "DEADLINE_EXCEEDED"
    assert not answers["k2"].permanent
    assert made[0].calls == 2, "the warm-up and the first frame; the late one never reached the device"


def test_the_streams_deadline_stops_its_work(server, address):
    with raw(address, timeout=0.2) as stream:
        stream.send(*messages(frame(1), model="testing-sleep-0.4"))
        assert stream.status() is grpc.StatusCode.DEADLINE_EXCEEDED
    wait_until(lambda: in_flight(server) == 0 and reserved(server) == 0, 2)


def test_progress_only_goes_forward(address):
    with raw(address) as stream:
        stream.send(*messages(frame(1), progress=True, model="testing-sleep-0.05"))
        stream.close_sending()
        told = [m.progress for m in stream if not isinstance(m, Chunk) and m.HasField("progress")]
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    assert told[-1].stage == pb.Progress.STAGE_ENCODING


def test_stage_seconds_and_the_frame_id_come_back(address):
    with raw(address) as stream:
        stream.send(*messages(frame(1), frame_id="abc-123", model="testing-sleep-0.05"))
        header = stream.read("header")
    assert header.frame_id == "abc-123"
    assert header.stage_seconds["estimating"] >= 0.05
    assert {"queued", "decoding", "encoding"} <= set(header.stage_seconds)


def test_models_and_server_info(server, address):
    with Client(address) as client:
        models = {model.name: model for model in client.list_models()}
        info = client.server_info()
    assert list(models["testing-null"].loaded_on) == ["cpu"]
    assert models["testing-null"].commercial
    assert (info.state, info.default_model) == (pb.SERVER_STATE_SERVING, "testing-null")
    assert [device.name for device in info.devices] == ["cpu"]
    assert not info.shared_memory
    assert info.limits.chunk_bytes == 2**20
    with Client(server.addresses[1]) as client:
        assert client.server_info().shared_memory


def test_reflection_tells_the_service(address):
    with grpc.insecure_channel(address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = stub.ServerReflectionInfo(iter([request]))
    names = {service.name for service in answer.list_services_response.service}
    assert {"fbamatte.rpc.v1.Matting", "grpc.health.v1.Health"} <= names


def test_two_devices_share_the_work_and_each_is_touched_by_one_thread():
    made = []
    with (
        serve_in_process(
            models=("testing-sleep-0.05",), device=("fake:0", "fake:1"), lanes=2, on_load=made.append
        ) as server,
        Client(server.addresses[0], window=8) as client,
    ):
        begin = time.monotonic()
        mattes = list(client.matte(frame(n) for n in range(16)))
        took = time.monotonic() - begin
    assert len(mattes) == 16
    # warmed up once each, then the frames
    assert [estimator.device for estimator in made] == ["fake:0", "fake:1"]
    assert sorted(estimator.calls - 1 for estimator in made) == [8, 8]
    assert all(len(estimator.threads) == 1 for estimator in made)
    assert took < 16 * 0.05 * 0.75


def test_models_are_loaded_on_demand_and_evicted_within_the_budget():
    names = ("testing-large-40", "testing-large-50", "testing-large-60")
    with serve_in_process(models=names, model_memory=100 * 2**20) as server:
        pool = server.scheduler.workers[0].pool
        assert [key.model for key in pool.loaded()] == ["testing-large-40"]
        with raw(server.addresses[0]) as stream:
            for number, name in enumerate((*names, *names)):
                stream.send(*messages(frame(number), model=name))
                assert stream.answers(1) == {f"k{number}": "OK"}
                assert pool.used <= 100 * 2**20


def test_a_stream_runs_at_the_speed_of_its_slowest_stage():
    """Decoding and encoding of real EXR files hide behind the estimate of another frame."""
    seconds, count = 0.12, 50
    with (
        serve_in_process(models=(f"testing-sleep-{seconds}",)) as server,
        Client(server.addresses[0], window=8) as client,
    ):
        plate = EncodedFrame(exr_bytes(frame(1)))
        list(client.matte_exr([plate] * 4))
        begin = time.monotonic()
        assert sum(1 for _ in client.matte_exr(plate for _ in range(count))) == count
        took = time.monotonic() - begin
    ratio = seconds * count / took
    print(f"{count} frames at {ratio:.3f} of the slowest stage's speed")
    assert ratio >= 0.9


def test_callers_take_turns():
    """A batch of forty does not keep a single frame of somebody else waiting for all of them."""
    with (
        serve_in_process(models=("testing-sleep-0.05",), frames_in_flight=64, lanes=1) as server,
        raw(server.addresses[0]) as crowd,
        raw(server.addresses[0]) as single,
    ):
        for number in range(40):
            crowd.send(*messages(frame(number)))
        wait_until(lambda: server.scheduler.workers[0].load >= 30)
        single.send(*messages(frame(99)))
        single.answers(1)
        # in its turn there would be none left
        assert server.scheduler.workers[0].load >= 20


def test_interactive_frames_go_first():
    with (
        serve_in_process(models=("testing-sleep-0.05",), frames_in_flight=64, lanes=2) as server,
        raw(server.addresses[0]) as stream,
    ):
        for number in range(20):
            stream.send(*messages(frame(number)))
        wait_until(lambda: server.scheduler.workers[0].load >= 16)
        stream.send(*messages(frame(99), priority=pb.PRIORITY_INTERACTIVE))
        order = list(stream.answers(21))
    assert order.index("k99") < 12


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
    with (
        serve_in_process(models=("testing-sleep-0.4",), queue_size=2, lanes=1, frames_in_flight=64) as server,
        raw(server.addresses[0]) as stream,
    ):
        for number in range(8):
            stream.send(*messages(frame(number)))
        answers = stream.answers(8)
    refused = [error for error in answers.values() if error != "OK"]
    assert len(refused) >= 4
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
        grpc.channel_ready_future(channel).result(5)
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
    with serve_in_process(stream_idle_timeout=0.5) as server, raw(server.addresses[0]) as stream:
        for number in range(4):
            stream.send(*messages(frame(number)))
            assert stream.answers(1) == {f"k{number}": "OK"}
            time.sleep(0.2)
        assert stream.status() is grpc.StatusCode.UNAVAILABLE
        assert "nothing was asked for" in stream.call.details()


def test_the_client_says_what_the_server_said(address):
    with Client(address) as client, pytest.raises(ModelNotFoundError, match="this server has: testing-null"):
        list(client.matte([frame(1)], model="nothing"))


def test_many_callers_at_once(address):
    errors = []

    def call(number):
        try:
            with Client(address) as client:
                assert len(list(client.matte(frame(number * 10 + n) for n in range(3)))) == 3
        except (FbaMatteError, AssertionError) as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
