"""Faults and abuse, by the numbers of the project's list; each prints what it measured (pytest -rP).

Longer versions are in benchmarks/serving_faults.py.
"""

import contextlib
import hashlib
import os
import socket
import struct
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest

from fbamatte.engine import Engine
from fbamatte.frame import Matte
from fbamatte.rpc.client import Client
from fbamatte.rpc.framing import Chunk
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.serving.device import DeviceThread
from fbamatte.serving.job import Job
from fbamatte.serving.pool import ModelPool
from fbamatte.serving.queue import Priority
from fbamatte.serving.worker import DeviceWorker
from fbamatte.testing import NullEstimator, OutOfMemoryError, WireEngine, running_server, serve_in_process
from serving import attacks
from serving.helpers import frame, in_flight, messages, raw, reserved, samples, threads_named, wait_until

SHM = Path("/dev/shm")


def test_1_killed_clients_leave_nothing():
    """SIGKILL in mid-stream: work cancelled, buffers freed."""
    with serve_in_process(models=("testing-sleep-0.1",), lanes=2) as server:
        seconds = []
        victims = [attacks.victim(server.addresses[0], "testing-sleep-0.1") for _ in range(8)]
        for victim in victims:
            assert victim.stdout.readline() == b"sent\n"
        wait_until(lambda: len(server.desk.streams) == len(victims))
        wait_until(lambda: sum(not f.complete for s in server.desk.streams for f in s._frames.all()) == len(victims))
        for left, victim in enumerate(reversed(victims)):
            victim.kill()
            victim.wait()
            alive = len(victims) - 1 - left
            seconds.append(wait_until(lambda n=alive: len(server.desk.streams) == n))
        freed = wait_until(lambda: reserved(server) == 0)
        threads = wait_until(lambda: threads_named("stream-reader") == 0)
        idle = wait_until(lambda: server.scheduler.workers[0].load == 0)
    worst = max(*seconds, freed, threads, idle)
    print(f"fault 1: {len(seconds)} clients killed, reclaimed within {worst:.2f} s, 0 bytes reserved after")


def test_2_a_killed_server_costs_no_frame():
    """SIGKILL in mid-batch, then a new one on the same port: the client goes on with what is missing."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        listen = f"--listen=127.0.0.1:{probe.getsockname()[1]}"
    frames = [frame(number) for number in range(24)]
    arrived, times = [], []

    def run(client):
        for matte in client.matte(frames):
            arrived.append(matte)
            times.append(time.monotonic())

    model = ["testing-sleep-0.1"]
    with running_server(listen, models=model) as first, Client(first.address, patience=60) as client:
        thread = threading.Thread(target=run, args=(client,))
        thread.start()
        wait_until(lambda: len(arrived) >= 4)
        first.process.kill()
        killed = time.monotonic()
        with running_server(listen, models=model):
            served = time.monotonic()
            thread.join(120)
    assert sorted(matte.number for matte in arrived) == list(range(24))
    engine = Engine(estimator=NullEstimator())
    for matte in arrived:
        np.testing.assert_array_equal(matte.alpha, engine.matte_one(frames[matte.number]).alpha)
    resumed = next(moment for moment in times if moment > served) - served
    print(
        f"fault 2: 0 lost, 0 duplicate, 0 corrupt of 24; first matte {resumed:.1f} s after the new server served, "
        f"which took {served - killed:.1f} s"
    )


def test_2_a_killed_server_leaves_no_shared_memory(tmp_path, shm):
    """What is lent and used has no name any more; what was lent and not used is swept by the next server."""
    path = tmp_path / "s.sock"
    with running_server(f"--listen=unix:{path}") as server, raw(f"unix:{path}") as stream:
        stream.send(pb.MatteRequest(memory_request=pb.MemoryRequest(tag=1, bytes=1 << 20)))
        used = stream.read("memory_lease")
        stream.send(pb.MatteRequest(memory_request=pb.MemoryRequest(tag=2, bytes=1 << 20)))
        unused = stream.read("memory_lease")
        assert SHM.joinpath(unused.segment).stat().st_mode & 0o777 == 0o600
        header = messages(frame(1))[0]
        header.header.payload, header.header.lease = pb.PAYLOAD_KIND_SHARED_MEMORY, used.lease
        stream.send(header, pb.MatteRequest(end=pb.FrameEnd(key="k1")))
        assert stream.answers(1) == {"k1": "OK"}
        assert not SHM.joinpath(used.segment).exists()
        server.process.kill()
        server.process.wait()
    # Into the folder of a server that this test alone looks after.
    (SHM / unused.segment).rename(shm / unused.segment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fbamatte.serving.leases._YOUNG_SECONDS", 0.0)
        with serve_in_process():
            assert not list(shm.iterdir())
    print("fault 2: 0 segments left")


def test_13_running_out_of_memory_is_one_frames_trouble():
    # the first call is the warm-up
    with serve_in_process(models=("testing-memory-3",)) as server, raw(server.addresses[0]) as stream:
        outcomes = []
        for number in range(4):
            begin = time.monotonic()
            stream.send(*messages(frame(number)))
            outcomes.append(stream.answers(1)[f"k{number}"])
            took = time.monotonic() - begin
            if number == 2:
                after = took
    assert [outcome if outcome == "OK" else outcome.code for outcome in outcomes] == [
        "OK",
        "RESOURCE_EXHAUSTED",
        "OK",
        "OK",
    ]
    assert not outcomes[1].permanent
    assert "out of memory" in outcomes[1].message
    print(f"fault 13: 3 of 4 frames; the one after the failure took {after * 1000:.0f} ms")


def test_13_an_engine_that_can_do_with_less_is_asked_once():
    class Frugal(WireEngine):
        tile, tries = 1024, []

        def estimate(self, item):
            self.tries.append(self.tile)
            if self.tile > 512:
                raise OutOfMemoryError("CUDA out of memory")
            return item

        def reduce_memory(self):
            self.tile //= 2
            return True

    done = threading.Event()
    device = DeviceThread("fake")
    pool = ModelPool(device, lambda _key, _device: Frugal(), lambda _key: 0, 1)
    worker = DeviceWorker(device, pool, capacity=1, lanes=1)
    worker.start()
    item = frame(1)

    class Work:
        def decode(self):
            return item

        def encode(self, matte):
            return matte

    class Silent:
        def stage_ended(self, stage, seconds):
            pass

        def job_ended(self, job):
            pass

        def job_answered(self, job):
            pass

    job = Job(Work(), "m", "fp32", Priority.BATCH, ("", ""), "id", "frame 1", None, Silent(), lambda _: done.set())
    worker.queue.put(job)
    assert done.wait(60)
    worker.close(5)
    assert job.error is None
    assert isinstance(job.answer, Matte)
    assert Frugal.tries == [1024, 512]


@pytest.mark.parametrize(
    "attack",
    [attacks.slowloris, attacks.slow_reader, attacks.silent_connections, attacks.ping_flood, attacks.rapid_reset],
    ids=lambda attack: attack.__name__,
)
def test_14_others_are_served_all_the_while(attack):
    """Every frame of an honest caller in bad company is answered; benchmarks/serving_faults.py says how soon."""
    with serve_in_process(models=("testing-sleep-0.05", "testing-wire")) as server:
        address = server.addresses[0]
        alone = attacks.latencies(address, 10)
        with attacks.running(attack, attack, attack, address=address):
            time.sleep(0.3)
            together = attacks.latencies(address, 20)
        wait_until(lambda: reserved(server) == 0 and not server.desk.streams)
    print(f"fault 14: {attack.__name__}: honest median × {np.median(together) / np.median(alone):.2f}")
    assert len(together) == 20


def test_14_a_sender_that_stands_still_is_cut_by_a_deadline():
    with serve_in_process(stall_timeout=0.4) as server, raw(server.addresses[0]) as stream:
        stream.send(messages(frame(1))[0])
        error = stream.read("error")
        assert (error.code, stream.status()) == ("DEADLINE_EXCEEDED", grpc.StatusCode.DEADLINE_EXCEEDED)
        wait_until(lambda: reserved(server) == 0)


def test_14_a_reader_that_stands_still_is_cut_and_bounded():
    """One that takes nothing holds its window and no more, and is thrown out."""
    with serve_in_process(models=("testing-wire",), stall_timeout=4.0, frames_in_flight=4) as server:
        with raw(server.addresses[0]) as stream:
            item = messages(frame(1, 1200, 800))
            for number in range(12):
                for message in item:
                    if isinstance(message, Chunk):
                        stream.send(Chunk(f"k{number}", message.data))
                    else:
                        copy = pb.MatteRequest.FromString(message.SerializeToString())
                        getattr(copy, copy.WhichOneof("kind")).key = f"k{number}"
                        stream.send(copy)
            wait_until(lambda: in_flight(server) == 4)
            time.sleep(0.5)
            assert in_flight(server) == 4
            took = wait_until(lambda: not server.desk.streams, 60)
        wait_until(lambda: reserved(server) == 0)
    print(f"fault 14: a reader that stands still is cut after {took:.1f} s more")


def test_14_too_many_pings_end_the_connection(address):
    connection = attacks.Http2(address)
    begin = time.monotonic()
    with contextlib.suppress(OSError):
        for number in range(10):
            connection.send(attacks.PING, 0, 0, struct.pack(">Q", number))
    assert connection.goaway(60) == attacks.ENHANCE_YOUR_CALM
    print(f"fault 14: ping flood ended by GOAWAY after {(time.monotonic() - begin) * 1000:.0f} ms")
    connection.close()


def test_18_a_crowd_is_served_in_turn_or_refused_early():
    """Many more clients than streams: every one gets an answer."""
    crowd, outcomes = 200, []
    with serve_in_process(models=("testing-null",), streams=64) as server:
        address = server.addresses[0]
        process = psutil.Process()
        before = process.num_fds()

        def call(number):
            begin = time.monotonic()
            with raw(address, timeout=120) as stream:
                stream.send(*messages(frame(number)))
                stream.close_sending()
                answers = stream.all_answers()
                outcomes.append((time.monotonic() - begin, answers.get(f"k{number}"), stream.call.code()))

        threads = [threading.Thread(target=call, args=(number,)) for number in range(crowd)]
        for thread in threads:
            thread.start()
        peak = process.num_fds()
        for thread in threads:
            thread.join(120)
        wait_until(lambda: reserved(server) == 0 and not server.desk.streams)
    assert len(outcomes) == crowd
    served = [seconds for seconds, answer, _ in outcomes if answer == "OK"]
    refused = [code for _, answer, code in outcomes if answer != "OK"]
    assert set(refused) <= {grpc.StatusCode.RESOURCE_EXHAUSTED}
    p50, p99 = np.quantile(served, [0.5, 0.99])
    print(
        f"fault 18: {crowd} clients, {100 * len(refused) / crowd:.0f} % refused, "
        f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, {peak - before} more file descriptors at the peak"
    )
    assert served


def test_21_a_minute_of_everything_leaves_memory_flat():
    """Frames of all sizes and kinds, errors and cancellations among them; the same picture stays the same.

    A leak grows what malloc has given out, however busy the machine is; Python's small objects are malloc's here too.
    The resident set wanders by 50 MiB with the gaps in the heap: it is looked at for what malloc does not give, and
    only what is far beyond that counts.
    """
    sizes = [(64, 48), (640, 360), (31, 97), (1280, 720), (200, 200)]
    seconds = float(os.environ.get("FBAMATTE_SOAK_SECONDS", "60"))
    flags, environment = ["--metrics=127.0.0.1:0"], {"PYTHONMALLOC": "malloc"}
    with running_server(*flags, environment=environment) as server, raw(server.address) as stream:
        expected, seen, count = {}, [], 0
        process, begin = psutil.Process(server.process.pid), time.monotonic()
        while time.monotonic() - begin < seconds:
            size = sizes[count % len(sizes)]
            stream.send(*messages(frame(7, *size), key="a"), messages(frame(1))[0])
            stream.send(pb.MatteRequest(cancel=pb.FrameCancel(key="k1")), *messages(frame(2), model="none"))
            digest = _digest_of_first(stream)
            assert expected.setdefault(size, digest) == digest, "the same frame came back different"
            count += 1
            heap = samples(server).get(("fbamatte_heap_bytes",), np.nan)  # where the C library says
            seen.append((process.memory_info().rss / 2**20, heap / 2**20, process.num_fds()))
            time.sleep(0.15)
    resident, heap, files = np.array(seen)[len(seen) // 4 :].T
    # What frames at work need comes and goes; what stays is what is left when they are gone.
    third = len(files) // 3
    more_resident, more_heap = (memory[-third:].min() - memory[:third].min() for memory in (resident, heap))
    print(
        f"fault 21: {count} rounds, malloc's {heap.min():.1f}–{heap.max():.1f} MiB ({more_heap:+.2f} stay), RSS "
        f"{resident.min():.0f}–{resident.max():.0f} MiB ({more_resident:+.0f} stay), "
        f"file descriptors {files.min():.0f}–{files.max():.0f}, hash drift 0"
    )
    assert np.isnan(more_heap) or more_heap < 4
    assert more_resident < 96
    assert files.max() - files.min() <= 4


def _digest_of_first(stream) -> str:
    """Read the three answers of a round and return the digest of the frame's pixels."""
    digest, closed = hashlib.sha256(), 0
    while closed < 3:
        message = next(stream.call)
        if isinstance(message, Chunk):
            digest.update(message.data)
        else:
            closed += message.WhichOneof("kind") in {"end", "error"}
    return digest.hexdigest()
