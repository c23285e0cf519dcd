"""Seconds of a process's first frame on a CPU beyond loading, with and without compiled loops kept from before.

    python benchmarks/speed_first.py [--size 640x800] [--precision bf16 fp32] [--json FILE]

Each row is a process of its own. The first of each precision finds an empty cache of compiled loops, as
right after installation; the second finds what the first has left.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="640x800", metavar="HxW")
    parser.add_argument("--precision", nargs="+", default=["bf16", "fp32"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.precision[0], options.size)))
        return
    rows = []
    for precision in options.precision:
        with tempfile.TemporaryDirectory() as cache:
            for kept in (False, True):
                rows.append({"loops_kept": kept, **in_a_process(precision, options.size, cache)})
                print(json.dumps(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def in_a_process(precision: str, size: str, cache: str) -> dict[str, object]:
    command = [sys.executable, __file__, "--here", "--precision", precision, "--size", size]
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def measure(precision: str, size: str) -> dict[str, object]:
    started = time.perf_counter()
    from speed_cases import estimator, picture  # noqa: PLC0415 - importing counts

    height, width = (int(side) for side in size.split("x"))
    model = estimator("cpu", precision)
    image, trimap = picture(height, width)
    found = {"precision": precision, "size": size, "load_seconds": round(time.perf_counter() - started, 2)}
    for name in ("first_seconds", "second_seconds", "third_seconds"):
        started = time.perf_counter()
        model.estimate(image, trimap)
        found[name] = round(time.perf_counter() - started, 2)
    return found


if __name__ == "__main__":
    main()
