"""Photographs with known alpha as the judge of a run: measured on, never trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fbamatte.errors import UsageError
from fbamatte.evaluation.metrics.alpha import mse, sad
from fbamatte.training.batch import Batch
from fbamatte.training.folders import Array, read_alpha, read_colors
from fbamatte.training.recipe import Recipe
from fbamatte.training.records import Row
from fbamatte.training.students import estimate, gather

TRIMAPS = ("trimap1", "trimap2")


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph with one of its trimaps: what a network sees, and the truth (H, W)."""

    name: str
    batch: Batch
    trimap: Array
    truth: Array


def read_photograph(folder: Path, kind: str, name: str, *, gathered: bool) -> Photograph:
    """Return a photograph of a folder with image, alpha and trimaps of one ``kind``.

    Parameters
    ----------
    gathered : bool
        Whether the refining network's evidence is gathered for it, once.
    """
    image, truth = read_colors(folder / "image" / name), read_alpha(folder / "alpha" / name)
    drawn = read_alpha(folder / kind / name)
    trimap = np.where(drawn <= 0, 0, np.where(drawn >= 1, 1, 0.5)).astype(np.float32)
    picture = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
    known = torch.from_numpy(trimap)[None, None]
    nothing = torch.zeros_like(picture)
    batch = Batch(picture, nothing[:, :1], nothing, nothing, known, (name,))
    if gathered:
        batch = replace(batch, evidence=gather(batch))
    return Photograph(name, batch, trimap, truth)


@torch.inference_mode()
def measure(network: nn.Module, photograph: Photograph, recipe: Recipe, device: torch.device) -> tuple[float, float]:
    """Return SAD (thousands) and MSE (×1000) of a network's alpha over the unknown region."""
    alpha = estimate(network, photograph.batch.to(device), recipe)[0, 0].float().cpu().numpy()
    alpha = np.where((photograph.trimap > 0) & (photograph.trimap < 1), alpha, photograph.trimap)
    return sad(alpha, photograph.truth, photograph.trimap), 1000 * mse(alpha, photograph.truth, photograph.trimap)


def photographs(folder: Path, *, gathered: bool) -> dict[str, list[Photograph]]:
    """Return all photographs of a folder by trimap.

    Raises
    ------
    UsageError
        If the folder has no pictures.
    """
    names = sorted(path.name for path in (folder / "image").glob("*.png"))
    if not names:
        raise UsageError(f"{folder}: no pictures in its folder 'image'")
    return {kind: [read_photograph(folder, kind, name, gathered=gathered) for name in names] for kind in TRIMAPS}


def photographs_judge(folder: Path, recipe: Recipe, device: torch.device) -> Callable[[nn.Module, int], Row]:
    """Return a function that measures a network on a folder: mean SAD and MSE for each trimap, by name."""
    found = photographs(folder, gathered=recipe.architecture == "refine")

    def judge(network: nn.Module, step: int) -> Row:
        del step
        row: Row = {}
        for kind, pictures in found.items():
            figures = np.array([measure(network, picture, recipe, device) for picture in pictures])
            row[f"{kind}_sad"], row[f"{kind}_mse"] = (float(value) for value in figures.mean(axis=0))
        return row

    return judge
