"""Seconds, bytes and error of one picture on a GPU, against plain eager float32 in the same process.

    python benchmarks/speed_gpu.py [--device cuda:0] [--size 1080x1920 ...] [--json FILE] [--plot FILE]

Times are of a whole `estimate`-like call: pixels in pageable memory in, float32 planes on the CPU out,
with the distances computed on the device. ``--device cpu`` runs the same code on a CPU.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from speed_cases import network, picture
from speed_cpu import draw
from torch import Tensor

from fbamatte.compositing import trimap as trimaps
from fbamatte.models.fast import FastNetwork
from fbamatte.models.fast_distance import searched
from fbamatte.models.fast_planes import Planes
from fbamatte.models.tiles import WHOLE, Strips

KINDS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--size", nargs="+", default=["1080x1920", "2160x3840"], metavar="HxW")
    parser.add_argument("--precision", nargs="+", default=["fp32", "fp16", "bf16"])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--model", default="")
    parser.add_argument("--compile", action="store_true", help="also torch.compile of the plain network")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    rows = []
    with torch.inference_mode():
        for size in options.size:
            height, width = (int(side) for side in size.split("x"))
            rows += measure(options, height, width)
    if options.json:
        cuda = options.device.startswith("cuda")
        name = torch.cuda.get_device_name(options.device) if cuda else options.device
        facts = {"torch": torch.__version__, "device": name, "model": options.model or "synthetic"}
        options.json.write_text(json.dumps({**facts, "rows": rows}, indent=1))
    if options.plot:
        draw(rows, options.plot)


def measure(options: argparse.Namespace, height: int, width: int) -> list[dict[str, object]]:
    image, trimap = picture(height, width)
    pixels = [torch.from_numpy(np.ascontiguousarray(x)) for x in (image.transpose(2, 0, 1), trimaps.masks(trimap))]
    unknown = torch.from_numpy((trimap > 0) & (trimap < 1))
    expected, rows, eager = None, [], 0.0
    for name, run in methods(options, pixels):
        row: dict[str, object] = {"method": name, "height": height, "width": width}
        try:
            found, row["first_seconds"], row["seconds"], row["bytes"] = timed(run, options)
        except torch.OutOfMemoryError:
            row["failed"] = "out of memory"
            rows.append(row)
            continue
        if expected is None:
            expected, eager = found, row["seconds"]
        error = (found - expected).abs()[0]
        row.update(
            times_eager=round(eager / row["seconds"], 2),
            alpha_mean=float(error[0][unknown].mean()), alpha_max=float(error[0][unknown].max()),
            colour_max=float(error[1:].max()),
        )  # fmt: skip
        print(json.dumps(row), flush=True)
        rows.append(row)
    return [row for row in rows if "failed" not in row]


def timed(run: Callable[[], Tensor], options: argparse.Namespace) -> tuple[Tensor, float, float, int]:
    """Return output, first and least seconds, and the allocator's peak of one run."""
    cuda = options.device.startswith("cuda")
    seconds = []
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(options.device)
    for _ in range(options.repeat):
        started = time.perf_counter()
        found = run()  # ends with a copy to the CPU: nothing is left in flight
        seconds.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated(options.device) if cuda else 0
    return found, round(seconds[0], 4), round(min(seconds), 4), peak


def methods(options: argparse.Namespace, pixels: list[Tensor]) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """Yield name and run, one network on the device at a time."""
    device = options.device

    def inputs() -> tuple[Tensor, Tensor, Tensor]:
        image, masks = (x[None].to(device) for x in pixels)
        return image, masks, searched(masks)

    def plainly(made: Callable[..., Tensor]) -> Tensor:
        image, masks, squared = inputs()
        planes = Planes(image, masks, squared)
        encoding = planes.encoder_input(0, planes.height)[:, 3:9, : image.shape[2], : image.shape[3]]
        return made(image, masks, encoding.contiguous()).float().cpu()

    plain = network(options.model, fold=False).to(device)
    yield "eager fp32", partial(plainly, plain)
    del plain
    for precision in options.precision:
        fast = FastNetwork(network(options.model).to(device), KINDS[precision], consume=True)
        yield f"{precision} whole", lambda fast=fast: fast(Planes(*inputs()), WHOLE).cpu()
        strips = Strips(256 << 20)
        yield f"{precision} strips of 256 MiB", lambda fast=fast, strips=strips: fast(Planes(*inputs()), strips).cpu()
        if options.compile:
            folded = network(options.model).lower_precision(KINDS[precision]).to(device)
            compiled = torch.compile(folded.to(memory_format=torch.channels_last), dynamic=False)
            yield f"torch.compile {precision}", lambda compiled=compiled: plainly(compiled)


if __name__ == "__main__":
    main()
