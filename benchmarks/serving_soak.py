"""Soak: ten minutes of everything at a modest rate; memory must be flat, pixels must not drift.

::

    .venv/bin/python benchmarks/serving_soak.py [--seconds 600] [--rate 8] [--every 30]

A server in a process of its own gets frames of mixed sizes as planes, as EXR and through shared memory,
with errors, cancellations and dropped connections among them. A frame of full HD at work takes 250 MB, a small
one nothing, so memory is looked at in rests, when nothing is at work and what was freed has gone back to the
system. Reported are the slope of the resident memory over the last two thirds of them with its standard error,
open files, and whether the same frame ever came back different.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from scipy.stats import linregress

from fbamatte import EncodedFrame, Frame
from fbamatte.errors import FbaMatteError
from fbamatte.frame import Matte
from fbamatte.imaging.exr import encode_exr
from fbamatte.imaging.image import Image
from fbamatte.imaging.matte_exr import decode_matte
from fbamatte.rpc.client import Client
from fbamatte.serving.process import TRIM_SECONDS
from fbamatte.testing import running_server

SIZES = [(64, 48), (640, 360), (31, 97), (1920, 1080), (200, 200), (1280, 720), (997, 3)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rate", type=float, default=8, help="frames a second")
    parser.add_argument("--every", type=float, default=30, help="seconds of work between two rests")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        socket = f"unix:{folder}/s.sock"
        models = ["testing-null", "testing-wire", "testing-large-300", "testing-memory-40"]
        flags = ("--listen=127.0.0.1:0", f"--listen={socket}", "--model-memory=400M")
        with running_server(*flags, models=models) as server:
            samples, counts = soak(server.ready.addresses, server.process.pid, arguments)
    report(np.array(samples), counts)


def soak(
    addresses: list[str], pid: int, arguments: argparse.Namespace
) -> tuple[list[tuple[float, ...]], dict[str, int]]:
    process, begin = psutil.Process(pid), time.monotonic()
    counts = {"frames": 0, "errors": 0, "dropped": 0, "drifted": 0}
    digests: dict[tuple[object, ...], str] = {}
    samples: list[tuple[float, ...]] = []
    peak, rested, due = 0, begin, begin
    with Client(addresses[0]) as tcp, Client(addresses[1]) as unix:
        for number in itertools.count():
            if time.monotonic() - begin > arguments.seconds:
                return samples, counts
            one_frame(number, tcp, unix, digests, counts)
            peak = max(peak, process.memory_info().rss)
            due = max(due + 1 / arguments.rate, time.monotonic())
            time.sleep(due - time.monotonic() if due > time.monotonic() else 0)
            if time.monotonic() - rested > arguments.every:
                # What was in use when the server last tidied is given back when it does so again.
                time.sleep(2 * TRIM_SECONDS + 2)
                samples.append((time.monotonic() - begin, *settled(process), peak))
                print(f"  at {samples[-1][0]:.0f} s: {samples[-1][1] / 2**20:.1f} MiB", flush=True)
                rested = due = time.monotonic()
    raise AssertionError("endless")


def settled(process: psutil.Process) -> tuple[int, ...]:
    """Return resident bytes, open files, threads, and segments of shared memory that have a name."""
    segments = len(list(Path("/dev/shm").glob("fbamatte-*")))
    return process.memory_info().rss, process.num_fds(), process.num_threads(), segments


def one_frame(
    number: int, tcp: Client, unix: Client, digests: dict[tuple[object, ...], str], counts: dict[str, int]
) -> None:
    size = SIZES[number % len(SIZES)]
    way = ("tcp", "unix", "exr", "missing model", "dropped", "other model", "memory")[number // len(SIZES) % 7]
    frame = make(*size)
    try:
        if way == "exr":
            (answer,) = tcp.matte_exr([EncodedFrame(as_exr(frame))])
            digest = digest_of(decode_matte(answer.exr))
        elif way == "dropped":
            mattes = tcp.matte([frame] * 3)
            next(mattes)
            mattes.close()
            counts["dropped"] += 1
            return
        else:
            models = {"missing model": "none", "other model": "testing-large-300", "memory": "testing-memory-40"}
            client = unix if way == "unix" else tcp
            (matte,) = client.matte([frame], model=models.get(way, "testing-null"))
            digest = digest_of(matte)
    except FbaMatteError:
        counts["errors"] += 1
        return
    counts["frames"] += 1
    counts["drifted"] += digests.setdefault((size, way == "exr"), digest) != digest


def make(width: int, height: int) -> Frame:
    rng = np.random.default_rng(width * height)
    trimap = np.tile(np.clip(np.linspace(-1, 2, width, dtype=np.float32), 0, 1), (height, 1))
    return Frame(plate=rng.random((height, width, 3), dtype=np.float32) * 4, trimap=trimap)


def as_exr(frame: Frame) -> bytes:
    channels = {name: frame.plate[..., n] for n, name in enumerate("RGB")} | {"fba_trimap.A": frame.trimap}
    return encode_exr(Image(channels, frame.display_window, frame.data_window, name="plate.exr"))[0]


def digest_of(matte: Matte) -> str:
    digest = hashlib.sha256()
    for plane in (matte.alpha, matte.foreground, matte.background):
        digest.update(np.ascontiguousarray(plane))
    return digest.hexdigest()


def report(samples: np.ndarray, counts: dict[str, int]) -> None:
    moments, memory, files, threads, segments, peaks = samples[len(samples) // 3 :].T
    line = linregress(moments / 3600, memory / 2**20)
    print(f"{counts['frames']} mattes, {counts['errors']} errors on purpose, {counts['dropped']} calls dropped")
    print(
        f"RSS at rest {memory.min() / 2**20:.0f}–{memory.max() / 2**20:.0f} MiB in {len(memory)} rests, "
        f"slope {line.slope:+.1f} ± {line.stderr:.1f} MiB/h; at work up to {peaks.max() / 2**20:.0f} MiB"
    )
    print(f"open files {files.min():.0f}–{files.max():.0f}, threads {threads.min():.0f}–{threads.max():.0f}")
    print(f"segments in /dev/shm at most {segments.max():.0f}, frames that came back different: {counts['drifted']}")


if __name__ == "__main__":
    main()
