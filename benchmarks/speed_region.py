"""What leaving out the known costs and saves, by the trimap's unknown share, on a CPU.

    python benchmarks/speed_region.py [--size 1080x1920] [--unknown 0.02 0.07 0.2] [--json FILE] [--plot FILE]

The network's head is left out where the trimap knows (`NetworkEstimator`'s ``only_unknown``) and, for comparison, not;
both take turns. Errors are between the two estimates: alpha everywhere, F and B where they are seen (F where alpha is
not 0, B where it is not 1) and where they are not.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speed_cases import network, picture, precisions

from fbamatte.models.base import Estimate, ModelInfo
from fbamatte.models.fba import NetworkEstimator

TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
INFO = ModelInfo("synthetic", "", "", True, "", 0, "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1080x1920", metavar="HxW")
    parser.add_argument("--unknown", nargs="+", type=float, default=[0.02, 0.07, 0.2])
    parser.add_argument("--precision", nargs="+", default=["bf16"], choices=TYPES)
    parser.add_argument("--repeat", type=int, default=4)
    parser.add_argument("--model", default="")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    rows = [row for precision in precisions(options.precision) for row in measure(precision, options)]
    if options.json:
        options.json.write_text(json.dumps({"torch": torch.__version__, "size": options.size, "rows": rows}, indent=1))
    if options.plot:
        draw(rows, options.plot)


def measure(precision: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    height, width = (int(side) for side in options.size.split("x"))
    models = [
        NetworkEstimator(network(options.model), INFO, precision, TYPES[precision], only_unknown=only)
        for only in (False, True)
    ]
    rows = []
    for share in options.unknown:
        given = picture(height, width, share)
        seconds: list[list[float]] = [[], []]
        for _ in range(options.repeat):
            found = []
            for model, times in zip(models, seconds):
                started = time.perf_counter()
                found.append(model.estimate(*given))
                times.append(time.perf_counter() - started)
        whole, part = (round(min(times), 3) for times in seconds)
        rows.append({"precision": precision, "unknown": share, "seconds": part, "seconds_whole": whole,
                     "times": round(whole / part, 3), **errors(*found)})  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    return rows


def errors(whole: Estimate, part: Estimate) -> dict[str, float]:
    """Return the greatest differences."""
    gone, solid = whole.alpha == 0, whole.alpha == 1
    foreground, background = (
        np.abs(getattr(whole, layer) - getattr(part, layer)).max(axis=2) for layer in ("foreground", "background")
    )
    return {
        "alpha_max": float(np.abs(whole.alpha - part.alpha).max()),
        "seen_max": float(max(foreground[~gone].max(), background[~solid].max())),
        "hidden_max": float(max(foreground[gone].max(), background[solid].max())),
    }


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - only a plot needs it

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for precision in dict.fromkeys(row["precision"] for row in rows):
        of = [row for row in rows if row["precision"] == precision]
        shares = [100 * row["unknown"] for row in of]
        axes.plot(shares, [row["seconds_whole"] for row in of], "o--", label=f"{precision}, everywhere")
        axes.plot(shares, [row["seconds"] for row in of], "o-", label=f"{precision}, the known left out")
    axes.set(xlabel="unknown, % of the picture", ylabel="seconds", xlim=0, ylim=0)
    axes.legend()
    figure.savefig(path, dpi=100, bbox_inches="tight")


if __name__ == "__main__":
    main()
