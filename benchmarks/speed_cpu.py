"""Seconds and error of one picture on a CPU, against plain eager float32 of the same network in the same process.

    python benchmarks/speed_cpu.py [--size 640x800] [--repeat 3] [--threads 2] [--model FILE] [--json FILE]

The methods take turns. Of each the fastest wall-clock and the least processor time are given (the latter, with one
thread, means something on a busy machine too). Ratios are the medians over all turns but the first of eager's seconds
in a turn ÷ the method's in the same one: a virtual machine's speed changes over minutes. Without ``--model`` the
weights are synthetic: speed is the real one, but errors are those of an untrained network, which magnifies every
rounding.
``--unknown`` sets the trimap's unknown share. ``--compile`` adds torch.compile of the plain network.
The cost curve: ``--no-eager --size 640x800 1080x1920 2160x3840 --json FILE --plot FILE``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from speed_cases import network, picture, precisions, tensors
from torch import Tensor

from fbamatte.models.fast import FastNetwork
from fbamatte.models.fast_distance import squared_distances
from fbamatte.models.fast_planes import Planes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", default=["640x800"], metavar="HxW")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--no-eager", action="store_true", help="large pictures: no baseline, no errors")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--unknown", type=float, default=0.2)
    parser.add_argument("--model", default="")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    options.precision = precisions(options.precision)
    rows = []
    with torch.inference_mode():
        for size in options.size:
            height, width = (int(side) for side in size.split("x"))
            rows += measure(options, *picture(height, width, options.unknown))
    if options.json:
        facts = {"torch": torch.__version__, "threads": torch.get_num_threads(), "model": options.model or "synthetic"}
        options.json.write_text(json.dumps({**facts, "rows": rows}, indent=1))
    if options.plot:
        draw(rows, options.plot)


def measure(options: argparse.Namespace, image: np.ndarray, trimap: np.ndarray) -> list[dict[str, object]]:
    """Let all methods take turns and print one row each."""
    runs = methods(options, image, trimap)
    found: dict[str, Tensor] = {}
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.repeat):
        for name, run in runs.items():
            started, used = time.perf_counter(), time.process_time()
            found[name] = run()[0]
            wall[name].append(time.perf_counter() - started)
            cpu[name].append(time.process_time() - used)
    rows = []
    unknown = torch.from_numpy((trimap > 0) & (trimap < 1))
    for name in runs:
        rows.append({
            "method": name, "height": image.shape[0], "width": image.shape[1],
            "first_seconds": round(wall[name][0], 3), "seconds": round(min(wall[name]), 3),
            "cpu_seconds": round(min(cpu[name]), 3),
        })  # fmt: skip
        if "eager fp32" in runs:
            error = (found[name] - found["eager fp32"]).abs()
            rows[-1].update({
                "times_eager": times(wall["eager fp32"], wall[name]),
                "times_eager_cpu": times(cpu["eager fp32"], cpu[name]),
                "alpha_mean": float(error[0][unknown].mean()), "alpha_max": float(error[0][unknown].max()),
                "colour_max": float(error[1:].max()),
            })  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    return rows


def times(eager: list[float], ours: list[float]) -> float:
    """Return the median over turns of eager's seconds ÷ ours; the first turn warms up and counts only if alone."""
    ratios = np.divide(eager, ours)
    return round(float(np.median(ratios[1:] if len(ratios) > 1 else ratios)), 2)


def methods(options: argparse.Namespace, image: np.ndarray, trimap: np.ndarray) -> dict[str, Callable[[], Tensor]]:
    given = tensors(image, trimap)
    runs: dict[str, Callable[[], Tensor]] = {}
    if not options.no_eager:
        plain = network(options.model, fold=False)
        runs["eager fp32"] = lambda: plain(*given)
    planes = Planes(given[0], given[1], squared_distances(given[1]))
    for precision in options.precision:
        kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        fast = FastNetwork(network(options.model), kind)
        runs[precision] = lambda fast=fast: fast(planes)
        if options.no_eager:
            continue
        cast = network(options.model).lower_precision(kind).to(memory_format=torch.channels_last)
        if kind != torch.float32:
            runs[f"plain cast to {precision}"] = lambda cast=cast: cast(*given)
        if options.compile:
            compiled = torch.compile(cast)
            runs[f"torch.compile {precision}"] = lambda compiled=compiled: compiled(*given)
    return runs


def draw(rows: list[dict[str, object]], path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - only a plot needs it

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for name in dict.fromkeys(str(row["method"]) for row in rows):
        points = [(r["height"] * r["width"] / 1e6, r["seconds"]) for r in rows if r["method"] == name]  # type: ignore[operator]
        axes.plot(*zip(*sorted(points)), "o-", label=name)
    axes.set(xlabel="megapixels", ylabel="seconds", xlim=0, ylim=0)
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()
