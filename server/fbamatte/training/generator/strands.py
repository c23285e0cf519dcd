"""Hair, fur, feathers, grass, whiskers: many curves, drawn as their optical depth.

Strands that lie over each other by chance cover 1 − Π(1 − cᵢ): what they let through multiplies, so their depths
add, in any order. F is the mean of their colours by depth, those in front counting more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fbamatte.training.generator import fields, paint
from fbamatte.training.generator.dice import Dice
from fbamatte.training.generator.layer import Layer

SPACING = 0.75
"""Pixels between the points of a strand."""

POINTS = 3_000_000
"""At most in one drawing, to bound memory."""


@dataclass
class Strands:
    """Curves: points (S, M, 2), half widths (S, M), colours (S, M, 3) and order (S,), 1 in front."""

    points: Tensor
    radius: Tensor
    color: Tensor
    order: Tensor


def draw(dice: Dice, size: int, strands: Strands) -> Layer:
    """Return a layer of strands alone."""
    length = (strands.points.diff(dim=1)).norm(dim=2).sum(dim=1)
    widest = 2 * float(strands.radius.max())
    lines = max(1, min(6, math.ceil(widest / 0.8)))
    dense = max(8, min(int(float(length.max()) / SPACING), POINTS // max(1, len(length) * lines)))
    both = torch.cat([strands.points, strands.radius[..., None], strands.color], dim=2)
    fine = torch.nn.functional.interpolate(both.transpose(1, 2), size=dense, mode="linear", align_corners=True)
    place, radius, color = fine[:, :2], fine[:, 2], fine[:, 3:]
    tangent = place.diff(dim=2, append=2 * place[..., -1:] - place[..., -2:-1])
    tangent = tangent / tangent.norm(dim=1, keepdim=True).clamp(min=1e-6)
    width = 2 * radius
    thin = width.clamp(0.02, 1)
    depth = -(1 - 0.95 * thin).log() / thin * (1 + 0.6 * (width.clamp(1, 2.5) - 1)) * width
    depth = depth * (length / dense)[:, None] / lines
    front = (5 * strands.order)[:, None].exp() * depth
    planes = torch.zeros(5, size, size, device=dice.device)
    values = torch.cat([depth[None], front[None], color.transpose(0, 1) * front])
    for line in range(lines):
        aside = ((line + 0.5) / lines - 0.5) * width
        fields.splat(planes, place[:, 0] - aside * tangent[:, 1], place[:, 1] + aside * tangent[:, 0], values)
    alpha = 1 - (-planes[0]).exp()
    return Layer(alpha, alpha * planes[2:] / planes[1].clamp(min=1e-9))


def grow(
    dice: Dice,
    root: Tensor,
    heading: Tensor,
    length: Tensor,
    *,
    steps: int,
    curl: Tensor,
    frizz: float,
    fall: float,
    flow: Tensor | None = None,
) -> Tensor:
    """Return curves (S, steps, 2) that drift, curl, follow a field of turns and are pulled down as they go."""
    points, place = [root], root
    drift = dice.normal(len(root), scale=frizz)
    for step in range(1, steps):
        drift = drift + dice.normal(len(root), scale=0.6 * frizz)
        turn = curl + drift
        if flow is not None:
            turn = turn + fields.sample(flow, place[:, 0], place[:, 1])[0]
        heading = heading + turn / steps
        direction = torch.stack([heading.cos(), heading.sin() + fall * step / steps], dim=1)
        direction = direction / direction.norm(dim=1, keepdim=True).clamp(min=1e-6)
        heading = torch.atan2(direction[:, 1], direction[:, 0])
        place = place + direction * (length / (steps - 1))[:, None]
        points.append(place)
    return torch.stack(points, dim=1)


def lit(dice: Dice, points: Tensor, tone: Tensor, gloss: float) -> Tensor:
    """Return the colours (S, M, 3) of strands under one light: dull across it, bright where it glances along."""
    tangent = points.diff(dim=1, append=2 * points[:, -1:] - points[:, -2:-1])
    tangent = tangent / tangent.norm(dim=2, keepdim=True).clamp(min=1e-6)
    angle = dice.between(0, 2 * math.pi)
    along = tangent[..., 0] * math.cos(angle) + tangent[..., 1] * math.sin(angle)
    across = (1 - along.square()).clamp(min=0).sqrt()
    ramp = torch.linspace(dice.between(0.4, 1), dice.between(0.9, 1.6), points.shape[1], device=points.device)
    body = tone[:, None] * (ramp * (0.35 + 0.8 * across))[..., None]
    glint = gloss * across[..., None] ** 24 * (0.2 + tone[:, None])
    light: Tensor = (body + glint) * dice.spread(0.6, 2.2)
    return light


def taper(radius: Tensor, steps: int, sharp: float) -> Tensor:
    """Return half widths (S, steps) that go to a point over the last part of a strand."""
    along = torch.linspace(0, 1, steps, device=radius.device)
    return radius[:, None] * ((1 - along) / sharp + 0.1).clamp(max=1)


def tones(dice: Dice, base: Tensor, count: int) -> Tensor:
    """Return a colour for each strand around a base."""
    return base * dice.normal(count, 1, scale=dice.between(0.05, 0.35)).exp()


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
    guides, each, steps = dice.whole(8, 60), dice.whole(6, 40), 20
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
    return flyaways(dice, size, root, heading, base, thick).over(locks)


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
