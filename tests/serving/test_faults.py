"""Faults and abuse, by the numbers of the project's list; each prints what it measured (pytest -rP).

Longer versions are in benchmarks/serving_faults.py.
"""

import contextlib
import gc
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
from fbamatte.errors import FbaMatteError
from fbamatte.frame import Frame, Matte
from fbamatte.rpc.client import Client
from fbamatte.rpc.framing import MESSAGE_BYTES, SERVICE, Chunk
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.serving.device import DeviceThread
from fbamatte.serving.job import Job
from fbamatte.serving.pool import ModelPool
from fbamatte.serving.queue import Priority
from fbamatte.serving.worker import DeviceWorker
from fbamatte.testing import NullEstimator, OutOfMemoryError, WireEngine, running_server, serve_in_process
from serving import attacks
from serving.helpers import frame, in_flight, messages, raw, reserved, threads_named, wait_until

SHM = Path("/dev/shm")


def rss() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = tmp_path_factory.mktemp("sockets") / "s.sock"
    models = ("testing-null", "testing-wire", "testing-sleep-0.05")
    with serve_in_process(listen=("127.0.0.1:0", f"unix:{path}"), models=models) as running:
        yield running


@pytest.fixture
def address(server):
    return server.addresses[0]


def answer_to(address, *items):
    """Send messages and return the answer to their one frame."""
    with raw(address) as stream:
        stream.send(*items)
        return next(iter(stream.answers(1).values()))


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
        assert server.scheduler.workers[0].load == 0
    worst = max(*seconds, freed, threads)
    print(f"fault 1: {len(seconds)} clients killed, reclaimed within {worst:.2f} s, 0 bytes reserved after")
    assert worst <= 1.0


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
        wait_until(lambda: len(arrived) >= 4, 20)
        first.process.kill()
        killed = time.monotonic()
        with running_server(listen, models=model):
            served = time.monotonic()
            thread.join(60)
    assert sorted(matte.number for matte in arrived) == list(range(24))
    engine = Engine(estimator=NullEstimator())
    for matte in arrived:
        np.testing.assert_array_equal(matte.alpha, engine.matte_one(frames[matte.number]).alpha)
    resumed = next(moment for moment in times if moment > served) - served
    print(
        f"fault 2: 0 lost, 0 duplicate, 0 corrupt of 24; first matte {resumed:.1f} s after the new server served, "
        f"which took {served - killed:.1f} s"
    )
    assert resumed < 15


def test_2_a_killed_server_leaves_no_shared_memory(tmp_path):
    """What is lent and used has no name any more; what was lent and not used is swept by the next server."""
    before = set(SHM.iterdir())
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
        assert {item.name for item in set(SHM.iterdir()) - before} == {unused.segment}
        server.process.kill()
        server.process.wait()
    os.utime(SHM / unused.segment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fbamatte.serving.leases._YOUNG_SECONDS", 0.0)
        with serve_in_process():
            assert set(SHM.iterdir()) == before
    print("fault 2: 0 segments left")


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
    assert done.wait(5)
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
    models = ("testing-sleep-0.05", "testing-wire")
    with serve_in_process(models=models, stall_timeout=0.5) as server:
        address = server.addresses[0]
        attacks.latencies(address, 5)
        alone = attacks.latencies(address, 30)
        with attacks.running(attack, attack, attack, address=address):
            time.sleep(0.3)
            together = attacks.latencies(address, 30)
        wait_until(lambda: reserved(server) == 0 and not server.desk.streams)
    inflation = float(np.quantile(together, 0.9) / np.quantile(alone, 0.9))
    print(f"fault 14: {attack.__name__}: honest p90 × {inflation:.2f}, p99 × {together.max() / alone.max():.2f}")
    # Machines that run other things as well are this noisy; the benchmark holds 1.2 at p99.
    assert inflation <= 1.5


def test_14_a_sender_that_stands_still_is_cut_by_a_deadline():
    with serve_in_process(stall_timeout=0.4) as server, raw(server.addresses[0]) as stream:
        begin = time.monotonic()
        stream.send(messages(frame(1))[0])
        error = stream.read("error")
        assert (error.code, stream.status()) == ("DEADLINE_EXCEEDED", grpc.StatusCode.DEADLINE_EXCEEDED)
        assert time.monotonic() - begin < 2
        assert reserved(server) == 0


def test_14_a_reader_that_stands_still_is_cut_and_bounded():
    """One that takes nothing holds its window and no more, and is thrown out."""
    with serve_in_process(models=("testing-wire",), stall_timeout=1.0, frames_in_flight=4) as server:
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
    assert connection.goaway(5) == attacks.ENHANCE_YOUR_CALM
    print(f"fault 14: ping flood ended by GOAWAY after {(time.monotonic() - begin) * 1000:.0f} ms")
    connection.close()


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
            call = channel.stream_stream(f"/{SERVICE}/Matte")(iter([message]), timeout=5)
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


def test_18_a_crowd_is_served_in_turn_or_refused_early():
    """Many more clients than streams: every one gets an answer."""
    crowd, outcomes = 200, []
    with serve_in_process(models=("testing-null",), streams=64) as server:
        address = server.addresses[0]
        process = psutil.Process()
        before = process.num_fds()

        def call(number):
            begin = time.monotonic()
            with raw(address, timeout=30) as stream:
                stream.send(*messages(frame(number)))
                stream.close_sending()
                answers = stream.all_answers()
                outcomes.append((time.monotonic() - begin, answers.get(f"k{number}"), stream.call.code()))

        threads = [threading.Thread(target=call, args=(number,)) for number in range(crowd)]
        for thread in threads:
            thread.start()
        peak = process.num_fds()
        for thread in threads:
            thread.join(60)
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
    """Frames of all sizes and kinds, errors and cancellations among them; the same picture stays the same."""
    sizes = [(64, 48), (640, 360), (31, 97), (1280, 720), (200, 200)]
    seconds = float(os.environ.get("FBAMATTE_SOAK_SECONDS", "60"))
    with running_server() as server, raw(server.address) as stream:
        expected, samples, count = {}, [], 0
        process, begin = psutil.Process(server.process.pid), time.monotonic()
        while time.monotonic() - begin < seconds:
            size = sizes[count % len(sizes)]
            stream.send(*messages(frame(7, *size), key="a"), messages(frame(1))[0])
            stream.send(pb.MatteRequest(cancel=pb.FrameCancel(key="k1")), *messages(frame(2), model="none"))
            digest = _digest_of_first(stream)
            assert expected.setdefault(size, digest) == digest, "the same frame came back different"
            count += 1
            samples.append((time.monotonic() - begin, process.memory_info().rss, process.num_fds()))
            time.sleep(0.15)
    moments, memory, files = np.array(samples)[len(samples) // 4 :].T
    slope = np.polyfit(moments, memory, 1)[0] * 3600 / 2**20
    print(
        f"fault 21: {count} rounds, RSS {memory.min() / 2**20:.0f}–{memory.max() / 2**20:.0f} MiB "
        f"(slope {slope:+.0f} MiB/h), file descriptors {files.min():.0f}–{files.max():.0f}, hash drift 0"
    )
    third = len(memory) // 3
    assert np.median(memory[-third:]) - np.median(memory[:third]) < 24 * 2**20
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
