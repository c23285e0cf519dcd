"""The paper's ablations in miniature, on made pictures: three seeds each, laid out like Tables 2 and 3.

    python benchmarks/training_ablation.py OUT [--steps 300] [--device cpu] [--width 0.125] [--crop 96] [--seeds 3]

Every row is trained for the same number of pictures and measured on made pictures of seeds that no row trains on.
Rows that are done are kept: run it again to go on.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from fbamatte.training.generator import ProceduralSource
from fbamatte.training.loop import Plan, train
from fbamatte.training.recipe import Recipe, load_recipe
from fbamatte.training.students import estimate

# Rows of the tables, and what they are called there.
ROWS = {
    "BN, batch 6": ("table2-4", {}),
    "GN, batch 6": ("table2-5", {}),
    "GN, batch 1": ("table2-6", {}),
    "GN, batch 1, clip": ("table2-7", {}),
    "+ F and B": ("table3-8", {}),
    "+ exclusion": ("table3-9", {}),
    "+ clip": ("table3-10", {}),
    "+ whole picture": ("table3-11", {}),
    "+ fusion": ("table3-fba", {}),
}
UNSEEN = 777_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=300, help="of batch 6; batch 1 makes six times as many")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--crop", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--measured", type=int, default=48)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for title, (name, changes) in ROWS.items():
        for seed in range(options.seeds):
            path = options.out / f"{name}-{seed}.json"
            if not path.is_file():
                path.write_text(json.dumps(row(name, changes, seed, options)))
                print(title, seed, path.read_text(), flush=True)
    table(options)


def row(name: str, changes: dict[str, object], seed: int, options: argparse.Namespace) -> dict[str, float]:
    device = torch.device(options.device)
    whole = load_recipe(name, changes)
    pictures = 6 * options.steps
    recipe = replace(
        whole, data="procedural", width=options.width, crops=(options.crop,), crop_to=0, trimap_radii=(2, 10),
        learning_rate=5e-4, epochs=1, epoch_samples=pictures, schedule="cosine", warm_up=20, clip=1.0, seed=seed,
        rescale=1.0,
    )  # fmt: skip
    folder = options.out / "runs" / f"{name}-{seed}"
    plan = Plan(folder, log_every=100, sheet_every=0, save_every=1000)
    result = train(recipe, ProceduralSource(recipe, device), plan, device)
    return measured(result.network.eval(), recipe, device, options.measured)


@torch.no_grad()
def measured(network: torch.nn.Module, recipe: Recipe, device: torch.device, count: int) -> dict[str, float]:
    source = ProceduralSource(replace(recipe, seed=UNSEEN, batch=4), device)
    sums = {"alpha SAD": 0.0, "alpha MSE": 0.0, "F SAD": 0.0}
    pixels = 0.0
    for step in range(count // 4):
        batch = source.batch(step)
        unknown = batch.unknown
        output = estimate(network, batch, recipe).float()
        error = (output[:, :1] - batch.alpha).abs() * unknown
        sums["alpha SAD"] += float(error.sum()) / 1000 / count
        sums["alpha MSE"] += float(error.square().sum()) * 1000
        pixels += float(unknown.sum())
        if output.shape[1] == 7:
            shown = batch.alpha * (output[:, 1:4] - batch.foreground).abs() * unknown
            sums["F SAD"] += float(shown.sum()) / 1000 / count
    sums["alpha MSE"] /= max(pixels, 1)
    return sums


def table(options: argparse.Namespace) -> None:
    print(
        f"| row | α SAD (k) | α MSE (×1000) | αF SAD (k) |\n|---|---|---|---|  {options.seeds} seeds: mean ± deviation"
    )
    for title, (name, _) in ROWS.items():
        rows = [json.loads((options.out / f"{name}-{seed}.json").read_text()) for seed in range(options.seeds)]
        cells = []
        for key in ("alpha SAD", "alpha MSE", "F SAD"):
            values = torch.tensor([r[key] for r in rows])
            deviation = float(values.std()) if len(rows) > 1 else 0.0
            cells.append(f"{float(values.mean()):.3f} ± {deviation:.3f}" if float(values.max()) else "–")
        print(f"| {title} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
