"""How long a UHD frame takes there and back when nothing is computed, against copying the same bytes in memory.

    python benchmarks/round_trip.py [--rounds 15] [--width 3840 --height 2160] [--json FILE]

Half R, G, B and trimap go to a server in another process, half alpha, foreground and clean plate come back:
66 MB and 116 MB at UHD. The server's engine hands the frame back as its matte (``testing-wire``), so what is
left is the wire: the caller's buffers to the server's float arrays, and back again. EXR encoding and decoding
are listed apart.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import psutil

from fbamatte.frame import Frame, Matte
from fbamatte.imaging import matte_exr
from fbamatte.imaging.exr import read_exr, write_exr
from fbamatte.imaging.image import Image
from fbamatte.rpc import framing, layout, pixels
from fbamatte.rpc.client import Client
from fbamatte.rpc.jobs import Request
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.testing import running_server

GOALS = {"shared memory": 3.0, "unix": 6.0, "tcp": 10.0}


class HalfJob:
    """A host that holds its pixels as half: what it sends are its own buffers, what it gets are its own too."""

    def __init__(self, frame: Frame, answer: list[np.ndarray]) -> None:
        self.frame = frame
        self.label = frame.label
        self.sent = [frame.plate.astype(np.float16), frame.trimap.astype(np.float16)]
        self.answer = answer
        height, width = frame.trimap.shape
        self._planes = pixels.describe(width, height, pixels.FRAME_PLANES, pb.PIXEL_TYPE_HALF)
        both = self._planes, pixels.describe(width, height, pixels.ANSWER_PLANES, pb.PIXEL_TYPE_HALF)
        self.lease_bytes = max(layout.planes_bytes(planes, shared=True, label="") for planes in both)

    def header(self, key: str) -> pb.FrameHeader:
        """Return the header of planes of half."""
        return pixels.frame_header(self.frame, key, "half")

    def buffers(self) -> list[memoryview]:
        """Return its own buffers."""
        return [memoryview(array).cast("B") for array in self.sent]

    def fill(self, lease: memoryview) -> None:
        """Copy its own buffers into the lease."""
        for array, place in zip(self.sent, layout.places(self._planes, shared=True, label=""), strict=True):
            np.copyto(np.frombuffer(lease, np.float16, array.size, place.start), array.reshape(-1))

    def receive(self, _header: pb.MatteHeader, size: int) -> layout.Payload:
        """Receive straight into its own buffers."""
        return layout.Payload(size, self.label, into=[memoryview(array).cast("B") for array in self.answer])

    def read(self, header: pb.MatteHeader, payload: memoryview) -> dict[str, Any]:
        """Copy the answer out of the lease; return the seconds of the server's stages."""
        # In chunks it is there already.
        if header.payload == pb.PAYLOAD_KIND_SHARED_MEMORY:
            for array, place in zip(self.answer, layout.places(header.planes, shared=True, label=""), strict=True):
                np.copyto(array.reshape(-1), np.frombuffer(payload, np.float16, array.size, place.start))
        return dict(header.stage_seconds)


def picture(width: int, height: int) -> Frame:
    """Return values as a plate has them: noise around 0.2, some far above 1."""
    random = np.random.default_rng(1)
    plate = random.lognormal(-1.6, 1.0, (height, width, 3)).astype(np.float32)
    trimap = np.clip(random.normal(0.5, 1.0, (height, width)), 0, 1).astype(np.float32)
    return Frame(plate, trimap)


def answer_arrays(frame: Frame) -> list[np.ndarray]:
    height, width = frame.trimap.shape
    return [np.ones(shape, np.float16) for shape in ((height, width), (height, width, 3), (height, width, 3))]


def timed(action: Callable[[], Any], rounds: int) -> list[float]:
    action()
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begin)
    return seconds


class Copying:
    """Copies all that travels, memory to memory, into pages that are there already."""

    def __init__(self, job: HalfJob) -> None:
        self._parts = [*job.sent, *job.answer]
        self._targets = [np.ones_like(part) for part in self._parts]

    def __call__(self) -> float:
        """Return the seconds it takes."""
        begin = time.perf_counter()
        for target, part in zip(self._targets, self._parts, strict=True):
            np.copyto(target, part)
        return time.perf_counter() - begin


def round_trips(server: psutil.Process, address: str, shared: bool, job: HalfJob, rounds: int) -> dict[str, Any]:
    """Time single frames over one stream, and copying before each: a busy machine slows down both."""
    copy, warm_up = Copying(job), 2
    with Client(address, shared_memory=shared, window=1) as client:
        copies: list[float] = []
        seconds: list[float] = []
        processor: list[float] = []
        stages: list[dict[str, float]] = []
        marks = [0.0, 0.0]

        def jobs() -> Any:
            for _ in range(rounds + warm_up):
                copies.append(copy())
                marks[:] = time.perf_counter(), busy(server)
                yield job

        for answer in client.run(jobs(), Request()):
            seconds.append(time.perf_counter() - marks[0])
            processor.append(busy(server) - marks[1])
            stages.append(answer)
    trips, copied = seconds[warm_up:], copies[warm_up:]
    return {
        "seconds": statistics.median(trips),
        "best": min(trips),
        "copy": statistics.median(copied),
        "best copy": min(copied),
        "times": statistics.median(trips) / statistics.median(copied),
        "best times": min(trips) / min(copied),
        "processor seconds": statistics.mean(processor[warm_up:]),
        "stages": {name: round(statistics.median(stage[name] for stage in stages), 4) for name in stages[-1]},
    }


def busy(server: psutil.Process) -> float:
    """Return the processor seconds that both sides have used."""
    return sum(sum(process.cpu_times()[:2]) for process in (server, psutil.Process()))


def streamed(address: str, shared: bool, frame: Frame, rounds: int) -> float:
    """Return seconds per frame with four in flight."""
    jobs = [HalfJob(frame, answer_arrays(frame)) for _ in range(4)]
    with Client(address, shared_memory=shared, window=4) as client:
        list(client.run(iter(jobs), Request()))
        begin = time.perf_counter()
        count = sum(1 for _ in client.run((jobs[at % 4] for at in range(rounds)), Request()))
    return (time.perf_counter() - begin) / count


def check(job: HalfJob) -> None:
    """Be sure that what was timed is what was sent."""
    plate, trimap = job.sent
    assert np.array_equal(job.answer[0], trimap)
    assert np.array_equal(job.answer[1], plate)
    assert np.array_equal(job.answer[2], plate)


def exr(frame: Frame, rounds: int) -> dict[str, float]:
    """Return seconds for the plate's decoding and the matte's encoding, with one thread and with all."""
    rgb = {name: np.ascontiguousarray(frame.plate[..., at]) for at, name in enumerate("RGB")}
    matte = Matte.for_frame(frame, frame.trimap, frame.plate, frame.plate)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plate.exr"
        write_exr(path, Image(rgb, frame.display_window, frame.data_window))
        data = path.read_bytes()
        # With 0 the reader would choose for itself; 1 is one worker.
        for threads, name in ((1, "one thread"), (os.cpu_count() or 1, "all threads")):
            OpenEXR.set_global_thread_count(threads)
            found[f"decode plate, {name}"] = statistics.median(timed(lambda: read_exr(path).rgb(), rounds))
            found[f"encode matte, {name}"] = statistics.median(timed(lambda: matte_exr.encode_matte(matte), rounds))
    found["plate MB"] = len(data) / 1e6
    return found


def report(name: str, found: dict[str, Any]) -> None:
    """Print one way's line."""
    milli = {key: f"{value * 1e3:.0f} ms" for key, value in found.items() if isinstance(value, float)}
    print(
        f"{name:14} {milli['seconds']} = {found['times']:.2f} × copying ({milli['copy']}), goal {GOALS[name]:g};"
        f" best {milli['best']} = {found['best times']:.2f} × {milli['best copy']};"
        f" streamed {milli['streamed']} a frame; processors {milli['processor seconds']}; {found['stages']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--width", type=int, default=3840)
    parser.add_argument("--height", type=int, default=2160)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--no-exr", action="store_true")
    options = parser.parse_args()
    # As the command does; a host's interpreter decides for itself.
    framing.keep_chunks_in_process()
    frame = picture(options.width, options.height)
    job = HalfJob(frame, answer_arrays(frame))
    size = sum(array.nbytes for array in (*job.sent, *job.answer))
    results: dict[str, Any] = {"bytes": size}
    print(f"{size / 1e6:.0f} MB there and back, on {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        flags = ("--listen=127.0.0.1:0", f"--listen=unix:{folder}/s", "--thumbnails=0")
        with running_server(*flags, models=("testing-wire",)) as server:
            process = psutil.Process(server.process.pid)
            tcp, unix = server.ready.addresses
            for name, address, shared in (("shared memory", unix, True), ("unix", unix, False), ("tcp", tcp, False)):
                found = results[name] = round_trips(process, address, shared, job, options.rounds)
                check(job)
                found["streamed"] = streamed(address, shared, frame, options.rounds)
                report(name, found)
    if not options.no_exr:
        results["exr"] = exr(frame, max(1, options.rounds // 5))
        for name, value in results["exr"].items():
            print(f"EXR: {name:26} {value:7.3f}" + ("" if "MB" in name else " s"))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
