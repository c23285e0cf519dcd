"""What an estimator costs: seconds, processor seconds and memory of one frame, a process of its own for each model.

    python benchmarks/model_cost.py [--model closed-form --model refined] [--size 2160x3840] [--unknown 0.07]

The frame is that of ``closed_form_uhd.py``; a small one goes first, so that nothing is compiled or loaded meanwhile.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

from closed_form_uhd import make_plate, peak_gb

from fbamatte.models import registry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append")
    parser.add_argument("--size", default="2160x3840", help="rows x columns")
    parser.add_argument("--unknown", type=float, default=0.07, help="share of unknown pixels")
    options = parser.parse_args()
    models = options.model or ["closed-form", "refined"]
    if len(models) > 1:
        for model in models:
            again = ["--model", model, "--size", options.size, "--unknown", str(options.unknown)]
            subprocess.run([sys.executable, __file__, *again], check=True)
        return
    height, width = (int(side) for side in options.size.split("x"))
    estimator = registry.load(models[0], "cpu")
    estimator.estimate(*make_plate(200, 300, options.unknown))
    plate = make_plate(height, width, options.unknown)
    before, began, spent = peak_gb(), time.perf_counter(), os.times()
    estimator.estimate(*plate)
    seconds, after = time.perf_counter() - began, os.times()
    processor = after.user + after.system - spent.user - spent.system
    print(
        f"{models[0]}, {options.size}, {100 * options.unknown:.0f} % unknown: {seconds:.1f} s, "
        f"{processor:.1f} s of processor time, peak {peak_gb():.2f} GB ({before:.2f} GB before)"
    )


if __name__ == "__main__":
    main()
