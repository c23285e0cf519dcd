"""What the ablation trains on and is measured on: made pictures, composited in display light as the paper's are.

Training draws a pool once with the training generator, from five of its families. Measuring takes the procedural set,
which is other code with other seeds, and of it the six families whose names training never sees.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fbamatte.evaluation import procedural
from fbamatte.evaluation.datasets import Case
from fbamatte.evaluation.datasets.base import drawn_radius, trimap_around
from fbamatte.evaluation.datasets.made import display_case
from fbamatte.training.batch import Batch
from fbamatte.training.distance import draw_trimap
from fbamatte.training.generator import ProceduralSource
from fbamatte.training.light import composite
from fbamatte.training.recipe import Recipe

FAMILIES = ("fur", "hair", "blades", "feather", "blob")
UNSEEN = tuple(family for family in procedural.FAMILIES if family not in FAMILIES)
FAMILIAR = tuple(family for family in procedural.FAMILIES if family in FAMILIES)
RADII = (2, 8)
"""Pixels by which trimaps are unknown around what is soft, in training and in measuring."""

_POOL_SEED = 20
# Of the procedural set, below its reserved 10,000.
_TEST, _VALIDATION = 3000, 4000


def draw_pool(path: Path, recipe: Recipe, count: int) -> Tensor:
    """Return alpha, F and B, (count, 7, H, W) in half precision; drawn once and kept in a file.

    Raises
    ------
    ValueError
        If the file holds another number of pictures, or of another size.
    """
    if not path.is_file():
        one = replace(recipe, batch=1, seed=_POOL_SEED)
        source = ProceduralSource(one, torch.device("cpu"), families=FAMILIES)
        planes = []
        for number in tqdm(range(count), "pictures", unit="picture"):
            drawn = source.batch(number)
            planes.append(torch.cat([drawn.alpha, drawn.foreground, drawn.background], dim=1).half())
        torch.save(torch.cat(planes), path)
    pool: Tensor = torch.load(path, weights_only=True)
    if pool.shape != (count, 7, recipe.crops[0], recipe.crops[0]):
        raise ValueError(f"{path} holds pictures of shape {tuple(pool.shape)}: take another folder")
    return pool


class Shown:
    """A pool in an order of the recipe's seed, turned over and with new trimaps each time; a `Source`.

    A sample depends on its number alone: mini-batches of 1 and of 6 show the same samples in the same order.
    """

    def __init__(self, recipe: Recipe, pool: Tensor) -> None:
        self.samples_per_epoch = recipe.epoch_samples
        self._recipe, self._pool = recipe, pool

    def batch(self, step: int) -> Batch:
        """Return the mini-batch of a step."""
        first = step * self._recipe.batch
        numbers = range(first, first + self._recipe.batch)
        planes, trimaps = zip(*(self._sample(number) for number in numbers), strict=True)
        drawn = torch.cat(planes)
        alpha, foreground, background = drawn[:, :1], drawn[:, 1:4], drawn[:, 4:7]
        image = composite(foreground, alpha, background, display_light=self._recipe.light == "display")
        names = tuple(f"sample {number}" for number in numbers)
        return Batch(image, alpha, foreground, background, torch.cat(trimaps), names)

    def _sample(self, number: int) -> tuple[Tensor, Tensor]:
        turn, at = divmod(number, len(self._pool))
        order = np.random.default_rng([self._recipe.seed, turn]).permutation(len(self._pool))
        rng = np.random.default_rng([self._recipe.seed, turn, at])
        planes = self._pool[order[at]][None].float()
        planes = planes.rot90(int(rng.integers(4)), (2, 3))
        if rng.integers(2):
            planes = planes.flip(3)
        inside, outside = torch.from_numpy(rng.uniform(*self._recipe.trimap_radii, (2, 1))).float()
        return planes, draw_trimap(planes[:, :1], inside, outside)


def test_pictures(count: int, size: int) -> list[Case]:
    """Return pictures of families and seeds that no row is trained or tuned on."""
    return [_case(_TEST + number, size, UNSEEN[number % len(UNSEEN)]) for number in range(count)]


def validation_pictures(count: int, size: int) -> list[Case]:
    """Return other pictures, of familiar families, to choose learning rates on."""
    return [_case(_VALIDATION + number, size, FAMILIAR[number % len(FAMILIAR)]) for number in range(count)]


def _case(seed: int, size: int, family: str) -> Case:
    name = f"{family}-{seed}"
    case = display_case(name, procedural.sample(seed, size, family))
    assert case.alpha is not None
    return replace(case, trimap=trimap_around(case.alpha, drawn_radius(name, *RADII)))
