"""Photographs with known alpha as the judge of a run: measured on, never trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fbamatte.errors import UsageError
from fbamatte.evaluation.metrics.alpha import mse, sad
from fbamatte.training.batch import Batch
from fbamatte.training.folders import read_alpha, read_colors
from fbamatte.training.recipe import Recipe
from fbamatte.training.records import Row
from fbamatte.training.students import estimate

TRIMAPS = ("trimap1", "trimap2")


def photographs_judge(folder: Path, recipe: Recipe, device: torch.device) -> Callable[[nn.Module, int], Row]:
    """Return a function that measures a network on a folder with image, alpha, trimap1 and trimap2.

    Its row has the mean SAD (thousands) and MSE (×1000) of alpha over the unknown region for each trimap.

    Raises
    ------
    UsageError
        If the folder has no pictures.
    """
    names = sorted(path.name for path in (folder / "image").glob("*.png"))
    if not names:
        raise UsageError(f"{folder}: no pictures in its folder 'image'")

    def judge(network: nn.Module, step: int) -> Row:
        del step
        row: Row = {}
        for kind in TRIMAPS:
            figures = [measure(network, folder, kind, name, recipe, device) for name in names]
            row[f"{kind}_sad"] = float(np.mean([f[0] for f in figures]))
            row[f"{kind}_mse"] = float(np.mean([f[1] for f in figures]) * 1000)
        return row

    return judge


@torch.inference_mode()
def measure(
    network: nn.Module, folder: Path, kind: str, name: str, recipe: Recipe, device: torch.device
) -> tuple[float, float]:
    """Return SAD (thousands) and MSE of a network's alpha on one photograph."""
    image, truth = read_colors(folder / "image" / name), read_alpha(folder / "alpha" / name)
    drawn = read_alpha(folder / kind / name)
    trimap = np.where(drawn <= 0, 0, np.where(drawn >= 1, 1, 0.5)).astype(np.float32)
    batch = photograph(image, trimap).to(device)
    alpha = estimate(network, batch, recipe)[0, 0].float().cpu().numpy()[: trimap.shape[0], : trimap.shape[1]]
    alpha = np.where((trimap > 0) & (trimap < 1), alpha, trimap)
    return sad(alpha, truth, trimap), mse(alpha, truth, trimap)


def photograph(
    image: np.ndarray[tuple[int, ...], np.dtype[np.float32]], trimap: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> Batch:
    """Return a photograph (H, W, 3) and its trimap (H, W) as a mini-batch of one, without a truth."""
    picture: Tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
    nothing = torch.zeros_like(picture)
    return Batch(picture, nothing[:, :1], nothing, nothing, torch.from_numpy(trimap)[None, None], ("photograph",))
