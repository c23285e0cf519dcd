"""Curves that grow, are lit and are drawn as their optical depth.

Strands that lie over each other by chance cover 1 − Π(1 − cᵢ): what they let through multiplies, so their depths
add, in any order. F is the mean of their colours by depth, those in front counting more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fbamatte.training.generator import fields
from fbamatte.training.generator.dice import Dice
from fbamatte.training.generator.layer import Layer

SPACING = 0.75
"""Pixels between the points of a strand."""

POINTS = 1_000_000
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
