"""The client against a real server over real sockets: what comes back, and what it asks for."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fbamatte.errors import (
    AuthenticationError,
    CancelledError,
    DeadlineError,
    FrameError,
    ModelNotFoundError,
    UnavailableError,
    UsageError,
)
from fbamatte.frame import EncodedFrame, Frame, Window
from fbamatte.rpc.client import Client
from fbamatte.rpc.v1 import matting_pb2 as pb
from rpc.echo_server import Behaviour, serve, wait_until

SERVER_FOLDER = Path(__file__).parents[2] / "server"


def make(number: int, height: int = 20, width: int = 30) -> Frame:
    random = np.random.default_rng(number)
    return Frame(
        plate=random.normal(0.0, 9.0, (height, width, 3)).astype(np.float32),
        trimap=random.random((height, width), np.float32),
        number=number,
        view="left",
        data_window=Window(-4, -4, width - 5, height - 5),
        pixel_aspect=2.0,
        colorspace="ACEScg",
        metadata={"rate": Fraction(24), "odd": (1, "two")},
        name=f"plate.{number}.exr",
    )


def encoded(number: int, size: int = 100) -> EncodedFrame:
    return EncodedFrame(bytes([number % 256]) * size, b"trimap", number=number, name=f"plate.{number}.exr")


@pytest.fixture
def behaviour() -> Behaviour:
    return Behaviour()


@pytest.fixture(params=["tcp", "unix"])
def address(request: pytest.FixtureRequest, behaviour: Behaviour, tmp_path: Path) -> Iterator[str]:
    listen = "127.0.0.1:0" if request.param == "tcp" else f"unix:{tmp_path / 's'}"
    with serve(behaviour, listen) as found:
        yield found


@pytest.fixture
def tcp(behaviour: Behaviour) -> Iterator[str]:
    with serve(behaviour) as found:
        yield found


@pytest.fixture
def unix(behaviour: Behaviour, tmp_path: Path) -> Iterator[str]:
    with serve(behaviour, f"unix:{tmp_path / 's'}") as found:
        yield found


def test_every_frame_comes_back_with_what_it_carried(address: str) -> None:
    frames = [make(number, height=20 + number) for number in range(12)]
    with Client(address) as client:
        mattes = list(client.matte(frames))
    assert sorted(matte.number for matte in mattes) == list(range(12))
    for matte in mattes:
        sent = frames[matte.number]
        assert np.array_equal(matte.alpha, sent.trimap)
        assert np.array_equal(matte.foreground, sent.plate)
        for name in ("view", "data_window", "display_window", "pixel_aspect", "colorspace", "metadata", "name"):
            assert getattr(matte, name) == getattr(sent, name)
        assert matte.provenance == {"model": "echo", "seconds": 0.25}


def test_half_planes_are_the_half_of_the_plate(address: str) -> None:
    frame = make(1)
    with Client(address) as client:
        (matte,) = client.matte([frame], pixel_type="half")
    assert matte.foreground.dtype == np.float32
    assert np.array_equal(matte.foreground, frame.plate.astype(np.float16).astype(np.float32))


def test_exr_bytes_come_back_in_many_chunks(address: str) -> None:
    frames = [encoded(number, 3_000_000 + number) for number in range(3)]
    with Client(address) as client:
        mattes = sorted(client.matte_exr(frames), key=lambda matte: matte.number)
    assert [matte.exr for matte in mattes] == [frame.plate for frame in frames]
    assert [matte.name for matte in mattes] == [frame.name for frame in frames]


def test_the_header_says_what_was_asked_for(tcp: str, behaviour: Behaviour) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with Client(tcp, model="fba", priority="interactive", metadata=[("x-shot", "sh010")], timeout=60) as client:
        wishes = {"precision": "bf16", "pixel_type": "float", "rgba": "straight", "compression": "piz"}
        list(client.matte_exr([encoded(1)], traceparent=trace, write_trimap=True, **wishes))
    (header,) = behaviour.headers
    assert (header.model, header.traceparent) == ("fba", trace)
    assert (header.priority, header.precision) == (pb.PRIORITY_INTERACTIVE, pb.PRECISION_BF16)
    assert header.output == pb.Output(
        pixel_type=pb.PIXEL_TYPE_FLOAT,
        rgba=pb.RGBA_CONTENT_STRAIGHT,
        compression=pb.COMPRESSION_PIZ,
        write_trimap=True,
    )
    assert 1 <= header.timeout_ms <= 60_000
    assert str(uuid.UUID(header.frame_id)) == header.frame_id
    assert behaviour.metadata[0]["x-shot"] == "sh010"


def test_an_unknown_wish_is_refused_before_anything_is_sent(tcp: str, behaviour: Behaviour) -> None:
    with Client(tcp) as client, pytest.raises(UsageError, match=r"'int8'.*fp32"):
        client.matte_exr([encoded(1)], precision="int8")
    assert not behaviour.headers


def test_a_frame_that_fails_does_not_stop_the_others(tcp: str, behaviour: Behaviour) -> None:
    def refuse(header: pb.FrameHeader, _context: object) -> pb.FrameError | None:
        wrong = {2: "INVALID_ARGUMENT", 4: "NOT_FOUND"}.get(header.info.number)
        return pb.FrameError(code=wrong, message="no good") if wrong else None

    behaviour.on_frame = refuse
    failed = {}
    with Client(tcp) as client:
        frames = [make(number) for number in range(6)]
        done = {matte.number for matte in client.matte(frames, lambda frame, error: failed.update({frame: error}))}
    assert done == {0, 1, 3, 5}
    assert {frame.number: type(error) for frame, error in failed.items()} == {2: FrameError, 4: ModelNotFoundError}
    message = str(failed[frames[2]])
    assert "plate.2.exr" in message
    assert "no good" in message
    assert tcp in message


def test_without_on_error_the_first_failure_is_raised(tcp: str, behaviour: Behaviour) -> None:
    behaviour.on_frame = lambda _header, _context: pb.FrameError(code="INVALID_ARGUMENT", message="no good")
    with Client(tcp) as client, pytest.raises(FrameError, match="no good"):
        list(client.matte_exr([encoded(1)]))
    assert wait_until(lambda: behaviour.streams_ended == 1)


def test_progress_is_told_on_the_callers_own_thread(tcp: str) -> None:
    seen = []
    with Client(tcp) as client:
        list(
            client.matte_exr(
                [encoded(1)], on_progress=lambda frame, at: seen.append((frame, at, threading.get_ident()))
            )
        )
    assert [at.stage for _, at, _ in seen] == ["sending", "estimating", "done"]
    assert [at.fraction for _, at, _ in seen] == [0.0, 0.5, 1.0]
    assert {thread for _, _, thread in seen} == {threading.get_ident()}
    assert all(at.endpoint == tcp for _, at, _ in seen)


def test_frames_are_taken_no_further_ahead_than_the_window(tcp: str) -> None:
    taken = 0

    def endless() -> Iterator[EncodedFrame]:
        nonlocal taken
        while True:
            taken += 1
            yield encoded(taken)

    with Client(tcp, window=3) as client:
        mattes = client.matte_exr(endless())
        for done in range(1, 50):
            next(mattes)
            assert taken <= done + 2
        mattes.close()


def test_leaving_early_ends_the_stream(unix: str, behaviour: Behaviour, shm: Path) -> None:
    with Client(unix) as client:
        for _ in client.matte(make(number) for number in range(100)):
            break
        gc.collect()
        assert wait_until(lambda: behaviour.streams_ended == 1)
        # The client is still good.
        assert len(list(client.matte([make(1)]))) == 1
    assert wait_until(lambda: not list(shm.iterdir()))


def test_cancel_from_another_thread_ends_what_is_under_way(tcp: str, behaviour: Behaviour) -> None:
    behaviour.seconds = 0.3
    with Client(tcp) as client:
        mattes = client.matte_exr(encoded(number) for number in range(100))
        next(mattes)
        timer = threading.Timer(0.05, client.cancel)
        timer.start()
        # Otherwise it would get all hundred of them, in half a minute.
        with pytest.raises(CancelledError):
            list(mattes)
        assert wait_until(lambda: behaviour.streams_ended == 1)
        behaviour.seconds = 0.0
        assert len(list(client.matte_exr([encoded(1)]))) == 1


def test_a_frame_that_takes_too_long_is_given_up(tcp: str, behaviour: Behaviour) -> None:
    behaviour.seconds = 1.0
    with Client(tcp, timeout=0.2) as client, pytest.raises(DeadlineError, match=r"plate.1.exr.*0.2 s"):
        list(client.matte_exr([encoded(1)]))


def test_a_frame_given_up_is_cancelled_at_the_server(tcp: str, behaviour: Behaviour) -> None:
    given_up = threading.Event()

    def hold_the_second(header: pb.FrameHeader) -> None:
        if header.info.number == 2:
            given_up.wait(60)

    behaviour.on_work = hold_the_second
    failed: list[EncodedFrame] = []
    with Client(tcp, timeout=2.0) as client:
        done = list(client.matte_exr([encoded(1), encoded(2)], on_error=lambda frame, _: failed.append(frame)))
        assert [matte.number for matte in done] == [1]
        assert [frame.number for frame in failed] == [2]
        given_up.set()
        late = next(header.key for header in behaviour.headers if header.info.number == 2)
        assert wait_until(lambda: behaviour.cancelled == [late])


def test_shared_memory_is_used_where_it_is_granted(unix: str, behaviour: Behaviour) -> None:
    with Client(unix, window=2) as client:
        frames = [make(number) for number in range(8)]
        for matte in client.matte(frames):
            assert np.array_equal(matte.foreground, frames[matte.number].plate)
    assert {header.payload for header in behaviour.headers} == {pb.PAYLOAD_KIND_SHARED_MEMORY}
    # Two frames under way need two leases, used again and again.
    assert len({header.lease for header in behaviour.headers}) <= 2


@pytest.mark.parametrize("obstacle", ["refused", "not reachable", "not wanted", "tcp"])
def test_planes_travel_in_chunks_where_there_is_no_shared_memory(
    obstacle: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    behaviour.lease_bytes = 0 if obstacle == "refused" else 1 << 30
    behaviour.lose_segments = obstacle == "not reachable"
    listen = "127.0.0.1:0" if obstacle == "tcp" else f"unix:{tmp_path / 's'}"
    with serve(behaviour, listen) as where, Client(where, shared_memory=obstacle != "not wanted") as client:
        frames = [make(number) for number in range(5)]
        mattes = list(client.matte(frames))
    assert len(mattes) == 5
    assert {header.payload for header in behaviour.headers} == {pb.PAYLOAD_KIND_PLANES}


def test_what_the_server_tells_of_itself(address: str) -> None:
    with Client(address) as client:
        assert client.wait_ready(60.0) == address
        assert [model.name for model in client.list_models()] == ["echo"]
        assert client.server_info().version == "0.0.echo"
        assert client.server_info(target=address).state == pb.SERVER_STATE_SERVING
        with pytest.raises(UsageError, match="none of this client's servers"):
            client.server_info(target="elsewhere:1")


def test_a_token_is_needed_and_enough(tcp: str, behaviour: Behaviour) -> None:
    behaviour.token = "s3cret-token"
    with Client(tcp, token="s3cret-token") as client:
        assert len(list(client.matte_exr([encoded(1)]))) == 1
    for wrong in ("", "s3cret-tokem"):
        # Trying again would take so long that the test would not end in time.
        with Client(tcp, token=wrong, patience=600.0) as client:
            with pytest.raises(AuthenticationError) as caught:
                list(client.matte_exr([encoded(1)]))
            with pytest.raises(AuthenticationError):
                client.list_models()
        assert "s3cret" not in str(caught.value)


def test_settings_come_from_the_environment(
    tcp: str, behaviour: Behaviour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behaviour.token = "from-file"
    secret = tmp_path / "token"
    secret.write_text("from-file\n")
    monkeypatch.setenv("FBAMATTE_SERVER", f" {tcp} ,")
    monkeypatch.setenv("FBAMATTE_TOKEN_FILE", str(secret))
    with Client() as client:
        assert client.targets == (tcp,)
        assert client.list_models()
    monkeypatch.setenv("FBAMATTE_TOKEN", "other")
    with Client() as client, pytest.raises(AuthenticationError):
        client.list_models()
    monkeypatch.delenv("FBAMATTE_SERVER")
    with pytest.raises(UsageError, match="FBAMATTE_SERVER"):
        Client()


def test_nobody_there_is_said_after_patience_with_the_cause() -> None:
    start = time.monotonic()
    with Client("127.0.0.1:9", patience=2.0) as client:
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9.*refused"):
            list(client.matte_exr([encoded(1)]))
        assert time.monotonic() - start > 1.9
        with pytest.raises(UnavailableError, match="refused"):
            client.wait_ready(2.0)


def test_attributes_that_fill_a_message_are_refused_by_name(tcp: str) -> None:
    frame = make(3)
    heavy = Frame(frame.plate, frame.trimap, number=3, name="heavy.exr", metadata={"blob": b"x" * (1 << 20)})
    with Client(tcp) as client, pytest.raises(FrameError, match=r"heavy.exr.*attributes"):
        list(client.matte([heavy]))


LIGHT = """
import json, sys
from fbamatte.frame import EncodedFrame
from fbamatte.rpc.client import Client
imported = {name for name in ("numpy", "torch") if name in sys.modules}
with Client(sys.argv[1]) as client:
    sizes = [len(matte.exr) for matte in client.matte_exr([EncodedFrame(b"p" * 2_000_000, b"t")])]
used = {name for name in ("numpy", "torch") if name in sys.modules}
print(json.dumps([sizes, sorted(imported), sorted(used)]))
"""


def test_exr_bytes_need_neither_numpy_nor_torch(tcp: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SERVER_FOLDER)}
    command = [sys.executable, "-c", LIGHT, tcp]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=240)
    assert json.loads(done.stdout) == [[2_000_000], [], []]
