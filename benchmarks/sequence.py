"""A sequence's frames per second against its slowest stage alone.

::

    python benchmarks/sequence.py [--frames 12] [--tiles 2 | --size 2160x3840] [--model closed-form | --wait SECONDS]

Reads plates from disk, mattes and writes them: each stage alone first, then all side by side as `fbamatte matte` does
it. The plates are the astronaut's, laid out ``tiles`` × ``tiles``, or that of `closed_form_uhd.py`, 7 % unknown.

Prints JSON. Frames cannot come faster than the slowest stage, nor than the cores do the work of all stages:
``highest_share`` is what these two leave possible. What the cores do is measured, since two at work are seldom worth
two, least of all in a virtual machine: ``cores_worth`` says by how much all finish more frames than one does.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fbamatte.compositing.strips import at_work
from fbamatte.engine import Engine
from fbamatte.farm import work
from fbamatte.farm.batch import Batch, Job
from fbamatte.farm.progress import Lines
from fbamatte.frame import Window
from fbamatte.imaging.curve import decode
from fbamatte.imaging.exr import write_exr
from fbamatte.imaging.image import Image
from fbamatte.imaging.reader import read_image
from fbamatte.imaging.sequence import FrameSequence
from fbamatte.testing import SleepEstimator

sys.path.insert(0, str(Path(__file__).parent))
from closed_form_uhd import make_plate

PLATES = Path(__file__).resolve().parents[1] / "examples" / "plates" / "astronaut"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--tiles", type=int, default=2)
    parser.add_argument("--size", default="", metavar="HxW", help="a made plate of that size, 7 %% unknown, instead")
    parser.add_argument("--model", default="closed-form")
    parser.add_argument("--wait", type=float, help="an estimator that waits so many seconds, as for a GPU, instead")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with TemporaryDirectory() as folder, engine_of(options) as engine:
        job = made_job(Path(folder), options) if options.size else tiled_job(Path(folder), options)
        seconds, processor = alone(job, engine)
        worth = cores_worth(job, engine)
        started, busy = time.perf_counter(), time.process_time()
        reports = Batch(replace(job, existing="overwrite"), engine.matte, Lines(io.StringIO())).run()
        together, busy = time.perf_counter() - started, time.process_time() - busy
        assert all(report.state == "done" for report in reports), reports
    slowest, work_alone = max(seconds.values()), sum(processor.values()) / worth
    print(
        json.dumps(
            {
                "frames": options.frames,
                "seconds_alone": {name: round(value, 3) for name, value in seconds.items()},
                "processor_seconds_alone": {name: round(value, 3) for name, value in processor.items()},
                "cores_worth": round(worth, 2),
                "seconds_together": round(together, 3),
                "processor_seconds_together": round(busy, 3),
                "one_after_the_other": round(sum(seconds.values()), 3),
                "share_of_slowest_stage": round(slowest / together, 3),
                "highest_share": round(slowest / max(slowest, work_alone), 3),
                "load_before_and_after": [load, os.getloadavg()[0]],
            },
            indent=2,
        )
    )


def engine_of(options: argparse.Namespace) -> Engine:
    """Return the engine to time: a model's, or one whose device leaves the processor alone."""
    return Engine(estimator=SleepEstimator(options.wait)) if options.wait else Engine(options.model)


def tiled_job(folder: Path, options: argparse.Namespace) -> Job:
    """Write the astronaut's plates and rotos, tiled, and return the job over them."""
    tiles = options.tiles
    for number in range(1001, 1001 + options.frames):
        source = 1001 + (number - 1001) % 5
        for name in ("plate", "roto"):
            image = read_image(PLATES / f"{name}.{source}.exr")
            planes = {key: np.tile(np.asarray(plane), (tiles, tiles)) for key, plane in image.channels.items()}
            write(folder / f"{name}.{number}.exr", planes, image.colorspace)
    return job_of(folder, options.frames, "roto", (3, 4))


def made_job(folder: Path, options: argparse.Namespace) -> Job:
    """Write one plate and trimap again and again, each a pixel further, and return the job over them."""
    height, width = (int(side) for side in options.size.split("x"))
    image, trimap = make_plate(height, width, 0.07)
    plate = decode(image)
    for number in range(1001, 1001 + options.frames):
        moved, drawn = np.roll(plate, number - 1001, axis=1), np.roll(trimap, number - 1001, axis=1)
        write(folder / f"plate.{number}.exr", {c: moved[..., i] for i, c in enumerate("RGB")}, "lin_rec709_scene")
        write(folder / f"trimap.{number}.exr", {"Y": drawn}, "")
    return job_of(folder, options.frames, "trimap", None)


def write(path: Path, planes: dict[str, Any], colorspace: str) -> None:
    height, width = next(iter(planes.values())).shape
    window = Window.of_size(width, height)
    write_exr(path, Image(planes, window, window, colorspace=colorspace))


def job_of(folder: Path, frames: int, matte: str, widths: tuple[float, float] | None) -> Job:
    numbers = range(1001, 1001 + frames)
    plate, drawn, output = (
        FrameSequence.parse(folder / f"{name}.####.exr", numbers) for name in ("plate", matte, "fba")
    )
    return Job(plate, drawn, output, tuple((number, "") for number in numbers), widths=widths)


def alone(job: Job, engine: Engine) -> tuple[dict[str, float], dict[str, float]]:
    """Return the seconds, and the processor's seconds, that each stage takes over all frames with nothing beside it."""
    seconds = dict.fromkeys(("read", "prepare", "estimate", "finish", "write"), 0.0)
    processor = dict(seconds)

    def timed(name, function, *arguments):
        started, busy = time.perf_counter(), time.process_time()
        result = function(*arguments)
        seconds[name] += time.perf_counter() - started
        processor[name] += time.process_time() - busy
        return result

    engine.matte_one(work.load(job, job.frames[0]))  # compile before the clock runs
    for key in job.frames:
        frame = timed("read", work.load, job, key)
        prepared = timed("prepare", engine.prepare, frame)
        estimated = timed("estimate", engine.estimate, prepared)
        matte = timed("finish", engine.finish, estimated)
        timed("write", work.store, job, frame, matte)
    return seconds, processor


def cores_worth(job: Job, engine: Engine, rounds: int = 3) -> float:
    """Return how many frames all cores finish side by side, a thread each, while one core finishes one alone."""
    estimated = engine.estimate(engine.prepare(work.load(job, job.frames[0])))
    cores = os.cpu_count() or 1

    def seconds(threads: int) -> float:
        started = time.perf_counter()
        for done in [pool.submit(engine.finish, estimated) for _ in range(threads)]:
            done.result()
        return time.perf_counter() - started

    with ThreadPoolExecutor(cores) as pool, ExitStack() as others:
        for _ in range(cores):  # whoever finishes is to take one thread for it
            others.enter_context(at_work())
        one, side_by_side = (min(seconds(threads) for _ in range(rounds)) for threads in (1, cores))
    return cores * one / side_by_side


if __name__ == "__main__":
    main()
