"""Peak memory against picture size: fits the coefficients of `fbamatte.models.memory`.

    python benchmarks/speed_memory.py [--device cpu] [--precision fp32 bf16] [--json FILE] [--plot FILE]

Each point is a process of its own: it computes a tiny picture first, so that libraries and packed
weights are there, and then reports how far its own memory (CPU: RssAnon every millisecond, since systems drop and
reload pages of libraries as they like) or the allocator (CUDA) rose. ``--repeat`` takes points several times; fits are
of each size's largest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import numpy as np
import torch
from speed_cases import estimator, picture, precisions

from fbamatte.models import memory
from fbamatte.models.base import Estimate
from fbamatte.models.tiles import DEFAULT_BUDGET, WHOLE, Strips

SIZES = ("384x512", "640x800", "1080x1920")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", nargs="+", default=["bf16", "fp32"])
    parser.add_argument("--mode", nargs="+", default=["strips", "whole"])
    parser.add_argument("--size", nargs="+", default=SIZES, metavar="HxW")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--width", type=float, default=1.0, help="of the network's layers: plates beyond 8K in little")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options)))
        return
    rows = []
    for precision in precisions(options.precision, options.device):
        for mode in options.mode:
            for size in options.size * options.repeat:
                rows.append(in_a_process(options, precision, mode, size))
                print(json.dumps(rows[-1]), flush=True)
    fits = fit(rows)
    print(json.dumps(fits, indent=1))
    if options.json:
        options.json.write_text(json.dumps({"points": rows, "fits": fits}, indent=1))
    if options.plot:
        draw(rows, options.plot)


def in_a_process(options: argparse.Namespace, precision: str, mode: str, size: str) -> dict[str, object]:
    how = ["--here", "--device", options.device, "--precision", precision, "--mode", mode, "--size", size]
    how += ["--width", str(options.width)]
    done = subprocess.run([sys.executable, __file__, *how], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def measure(options: argparse.Namespace) -> dict[str, object]:
    device, precision, mode = options.device, options.precision[0], options.mode[0]
    height, width = (int(side) for side in options.size[0].split("x"))
    model = estimator(device, precision, width=options.width)
    model.estimate(*picture(64, 64))
    image, trimap = picture(height, width)
    strips = WHOLE if mode == "whole" else Strips(DEFAULT_BUDGET if device == "cpu" else DEFAULT_BUDGET * 16)
    started = time.monotonic()
    found: list[Estimate] = []
    work = lambda: found.append(model.estimate(image, trimap, strips))  # noqa: E731 - called once, below
    peak = (rise if device == "cpu" else rise_on_device)(work, device)
    seconds = time.monotonic() - started
    assert all(np.isfinite(x).all() for x in (found[0].alpha, found[0].foreground, found[0].background))
    assert np.ptp(found[0].foreground) > 0
    pixels = height * width
    return {
        "device": device, "precision": precision, "mode": mode, "height": height, "width": width, "pixels": pixels,
        "bytes": peak, "process_bytes": resident("VmHWM"), "seconds": round(seconds, 2),
        "width_of_layers": options.width,
        "predicted_over_actual": round(memory.cost(device, precision, mode).of(pixels) / max(peak, 1), 3),
    }  # fmt: skip


def rise(work: Callable[[], object], _: str) -> int:
    """Return how far this process's own memory rises meanwhile."""
    before, peaks, done = resident("RssAnon"), [0], Event()

    def watch() -> None:
        while not done.wait(0.001):
            peaks[0] = max(peaks[0], resident("RssAnon"))

    watcher = Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return peaks[0] - before


def rise_on_device(work: Callable[[], object], device: str) -> int:
    """Return how far the allocator's memory rises meanwhile."""
    torch.cuda.reset_peak_memory_stats(device)
    before = int(torch.cuda.memory_allocated(device))
    work()
    return int(torch.cuda.max_memory_allocated(device)) - before


def resident(what: str) -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[what].split()[0]) * 1024


def fit(rows: list[dict[str, object]]) -> dict[str, dict[str, float]]:
    """Return constant and bytes per pixel, least squares of the relative error."""
    found = {}
    for key in sorted({(row["device"], row["precision"], row["mode"]) for row in rows}):
        points = [row for row in rows if (row["device"], row["precision"], row["mode"]) == key]
        largest: dict[float, float] = {}
        for row in points:
            largest[float(row["pixels"])] = max(float(row["bytes"]), largest.get(float(row["pixels"]), 0))
        pixels, used = np.array(sorted(largest.items())).T
        if len(largest) < 2:
            continue
        matrix = np.stack([1 / used, pixels / used], axis=1)
        constant, slope = np.linalg.lstsq(matrix, np.ones(len(points)), rcond=None)[0]
        ratios = (constant + slope * pixels) / used
        found["/".join(map(str, key))] = {
            "constant": round(float(constant)), "per_pixel": round(float(slope), 1),
            "worst_ratio": round(float(np.maximum(ratios, 1 / ratios).max()), 3),
        }  # fmt: skip
    return found


def draw(rows: list[dict[str, object]], path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - only a plot needs it

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for precision, mode in sorted({(str(row["precision"]), str(row["mode"])) for row in rows}):
        points = sorted(
            (float(r["pixels"]), float(r["bytes"])) for r in rows if (r["precision"], r["mode"]) == (precision, mode)
        )
        axes.plot([p / 1e6 for p, _ in points], [b / 1e9 for _, b in points], "o-", label=f"{precision}, {mode}")
    axes.set(xlabel="megapixels", ylabel="peak GB above the loaded model", xlim=0, ylim=0)
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()
