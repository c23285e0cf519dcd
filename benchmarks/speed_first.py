"""Seconds of a process's first frame on a CPU beyond loading, with and without compiled loops kept from before.

    python benchmarks/speed_first.py [--size 640x800] [--precision bf16 fp32] [--json FILE]

Each row is a process of its own, torch imported before it begins to load. The first of each precision finds an empty
cache of compiled loops, as right after installation; the second finds what the first has left.
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

import torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="640x800", metavar="HxW")
    parser.add_argument("--precision", nargs="+", default=["bf16", "fp32"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--here", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.precision[0], options.size, Path(options.here))))
        return
    from speed_cases import precisions  # noqa: PLC0415 - not in the processes that are measured

    rows = []
    for precision in precisions(options.precision):
        with tempfile.TemporaryDirectory() as cache:
            save(Path(cache))
            for kept in (False, True):
                rows.append({"loops_kept": kept, **in_a_process(precision, options.size, cache)})
                print(json.dumps(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def in_a_process(precision: str, size: str, cache: str) -> dict[str, object]:
    command = [sys.executable, __file__, "--here", cache, "--precision", precision, "--size", size]
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def save(folder: Path) -> None:
    """Write a file as the paper's authors publish theirs."""
    from speed_cases import network  # noqa: PLC0415 - not in the processes that are measured

    torch.save(network(fold=False).state_dict(), folder / "FBA.pth")


def measure(precision: str, size: str, folder: Path) -> dict[str, object]:
    from speed_cases import picture  # noqa: PLC0415 - a user's process imports none of it

    height, width = (int(side) for side in size.split("x"))
    image, trimap = picture(height, width)
    started = time.perf_counter()
    from fbamatte.models.fba import create_from  # noqa: PLC0415 - loading is measured

    model = create_from(folder / "FBA.pth", "cpu", precision)
    found = {"precision": precision, "size": size, "load_seconds": round(time.perf_counter() - started, 2)}
    for name in ("first_seconds", "second_seconds", "third_seconds"):
        started = time.perf_counter()
        model.estimate(image, trimap)
        found[name] = round(time.perf_counter() - started, 2)
    return found


if __name__ == "__main__":
    main()
