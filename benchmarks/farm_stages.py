"""Seconds that each stage of one frame takes, and its bytes on disk: what benchmarks/farm_scale.py reads.

::

    python benchmarks/farm_stages.py --size 1920x1080 > stages.json
    python benchmarks/farm_stages.py --size 3840x2160 > stages.json

Each stage runs alone on this machine's CPU; the least of several runs counts. Seconds are those of a processor, not of
the clock on the wall, so that a busy machine gives the same: a stage that uses several cores is done sooner. The
estimate is not among the stages: it belongs to a device and a model, and farm_scale.py takes it as a parameter.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fbamatte.engine import Engine
from fbamatte.farm import work
from fbamatte.farm.plan import plan
from fbamatte.farm.settings import MatteSettings
from fbamatte.frame import Window
from fbamatte.imaging.exr import write_exr
from fbamatte.imaging.image import Image
from fbamatte.testing import NullEstimator


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    width, height = (int(part) for part in options.size.split("x"))
    with tempfile.TemporaryDirectory(prefix="fbamatte-") as folder:
        print(json.dumps(measure(Path(folder), width, height, options.runs), indent=1))
    return 0


def measure(folder: Path, width: int, height: int, runs: int) -> dict[str, object]:
    write_shot(folder, width, height)
    settings = MatteSettings(f"{folder}/plate.####.exr", trimap=f"{folder}/trimap.####.exr", output=f"{folder}/out")
    job = plan(settings)
    job.make_folders()
    engine = Engine(estimator=NullEstimator())
    frame = work.load(job, job.frames[0])
    prepared = engine.prepare(frame)
    estimated = engine.estimate(prepared)
    matte = engine.finish(estimated)
    stages: dict[str, Callable[[], object]] = {
        "read": lambda: work.load(job, job.frames[0]),
        "prepare": lambda: engine.prepare(frame),
        "finish": lambda: engine.finish(estimated),
        "write": lambda: work.store(job, frame, matte),
    }
    found = {name: least(stage, runs) for name, stage in stages.items()}
    sources = [job.plate.path(*job.frames[0]), job.matte.path(*job.frames[0])]
    return {
        "width": width,
        "height": height,
        "seconds": {name: processor for name, (processor, _) in found.items()},
        "wall_seconds": {name: wall for name, (_, wall) in found.items()},
        "bytes_read": sum(path.stat().st_size for path in sources),
        "bytes_written": job.output.path(*job.frames[0]).stat().st_size,
        "machine": {"cpus": os.cpu_count(), "processor": platform.processor() or platform.machine()},
        "runs": runs,
        "load": round(os.getloadavg()[0], 1),
    }


def least(stage: Callable[[], object], runs: int) -> tuple[float, float]:
    """Return the least processor and wall seconds that ``stage`` took."""
    found = []
    for _ in range(runs):
        started = time.process_time(), time.perf_counter()
        stage()
        found.append((time.process_time() - started[0], time.perf_counter() - started[1]))
    return round(min(cpu for cpu, _ in found), 4), round(min(wall for _, wall in found), 4)


def write_shot(folder: Path, width: int, height: int) -> None:
    """Write a plate with grain in half floats, as cameras' files are, and a trimap with an eighth unknown."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    grain = rng.normal(0, 0.01, (height, width, 3)).astype(np.float32)
    plate = np.stack([x / width, y / height, (x + y) / (width + height)], axis=-1) * 2 + grain
    radius = np.hypot(x - width / 2, y - height / 2) / height
    trimap = np.where(radius < 0.3, 1, np.where(radius < 0.42, 0.5, 0)).astype(np.float32)
    window = Window.of_size(width, height)
    for name, channels in (
        ("plate", dict(zip("RGB", np.moveaxis(plate, -1, 0), strict=True))),
        ("trimap", {"A": trimap}),
    ):
        write_exr(folder / f"{name}.1001.exr", Image(channels, display_window=window, data_window=window))


if __name__ == "__main__":
    sys.exit(main())
