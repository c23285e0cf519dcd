"""A sequence's frames per second against its slowest stage alone.

::

    python benchmarks/sequence.py [--frames 12] [--tiles 2] [--model closed-form | --wait SECONDS]

Reads the astronaut plates laid out ``tiles`` × ``tiles`` from disk, mattes and writes them: each stage alone first,
then all side by side as `fbamatte matte` does it. Prints JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from fbamatte.engine import Engine
from fbamatte.farm import work
from fbamatte.farm.batch import Batch, Job
from fbamatte.farm.progress import Lines
from fbamatte.frame import Window
from fbamatte.imaging.exr import write_exr
from fbamatte.imaging.image import Image
from fbamatte.imaging.reader import read_image
from fbamatte.imaging.sequence import FrameSequence
from fbamatte.testing import SleepEstimator

PLATES = Path(__file__).resolve().parents[1] / "examples" / "plates" / "astronaut"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--tiles", type=int, default=2)
    parser.add_argument("--model", default="closed-form")
    parser.add_argument("--wait", type=float, help="an estimator that waits so many seconds, as for a GPU, instead")
    options = parser.parse_args()
    with TemporaryDirectory() as folder, engine_of(options) as engine:
        job = make_job(Path(folder), options.frames, options.tiles)
        stages = alone(job, engine)
        started = time.perf_counter()
        reports = Batch(replace(job, existing="overwrite"), engine.matte, Lines(io.StringIO())).run()
        together = time.perf_counter() - started
        assert all(report.state == "done" for report in reports), reports
    slowest = max(stages.values())
    print(
        json.dumps(
            {
                "frames": options.frames,
                "seconds_alone": {name: round(value, 3) for name, value in stages.items()},
                "seconds_together": round(together, 3),
                "one_after_the_other": round(sum(stages.values()), 3),
                "share_of_slowest_stage": round(slowest / together, 3),
            },
            indent=2,
        )
    )


def engine_of(options: argparse.Namespace) -> Engine:
    """Return the engine to time: a model's, or one whose device leaves the processor alone."""
    return Engine(estimator=SleepEstimator(options.wait)) if options.wait else Engine(options.model)


def make_job(folder: Path, frames: int, tiles: int) -> Job:
    """Write the inputs and return the job over them."""
    for number in range(1001, 1001 + frames):
        source = 1001 + (number - 1001) % 5
        for name in ("plate", "roto"):
            image = read_image(PLATES / f"{name}.{source}.exr")
            planes = {key: np.tile(np.asarray(plane), (tiles, tiles)) for key, plane in image.channels.items()}
            height, width = next(iter(planes.values())).shape
            window = Window.of_size(width, height)
            write_exr(folder / f"{name}.{number}.exr", Image(planes, window, window, colorspace=image.colorspace))
    numbers = range(1001, 1001 + frames)
    plate, roto, output = (
        FrameSequence.parse(folder / f"{name}.####.exr", numbers) for name in ("plate", "roto", "fba")
    )
    return Job(plate, roto, output, tuple((number, "") for number in numbers), widths=(3, 4))


def alone(job: Job, engine: Engine) -> dict[str, float]:
    """Return the seconds that each stage takes over all frames with nothing beside it."""
    seconds = dict.fromkeys(("read", "prepare", "estimate", "finish", "write"), 0.0)

    def timed(name, function, *arguments):
        started = time.perf_counter()
        result = function(*arguments)
        seconds[name] += time.perf_counter() - started
        return result

    engine.matte_one(work.load(job, job.frames[0]))  # compile before the clock runs
    for key in job.frames:
        frame = timed("read", work.load, job, key)
        prepared = timed("prepare", engine.prepare, frame)
        estimated = timed("estimate", engine.estimate, prepared)
        matte = timed("finish", engine.finish, estimated)
        timed("write", work.store, job, frame, matte)
    return seconds


if __name__ == "__main__":
    main()
