"""Servers that break, drain, are full or are slow: nothing is lost and nothing comes twice."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from fbamatte.errors import DeadlineError, FbaMatteError, ResourceError, UnavailableError
from fbamatte.frame import EncodedFrame
from fbamatte.rpc import exchange, health
from fbamatte.rpc.client import Client
from fbamatte.rpc.route import delay
from fbamatte.rpc.v1 import matting_pb2 as pb
from rpc.echo_server import Behaviour, serve, wait_until

ECHO = Path(__file__).with_name("echo_server.py")


def frames(count: int, size: int = 1000) -> Iterator[EncodedFrame]:
    return (EncodedFrame(b"p" * size, number=number) for number in range(count))


def numbers(mattes: Any) -> list[int]:
    return sorted(matte.number for matte in mattes)


@contextlib.contextmanager
def process(address: str, seconds: float = 0.0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the echo server as a process that can be killed."""
    command = [sys.executable, str(ECHO), address, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server, server.stdout.readline().strip()
        finally:
            server.kill()


def test_a_server_killed_mid_batch_and_started_again_loses_and_repeats_nothing() -> None:
    done: list[int] = []
    with process("127.0.0.1:0", 0.02) as (first, address), Client(address, window=4, patience=30.0) as client:
        for matte in client.matte_exr(frames(40, 300_000)):
            done.append(matte.number)
            if len(done) == 10:
                first.send_signal(signal.SIGKILL)
                first.wait()
                second = process(address, 0.0)
                second.__enter__()
    second.__exit__(None, None, None)
    assert sorted(done) == list(range(40))


def test_a_dead_server_is_left_out_and_the_other_does_all() -> None:
    with serve() as address, Client(["127.0.0.1:9", address]) as client:
        assert client.wait_ready(60.0) == address
        assert numbers(client.matte_exr(frames(20))) == list(range(20))


def test_frames_that_come_slowly_do_not_use_up_the_patience_with_the_server() -> None:
    def slowly() -> Iterator[EncodedFrame]:
        time.sleep(2.5)
        yield from frames(2)

    # Enough for the server to be reached, on any machine.
    with serve() as address, Client(address, patience=2.0) as client:
        assert numbers(client.matte_exr(slowly())) == [0, 1]


def test_patience_ends_and_names_the_cause() -> None:
    with (
        Client("127.0.0.1:9", patience=0.1) as client,
        pytest.raises(UnavailableError, match=r"no server takes frames: 127\.0\.0\.1:9: "),
    ):
        list(client.matte_exr(frames(1)))


def test_one_of_two_dies_under_load() -> None:
    steady = Behaviour(seconds=0.01)
    with process("127.0.0.1:0", 0.01) as (victim, doomed), serve(steady) as other, Client([doomed, other]) as client:
        mattes = client.matte_exr(frames(60, 100_000))
        done = [next(mattes).number for _ in range(10)]
        victim.kill()
        done += [matte.number for matte in mattes]
    assert sorted(done) == list(range(60))


def test_a_server_that_is_not_serving_gets_nothing() -> None:
    starting, ready = Behaviour(health=health.NOT_SERVING), Behaviour()
    with serve(starting) as one, serve(ready) as other, Client(f"{one},{other}") as client:
        assert numbers(client.matte_exr(frames(10))) == list(range(10))
    assert not starting.headers
    assert len(ready.headers) == 10


def test_a_proxy_without_a_health_service_is_used() -> None:
    behaviour = Behaviour(health=health.SERVICE_UNKNOWN)
    with serve(behaviour) as address, Client(address) as client:
        assert numbers(client.matte_exr(frames(2))) == [0, 1]


def test_the_faster_server_does_more() -> None:
    slow, fast = Behaviour(), Behaviour()

    def after_most_of_the_others(_header: pb.FrameHeader) -> None:
        assert wait_until(lambda: len(fast.headers) >= 36)

    slow.on_work = after_most_of_the_others
    with serve(slow) as one, serve(fast) as other, Client([one, other], window=2) as client:
        assert numbers(client.matte_exr(frames(40))) == list(range(40))
    # Its window of two, and what was left when it came to itself.
    assert len(slow.headers) <= 4


def test_calls_of_one_client_share_the_servers_fairly() -> None:
    both = [Behaviour(seconds=0.02), Behaviour(seconds=0.02)]
    with serve(both[0]) as one, serve(both[1]) as other, Client([one, other], window=2) as client:
        callers = [threading.Thread(target=lambda: numbers(client.matte_exr(frames(10)))) for _ in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert sum(len(behaviour.headers) for behaviour in both) == 40
    assert min(len(behaviour.headers) for behaviour in both) >= 5


@pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "UNAVAILABLE"])
def test_a_frame_that_finds_no_room_is_sent_again(code: str) -> None:
    seen: Counter[int] = Counter()
    stages = []

    def full(header: pb.FrameHeader, _context: Any) -> pb.FrameError | None:
        seen[header.info.number] += 1
        return pb.FrameError(code=code, message="queue is full") if seen[header.info.number] < 3 else None

    with serve(Behaviour(on_frame=full)) as address, Client(address) as client:
        done = client.matte_exr(frames(3), on_progress=lambda _, at: stages.append(at.stage))
        assert numbers(done) == [0, 1, 2]
    assert set(seen.values()) == {3}
    assert "waiting" in stages


def test_the_servers_word_on_when_to_come_back_is_kept() -> None:
    times = []

    def full(_header: pb.FrameHeader, _context: Any) -> pb.FrameError | None:
        times.append(time.monotonic())
        busy = pb.FrameError(code="RESOURCE_EXHAUSTED", message="queue is full", retry_after_ms=400)
        return busy if len(times) < 2 else None

    with serve(Behaviour(on_frame=full)) as address, Client(address) as client:
        assert numbers(client.matte_exr(frames(1))) == [0]
    # By its own clock the client would have been back after 0.3 s at most.
    assert times[1] - times[0] >= 0.4


def test_what_is_permanent_is_not_tried_again() -> None:
    too_large = pb.FrameError(code="RESOURCE_EXHAUSTED", message="over the limit", permanent=True)
    behaviour = Behaviour(on_frame=lambda _header, _context: too_large)
    with serve(behaviour) as address, Client(address) as client, pytest.raises(ResourceError, match="over the limit"):
        list(client.matte_exr(frames(1)))
    assert len(behaviour.headers) == 1


def test_a_frame_that_fits_nowhere_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fbamatte.rpc.route._FIRST_DELAY", 0.01)
    large = pb.FrameError(code="RESOURCE_EXHAUSTED", message="out of memory")
    behaviour = Behaviour(on_work=lambda header: large if header.info.number == 1 else None)
    failed = {}
    with serve(behaviour) as address, Client(address) as client:
        done = numbers(client.matte_exr(frames(3), lambda frame, error: failed.update({frame.number: error})))
    assert done == [0, 2]
    assert isinstance(failed[1], ResourceError)
    assert f"after {exchange.MOST_ATTEMPTS} attempts" in str(failed[1])


def test_no_room_until_the_deadline_says_so() -> None:
    full = pb.FrameError(code="RESOURCE_EXHAUSTED", message="queue is full", retry_after_ms=50)
    behaviour = Behaviour(on_frame=lambda _header, _context: full)
    said = pytest.raises(DeadlineError, match=r"within 2 s; last: .*queue is full")
    with serve(behaviour) as address, Client(address, timeout=2.0) as client, said:
        list(client.matte_exr(frames(1)))


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "ABORTED"])
def test_a_stream_that_breaks_is_opened_again(code: str) -> None:
    streams = []

    def refuse(context: Any) -> None:
        streams.append(1)
        if len(streams) < 3:
            context.abort(grpc.StatusCode[code], "not now")

    with serve(Behaviour(before_stream=refuse)) as address, Client(address) as client:
        assert numbers(client.matte_exr(frames(5))) == [0, 1, 2, 3, 4]
    assert len(streams) == 3


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "UNKNOWN"])
def test_a_stream_refused_for_good_is_not(code: str) -> None:
    streams = []

    def refuse(context: Any) -> None:
        streams.append(1)
        context.abort(grpc.StatusCode[code], "never")

    behaviour, said = Behaviour(before_stream=refuse), pytest.raises(FbaMatteError, match=r"127.0.0.1:\d+: never")
    with serve(behaviour) as address, Client(address) as client, said:
        list(client.matte_exr(frames(5)))
    assert len(streams) == 1


def test_a_server_that_is_always_broken_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # As it is, but quicker.
    monkeypatch.setattr("fbamatte.rpc.route._FIRST_DELAY", 0.01)
    behaviour = Behaviour(before_stream=lambda context: context.abort(grpc.StatusCode.INTERNAL, "replica died"))
    said = pytest.raises(UnavailableError, match=r"replica died; gave up after 6")
    with serve(behaviour) as address, Client(address, timeout=60.0) as client, said:
        list(client.matte_exr(frames(1)))


def test_one_frame_that_kills_its_server_takes_no_other_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fbamatte.rpc.route._FIRST_DELAY", 0.01)

    def poison(header: pb.FrameHeader, context: Any) -> None:
        if header.info.number == 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "server died")

    failed = {}
    with serve(Behaviour(on_frame=poison, seconds=0.01)) as address, Client(address, window=4) as client:
        done = numbers(client.matte_exr(frames(12), lambda frame, error: failed.update({frame.number: error})))
    assert done == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert list(failed) == [3]
    assert f"after {exchange.MOST_ATTEMPTS} attempts" in str(failed[3])


def test_a_draining_server_finishes_what_it_has_and_the_rest_goes_elsewhere() -> None:
    draining, other = Behaviour(seconds=0.05), Behaviour(seconds=0.02)

    def drain(header: pb.FrameHeader, _context: Any) -> pb.FrameError | None:
        if len(draining.headers) > 3:
            draining.health = health.NOT_SERVING
            return pb.FrameError(code="UNAVAILABLE", message="draining")
        return None

    draining.on_frame = drain
    with serve(draining) as one, serve(other) as two, Client([one, two], window=2) as client:
        assert numbers(client.matte_exr(frames(30))) == list(range(30))
    # The first that is refused, and at most one that was on its way by then.
    assert len(draining.headers) in (4, 5)
    assert wait_until(lambda: draining.streams_ended == 1)


def test_waiting_grows_and_is_spread_out() -> None:
    for failures in range(12):
        waits = [delay(failures) for _ in range(50)]
        full = min(10.0, 0.2 * 2**failures)
        assert full / 2 <= min(waits)
        assert max(waits) <= full
        assert len(set(waits)) > 40
