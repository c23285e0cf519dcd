"""How fast training pictures are drawn, and how they look.

python benchmarks/training_generator.py [--device cuda:0] [--size 320] [--pictures 32] [--sheet sheet.png]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch

from fbamatte.training.generator import FAMILIES, ProceduralSource
from fbamatte.training.recipe import load_recipe
from fbamatte.training.records import write_sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", default="")
    options = parser.parse_args()
    device = torch.device(options.device)
    recipe = replace(load_recipe("fba-small"), batch=options.batch, pool=0, crops=(options.size,), seed=options.seed)
    for family in (*FAMILIES, "all"):
        source = ProceduralSource(recipe, device, families=FAMILIES if family == "all" else (family,))
        source.batch(10_000)
        steps = max(1, options.pictures // options.batch)
        settle(device)
        begun = time.perf_counter()
        for step in range(steps):
            batch = source.batch(step)
            _ = batch.encoding
        settle(device)
        each = (time.perf_counter() - begun) / (steps * options.batch)
        print(f"{family:8} {1000 * each:8.1f} ms a picture of {options.size}²", flush=True)
    if options.sheet:
        truth = torch.cat([batch.alpha, batch.foreground, batch.background], dim=1)
        write_sheet(Path(options.sheet), batch, truth)


def settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
