"""Hair, fur, feathers, grass, whiskers: families of many curves."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fbamatte.training.generator import fields, paint
from fbamatte.training.generator.curves import Strands, draw, grow, lit, taper, tones
from fbamatte.training.generator.dice import Dice
from fbamatte.training.generator.layer import Layer


def fur(dice: Dice, size: int) -> Layer:
    """Return a part of a furry body."""
    inside = body(dice, size)
    gradient = torch.stack([inside.diff(dim=1, append=inside[:, -1:]), inside.diff(dim=0, append=inside[-1:])])
    length = size * dice.spread(0.015, 0.12)
    rows, columns = torch.nonzero((inside > 0.2 * length) & (inside < 4 * length), as_tuple=True)
    base = paint.hair_color(dice)
    solid = Layer.solid((inside / 2).sigmoid(), base[:, None, None] * 0.6 * paint.shade(dice, size))
    if not len(rows):
        return solid
    count = int(min(14000, max(300, len(rows) / (0.06 * length + 0.5) * dice.between(0.05, 0.35))))
    pick = dice.indices(len(rows), count)
    at = rows[pick], columns[pick]
    outward = -fields.soften(gradient, 3.0)[:, at[0], at[1]]
    comb = dice.between(0, 2 * math.pi)
    stiff = dice.between(0.2, 1.0)
    heading = torch.atan2(outward[1] + stiff * math.sin(comb), outward[0] + stiff * math.cos(comb))
    root = torch.stack([at[1], at[0]], dim=1) + dice.uniform(count, 2)
    reach = length * dice.normal(count, scale=0.3).exp()
    points = grow(
        dice,
        root,
        heading + dice.normal(count, scale=dice.between(0.1, 0.5)),
        reach,
        steps=7,
        curl=dice.normal(count, scale=0.7),
        frizz=dice.between(0.1, 0.8),
        fall=dice.between(0, 0.5),
    )
    radius = dice.spread(0.3, 1.3) * dice.normal(count, scale=0.25).exp()
    color = lit(dice, points, tones(dice, base, count), dice.between(0, 0.4))
    order = (1 - inside[at] / (4 * length)).clamp(0, 1)
    return draw(dice, size, Strands(points, taper(radius, 7, 0.8), color, order)).over(solid)


def hair(dice: Dice, size: int) -> Layer:
    """Return locks of long hair and the single hairs that leave them."""
    guides, each, steps = dice.whole(10, 80), dice.whole(8, 60), 20
    side, spread = dice.between(0, 2 * math.pi), dice.between(0.2, 0.9)
    middle = size * torch.tensor([0.5 + 0.45 * math.cos(side), 0.5 + 0.45 * math.sin(side)], device=dice.device)
    fan = dice.normal(guides, scale=dice.between(0.1, 0.9))
    across = torch.tensor([-math.sin(side), math.cos(side)], device=dice.device)
    root = middle + across * (fan * size * spread)[:, None] + dice.normal(guides, 2, scale=0.05 * size)
    heading = side + math.pi + fan * dice.between(-0.8, 0.8)
    length = size * dice.spread(0.25, 1.0) * dice.normal(guides, scale=0.3).exp()
    flow = fields.fractal(dice, 1, size, 2.0, dice.between(0.2, 0.8)) * dice.between(0, 2.5)
    share = torch.arange(guides, device=dice.device).repeat_interleave(each)
    count = len(share)
    points = grow(
        dice,
        root[share] + dice.normal(count, 2, scale=size * dice.spread(0.004, 0.03)),
        heading[share] + dice.normal(count, scale=0.1),
        length[share] * dice.normal(count, scale=0.15).exp(),
        steps=steps,
        curl=(dice.normal(guides)[share] + dice.normal(count, scale=0.3)) * dice.between(0.2, 2),
        frizz=dice.between(0.05, 0.7),
        fall=dice.between(0, 1),
        flow=flow,
    )
    base, thick = paint.hair_color(dice), dice.spread(0.2, 1.1)
    radius = thick * dice.normal(count, scale=0.2).exp()
    color = lit(dice, points, tones(dice, base, guides)[share] * tones(dice, base * 0 + 1, count), dice.between(0, 0.6))
    locks = draw(dice, size, Strands(points, taper(radius, steps, 0.35), color, dice.uniform(guides)[share]))
    locks = thickened(locks, 0.008 * size)
    if dice.chance(0.8):  # what the hair grows from: a head or a shoulder at the side it comes from
        x, y = fields.grid(dice, size)
        deep = (x - size / 2) * math.cos(side) + (y - size / 2) * math.sin(side) - dice.between(-0.05, 0.35) * size
        deep = deep + fields.fractal(dice, 1, size, 2.4)[0] * 0.02 * size
        skin = paint.surface(dice, size, base * 0.8 if dice.chance(0.6) else None)
        locks = locks.over(Layer.solid((deep / dice.spread(1, 6) + 0.5).clamp(0, 1), skin))
    return flyaways(dice, size, root, heading, base, thick).over(locks)


def thickened(layer: Layer, depth: float) -> Layer:
    """Return a layer whose dense parts let nothing through: behind the strands that are drawn there are more."""
    dense = fields.soften(layer.alpha[None], depth)
    glow = fields.soften(layer.light, depth)
    behind = ((dense[0] - 0.6) / 0.25).clamp(0, 1)
    return layer.over(Layer.solid(behind, 0.5 * glow / dense.clamp(min=1e-3)))


def flyaways(dice: Dice, size: int, root: Tensor, heading: Tensor, base: Tensor, thick: float) -> Layer:
    """Return single hairs that go where they like."""
    count, steps = dice.whole(5, 90), 24
    share = dice.indices(len(root), count)
    points = grow(
        dice,
        root[share] + dice.normal(count, 2, scale=0.03 * size),
        heading[share] + dice.normal(count, scale=0.7),
        size * dice.uniform(count, low=0.1, high=0.9),
        steps=steps,
        curl=dice.normal(count, scale=1.5),
        frizz=1.0,
        fall=dice.between(0, 0.5),
    )
    radius = dice.uniform(count, low=0.4, high=0.9) * thick
    color = lit(dice, points, tones(dice, base, count), 0.4)
    return draw(dice, size, Strands(points, taper(radius, steps, 0.3), color, dice.uniform(count)))


def blades(dice: Dice, size: int) -> Layer:
    """Return grass, whiskers, bristles or twigs: few and thick, from a line or a spot."""
    count, steps = dice.whole(12, 260), 14
    heading = dice.between(0, 2 * math.pi)
    start = torch.tensor([0.5 - 0.6 * math.cos(heading), 0.5 - 0.6 * math.sin(heading)], device=dice.device) * size
    across = torch.tensor([-math.sin(heading), math.cos(heading)], device=dice.device)
    root = start + across * dice.uniform(count, 1, low=-0.6, high=0.6) * size * dice.between(0.1, 1)
    points = grow(
        dice,
        root + dice.normal(count, 2, scale=0.04 * size),
        heading + dice.normal(count, scale=dice.between(0.1, 0.6)),
        size * dice.uniform(count, low=0.3, high=1.2),
        steps=steps,
        curl=dice.normal(count),
        frizz=dice.between(0, 0.3),
        fall=dice.between(0, 0.6),
    )
    base = paint.colors(dice, 1)[0] if dice.chance(0.6) else paint.hair_color(dice)
    radius = dice.spread(0.8, 5) * dice.normal(count, scale=0.3).exp()
    color = lit(dice, points, tones(dice, base, count), dice.between(0, 0.5))
    return draw(dice, size, Strands(points, taper(radius, steps, dice.between(0.3, 1)), color, dice.uniform(count)))


def feather(dice: Dice, size: int) -> Layer:
    """Return a feather or a frond: barbs on both sides of a bent shaft."""
    steps, barbs = 32, dice.whole(120, 700)
    start = dice.uniform(1, 2, high=size)
    shaft = grow(
        dice,
        start,
        torch.atan2(size / 2 - start[:, 1], size / 2 - start[:, 0]) + dice.normal(1, scale=0.3),
        torch.full((1,), size * dice.between(0.7, 1.3), device=dice.device),
        steps=steps,
        curl=dice.normal(1),
        frizz=0.1,
        fall=0.0,
    )
    along = dice.uniform(barbs, low=0.03, high=0.97)
    at = (along * (steps - 2)).long()
    heading = torch.atan2(*(shaft[0, at + 1] - shaft[0, at]).flip(1).unbind(1))
    side = torch.where(dice.uniform(barbs) < 0.5, -1.0, 1.0)
    root = shaft[0, at].lerp(shaft[0, at + 1], dice.uniform(barbs, 1))
    reach = size * dice.spread(0.06, 0.25) * (along * (1 - along) * 4).sqrt() * dice.normal(barbs, scale=0.12).exp()
    points = grow(
        dice,
        root,
        heading + side * dice.between(0.4, 1.2) + dice.normal(barbs, scale=0.1),
        reach,
        steps=10,
        curl=-side * dice.between(0, 1.2),
        frizz=dice.between(0.02, 0.4),
        fall=dice.between(0, 0.3),
    )
    base, thick = paint.hair_color(dice), dice.spread(0.3, 1.2)
    radius = thick * dice.normal(barbs, scale=0.15).exp()
    vane = Strands(
        points, taper(radius, 10, 0.6), lit(dice, points, tones(dice, base, barbs), 0.2), dice.uniform(barbs)
    )
    stem = Strands(
        shaft,
        taper(torch.full((1,), 3 * thick, device=dice.device), steps, 1.0),
        lit(dice, shaft, base[None] * 1.5, 0.3),
        torch.ones(1, device=dice.device),
    )
    return draw(dice, size, stem).over(draw(dice, size, vane))


def body(dice: Dice, size: int) -> Tensor:
    """Return roughly the distance in pixels into a smooth body that the crop shows a part of; negative outside."""
    x, y = fields.grid(dice, size)
    turn, shift = dice.between(0, 2 * math.pi), dice.between(-0.3, 0.3)
    plane = (x - size / 2) * math.cos(turn) + (y - size / 2) * math.sin(turn) + shift * size
    if dice.chance(0.6):
        middle = dice.uniform(2, low=0.2, high=0.8) * size
        plane = dice.between(0.15, 0.45) * size - torch.hypot(x - middle[0], y - middle[1])
    return plane + fields.fractal(dice, 1, size, 2.2, dice.between(0.2, 0.9))[0] * size * dice.between(0.01, 0.09)
