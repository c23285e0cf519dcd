"""Colours, lit surfaces and backgrounds with the statistics of photographs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fbamatte.training.generator import fields
from fbamatte.training.generator.dice import Dice

LUMINANCE = (0.2126, 0.7152, 0.0722)
HAIR = (
    (0.010, 0.009, 0.008),
    (0.03, 0.02, 0.013),
    (0.07, 0.04, 0.022),
    (0.13, 0.07, 0.035),
    (0.2, 0.07, 0.025),
    (0.4, 0.27, 0.14),
    (0.6, 0.48, 0.3),
    (0.65, 0.62, 0.56),
    (0.25, 0.24, 0.23),
    (0.8, 0.78, 0.75),
)


def colors(dice: Dice, count: int, lean: Tensor | None = None) -> Tensor:
    """Return reflected light of surfaces, (count, 3), scene-linear: log-normal around 0.18, mostly muted.

    ``lean`` (3,) pulls all towards one colour.
    """
    level = (dice.normal(count, 1, scale=0.85) - 1.8).exp()
    tint = dice.normal(count, 3, scale=0.28) * dice.uniform(count, 1) * 2
    warm = dice.normal(1, 1, scale=0.15) * torch.tensor([1.0, 0.0, -1.2], device=dice.device)
    drawn = level * (tint + warm).exp()
    if lean is not None:
        drawn = drawn.lerp(lean * dice.normal(count, 1, scale=0.5).exp(), 0.7)
    return drawn.clamp(0.002, 1.2)


def hair_color(dice: Dice) -> Tensor:
    """Return a hair's or a fur's colour (3,)."""
    first, second = (torch.tensor(dice.pick(HAIR), device=dice.device) for _ in range(2))
    return first.lerp(second, dice.between(0, 0.4)) * dice.normal(3, scale=0.08).exp()


def surface(dice: Dice, size: int, lean: Tensor | None = None) -> Tensor:
    """Return a textured, unevenly lit surface (3, size, size)."""
    base = colors(dice, 3, lean)
    pattern = fields.fractal(dice, 3, size, dice.between(0.7, 2.0), dice.spread(0.05, 1.0))
    share = (pattern[:2] * dice.between(0.5, 8)).sigmoid()[:, None]
    paint = base[0, :, None, None].lerp(base[1, :, None, None], share[0]).lerp(base[2, :, None, None], share[1] * 0.6)
    return paint * (dice.between(0.02, 0.35) * pattern[2]).exp() * shade(dice, size)


def shade(dice: Dice, size: int) -> Tensor:
    """Return light that is not the same everywhere, (size, size), around 1."""
    x, y = fields.grid(dice, size)
    ramp = dice.between(-0.8, 0.8) * (x / size - 0.5) + dice.between(-0.8, 0.8) * (y / size - 0.5)
    return (ramp + dice.between(0.0, 0.4) * fields.fractal(dice, 1, size, 2.2)[0]).exp()


def dead_leaves(dice: Dice, size: int, count: int, smallest: float, lean: Tensor | None = None) -> Tensor:
    """Return a pile of textured shapes of all sizes that hide each other, (3, size, size).

    Radii follow the inverse cube, which gives pictures the spectrum and the edges of photographs.
    """
    x, y = fields.grid(dice, size)
    low, high = smallest * size, 0.5 * size
    radius = (low**-2 - dice.uniform(count) * (low**-2 - high**-2)) ** -0.5
    cx, cy, angle = dice.uniform(count, high=size), dice.uniform(count, high=size), dice.uniform(count, high=math.pi)
    aspect, boxy = dice.normal(count, scale=0.5).exp(), (dice.uniform(count) < dice.between(0, 0.8)).float()
    wobble = fields.fractal(dice, 2, size, 1.6, 0.3) * dice.between(0, 0.02) * size
    front = torch.zeros(size, size, dtype=torch.long, device=dice.device)
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    for at in range(0, count, 32):
        part = slice(at, at + 32)
        px, py = x + wobble[0] - cx[part, None, None], y + wobble[1] - cy[part, None, None]
        u = (px * cosine[part] + py * sine[part]) / (radius * aspect.sqrt())[part, None, None]
        v = (py * cosine[part] - px * sine[part]) / (radius / aspect.sqrt())[part, None, None]
        reach = torch.where(boxy[part, None, None] > 0, torch.maximum(u.abs(), v.abs()), u * u + v * v)
        order = torch.arange(at + 1, at + 1 + len(u), device=dice.device)[:, None, None]
        front = torch.maximum(front, torch.where(reach < 1, order, 0).amax(dim=0))
    return _filled(dice, front, count + 1, lean)


def _filled(dice: Dice, front: Tensor, count: int, lean: Tensor | None) -> Tensor:
    """Give each shape its colour, its texture and a shade that runs across it."""
    size = front.shape[0]
    paint = colors(dice, count, lean)
    textures = torch.cat(
        [
            fields.fractal(dice, 2, size, dice.between(0.4, 0.9), 0.2),
            fields.fractal(dice, 2, size, 1.4, 0.4),
            _woven(dice, size),
        ]
    )
    which = dice.indices(len(textures), count)
    contrast = dice.normal(count, scale=0.22).abs() + 0.02
    x, y = fields.grid(dice, size)
    slope = dice.normal(2, count, scale=0.6) / size
    across = slope[0][front] * (x - size / 2) + slope[1][front] * (y - size / 2)
    grain = textures.flatten(1)[which[front].flatten(), torch.arange(size * size, device=dice.device)]
    light = (contrast[front] * grain.view(size, size) + across).exp()
    return paint[front].permute(2, 0, 1) * light


def _woven(dice: Dice, size: int) -> Tensor:
    x, y = fields.grid(dice, size)
    turn, period = dice.between(0, math.pi), dice.between(4, 24)
    bend = fields.fractal(dice, 1, size, 1.8, 0.5) * dice.between(0, 2)
    across = (x * math.cos(turn) + y * math.sin(turn)) * (2 * math.pi / period)
    along = (y * math.cos(turn) - x * math.sin(turn)) * (2 * math.pi / period)
    return torch.cat([(across + bend).sin() * along.sin(), (across + bend).sin()[:1]])[:2] * 1.4


def background(dice: Dice, size: int, lean: Tensor | None = None) -> Tensor:
    """Return a background (3, size, size), scene-linear, above 0: sharp, defocused or plain, some with lamps."""
    kind = dice.pick(("clutter", "far", "plain", "surface"), (0.4, 0.3, 0.12, 0.18))
    if kind == "plain":
        base = colors(dice, 1, lean)[0][:, None, None]
        picture = base * (dice.between(0.0, 0.06) * fields.fractal(dice, 1, size, 1.4)).exp()
    elif kind == "surface":
        picture = surface(dice, size, lean)
    else:
        picture = dead_leaves(dice, size, dice.whole(20, 220), dice.spread(0.008, 0.05), lean)
    if kind == "far":
        if dice.chance(0.5):
            _add_lamps(dice, picture)
        picture = fields.blur(picture, fields.disc(dice, dice.spread(1.5, 0.06 * size)))
    picture = picture * shade(dice, size) * dice.spread(0.6, 1.8)
    return fields.soften(picture, dice.between(0.35, 0.8)).clamp(min=1e-4)


def _add_lamps(dice: Dice, picture: Tensor) -> None:
    """Add points of light brighter than paper: a lens out of focus makes discs of them."""
    size, count = picture.shape[1], dice.whole(3, 40)
    power = (dice.normal(3, count, scale=0.3) + dice.normal(1, count) + 4.0).exp()
    fields.splat(picture, dice.uniform(count, high=size), dice.uniform(count, high=size), power)
