"""What a GPU makes of the network: one part of the measurements per run, so that a failure costs no other.

    python benchmarks/speed_gpu.py speed|pieces|memory|stream|first|compiled [--size 2160x3840 ...] --json FILE
    python benchmarks/speed_gpu.py table FOLDER

====================  ==================================================================================
``speed``             seconds and error against plain eager float32 in the same process
``pieces``            the same without graphs, without fused kernels, with the head in float32; the distances alone
``memory``            peaks against megapixels, and the coefficients of `fbamatte.models.memory`
``stream``            frames one after the other through the whole engine against its slowest stage alone
``first``             the first frames of a process
``compiled``          torch.compile of the plain network, for comparison
``table``             the goals, from the files that the other parts left in a folder; draws the curves
====================  ==================================================================================

``--device cpu`` runs the same code on a CPU, as its test does. The weights are synthetic unless ``--model`` names
some: speed is the real one, errors are those of an untrained network, which magnifies every rounding.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import speed_gpu_cases as cases
import torch
from speed_gpu_table import draw, table

from fbamatte.engine import Engine
from fbamatte.engine.device_light import LinearLight
from fbamatte.engine.overlap import overlap
from fbamatte.frame import Frame
from fbamatte.models import memory
from fbamatte.models.fast_distance import searched
from fbamatte.models.fba import NetworkEstimator
from fbamatte.models.tiles import DEFAULT_BUDGET, WHOLE, Strips

STRIPS = Strips(DEFAULT_BUDGET * 16)
Row = dict[str, Any]
Plane = np.ndarray


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*PARTS, "table"])
    parser.add_argument("folder", nargs="?", type=Path, help="of table")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--size", nargs="+", default=["1080x1920", "2160x3840"], metavar="HxW")
    parser.add_argument("--precision", nargs="+", default=["fp32", "fp16", "bf16"])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--unknown", type=float, default=0.2)
    parser.add_argument("--width", type=float, default=1.0, help="of the network's layers")
    parser.add_argument("--model", default="")
    parser.add_argument("--json", type=Path, help="written anew after each row; rows that are there stay")
    options = parser.parse_args(arguments)
    if options.part == "table":
        print(table(options.folder))
        draw(options.folder)
        return
    facts, rows = cases.facts(options), cases.rows_of(options.json)
    with torch.inference_mode():
        for row in PARTS[options.part](options):
            rows.append(row)
            print(json.dumps(row), flush=True)
            if options.json:
                options.json.write_text(json.dumps({**facts, "rows": rows}, indent=1))


def first(options: argparse.Namespace) -> Iterator[Row]:
    """Yield what the first frames of a process take: compiling or finding what was compiled, then recording."""
    size = next(sizes(options))
    for precision in options.precision[-1:]:
        yield from guarded(precision, size, first_frames(options, precision, size))


def first_frames(options: argparse.Namespace, precision: str, size: tuple[int, int]) -> Iterator[Row]:
    plate, trimap = cases.scene(*size, options.unknown)
    begin = time.perf_counter()
    estimator = cases.estimator(options, precision)
    loaded = time.perf_counter() - begin
    seconds = []
    for _ in range(4):
        begin = time.perf_counter()
        estimator.start(plate, trimap, LinearLight()).wait()
        seconds.append(round(time.perf_counter() - begin, 4))
    yield {
        "method": f"{precision} first frames", "height": size[0], "width": size[1],
        "load_seconds": round(loaded, 3), "frame_seconds": seconds,
    }  # fmt: skip


def sizes(options: argparse.Namespace) -> Iterator[tuple[int, int]]:
    for size in options.size:
        height, width = (int(side) for side in size.split("x"))
        yield height, width


def speed(options: argparse.Namespace) -> Iterator[Row]:
    """Yield a row for each size and method."""
    for size in sizes(options):
        yield from speed_at(options, size, *cases.scene(*size, options.unknown))


def speed_at(options: argparse.Namespace, size: tuple[int, int], plate: Plane, trimap: Plane) -> Iterator[Row]:
    expected, eager = None, 0.0
    unknown, image = (trimap > 0) & (trimap < 1), cases.encoded(plate)
    for name, tf32 in (("eager fp32", False), ("eager fp32, TF32 allowed", True)):
        with cases.plain(options, tf32=tf32) as run:
            row = attempted(name, size, partial(cases.timed, partial(run, plate, trimap), options))
        found = row.pop("found", None)
        yield row
        if expected is None and found is not None:
            expected, eager = found, row["seconds"]
    for precision in options.precision:
        for row in guarded(precision, size, ours(options, precision, size, image, plate, trimap)):
            yield compared(row, expected, eager, unknown)


def ours(
    options: argparse.Namespace, precision: str, size: tuple[int, int], image: Plane, plate: Plane, trimap: Plane
) -> Iterator[Row]:
    """Yield one precision's ways; what is streamed is in linear light and has nothing to be compared with."""
    estimator = cases.estimator(options, precision)
    row = attempted(f"{precision} streamed", size, partial(streamed, estimator, plate, trimap, options.frames))
    yield row
    for name, strips in (("whole", WHOLE), ("strips", STRIPS)):

        def stacked(strips: Strips = strips) -> Plane:
            return cases.stacked(estimator.estimate(image, trimap, strips))

        yield attempted(f"{precision} {name}", size, partial(cases.timed, stacked, options))
    estimator.close()


def streamed(estimator: NetworkEstimator, plate: Plane, trimap: Plane, frames: int = 24) -> Row:
    """Return seconds a frame with transfers and light on the device, three frames at a time under way."""
    light = LinearLight()
    for _ in range(3):  # compiled, then recorded, then as ever after
        estimator.start(plate, trimap, light).wait()
    arrivals, on_device = [time.perf_counter()], []
    started = overlap(lambda _: estimator.start(plate, trimap, light), range(frames))
    for download in overlap(lambda download: (download.wait(), download)[1], started):
        arrivals.append(time.perf_counter())
        on_device.append(download.seconds)
    return {
        "seconds": round((arrivals[-1] - arrivals[0]) / frames, 5),
        "worst_interval": round(max(np.diff(arrivals)), 5),
        "latency_on_device": round(float(np.median(on_device)), 5),
    }


def pieces(options: argparse.Namespace) -> Iterator[Row]:
    """Yield what each piece of the GPU path is worth: seconds on the device, without transfers."""
    for size in sizes(options):
        yield from pieces_at(options, size, *cases.scene(*size, options.unknown))


def pieces_at(options: argparse.Namespace, size: tuple[int, int], plate: Plane, trimap: Plane) -> Iterator[Row]:
    device = torch.device(options.device)
    image, masks = cases.on_device(plate, trimap, device)
    light, there = LinearLight(), torch.from_numpy(plate).to(device)
    seen, guess = light.encode(there), torch.rand(7, *size, device=device)
    alone = {
        "distances": partial(searched, masks),
        "encode": partial(light.encode, there),
        "solve": partial(light.solve, there, seen, guess[0], guess[1:]),
    }
    for name, function in alone.items():
        yield attempted(name, size, partial(cases.timed, cases.finished(function, device), options))
    given = (image, masks, searched(masks))
    for precision in options.precision:
        yield from guarded(precision, size, taken_away(options, precision, size, given))


def taken_away(
    options: argparse.Namespace, precision: str, size: tuple[int, int], given: tuple[torch.Tensor, ...]
) -> Iterator[Row]:
    device = given[0].device
    for name, change in cases.changes(precision, device).items():
        with change:
            estimator = cases.estimator(options, precision)
            function = partial(estimator._shapes or estimator._whole, *given)
            row = attempted(
                f"{precision} {name}", size, partial(cases.timed, cases.finished(function, device), options)
            )
            row["recorded"] = estimator._shapes.recorded if estimator._shapes else 0
            estimator.close()
            yield row


def peaks(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the allocator's peaks in each precision, then the coefficients that fit them."""
    for precision in options.precision:
        yield from guarded(precision, (0, 0), peaks_in(options, precision))


def peaks_in(options: argparse.Namespace, precision: str) -> Iterator[Row]:
    rows: list[Row] = []
    estimator = cases.estimator(options, precision)
    plate, trimap = cases.scene(64, 64, 0.3)
    estimator.estimate(cases.encoded(plate), trimap)
    for size in sizes(options):
        for row in peaks_at(options, size, estimator):
            rows.append(row)
            yield row
    estimator.close()
    yield from cases.fits([row for row in rows if "failed" not in row])


def peaks_at(options: argparse.Namespace, size: tuple[int, int], estimator: NetworkEstimator) -> Iterator[Row]:
    plate, trimap = cases.scene(*size, options.unknown)
    image = cases.encoded(plate)
    ways: dict[str, Callable[[], object]] = {
        "whole": partial(estimator.estimate, image, trimap, WHOLE),
        "strips": partial(estimator.estimate, image, trimap, STRIPS),
        "streamed": partial(streamed, estimator, plate, trimap, 6),
    }
    for mode, run in ways.items():
        loaded = cases.start_of_peak(options.device, estimator)
        row = attempted(f"{estimator.precision} {mode}", size, lambda run=run: {"done": bool(run())})
        peak, pixels = cases.peak(options.device), -(-size[0] // 8) * -(-size[1] // 8) * 64
        predicted = memory.cost(options.device, estimator.precision, "strips" if mode == "strips" else "whole")
        yield {
            **row, "precision": estimator.precision, "mode": mode, "pixels": pixels, "bytes": peak - loaded,
            "peak": peak, "reserved": cases.reserved(options.device),
            "predicted_over_actual": round(predicted.of(pixels) / max(peak - loaded, 1), 3),
        }  # fmt: skip


def stream(options: argparse.Namespace) -> Iterator[Row]:
    """Yield each stage alone and all of them together, per frame, through the engine, arrays in and out."""
    for size in sizes(options):
        for precision in options.precision:
            yield from guarded(precision, size, through_the_engine(options, precision, size))


def through_the_engine(options: argparse.Namespace, precision: str, size: tuple[int, int]) -> Iterator[Row]:
    plate, trimap = cases.scene(*size, options.unknown)
    with Engine(estimator=cases.estimator(options, precision)) as engine:
        frames = [Frame(plate, trimap, number=1001 + k) for k in range(options.frames)]
        for frame in frames[:3]:
            engine.matte_one(frame)
        alone = {"prepare": 0.0, "estimate": 0.0, "finish": 0.0}
        for frame in frames:
            at = [time.perf_counter()]
            prepared = engine.prepare(frame)
            at.append(time.perf_counter())
            estimated = engine.estimate(prepared)
            cases.synchronize(options.device)  # so that the device's work counts as the estimate's
            at.append(time.perf_counter())
            engine.finish(estimated)
            at.append(time.perf_counter())
            for name, seconds in zip(alone, np.diff(at)):
                alone[name] += float(seconds) / len(frames)
        begin = time.perf_counter()
        for _ in engine.matte(frames):
            pass
        together = (time.perf_counter() - begin) / len(frames)
    yield {
        "method": f"{precision} engine", "height": size[0], "width": size[1], "seconds": round(together, 5),
        "alone": {name: round(value, 5) for name, value in alone.items()},
        "share_of_slowest": round(max(alone.values()) / together, 3),
    }  # fmt: skip


def compiled(options: argparse.Namespace) -> Iterator[Row]:
    """Yield torch.compile of the plain network, channels last."""
    for size in sizes(options):
        plate, trimap = cases.scene(*size, options.unknown)
        for precision in options.precision:
            with cases.plain(options, precision=precision, compile_it=True) as run:
                work = partial(cases.timed, partial(run, plate, trimap), options)
                row = attempted(f"torch.compile {precision}", size, work)
            row.pop("found", None)
            yield row


def attempted(name: str, size: tuple[int, int], work: Callable[[], Row]) -> Row:
    """Return a row with what ``work`` measured, or why it failed."""
    row: Row = {"method": name, "height": size[0], "width": size[1]}
    try:
        return {**row, **work()}
    except Exception as error:  # one method's trouble must not cost the others
        cases.forget("cuda" if torch.cuda.is_available() else "cpu")
        return {**row, "failed": f"{type(error).__name__}: {error}"[:300]}


def guarded(name: str, size: tuple[int, int], rows: Iterator[Row]) -> Iterator[Row]:
    """Yield rows, and why they ended where they did too early: one precision's trouble must not cost the others."""
    try:
        yield from rows
    except Exception as error:
        cases.forget("cuda" if torch.cuda.is_available() else "cpu")
        yield {"method": name, "height": size[0], "width": size[1], "failed": f"{type(error).__name__}: {error}"[:300]}


def compared(row: Row, expected: np.ndarray | None, eager: float, unknown: np.ndarray) -> Row:
    """Return a row with its error against eager float32 and how many times faster it is."""
    found = row.pop("found", None)
    if eager and "seconds" in row:
        row["times_eager"] = round(eager / float(row["seconds"]), 2)
    if expected is None or found is None:
        return row
    error = np.abs(found - expected)
    # where alpha is 0 or 1 an estimate has the picture for one of its colours, whatever the network said
    mixed = unknown & (found[0] > 0) & (found[0] < 1)
    return {
        **row, "alpha_mean": float(error[0][unknown].mean()), "alpha_max": float(error[0][unknown].max()),
        "colour_max": float(error[1:, mixed].max()) if mixed.any() else 0.0,
    }  # fmt: skip


PARTS = {"speed": speed, "pieces": pieces, "memory": peaks, "stream": stream, "first": first, "compiled": compiled}


if __name__ == "__main__":
    main()
