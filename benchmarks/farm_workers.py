"""How much faster two workers finish a shot than one, with an estimator that waits instead of computing.

::

    python benchmarks/farm_workers.py --frames 80 --seconds 1

Each worker is what a farm runs: a server process and a `fbamatte matte` process with its share of the frames. Prints
one JSON object: wall seconds from the start of the first `fbamatte matte` to the end of the last, and without their
start, from the first matte to the last.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from fbamatte.testing import running_server
from made import write_sequence

FIRST = 1001


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--seconds", type=float, default=1.0, help="that the estimator waits for each frame")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fbamatte-") as folder, ExitStack() as stack:
        shot = write_sequence(Path(folder), range(FIRST, FIRST + options.frames))
        model = f"testing-sleep-{options.seconds}"
        servers = [stack.enter_context(running_server(models=(model,))).address for _ in range(2)]
        (one, one_rate), (two, two_rate) = (measure(shot, servers[:count], options.frames) for count in (1, 2))
    found = {"frames": options.frames, "seconds_each": options.seconds, "one_s": one, "two_s": two}
    found |= {"speed_up_with_start": round(one / two, 3), "speed_up": round(two_rate / one_rate, 3)}
    print(json.dumps(found))
    return int(found["speed_up"] < 1.9)


def measure(shot: Path, servers: list[str], frames: int) -> tuple[float, float]:
    """Return wall seconds, and frames a second between the first matte and the last."""
    out = shot / f"out-{len(servers)}"
    share = frames // len(servers)
    started = time.monotonic()
    workers = []
    for number, server in enumerate(servers):
        first = FIRST + number * share
        last = first + share - 1 if number + 1 < len(servers) else FIRST + frames - 1
        command = [sys.executable, "-m", "fbamatte", "matte", shot / "plate.####.exr"]
        command += ["--trimap", shot / "trimap.####.exr", "-o", out, f"--start={first}", f"--end={last}"]
        workers.append(
            subprocess.Popen([*command, "--server", server], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
    assert [worker.wait() for worker in workers] == [0] * len(workers)
    seconds = time.monotonic() - started
    times = sorted(path.stat().st_mtime for path in out.glob("*.exr"))
    assert len(times) == frames
    # each worker's first matte marks its start and counts for none
    return round(seconds, 2), (frames - len(servers)) / (times[-1] - times[len(servers) - 1])


if __name__ == "__main__":
    sys.exit(main())
