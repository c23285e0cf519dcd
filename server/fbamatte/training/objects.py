"""Made pictures of objects as they are photographed: mostly solid, with an edge; artists' trimaps; a camera's traces.

`fbamatte.training.generator` draws the parts. What differs from `ProceduralSource` is what is drawn how often: in their
unknown regions photographs with known alpha are more than half opaque or empty, and closed-form matting has a third of
the error on them that it has on pictures made to be hard.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from fbamatte.training.distance import draw_trimap
from fbamatte.training.generator import fields, paint, shapes, strands
from fbamatte.training.generator.dice import Dice
from fbamatte.training.generator.layer import Layer
from fbamatte.training.generator.scene import FINER, hash_of, separated
from fbamatte.training.light import composite, encode
from fbamatte.training.samples import crop_around_soft

Plane = NDArray[np.float32]

KINDS = {"fur": 0.26, "hair": 0.4, "blob": 0.09, "holes": 0.1, "leaves": 0.07, "blades": 0.06, "net": 0.02}
SOLID = 0.2
"""Share of a picture that is opaque, below which something solid is put behind."""

SEEN, TRIES = 0.15, 4
"""Share of a picture that is empty, and that is opaque, below which another is drawn; how often."""

DISPLAY = 0.5
"""How often encoded values are mixed instead of light: where a camera's truth lies between is not known."""

HOLE = 0.004
"""Share of a picture below which an artist does not paint a hole as known background."""

WORN = 0.55
"""How often an object wears parts of other makes: clothes, a face, a flag; its known colours then say less."""

UNPAINTED = 0.3
"""How often one of these parts is left unknown by the trimap, colours and all."""

LARGEST = 0.2
"""Share of a picture that such a part takes at most."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A plate (H, W, 3) and its alpha (H, W), display-encoded in [0, 1], with a trimap of 0, 0.5 and 1."""

    image: Plane
    alpha: Plane
    trimap: Plane


@torch.no_grad()
def draw(seed: int, number: int, size: int, uses: int = 2) -> list[Picture]:
    """Return pictures of one object before several backgrounds, on the CPU.

    Parameters
    ----------
    seed, number : int
        Which object; another pair is another one.
    size : int
        Side in pixels.
    uses : int
        How many backgrounds, each with a trimap, a light and a camera of its own.
    """
    dice = Dice(hash_of(seed, number, 7), torch.device("cpu"))
    for _ in range(TRIES):
        layer, part = _object(dice, size)
        alpha, foreground = separated(layer)
        if min(float((alpha <= 0).float().mean()), float((alpha >= 1).float().mean())) > SEEN:
            break
    return [_photograph(dice, alpha[None], foreground, part, size) for _ in range(uses)]


@torch.no_grad()
def photograph(seed: int, number: int, foreground: Plane, alpha: Plane, size: int, uses: int = 2) -> list[Picture]:
    """Return pictures of a cut-out before several backgrounds, as `draw` makes them of what it draws.

    Parameters
    ----------
    seed, number : int
        What is made of it; another pair makes other pictures.
    foreground : ndarray, shape (H, W, 3)
        Straight, scene-linear; means nothing where alpha is 0.
    alpha : ndarray, shape (H, W)
    size : int
        Side in pixels. A smaller cut-out is enlarged, of a larger one a square around a soft pixel is taken.
    uses : int
        How many backgrounds, each with a square, a trimap, a light and a camera of its own.
    """
    dice = Dice(hash_of(seed, number, 8), torch.device("cpu"))
    layer = (torch.from_numpy(alpha)[None], torch.from_numpy(foreground).permute(2, 0, 1).contiguous())
    pictures = []
    for _ in range(uses):
        cover, light = crop_around_soft(dice, layer, size, 1.0)
        pictures.append(_photograph(dice, cover, light, torch.zeros(size, size), size))
    return pictures


def holes(dice: Dice, size: int) -> Layer:
    """Return wickerwork, branches, a fence: bars thick enough to be known, with holes between."""
    rough = fields.fractal(dice, 2, size, dice.between(1.6, 2.4), dice.between(0.06, 0.3))
    width = dice.between(0.3, 0.9)
    cover = torch.zeros(size, size)
    for field in rough if dice.chance(0.7) else rough[:1]:
        slope = torch.hypot(field.diff(dim=0, append=field[-1:]), field.diff(dim=1, append=field[:, -1:]))
        cover = torch.maximum(cover, ((width - field.abs()) / slope.clamp(min=1e-3) + 0.5).clamp(0, 1))
    if dice.chance(0.5):
        cover = cover * (strands.body(dice, size) + 0.5).clamp(0, 1)
    return Layer.solid(cover, _skin(dice, size))


_MAKERS = {
    "fur": strands.fur, "hair": strands.hair, "blob": shapes.blob, "holes": holes, "leaves": shapes.leaves,
    "blades": strands.blades, "net": shapes.net,
}  # fmt: skip


def _skin(dice: Dice, size: int) -> Tensor:
    """Return a surface (3, H, W): of one make, or of many parts as clothes and toys are."""
    if dice.chance(0.35):
        return paint.dead_leaves(dice, size, dice.whole(6, 40), dice.spread(0.05, 0.2)) * paint.shade(dice, size)
    return paint.surface(dice, size)


def _worn(dice: Dice, size: int) -> Layer:
    """Return a part of another make that an object wears or holds: solid, with a hard edge."""
    x, y = fields.grid(dice, size)
    inside = strands.body(dice, size)
    turn, cut = dice.between(0, 2 * math.pi), dice.between(-0.35, 0.1)
    inside = torch.minimum(inside, (x - size / 2) * math.cos(turn) + (y - size / 2) * math.sin(turn) - cut * size)
    makes = dice.whole(1, 5)
    skin = paint.surface(dice, size) if makes == 1 else paint.dead_leaves(dice, size, 2 * makes, 0.12)
    return Layer.solid((inside / dice.spread(0.7, 3) + 0.5).clamp(0, 1), skin * paint.shade(dice, size))


def _object(dice: Dice, size: int) -> tuple[Layer, Tensor]:
    """Return a layer at the picture's size: one thing or two, something solid among them, through a lens.

    With it the cover (H, W) of a part that it wears, 0 where there is none.
    """
    fine = FINER * size
    kinds, shares = list(KINDS), list(KINDS.values())
    layer = _MAKERS[dice.pick(kinds, shares)](dice, fine)
    if dice.chance(0.2):
        layer = layer.over(_MAKERS[dice.pick(kinds, shares)](dice, fine))
    if float((layer.alpha > 0.98).float().mean()) < SOLID:
        inside = strands.body(dice, fine)
        layer = layer.over(Layer.solid((inside + 0.5).clamp(0, 1), _skin(dice, fine)))
    part = torch.zeros_like(layer.alpha)
    if dice.chance(WORN):
        worn = _worn(dice, fine)
        part = worn.alpha
        layer = worn.over(layer) if dice.chance(0.5) else layer.over(worn)
    planes = torch.cat([layer.alpha[None], layer.light, part[None]])
    if dice.chance(0.06):
        planes = fields.blur(planes, fields.streak(dice, dice.spread(3, 0.05 * fine)))
    if dice.chance(0.2):
        planes = fields.blur(planes, fields.disc(dice, dice.spread(1.0, 0.012 * fine)))
    planes = torch.nn.functional.avg_pool2d(planes[None], FINER)[0]
    planes = fields.soften(planes, dice.between(0.35, 0.9))
    return Layer(planes[0].clamp(0, 1), planes[1:4]), planes[4]


def _photograph(dice: Dice, alpha: Tensor, foreground: Tensor, part: Tensor, size: int) -> Picture:
    lean = None
    if dice.chance(0.12):
        lean = (foreground * alpha).sum(dim=(1, 2)) / alpha.sum().clamp(min=1)
    behind = paint.background(dice, size, lean)
    if dice.chance(0.65):  # out of focus
        behind = fields.soften(behind, dice.spread(1.0, 8.0))
    front = foreground * dice.normal(3, 1, 1, scale=0.1).exp() * dice.spread(0.5, 2.0)
    turns = [axis for axis in (-1, -2) if dice.chance(0.5)]
    if turns:
        alpha, front, part = alpha.flip(turns), front.flip(turns), part.flip(turns)
    colors = (encode(x).clamp(0, 1)[None] for x in (front, behind))
    image = composite(next(colors), alpha[None], next(colors), display_light=dice.chance(DISPLAY))[0]
    trimap = trimap_of(dice, alpha)
    if dice.chance(UNPAINTED) and float((part > 0.02).float().mean()) < LARGEST:
        trimap = np.where(ndimage.maximum_filter(part.numpy() > 0.02, 5), np.float32(0.5), trimap)
    return Picture(camera(dice, image), alpha[0].numpy(), trimap)


def camera(dice: Dice, image: Tensor) -> Plane:
    """Return an 8-bit picture with grain and, half of the time, the traces of JPEG."""
    if dice.chance(0.8):
        noise = fields.soften(dice.normal(*image.shape), dice.between(0.3, 0.8))
        image = image + noise / noise.std() * dice.spread(0.002, 0.02)
    pixels = (255 * image.clamp(0, 1)).round().byte().permute(1, 2, 0).contiguous().numpy()
    if dice.chance(0.5):
        packed = io.BytesIO()
        Image.fromarray(pixels).save(packed, "JPEG", quality=dice.whole(78, 98), subsampling=dice.pick((0, 2)))
        pixels = np.asarray(Image.open(packed))
    return (pixels / np.float32(255)).astype(np.float32)


def trimap_of(dice: Dice, alpha: Tensor) -> Plane:
    """Return an artist's trimap of alpha (1, H, W): tight or wide, loose along the way, small holes not painted."""
    size = alpha.shape[1]
    outside = dice.spread(3, 10) if dice.chance(0.5) else dice.spread(10, 32)
    inside = outside * dice.spread(0.5, 1.5)
    hand = (0.35 * fields.fractal(dice, 1, size, 2.0, 0.4)).exp()
    trimap = draw_trimap(alpha[None], inside * hand, outside * hand)[0, 0].numpy()
    if dice.chance(0.6):
        parts, count = ndimage.label(trimap == 0)
        areas = ndimage.sum_labels(np.ones_like(trimap), parts, range(count + 1))
        small = areas < HOLE * trimap.size
        small[0] = False
        trimap = np.where(small[parts], np.float32(0.5), trimap)
    return trimap.astype(np.float32)
