"""A batch over two Ray nodes on this machine, one of which is killed in the middle.

::

    python benchmarks/farm_ray.py --frames 40

Prints one JSON object: frames done, frames that were started twice, files that were written twice, pixels unequal to
those of a run without Ray. Needs `pip install fbamatte[ray]`; takes a minute and about 2 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import ray
from ray.cluster_utils import Cluster

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from fbamatte.farm.ray_worker import STAGES_AT_ONCE
from fbamatte.imaging.exr import read_exr
from made import alpha, plate, trimap, write

FIRST, WIDTH, HEIGHT = 1001, 640, 360


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fbamatte-") as folder:
        found = measure(Path(folder), options.frames)
    print(json.dumps(found))
    good = found["done"] == options.frames and found["started_twice"] <= STAGES_AT_ONCE
    return int(not good or bool(found["written_twice"]) or bool(found["unequal"]))


def measure(folder: Path, frames: int) -> dict[str, object]:
    for number in range(FIRST, FIRST + frames):
        write(
            folder / f"plate.{number}.exr",
            dict(zip("RGB", np.moveaxis(plate(number, WIDTH, HEIGHT), -1, 0), strict=True)),
        )
        write(folder / f"trimap.{number}.exr", {"A": trimap(number, WIDTH, HEIGHT)})
    assert alpha(FIRST, WIDTH, HEIGHT).any()
    subprocess.run(command(folder, "alone"), check=True, capture_output=True)
    # The head has no processors for workers: the driver's own process takes its place.
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    try:
        return killed_run(folder, frames, cluster, nodes)
    finally:
        cluster.shutdown()


def killed_run(folder: Path, frames: int, cluster: Cluster, nodes: list[object]) -> dict[str, object]:
    started = time.monotonic()
    ray_command = [*command(folder, "ray"), "--engine", "ray", "--address", cluster.address, "--workers", "2"]
    run = subprocess.Popen([*ray_command, "--progress", "json"], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    lines = [json.loads(run.stdout.readline()) for _ in range(frames // 4)]
    before = {path: path.stat().st_mtime_ns for path in (folder / "ray").glob("fba.*.exr")}
    cluster.remove_node(nodes[0], allow_graceful=False)
    lines += [json.loads(line) for line in run.stdout]
    code = run.wait()
    states = [line["state"] for line in lines]
    ended = {line["frame"] for line in lines if line["state"] in {"done", "skipped"}}
    return {
        "frames": frames,
        "code": code,
        "done": len(ended),
        "started_twice": states.count("retrying"),
        "written_twice": sum(path.stat().st_mtime_ns != then for path, then in before.items()),
        "unequal": sum(not equal(folder / "ray" / path.name, path) for path in (folder / "alone").glob("*.exr")),
        "finished_at_kill": len(before),
        "seconds": round(time.monotonic() - started, 1),
    }


def command(folder: Path, out: str) -> list[str]:
    base = [
        sys.executable,
        "-m",
        "fbamatte",
        "matte",
        f"{folder}/plate.####.exr",
        "--trimap",
        f"{folder}/trimap.####.exr",
    ]
    return [*base, "-o", str(folder / out)]


def equal(one: Path, other: Path) -> bool:
    pictures = [read_exr(path).channels for path in (one, other)]
    return all(np.array_equal(pictures[0][name], pictures[1][name]) for name in pictures[1])


if __name__ == "__main__":
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    assert ray.__version__
    sys.exit(main())
