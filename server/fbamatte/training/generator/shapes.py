"""Foregrounds that are no strands: soft bodies, leaves, nets and lace, smoke, glass."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from fbamatte.training.generator import fields, paint
from fbamatte.training.generator.dice import Dice
from fbamatte.training.generator.layer import Layer
from fbamatte.training.generator.strands import body


def blob(dice: Dice, size: int) -> Layer:
    """Return a body with an edge that is hard here and soft there."""
    rough = fields.fractal(dice, 1, size, dice.between(0.9, 1.8), dice.between(0.05, 0.4))[0]
    inside = body(dice, size) + rough * dice.spread(0.2, 0.02 * size)
    softness = dice.spread(0.5, 0.06 * size) * (0.6 * fields.fractal(dice, 1, size, 2.2)[0]).exp()
    return Layer.solid((inside / softness + 0.5).clamp(0, 1), paint.surface(dice, size))


def leaves(dice: Dice, size: int) -> Layer:
    """Return leaves, petals or flakes, some that light passes through."""
    x, y = fields.grid(dice, size)
    count = dice.whole(4, 60)
    radius = dice.spread(0.02, 0.15) * size * dice.normal(count, scale=0.3).exp()
    slim, angle = dice.between(0.2, 0.9), dice.uniform(count, high=2 * math.pi)
    tint = paint.colors(dice, count, paint.colors(dice, 1)[0])
    # a leaf lies nearer to a side of the crop than by chance, so that both open and dense parts are seen
    center = torch.stack([dice.uniform(count, high=size), size * dice.uniform(count) ** dice.between(0.6, 2.5)])
    opacity = 1 if dice.chance(0.7) else dice.between(0.5, 0.95)
    alpha, light = torch.zeros_like(x), torch.zeros(3, size, size, device=dice.device)
    for leaf in range(count):
        px, py = x - center[0, leaf], y - center[1, leaf]
        u, v = px * angle[leaf].cos() + py * angle[leaf].sin(), py * angle[leaf].cos() - px * angle[leaf].sin()
        half = slim * radius[leaf] * (1 - (u / radius[leaf]).square()).clamp(min=0)
        cover = (half - v.abs() + 0.5).clamp(0, 1) * (half > 0) * opacity
        vein = 1 - 0.35 * (-(v / (0.08 * radius[leaf])).square()).exp() + 0.3 * v / radius[leaf]
        alpha = cover + (1 - cover) * alpha
        light = cover * tint[leaf, :, None, None] * vein.clamp(min=0.1) + (1 - cover) * light
    return Layer(alpha, light * paint.shade(dice, size))


def net(dice: Dice, size: int) -> Layer:
    """Return a net, lace, gauze or a fence: threads on a bent grid, over a part of the crop or all of it."""
    x, y = fields.grid(dice, size)
    bend = fields.fractal(dice, 2, size, 2.2, 0.7) * dice.between(0.0, 0.04) * size
    turn, period = dice.between(0, math.pi), dice.spread(0.015, 0.15) * size
    x, y = x + bend[0], y + bend[1]
    skew = dice.between(0.8, 2.2)
    alpha = torch.zeros_like(x)
    width = max(0.8, period * dice.between(0.08, 0.4))
    for angle in (turn, turn + skew):
        phase = torch.remainder(x * math.cos(angle) + y * math.sin(angle), period) - period / 2
        alpha = torch.maximum(alpha, ((width - 2 * phase.abs()) / 2 + 0.5).clamp(0, 1))
    if dice.chance(0.4):
        holes = fields.fractal(dice, 1, size, 0.8, dice.between(0.03, 0.2))[0]
        alpha = torch.maximum(alpha, (dice.between(0.5, 4) * (holes - dice.between(0, 1)) + 0.5).clamp(0, 1))
    alpha = alpha * dice.between(0.5, 1) if dice.chance(0.3) else alpha
    if dice.chance(0.7):
        alpha = alpha * (body(dice, size) + 0.5).clamp(0, 1)
    return Layer.solid(alpha, paint.surface(dice, size))


def smoke(dice: Dice, size: int) -> Layer:
    """Return smoke, steam or fire: optical depth from noise that has been stirred."""
    field = fields.fractal(dice, 1, size, dice.between(1.5, 2.1), dice.between(0.3, 0.9))
    stir = fields.fractal(dice, 2, size, 2.0, 0.5) * dice.between(0.01, 0.08) * size
    x, y = fields.grid(dice, size)
    billow = fields.sample(field, x + stir[0], y + stir[1])[0]
    where = (body(dice, size) / (size * dice.between(0.05, 0.3))).sigmoid()
    depth = dice.spread(0.4, 5) * where * functional.softplus(2.5 * (billow + dice.between(-0.6, 0.6))) / 2.5
    alpha = 1 - (-depth).exp()
    color = paint.colors(dice, 1)[0].lerp(torch.full((3,), dice.spread(0.2, 1.0), device=dice.device), 0.7)
    glow = (1 + dice.between(-0.6, 0.3) * alpha + 0.25 * billow).clamp(min=0.1) * paint.shade(dice, size)
    return Layer.solid(alpha, color[:, None, None] * glow)


def glass(dice: Dice, size: int) -> Layer:
    """Return something clear: thin in the middle, dense at its rim, with lamps mirrored in it."""
    inside = body(dice, size)
    cover = (inside + 0.5).clamp(0, 1)
    rim = (-inside.clamp(min=0) / (size * dice.spread(0.01, 0.08))).exp()
    alpha = cover * (dice.between(0.03, 0.5) + dice.between(0.2, 0.9) * rim).clamp(max=1)
    tint = paint.colors(dice, 1)[0][:, None, None] * (0.5 + rim) * paint.shade(dice, size)
    mirrored = fields.fractal(dice, 1, size, 1.8, 0.3)[0]
    bright = (dice.between(2, 8) * (mirrored - dice.between(1.2, 2.2))).sigmoid() * cover * dice.between(0.3, 1)
    lamp = torch.full((3, 1, 1), dice.spread(0.8, 8.0), device=dice.device)
    return Layer.solid(bright, lamp).over(Layer.solid(alpha, tint))


def covered(alpha: Tensor) -> tuple[float, float]:
    """Return the share of a coverage that is something at all, and the share that is soft."""
    return float((alpha > 0.02).float().mean()), float(((alpha > 0.02) & (alpha < 0.98)).float().mean())
