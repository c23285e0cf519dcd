"""Queue wait and answer times with 1, 8 and 64 callers, and memory over 2,000 frames.

::

    .venv/bin/python benchmarks/serving_latency.py [--seconds 0.02] [--frames 2000]

The estimator sleeps as a GPU would. Each caller sends one frame, waits for its answer and sends the next,
so with n callers a frame is answered after n times the service time at best; ``over ideal`` says how far
from that it is. The stages are what the server says of them, the wire is what is left.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator

import grpc
import numpy as np
import psutil

from fbamatte.frame import Frame
from fbamatte.rpc import framing, pixels
from fbamatte.rpc.client import Client
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.testing import running_server

CALLERS = (1, 8, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.02, help="of one estimate")
    parser.add_argument("--frames", type=int, default=2000, help="for the memory")
    arguments = parser.parse_args()
    model = f"testing-sleep-{arguments.seconds}"
    frame = make(320, 180)
    with running_server("--log-level=warning", models=[model, "testing-wire"]) as server:
        list(Client(server.address).matte([frame] * 20))
        for callers in CALLERS:
            report(callers, arguments.seconds, crowd(server.address, frame, callers, max(10, 400 // callers)))
        memory(server.address, server.process.pid, arguments.frames)


def crowd(address: str, frame: Frame, callers: int, each: int) -> list[dict[str, float]]:
    """Return the seconds of each frame of so many callers: those of the server's stages, and the whole."""
    found: list[dict[str, float]] = []
    threads = [threading.Thread(target=lambda: found.extend(call(address, frame, each))) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def call(address: str, frame: Frame, count: int) -> list[dict[str, float]]:
    found = []
    turn = threading.Semaphore(1)
    begun = [0.0]

    def requests() -> Iterator[framing.Request]:
        for number in range(count):
            turn.acquire()
            begun[0] = time.monotonic()
            header = pixels.frame_header(frame, str(number))
            yield pb.MatteRequest(header=header)
            yield from framing.split(str(number), pixels.to_buffers(frame, header.planes))
            yield pb.MatteRequest(end=pb.FrameEnd(key=str(number)))

    with grpc.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
        stages: dict[str, float] = {}
        for message in framing.stub_method(channel)(requests()):
            if isinstance(message, framing.Chunk):
                continue
            if message.HasField("header"):
                stages = dict(message.header.stage_seconds)
            elif message.HasField("error"):
                raise RuntimeError(message.error.message)
            elif message.HasField("end"):
                found.append({**stages, "whole": time.monotonic() - begun[0]})
                turn.release()
    return found


def report(callers: int, service: float, measured: list[dict[str, float]]) -> None:
    whole, queued = (np.array([frame[name] for frame in measured]) for name in ("whole", "queued"))
    p50, p99 = np.quantile(whole, [0.5, 0.99])
    wait50, wait99 = np.quantile(queued, [0.5, 0.99])
    names = [name for name in measured[0] if name != "whole"]
    stages = {name: float(np.median([frame[name] for frame in measured])) for name in names}
    stages["wire"] = float(np.median([2 * frame["whole"] - sum(frame.values()) for frame in measured]))
    print(
        f"{callers:3d} callers: answer p50 {p50 * 1000:7.1f} ms, p99 {p99 * 1000:7.1f} ms; "
        f"queue wait p50 {wait50 * 1000:7.1f} ms, p99 {wait99 * 1000:7.1f} ms; "
        f"over ideal ×{p50 / (callers * service):.2f} ({len(whole)} frames of {service * 1000:g} ms)\n"
        f"            medians in ms: {', '.join(f'{name} {seconds * 1000:.1f}' for name, seconds in stages.items())}"
    )


def memory(address: str, pid: int, frames: int) -> None:
    process, frame = psutil.Process(pid), make(640, 360)
    with Client(address) as client:
        samples = []
        for number, _ in enumerate(client.matte((frame for _ in range(frames)), model="testing-wire")):
            if number % 50 == 0:
                samples.append(process.memory_info().rss / 2**20)
    settled = samples[len(samples) // 5 :]
    print(
        f"{frames} frames: RSS {settled[0]:.0f} MiB after a fifth, {settled[-1]:.0f} MiB at the end, "
        f"{min(settled):.0f}–{max(settled):.0f} MiB between"
    )


def make(width: int, height: int) -> Frame:
    rng = np.random.default_rng(1)
    trimap = np.tile(np.clip(np.linspace(-1, 2, width, dtype=np.float32), 0, 1), (height, 1))
    return Frame(plate=rng.random((height, width, 3), dtype=np.float32), trimap=trimap)


if __name__ == "__main__":
    main()
