"""The service over real sockets: what goes in and what comes out."""

import grpc
import numpy as np
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from fbamatte import EncodedFrame
from fbamatte.engine import Engine
from fbamatte.frame import Window
from fbamatte.imaging.matte_exr import decode_matte
from fbamatte.rpc import layout, pixels
from fbamatte.rpc.client import Client
from fbamatte.rpc.framing import Chunk
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.serving.server import precision_on
from fbamatte.testing import NullEstimator, serve_in_process
from serving.helpers import exr_bytes, frame, messages, raw


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


def test_shared_memory_gives_the_same_pixels_and_leaves_nothing(server, shm):
    items = [frame(n) for n in range(8)]
    with Client(server.addresses[1], shared_memory=True) as client:
        shared = {matte.number: matte for matte in client.matte(items)}
    with Client(server.addresses[0]) as client:
        for matte in client.matte(items):
            assert_same_matte(shared[matte.number], matte)
    assert not list(shm.iterdir())


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


def test_a_lease_too_small_for_the_answer_is_refused_before_anything_is_matted(server):
    """The answer has seven channels, the frame four: what suffices for the one does not for the other."""
    header = messages(frame(1, 96, 54), "k", "half")[0].header
    header.payload = pb.PAYLOAD_KIND_SHARED_MEMORY
    sent = layout.planes_bytes(header.planes, shared=True, label="")
    needed = layout.planes_bytes(pixels.answer_planes(header, 96, 54), shared=True, label="")
    assert sent < needed
    with raw(server.addresses[1]) as stream:
        for tag, size in enumerate((sent, needed - 1, needed)):
            stream.send(pb.MatteRequest(memory_request=pb.MemoryRequest(tag=tag, bytes=size)))
            header.lease = stream.read("memory_lease").lease
            stream.send(pb.MatteRequest(header=header))
            if size < needed:
                error = stream.read("error")
                assert (error.code, error.permanent) == ("INVALID_ARGUMENT", True)
                assert f"needs {needed} bytes" in error.message
        stream.send(pb.MatteRequest(end=pb.FrameEnd(key="k")))
        assert stream.answers(1) == {"k": "OK"}


def test_a_precision_and_what_auto_comes_to_are_one_loaded_model():
    automatic = precision_on("cpu", "auto")
    by_name = pb.Precision.Value(f"PRECISION_{automatic.upper()}")
    with serve_in_process(models=("testing-null",)) as server:
        with raw(server.addresses[0]) as stream:
            for number, precision in enumerate((pb.PRECISION_AUTO, by_name, pb.PRECISION_UNSPECIFIED)):
                stream.send(*messages(frame(number), precision=precision))
            assert set(stream.answers(3).values()) == {"OK"}
        assert server.scheduler.workers[0].pool.loaded() == [("testing-null", automatic, "")]


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
