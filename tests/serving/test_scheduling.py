"""Which frame goes when, and where."""

import threading
import time

from fbamatte import EncodedFrame
from fbamatte.errors import FbaMatteError
from fbamatte.rpc.client import Client
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.testing import serve_in_process
from serving.helpers import exr_bytes, frame, messages, raw, wait_until


def test_frames_are_answered_as_they_finish():
    models = ("testing-wire", "testing-sleep-0.4")
    with serve_in_process(models=models, device=("fake:0", "fake:1")) as server, raw(server.addresses[0]) as stream:
        stream.send(*messages(frame(1), model="testing-sleep-0.4"), *messages(frame(2), model="testing-wire"))
        assert list(stream.answers(2)) == ["k2", "k1"]


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
