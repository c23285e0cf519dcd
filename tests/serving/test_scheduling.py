"""Which frame goes when, and where."""

import threading

from fbamatte import EncodedFrame
from fbamatte.errors import FbaMatteError
from fbamatte.rpc.client import Client
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.serving.observer import Observer
from fbamatte.testing import serve_in_process
from serving.helpers import Gate, exr_bytes, frame, meeting, messages, raw, wait_until


def test_frames_are_answered_as_they_finish():
    gate, models = Gate(), ("testing-null", "testing-wire")
    hold = {"testing-null": gate.hold}
    with (
        serve_in_process(
            models=models,
            device=("fake:0", "fake:1"),
            on_load=lambda estimator: hold.get(estimator.info.name, id)(estimator),
        ) as server,
        raw(server.addresses[0]) as stream,
    ):
        gate.close()
        stream.send(*messages(frame(1), model="testing-null"), *messages(frame(2), model="testing-wire"))
        assert stream.answers(1) == {"k2": "OK"}
        gate.open()
        assert stream.answers(1) == {"k1": "OK"}


def test_two_devices_share_the_work_and_each_is_touched_by_one_thread():
    """Neither device finishes its first frame before the other has one as well."""
    made, meet = [], meeting(2)

    def on_load(estimator):
        made.append(estimator)
        meet(estimator)

    with (
        serve_in_process(models=("testing-null",), device=("fake:0", "fake:1"), lanes=2, on_load=on_load) as server,
        Client(server.addresses[0], window=8) as client,
    ):
        mattes = list(client.matte(frame(n) for n in range(16)))
    assert len(mattes) == 16
    # warmed up once each, then the frames
    assert [estimator.device for estimator in made] == ["fake:0", "fake:1"]
    assert sum(estimator.calls - 1 for estimator in made) == 16
    assert min(estimator.calls - 1 for estimator in made) >= 2
    assert all(len(estimator.threads) == 1 for estimator in made)


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


def test_decoding_and_encoding_hide_behind_the_estimate_of_another_frame(monkeypatch):
    """How well, benchmarks/serving_throughput.py measures; here it is enough that most of it does."""
    seen = []
    monkeypatch.setattr(Observer, "job_ended", lambda _self, job: seen.append(job.stages))
    with (
        serve_in_process(models=("testing-sleep-0.1",)) as server,
        Client(server.addresses[0], window=8) as client,
    ):
        plate = EncodedFrame(exr_bytes(frame(1)))
        assert sum(1 for _ in client.matte_exr(plate for _ in range(16))) == 16
    stages = [{stage.name: stage for stage in job} for job in seen]
    estimates = sorted(stage["estimating"] for stage in stages)
    hidden = [
        any(job["estimating"] is not other and other.begin < job[name].end <= other.end for other in estimates)
        for job in stages
        for name in ("decoding", "encoding")
    ]
    assert len(hidden) == 32
    assert sum(hidden) >= 16


def test_callers_take_turns():
    """A batch of forty does not keep a single frame of somebody else waiting for all of them."""
    gate = Gate()
    with (
        serve_in_process(frames_in_flight=64, lanes=1, thumbnails=64, on_load=gate.hold) as server,
        raw(server.addresses[0]) as crowd,
        raw(server.addresses[0]) as single,
    ):
        gate.close()
        for number in range(40):
            crowd.send(*messages(frame(number)))
        wait_until(lambda: server.scheduler.workers[0].load == 40)
        single.send(*messages(frame(99)))
        wait_until(lambda: server.scheduler.workers[0].load == 41)
        gate.open()
        assert single.answers(1) == {"k99": "OK"}
        assert set(crowd.answers(40).values()) == {"OK"}
        wait_until(lambda: len(server.desk.watcher.recent()) == 41)
    order = [item.label for item in reversed(server.desk.watcher.recent())]
    assert order.index("frame 99") <= 2


def test_interactive_frames_go_first():
    gate = Gate()
    with (
        serve_in_process(frames_in_flight=64, lanes=2, on_load=gate.hold) as server,
        raw(server.addresses[0]) as stream,
    ):
        gate.close()
        for number in range(20):
            stream.send(*messages(frame(number)))
        wait_until(lambda: server.scheduler.workers[0].load == 20)
        stream.send(*messages(frame(99), priority=pb.PRIORITY_INTERACTIVE))
        wait_until(lambda: server.scheduler.workers[0].load == 21)
        gate.open()
        order = list(stream.answers(21))
    # Behind the two that were at work, and what the other lane may have finished meanwhile.
    assert order.index("k99") <= 4


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
        thread.join(60)
    assert errors == []
