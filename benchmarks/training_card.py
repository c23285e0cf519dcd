"""Measure a trained network on photographs beside closed-form matting, and write its model card from that alone.

    python benchmarks/training_card.py RECIPE RUN PHOTOGRAPHS [--device cuda:0]

Reads RUN/RECIPE.safetensors and RUN/log.csv, writes RUN/card.md and RUN/figures.csv. The photographs themselves,
or parts of them, are not written anywhere.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fbamatte.evaluation import metrics
from fbamatte.models import refinement, registry
from fbamatte.models.base import Estimator, ModelInfo
from fbamatte.models.card import read_card
from fbamatte.models.checkpoint import load_checkpoint
from fbamatte.training.judge import Photograph, measure, photographs
from fbamatte.training.recipe import load_recipe

CASES_TO_WIN = 10
SOLVED = ", last solve included"
LESS = 0.6
"""Of closed-form's error, with the tight trimap: the goal."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("run", type=Path)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    recipe = load_recipe(options.recipe)
    path = options.run / f"{recipe.name}.safetensors"
    network, info = loaded(path, recipe.architecture)
    found = photographs(options.photographs, gathered=recipe.architecture == "refine")
    network.to(device)
    plain = registry.load("closed-form")
    whole = refinement.RefinementEstimator(path, options.device) if recipe.architecture == "refine" else None
    rows = []
    for kind, pictures in found.items():
        for picture in pictures:
            ours, theirs = measure(network, picture, recipe, device), solved(plain, picture)
            rows.append((kind, Path(picture.name).stem, *ours, *theirs))
            if whole is not None:
                rows.append((f"{kind}{SOLVED}", Path(picture.name).stem, *solved(whole, picture), *theirs))
    with (options.run / "figures.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("trimap", "photograph", "sad", "mse", "closed_form_sad", "closed_form_mse"))
        writer.writerows([*r[:2], *(f"{v:.6g}" for v in r[2:])] for r in rows)
    text = card(info, path, rows, options.run, device)
    (options.run / "card.md").write_text(text)
    print(text)


def solved(estimator: Estimator, photograph: Photograph) -> tuple[float, float]:
    """Return SAD (thousands) and MSE (×1000) of a whole estimator: of the refining one with its last solve."""
    image = np.ascontiguousarray(photograph.batch.image[0].permute(1, 2, 0).numpy())
    alpha = estimator.estimate(image, photograph.trimap).alpha
    pair = (photograph.truth, photograph.trimap)
    return metrics.sad(alpha, *pair), 1000 * metrics.mse(alpha, *pair)


def loaded(path: Path, architecture: str) -> tuple[nn.Module, ModelInfo]:
    if architecture == "refine":
        found = refinement.load(path)
        return found.network, found.info
    return load_checkpoint(path), read_card(path).info()


def card(info: ModelInfo, path: Path, rows: Sequence[tuple[object, ...]], run: Path, device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    with (run / "log.csv").open(newline="") as file:
        logged = list(csv.DictReader(file))
    lines = [
        f"# {info.title}", "", info.description, "", "| | |", "|---|---|",
        f"| file | `{path.name}`, {path.stat().st_size / 1e6:.1f} MB, half precision |",
        f"| parameters | {info.parameters / 1e6:.2f} million |",
        f"| SHA-256 of the weights | `{info.sha256}` |",
        f"| licence | {info.licence}; commercial use {'permitted' if info.commercial else 'not permitted'} |",
        f"| last logged step | {logged[-1]['step']}, loss {logged[-1]['loss']} |",
        f"| measured on | {name}, {len({r[1] for r in rows})} photographs with known alpha, none of them trained on |",
        "",
        "| trimap | SAD (k) | closed-form | MSE (×1000) | closed-form | better on (SAD, MSE) |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    verdicts = {}  # a network's own is replaced by that with its last solve, which comes after it
    for kind in sorted({str(r[0]) for r in rows}):
        figures = np.array([r[2:] for r in rows if r[0] == kind], dtype=float)
        sad, mse, their_sad, their_mse = figures.mean(axis=0)
        won = [int((figures[:, k] < figures[:, k + 2]).sum()) for k in (0, 1)]
        cells = (
            f"{sad:.2f}",
            f"{their_sad:.2f}",
            f"{mse:.1f}",
            f"{their_mse:.1f}",
            f"{won[0]}, {won[1]} of {len(figures)}",
        )
        lines.append(f"| {kind} | {' | '.join(cells)} |")
        shape = kind.removesuffix(SOLVED)
        verdicts[shape] = sad < their_sad and mse < their_mse and min(won) >= CASES_TO_WIN
        if shape == "trimap1":
            goal = sad <= LESS * their_sad and mse <= LESS * their_mse
    better, reached = ("yes" if all(verdicts.values()) else "no"), ("yes" if goal else "no")
    lines += [
        "",
        f"Better than closed-form in both means and on {CASES_TO_WIN} photographs with every trimap: {better}.",
        f"40 % below closed-form with the tight trimap: {reached}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
