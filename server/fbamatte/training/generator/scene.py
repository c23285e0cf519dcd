"""From layers to mini-batches: optics, second foregrounds, backgrounds, trimaps, grain."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fbamatte.training.batch import Batch
from fbamatte.training.distance import draw_trimap
from fbamatte.training.generator import fields, paint, shapes, strands
from fbamatte.training.generator.dice import Dice
from fbamatte.training.generator.layer import Layer
from fbamatte.training.light import composite, encode
from fbamatte.training.recipe import Recipe

_MAKERS = {
    "fur": (strands.fur, 0.25),
    "hair": (strands.hair, 0.24),
    "blades": (strands.blades, 0.1),
    "feather": (strands.feather, 0.07),
    "blob": (shapes.blob, 0.13),
    "leaves": (shapes.leaves, 0.08),
    "net": (shapes.net, 0.06),
    "smoke": (shapes.smoke, 0.04),
    "glass": (shapes.glass, 0.03),
}
FAMILIES = tuple(_MAKERS)

Picture = tuple[Tensor, Tensor, Tensor, str]
"""Alpha (1, H, W), F and B (3, H, W), scene-linear, and the family."""

FINER = 2
"""Layers are drawn so many times finer, then averaged: coverage of edges."""

# Coverage below what an 8-bit matte can show is none, and as much short of full is full.
_SNAP = 0.004


# Share of a crop that is opaque, below which a crop counts as having no known foreground.
_SOLID = 0.03


class ProceduralSource:
    """Mini-batches of made pictures; a step's depends on the recipe's seed, the step and the process alone.

    Parameters
    ----------
    recipe : Recipe
    device : torch.device
        Where they are drawn.
    rank, world : int
        This process and how many there are: each draws others.
    families : tuple of str
        Of `FAMILIES`; all by default.
    """

    def __init__(
        self,
        recipe: Recipe,
        device: torch.device,
        *,
        rank: int = 0,
        world: int = 1,
        families: tuple[str, ...] = FAMILIES,
    ) -> None:
        self.samples_per_epoch = recipe.epoch_samples
        self._recipe, self._device, self._families = recipe, device, families
        self._rank, self._world = rank, world
        self._pool: dict[tuple[int, int], Picture] = {}

    @torch.no_grad()
    def batch(self, step: int) -> Batch:
        """Return the mini-batch of a step."""
        first = (step * self._world + self._rank) * self._recipe.batch
        size = Dice(hash_of(self._recipe.seed, first, 1), torch.device("cpu")).pick(self._recipe.crops)
        if self._recipe.pool:
            made = [self._mixed(step, first + k, size) for k in range(self._recipe.batch)]
        else:
            made = [self.picture(first + k, size) for k in range(self._recipe.batch)]
        alpha, foreground, background = (torch.stack(planes) for planes in zip(*(m[:3] for m in made), strict=True))
        # what light leaves the curve's range at all is glare that no truth is needed for
        foreground, background = encode(foreground).clamp(0, 1), encode(background).clamp(0, 1)
        to = self._recipe.crop_to or size
        if to != size:
            alpha, foreground, background = (_resized(x, to) for x in (alpha, foreground, background))
        image = composite(foreground, alpha, background, display_light=self._recipe.light == "display")
        trimap = self._trimap(first, alpha)
        names = tuple(f"{m[3]} {self._recipe.seed}:{first + k} of {size}²" for k, m in enumerate(made))
        return Batch(image.clamp(0, 1), alpha, foreground, background, trimap, names)

    def picture(self, number: int, size: int) -> Picture:
        """Return alpha (1, H, W), F and B (3, H, W), scene-linear, and the family of one picture."""
        dice = Dice(hash_of(self._recipe.seed, number, 0), self._device)
        shares = [_MAKERS[f][1] for f in self._families]
        for _ in range(4):
            family = dice.pick(self._families, shares)
            layer = self._layer(dice, family, size)
            some, soft = shapes.covered(layer.alpha)
            if soft > 0.02 and some > 0.04:
                break
        lean = None
        if dice.chance(0.35):  # hard: a background in the foreground's colours
            lean = (layer.light.sum(dim=(1, 2)) / layer.alpha.sum().clamp(min=1)).clamp(0.002, 1.0)
        behind = paint.background(dice, size, lean)
        alpha, foreground = separated(layer)
        if dice.chance(0.6):
            grain = _grain(dice, behind, dice.spread(0.003, 0.04))
            foreground, behind = (foreground + grain).clamp(min=0), (behind + grain).clamp(min=0)
        return alpha[None], foreground, behind, family

    def _mixed(self, step: int, number: int, size: int) -> Picture:
        """Return a foreground and a background out of those that are kept, turned over or lit anew."""
        recipe, dice = self._recipe, Dice(hash_of(self._recipe.seed, number, 3), self._device)
        newest = recipe.pool + step * recipe.fresh  # what is kept slides on by so many each step
        one, other = (dice.whole(newest - recipe.pool, newest - 1) for _ in range(2))
        alpha, foreground, own, family = self._kept_picture(one, size, newest)
        background = own if dice.chance(0.3) else self._kept_picture(other, size, newest)[2]
        turns = [n for n in (-1, -2) if dice.chance(0.5)]
        if turns:
            alpha, foreground = alpha.flip(turns), foreground.flip(turns)
        light, behind = (dice.normal(3, 1, 1, scale=0.15).exp() * dice.spread(0.6, 1.6) for _ in range(2))
        return alpha, foreground * light, background * behind, f"{family} {one} over {other},"

    def _kept_picture(self, number: int, size: int, newest: int) -> Picture:
        """Return a picture of the pool, drawn when it is first asked for, and forget those that have left it."""
        key = (number * self._world + self._rank, size)
        if key not in self._pool:
            oldest = (newest - self._recipe.pool) * self._world
            self._pool = {k: v for k, v in self._pool.items() if k[0] >= oldest}
            self._pool[key] = self.picture(key[0], size)
        return self._pool[key]

    def _layer(self, dice: Dice, family: str, size: int) -> Layer:
        fine = FINER * size
        layer = _MAKERS[family][0](dice, fine)
        if dice.chance(0.5 * self._recipe.second_foreground):
            layer = layer.over(_MAKERS[dice.pick(self._families)][0](dice, fine))
        if float((layer.alpha > 0.98).float().mean()) < _SOLID and dice.chance(0.75):
            # artists' trimaps nearly always know some foreground: something solid stands behind
            layer = layer.over(shapes.blob(dice, fine))
        planes = torch.cat([layer.alpha[None], layer.light])
        if dice.chance(0.22):
            planes = fields.blur(planes, fields.streak(dice, dice.spread(3, 0.12 * fine)))
        if dice.chance(0.3):
            planes = fields.blur(planes, fields.disc(dice, dice.spread(1.0, 0.03 * fine)))
        planes = functional.avg_pool2d(planes[None], FINER)[0]
        planes = fields.soften(planes, dice.between(0.3, 0.7))
        return Layer(planes[0].clamp(0, 1), planes[1:])

    def _trimap(self, first: int, alpha: Tensor) -> Tensor:
        """Return artists' trimaps: radii of the recipe, that vary along the outline."""
        dice = Dice(hash_of(self._recipe.seed, first, 2), self._device)
        low, high = self._recipe.trimap_radii
        count, size = len(alpha), alpha.shape[2]
        radii = [torch.tensor([dice.spread(low, high) for _ in range(count)], device=self._device) for _ in range(2)]
        hand = (0.25 * fields.fractal(dice, count, size, 2.0, 0.4)).exp()
        return draw_trimap(alpha, radii[0][:, None, None] * 0.6 * hand, radii[1][:, None, None] * hand)


def separated(layer: Layer) -> tuple[Tensor, Tensor]:
    """Return alpha (H, W) and straight F (3, H, W) of a layer; where it covers nothing, F of the nearest parts."""
    weight, light = layer.alpha[None, None], layer.light[None]
    levels = [(weight, light)]
    while weight.shape[2] > 1:
        weight, light = (functional.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False) for x in (weight, light))
        levels.append((weight, light))
    known = levels[-1][1] / levels[-1][0].clamp(min=1e-6)
    for weight, light in reversed(levels[:-1]):
        grown = functional.interpolate(known, size=weight.shape[2:], mode="bilinear", align_corners=False)
        known = torch.where(weight > _SNAP / 2, light / weight.clamp(min=_SNAP / 2), grown)
    alpha = ((layer.alpha - _SNAP) / (1 - 2 * _SNAP)).clamp(0, 1)
    return alpha, known[0]


def hash_of(*numbers: int) -> int:
    """Return one seed from several numbers: other ones for neighbours."""
    value = 0x9E3779B97F4A7C15
    for number in numbers:
        value = ((value ^ (number & 0xFFFFFFFFFFFF)) * 0xBF58476D1CE4E5B9) % (1 << 64)
        value ^= value >> 29
    return value % (1 << 62)


def _resized(planes: Tensor, size: int) -> Tensor:
    return functional.interpolate(planes, size=(size, size), mode="bilinear", align_corners=False, antialias=True)


def _grain(dice: Dice, clean: Tensor, strength: float) -> Tensor:
    """Return noise whose deviation is so much at a signal of 1 and falls with the signal's root."""
    noise = fields.soften(dice.normal(*clean.shape), 0.5)
    return noise / noise.std() * strength * (clean + 0.01).sqrt()
