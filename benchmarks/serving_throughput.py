"""Streamed throughput against the slowest stage: decode, estimate and encode of different frames overlap.

::

    .venv/bin/python benchmarks/serving_throughput.py [--seconds 0.6] [--frames 50] [--width 1280 --height 720]

Frames go as EXR and come back as EXR through the real codec; the estimator sleeps as a GPU would. The ratio
is what the slowest stage alone would take for all frames, over what the stream took from its first byte to
its last, with nothing left out. It is 1 where everything else is hidden behind the slowest stage.
"""

from __future__ import annotations

import argparse
import json
import time
import urllib.request

import numpy as np

from fbamatte import EncodedFrame
from fbamatte.frame import Frame
from fbamatte.imaging.exr import encode_exr
from fbamatte.imaging.image import Image
from fbamatte.rpc.client import Client
from fbamatte.testing import running_server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.6, help="of one estimate")
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    arguments = parser.parse_args()
    plate = EncodedFrame(exr(arguments.width, arguments.height))
    models = [f"testing-sleep-{arguments.seconds}"]
    with running_server("--metrics=127.0.0.1:0", "--log-level=warning", models=models) as server:
        with Client(server.address, window=8) as client:
            list(client.matte_exr([plate] * 4))
            before = stages(server.metrics)
            begin = time.monotonic()
            count = sum(1 for _ in client.matte_exr(plate for _ in range(arguments.frames)))
            took = time.monotonic() - begin
        after = stages(server.metrics)
    report(before, after, count, took, arguments)


def stages(metrics: str) -> dict[str, tuple[int, float]]:
    """Return how often each stage ran and its seconds in all."""
    with urllib.request.urlopen(f"http://{metrics}/status.json") as answer:
        return {name: (count, count * mean) for name, count, mean in json.load(answer)["stages"]}


def report(
    before: dict[str, tuple[int, float]],
    after: dict[str, tuple[int, float]],
    count: int,
    took: float,
    arguments: argparse.Namespace,
) -> None:
    means = {name: (after[name][1] - before[name][1]) / (after[name][0] - before[name][0]) for name in after}
    for name, mean in means.items():
        print(f"  {name:11s} {mean * 1000:8.1f} ms a frame")
    alone = {name: means[name] for name in ("decoding", "preparing", "finishing", "encoding")}
    # the stage of that name includes the wait for the device
    alone["estimating"] = arguments.seconds
    slowest = max(alone, key=alone.__getitem__)
    print(
        f"{count} frames of {arguments.width}×{arguments.height} in {took:.2f} s, {count / took:.2f} a second; "
        f"one after the other {sum(alone.values()) * count:.1f} s"
    )
    print(f"throughput over the slowest stage, {slowest} ({alone[slowest]:.3f} s): {alone[slowest] * count / took:.3f}")


def exr(width: int, height: int) -> bytes:
    rng = np.random.default_rng(1)
    trimap = np.tile(np.clip(np.linspace(-1, 2, width, dtype=np.float32), 0, 1), (height, 1))
    frame = Frame(plate=rng.random((height, width, 3), dtype=np.float32), trimap=trimap)
    channels = {name: frame.plate[..., n] for n, name in enumerate("RGB")} | {"fba_trimap.A": trimap}
    return encode_exr(Image(channels, frame.display_window, frame.data_window, name="plate.exr"))[0]


if __name__ == "__main__":
    main()
