"""Mini-batches from folders: crops, second foregrounds, augmentation, composition, trimaps."""

from __future__ import annotations

import random
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fbamatte.errors import UsageError
from fbamatte.training.batch import Batch
from fbamatte.training.distance import draw_trimap
from fbamatte.training.extension import extended_path
from fbamatte.training.folders import LINEAR, Folders, Pair, read_alpha, read_colors
from fbamatte.training.generator.dice import Dice
from fbamatte.training.generator.scene import hash_of
from fbamatte.training.light import composite, encode, srgb_to_linear
from fbamatte.training.recipe import Recipe

CPU = torch.device("cpu")
KEPT = 64
"""Decoded foregrounds kept in memory."""

Layer = tuple[Tensor, Tensor]


class FolderSource:
    """Mini-batches of foregrounds over backgrounds; a step's depends on the recipe's seed and the step alone.

    Parameters
    ----------
    recipe : Recipe
    folders : Folders
        Of `fbamatte.training.folders.scan`.
    cache : Path
        Where `fbamatte.training.extension.prepare` kept the extended foregrounds.
    rank, world : int
        This process and how many there are.

    Raises
    ------
    UsageError
        If the recipe wants extended foregrounds and one has not been prepared.
    """

    def __init__(self, recipe: Recipe, folders: Folders, cache: Path, *, rank: int = 0, world: int = 1) -> None:
        self.samples_per_epoch = recipe.epoch_samples
        self._recipe, self._folders, self._rank, self._world = recipe, folders, rank, world
        self._files = {pair: pair.foreground for pair in folders.pairs}
        if recipe.extend != "none":
            self._files = {pair: extended_path(pair, cache, recipe.extend) for pair in folders.pairs}
        missing = [pair.name for pair, path in self._files.items() if not path.is_file()]
        if missing:
            raise UsageError(
                f"{len(missing)} of {len(folders.pairs)} foregrounds are not extended yet, {missing[0]!r} first; "
                f"run `fbamatte train {recipe.name} --prepare` with the same --data and --cache"
            )
        self._read = lru_cache(KEPT)(self._read_pair)

    def batch(self, step: int) -> Batch:
        """Return the mini-batch of a step: with a scale, every second one shows the pictures before it enlarged."""
        recipe = self._recipe
        enlarged = recipe.rescale != 1 and step % 2 == 1
        base = step - 1 if enlarged else step
        first = (base * self._world + self._rank) * recipe.batch
        size = Dice(hash_of(recipe.seed, first, 11), CPU).pick(recipe.crops)
        scale = recipe.rescale if enlarged else 1.0
        made = [self._picture(first + k, size, scale) for k in range(recipe.batch)]
        alpha, foreground, background = (torch.stack(planes) for planes in zip(*(m[0] for m in made), strict=True))
        image = composite(foreground, alpha, background, display_light=recipe.light == "display").clamp(0, 1)
        dice = Dice(hash_of(recipe.seed, step, self._rank, 12), CPU)
        radii = [torch.tensor([dice.between(*recipe.trimap_radii) for _ in made]) for _ in range(2)]
        trimap = draw_trimap(alpha, radii[0], radii[1])
        return Batch(image, alpha, foreground, background, trimap, tuple(m[1] for m in made))

    def _choice(self, position: int) -> tuple[Pair, Path]:
        """Return what stands at a position: each epoch is all of its samples in an order of its own."""
        epoch, place = divmod(position, self.samples_per_epoch)
        number = _shuffled(self.samples_per_epoch, hash_of(self._recipe.seed, epoch, 13))[place]
        pairs, backgrounds = self._folders.pairs, self._folders.backgrounds
        behind = hash_of(self._recipe.seed, epoch, number, 14) % len(backgrounds)
        return pairs[number % len(pairs)], backgrounds[behind]

    def _picture(self, position: int, size: int, scale: float) -> tuple[tuple[Tensor, Tensor, Tensor], str]:
        pair, behind = self._choice(position)
        name = f"{pair.foreground} over {behind}"
        dice = Dice(hash_of(self._recipe.seed, position, round(scale * 1000), 15), CPU)
        # with the scale left out: the enlarged mini-batch has the same second foregrounds
        second = Dice(hash_of(self._recipe.seed, position, 16), CPU)
        alpha, colors = self._read(pair)
        if second.chance(self._recipe.second_foreground):
            other = second.pick(self._folders.pairs)
            alpha, colors = joined((alpha, colors), self._read(other))
            name += f" with {other.name}"
        alpha, colors = crop_around_soft(dice, (alpha, colors), size, scale)
        background = crop_anywhere(dice, self._encoded(behind), size)
        if dice.chance(0.5):
            alpha, colors = alpha.flip(-1), colors.flip(-1)
        if dice.chance(0.5):
            background = background.flip(-1)
        colors, background = relit(dice, colors), relit(dice, background)
        to = self._recipe.crop_to or size
        return tuple(_resized(x, to, to) for x in (alpha, colors, background)), name  # type: ignore[return-value]

    def _read_pair(self, pair: Pair) -> Layer:
        path = self._files[pair]
        if path.suffix != ".npy":
            colors = self._encoded(path)
        else:
            kept = np.load(path).astype(np.float32)
            colors = self._as_network_sees(torch.from_numpy(kept), pair.foreground)
        return torch.from_numpy(read_alpha(pair.alpha))[None], colors

    def _encoded(self, path: Path) -> Tensor:
        return self._as_network_sees(torch.from_numpy(read_colors(path)), path)

    def _as_network_sees(self, colors: Tensor, path: Path) -> Tensor:
        """Return (3, H, W) encoded: the paper's way trains on the files' own values."""
        colors = colors.permute(2, 0, 1).contiguous()
        if path.suffix.lower() in LINEAR:
            return encode(colors).clamp(0, 1)
        return colors if self._recipe.light == "display" else encode(srgb_to_linear(colors))


def joined(front: Layer, behind: Layer) -> Layer:
    """Return one layer over another, brought to the front one's size: α = α₁ + (1−α₁)α₂, F their mean by coverage."""
    (a1, f1), (a2, f2) = front, behind
    a2, f2 = (_resized(x, *a1.shape[1:]) for x in (a2, f2))
    alpha = a1 + (1 - a1) * a2
    share = torch.where(alpha > 0, a1 / alpha.clamp(min=1e-6), 1.0)
    return alpha, share * f1 + (1 - share) * f2


def crop_around_soft(dice: Dice, layer: Layer, size: int, scale: float) -> Layer:
    """Return a square of a layer enlarged by a scale, around a pixel that is neither opaque nor empty."""
    alpha, colors = layer
    height, width = alpha.shape[1:]
    scale = max(scale, size / min(height, width))
    soft = torch.nonzero((alpha[0] > 0) & (alpha[0] < 1))
    if not len(soft):  # a matte with hard edges alone: around one of these
        soft = torch.nonzero(functional.max_pool2d(alpha, 3, 1, 1)[0] > alpha[0])
    y, x = soft[dice.whole(0, len(soft) - 1)].tolist() if len(soft) else (height // 2, width // 2)
    # cut first, then enlarge: a border of two pixels keeps the filter from seeing the cut
    side = min(int(np.ceil(size / scale)) + 4, height, width)
    top, left = (min(max(at - side // 2, 0), end - side) for at, end in ((y, height), (x, width)))
    cut = (p[:, top : top + side, left : left + side] for p in (alpha, colors))
    grown = [p if scale == 1 else _resized(p, round(side * scale), round(side * scale)) for p in cut]
    edge = (grown[0].shape[1] - size) // 2
    alpha, colors = (p[:, edge : edge + size, edge : edge + size] for p in grown)
    return alpha.clamp(0, 1), colors


def crop_anywhere(dice: Dice, picture: Tensor, size: int) -> Tensor:
    """Return a square of a picture, enlarged first where it is too small."""
    height, width = picture.shape[1:]
    if min(height, width) < size:
        ratio = size / min(height, width)
        picture = _resized(picture, max(size, round(height * ratio)), max(size, round(width * ratio)))
        height, width = picture.shape[1:]
    top, left = dice.whole(0, height - size), dice.whole(0, width - size)
    return picture[:, top : top + size, left : left + size]


def relit(dice: Dice, colors: Tensor) -> Tensor:
    """Return encoded colours with another gamma and brightness."""
    return (colors.clamp(0, 1) ** dice.spread(0.8, 1.25) * dice.between(0.8, 1.2)).clamp(0, 1)


@lru_cache(2)
def _shuffled(count: int, seed: int) -> list[int]:
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order


def _resized(planes: Tensor, height: int, width: int) -> Tensor:
    if planes.shape[1:] == (height, width):
        return planes
    return functional.interpolate(
        planes[None], size=(height, width), mode="bilinear", align_corners=False, antialias=True
    )[0]
