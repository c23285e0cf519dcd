"""Kill `fbamatte matte` at random points of a job, run it again, and look at what it left.

::

    python benchmarks/farm_kill.py                   20 kills of a job of 40 frames
    python benchmarks/farm_kill.py --kills 2 --frames 12

Prints one JSON object: frames missing, partial, repeated although finished, and unequal to those of a run that nobody
killed. All four must be 0; the exit code says so too.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from fbamatte.imaging.exr import read_exr
from made import write_sequence

FIRST = 1001


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fbamatte-") as folder:
        found = measure(Path(folder), options.kills, options.frames, random.Random(options.seed))
    print(json.dumps(found))
    return int(any(found[name] for name in ("missing", "partial", "repeated", "unequal")))


def measure(folder: Path, kills: int, frames: int, chance: random.Random) -> dict[str, object]:
    shot = write_sequence(folder / "shot", range(FIRST, FIRST + frames))
    assert start(shot, folder / "unbroken").wait() == 0
    faults: Counter[str] = Counter()
    finished_at_kill = []
    for kill in range(kills):
        out = folder / f"killed-{kill}"
        kill_after(start(shot, out), out, chance.randrange(frames), chance.random() * 0.05)
        before = {path.name: path.stat().st_mtime_ns for path in mattes(out)}
        finished_at_kill.append(len(before))
        faults["partial"] += sum(not equal(path, folder / "unbroken" / path.name) for path in mattes(out))
        assert start(shot, out).wait() == 0
        names = {path.name for path in mattes(out)}
        faults["missing"] += frames - len(names)
        faults["repeated"] += sum((out / name).stat().st_mtime_ns != then for name, then in before.items())
        faults["unequal"] += sum(not equal(out / name, folder / "unbroken" / name) for name in names)
    counts = {name: faults[name] for name in ("missing", "partial", "repeated", "unequal")}
    return {"kills": kills, "frames": frames, **counts, "finished_at_kill": sorted(finished_at_kill)}


def start(shot: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "fbamatte", "matte", shot / "plate.####.exr", "--trimap", shot / "trimap.####.exr"]
    return subprocess.Popen(
        [*command, "-o", out / "fba.####.exr"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def kill_after(process: subprocess.Popen[bytes], out: Path, mattes_done: int, seconds: float) -> None:
    """SIGKILL once so many mattes are there and a moment has passed: anywhere inside a frame."""
    while process.poll() is None and len(mattes(out)) < mattes_done:
        time.sleep(0.002)
    time.sleep(seconds)
    process.kill()
    process.wait()


def mattes(out: Path) -> list[Path]:
    return sorted(out.glob("fba.*.exr")) if out.is_dir() else []


def equal(one: Path, other: Path) -> bool:
    """Whether both are whole and hold the same pixels, bit for bit."""
    try:
        pictures = [read_exr(path).channels for path in (one, other)]
    except Exception:  # whatever is wrong with it, it is not whole
        return False
    return pictures[0].keys() == pictures[1].keys() and all(
        np.array_equal(pictures[0][name], pictures[1][name], equal_nan=True) for name in pictures[0]
    )


if __name__ == "__main__":
    sys.exit(main())
