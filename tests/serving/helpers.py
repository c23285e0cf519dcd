"""What tests of the server share: frames, and a caller that speaks the wire message by message."""

from __future__ import annotations

import io
import queue
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from fbamatte.frame import Frame
from fbamatte.imaging.exr import write_exr
from fbamatte.imaging.image import Image
from fbamatte.rpc import framing, pixels
from fbamatte.rpc.v1 import matting_pb2 as pb


def frame(number: int = 1, width: int = 96, height: int = 54, **fields) -> Frame:
    """Return a frame with all three kinds of trimap, values beyond 1 and below 0."""
    rng = np.random.default_rng(number)
    trimap = np.tile(np.clip(np.linspace(-1, 2, width, dtype=np.float32), 0, 1), (height, 1))
    plate = rng.random((height, width, 3), dtype=np.float32) * 8 - 0.05
    return Frame(plate=plate, trimap=trimap, number=number, **fields)


def messages(item: Frame, key: str = "", pixel_type: str = "float", **header) -> list:
    """Return all messages of one frame."""
    key = key or f"k{item.number}"
    first = pixels.frame_header(item, key, pixel_type)
    first.MergeFrom(pb.FrameHeader(**header))
    buffers = pixels.to_buffers(item, first.planes)
    end = pb.MatteRequest(end=pb.FrameEnd(key=key))
    return [pb.MatteRequest(header=first), *framing.split(key, buffers), end]


def get(server, path: str) -> bytes:
    """Return a page of a server's status pages."""
    with urllib.request.urlopen(f"http://{server.metrics}{path}", timeout=60) as answer:
        return answer.read()


def samples(server) -> dict:
    """Return all samples that Prometheus would scrape, by name and labels."""
    families = text_string_to_metric_families(get(server, "/metrics").decode())
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


class RawStream:
    """One call of Matte whose messages the test writes itself."""

    def __init__(self, channel, *, metadata=(), timeout=None):
        self._outgoing: queue.SimpleQueue = queue.SimpleQueue()
        self.call = framing.stub_method(channel)(iter(self._outgoing.get, None), metadata=metadata, timeout=timeout)

    def send(self, *items) -> None:
        for item in items:
            self._outgoing.put(item)

    def close_sending(self) -> None:
        self._outgoing.put(None)

    def __iter__(self) -> Iterator:
        return iter(self.call)

    def read(self, kind: str):
        """Return the next message, which must be of this kind."""
        message = next(self.call)
        found = "chunk" if isinstance(message, framing.Chunk) else message.WhichOneof("kind")
        assert found == kind, message
        return message if found == "chunk" else getattr(message, kind)

    def answers(self, count: int) -> dict[str, pb.FrameError | str]:
        """Read until so many frames are answered; return "OK" or the error by key."""
        found: dict[str, pb.FrameError | str] = {}
        while len(found) < count:
            message = next(self.call)
            if isinstance(message, framing.Chunk):
                continue
            kind = message.WhichOneof("kind")
            if kind == "end":
                found[message.end.key] = "OK"
            elif kind == "error":
                found[message.error.key] = message.error
        return found

    def all_answers(self) -> dict[str, pb.FrameError | str]:
        """Read until the call ends, however it ends; return as `answers`."""
        found: dict[str, pb.FrameError | str] = {}
        try:
            while True:
                found |= self.answers(1)
        except (StopIteration, grpc.RpcError):
            return found

    def status(self) -> grpc.StatusCode:
        """Read to the end and return how the call ended."""
        try:
            for _ in self.call:
                pass
        except grpc.RpcError:
            pass
        return self.call.code()


@contextmanager
def raw(address: str, **options):
    """Connect and open one call."""
    with grpc.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
        yield RawStream(channel, **options)


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> float:
    """Wait for a condition and return how long it took; the limit is for what never comes, on any machine."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, f"not within {seconds} s"
        time.sleep(0.005)
    return time.monotonic() - begin


class Gate:
    """Holds estimates back until it is opened, so that a test knows what runs and what waits.

    ``serve_in_process(on_load=gate.hold)``; closed by hand, since a server warms up first.
    """

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self.waiting = 0

    def hold(self, estimator) -> None:
        """Stand before an estimator that is being loaded."""
        estimate = estimator.estimate

        def held(*arguments):
            self.waiting += 1
            assert self._open.wait(120), "nobody opened the gate"
            self.waiting -= 1
            return estimate(*arguments)

        estimator.estimate = held

    def close(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()


def meeting(count: int) -> Callable[[Any], None]:
    """Return an ``on_load`` that keeps each of ``count`` estimators at its first frame until all have theirs."""
    all_here = threading.Barrier(count)

    def meet(estimator: Any) -> None:
        estimate = estimator.estimate

        def after_the_others(*arguments):
            # The call before was the warm-up.
            if estimator.calls == 1:
                all_here.wait(60)
            return estimate(*arguments)

        estimator.estimate = after_the_others

    return meet


def in_flight(server) -> int:
    """Frames that the server has anything of."""
    return sum(len(stream._frames.all()) for stream in server.desk.streams)


def reserved(server) -> int:
    """Bytes that the server has reserved for frames."""
    return server.desk.memory.payloads.used + server.desk.memory.work.used


def threads_named(*prefixes: str) -> int:
    return sum(thread.name.startswith(prefixes) for thread in threading.enumerate())


def exr_bytes(item: Frame) -> bytes:
    """Return a frame as one EXR file with its trimap."""
    channels = {name: item.plate[..., n] for n, name in enumerate("RGB")} | {"fba_trimap.A": item.trimap}
    image = Image(channels, item.display_window, item.data_window, item.pixel_aspect, metadata=item.metadata, name="x")
    target = io.BytesIO()
    write_exr(target, image, float_channels="all")
    return target.getvalue()
