"""Cost curves on a CPU: seconds and bytes of a picture against its megapixels, and of a process against its frames.

    python benchmarks/speed_curves.py [--size 640x800 ...] [--precision bf16 fp32] [--json FILE] [--plot FILE]

Each size and precision is a process of its own, computed as the engine would compute it. Pictures of up to
``--eager-pixels`` are computed by the plain network in eager float32 too, in the same process. ``--frames`` pictures of
the first size one after the other are the curve against frames. The file is written anew after each row, and rows
that are in it stay.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from speed_cases import estimator, network, picture, precisions, tensors
from speed_memory import resident, rise

from fbamatte.models import memory

SIZES = ("640x800", "1080x1920", "1440x2560", "2160x3840", "2160x4096")
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", default=SIZES, metavar="HxW")
    parser.add_argument("--precision", nargs="+", default=["bf16", "fp32"])
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--eager-pixels", type=float, default=2.1e6)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--here", default="", choices=["", "sizes", "frames"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        part = {"sizes": of_size, "frames": of_frames}[options.here]
        print(json.dumps(part(options.precision[0], options.size[0], options)))
        return
    rows: list[Row] = json.loads(options.json.read_text())["rows"] if options.json and options.json.is_file() else []
    for precision in precisions(options.precision):
        for part, sizes in (("sizes", options.size), ("frames", options.size[:1])):
            for size in sizes:
                rows += in_a_process(part, precision, size, options)
                print(json.dumps(rows[-1]), flush=True)
                if options.json:
                    facts = {"torch": torch.__version__, "threads": torch.get_num_threads()}
                    options.json.write_text(json.dumps({**facts, "rows": rows}, indent=1))
    if options.plot:
        draw(rows, options.plot)


def in_a_process(part: str, precision: str, size: str, options: argparse.Namespace) -> list[Row]:
    command = [sys.executable, __file__, "--here", part, "--precision", precision, "--size", size]
    command += ["--frames", str(options.frames), "--eager-pixels", str(options.eager_pixels)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: list[Row] = json.loads(done.stdout.splitlines()[-1])
    return found


def of_size(precision: str, size: str, options: argparse.Namespace) -> list[Row]:
    """Return seconds and peak of one picture in a process that has seen a tiny one; eager float32 where it fits."""
    height, width = (int(side) for side in size.split("x"))
    model, pixels = estimator("cpu", precision), height * width
    model.estimate(*picture(64, 64))
    image, trimap = picture(height, width)
    seconds: list[float] = []
    used = rise(lambda: seconds.append(timed(lambda: model.estimate(image, trimap))), "cpu")
    if pixels <= options.eager_pixels:
        seconds.append(timed(lambda: model.estimate(image, trimap)))
    row = {
        "precision": precision, "height": height, "width": width, "seconds": min(seconds), "bytes": used,
        "process_bytes": resident("VmHWM"),
        "predicted_over_actual": round(memory.cost("cpu", precision, "strips").of(pixels) / used, 3),
    }  # fmt: skip
    if pixels <= options.eager_pixels:
        model.close()
        plain, given = network(fold=False), tensors(image, trimap)
        eager: list[float] = []
        with torch.inference_mode():
            row["eager_bytes"] = rise(lambda: eager.extend(timed(lambda: plain(*given)) for _ in range(2)), "cpu")
        row["eager_seconds"] = min(eager)
        row["times_eager"] = round(row["eager_seconds"] / row["seconds"], 2)
    return [row]


def of_frames(precision: str, size: str, options: argparse.Namespace) -> list[Row]:
    """Return seconds and resident bytes after each frame of a process."""
    height, width = (int(side) for side in size.split("x"))
    model, (image, trimap) = estimator("cpu", precision), picture(height, width)
    rows = []
    for frame in range(1, options.frames + 1):
        seconds = timed(lambda: model.estimate(image, trimap))
        rows.append({"precision": precision, "frame": frame, "seconds": seconds, "resident": resident("VmRSS")})
    return rows


def timed(run: Any) -> float:
    started = time.perf_counter()
    run()
    return round(time.perf_counter() - started, 3)


def draw(rows: list[Row], path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - only a plot needs it

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7))
    sized, framed = ([row for row in rows if key in row] for key in ("height", "frame"))
    for precision in dict.fromkeys(row["precision"] for row in rows):
        of = [row for row in sized if row["precision"] == precision]
        megapixels = [row["height"] * row["width"] / 1e6 for row in of]
        axes[0, 0].plot(megapixels, [row["seconds"] for row in of], "o-", label=precision)
        axes[1, 0].plot(megapixels, [row["bytes"] / 1e9 for row in of], "o-", label=precision)
        of = [row for row in framed if row["precision"] == precision]
        numbers, seconds = [row["frame"] for row in of], [row["seconds"] for row in of]
        axes[0, 1].plot(numbers, [sum(seconds[: k + 1]) for k in range(len(of))], "o-", label=precision)
        axes[1, 1].plot(numbers, [row["resident"] / 1e9 for row in of], "o-", label=precision)
    eager = [row for row in sized if "eager_seconds" in row]
    megapixels = [row["height"] * row["width"] / 1e6 for row in eager]
    axes[0, 0].plot(megapixels, [row["eager_seconds"] for row in eager], "kx", label="eager float32")
    axes[1, 0].plot(megapixels, [row["eager_bytes"] / 1e9 for row in eager], "kx", label="eager float32")
    for row, labels in enumerate((("seconds a frame", "seconds in all"), ("peak GB above the model", "resident GB"))):
        for column, label in enumerate(labels):
            axes[row, column].set(ylabel=label, xlim=0, ylim=0, xlabel=("megapixels", "frames")[column])
            axes[row, column].legend()
    figure.savefig(path, dpi=100, bbox_inches="tight")


if __name__ == "__main__":
    main()
