"""Backgrounds with the statistics of photographs.

Shapes of all sizes hide each other (the dead-leaves model, whose 1/f² spectrum and heavy-tailed edges are those of
photographs), each filled with a texture and a shade of its own, in layers of different depth that a lens blurs
differently, lit by something brighter than paper here and there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fbamatte.evaluation.procedural import lens, palette
from fbamatte.evaluation.procedural.arrays import Array, Rng, f32
from fbamatte.evaluation.procedural.noise import fractal, texture_bank
from fbamatte.evaluation.procedural.raster import BOX, ELLIPSE, LEAF, pile

KINDS = ("clutter", "foliage", "bokeh", "studio", "street")


def background(rng: Rng, height: int, width: int, kind: str = "") -> Array:
    """Return a background, shape (H, W, 3), scene-linear, everything above 0.

    Parameters
    ----------
    kind : str
        One of `KINDS`; empty draws one.
    """
    kind = kind or str(rng.choice(KINDS, p=(0.3, 0.2, 0.2, 0.12, 0.18)))
    picture = _BUILDERS[kind](rng, height, width)
    picture *= _falloff(rng, height, width)[..., None] * palette.light(rng)
    exposure = np.exp(rng.normal(0, 0.35))
    return f32(np.maximum(lens.soften(picture, rng.uniform(0.35, 0.7)) * exposure, 1e-4))


def _clutter(rng: Rng, height: int, width: int) -> Array:
    far = _leaves(rng, height, width, 700, 0.02, (ELLIPSE, BOX, LEAF), (0.5, 0.35, 0.15))
    near_blur = rng.choice([0.0, rng.uniform(0.002, 0.012)])
    return _defocus(rng, far, near_blur)


def _foliage(rng: Rng, height: int, width: int) -> Array:
    canvas = _leaves(rng, height, width, 1600, 0.008, (LEAF, ELLIPSE), (0.85, 0.15), green=True)
    sky = (fractal(rng, height, width, 1.2, 0.5) > 1.1)[..., None]
    canvas = np.where(sky, f32([0.75, 0.95, 1.25]) * rng.uniform(0.8, 2.5), canvas)
    return _defocus(rng, canvas.astype(np.float32), rng.choice([rng.uniform(0, 0.004), rng.uniform(0.01, 0.03)]))


def _bokeh(rng: Rng, height: int, width: int) -> Array:
    canvas = _leaves(rng, height, width, 300, 0.04, (ELLIPSE, BOX), (0.6, 0.4)) * rng.uniform(0.15, 0.8)
    count = int(rng.integers(12, 70))
    at = (rng.integers(0, height, count), rng.integers(0, width, count))
    tints = 0.5 + rng.random((count, 3)) * np.array([1.0, 0.8, 0.6])
    canvas[at] += (tints * np.exp(rng.normal(5.0, 1.1, (count, 1)))).astype(np.float32) * (
        min(height, width) / 512
    ) ** 2
    return _defocus(rng, canvas, rng.uniform(0.015, 0.04))


def _studio(rng: Rng, height: int, width: int) -> Array:
    color = palette.colors(rng, 1)[0] * rng.uniform(0.6, 1.6)
    paper = 1 + 0.05 * fractal(rng, height, width, 1.8) + 0.015 * fractal(rng, height, width, 0.5, 0.1)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    cx, cy = rng.uniform(0.2, 0.8) * width, rng.uniform(0.1, 0.7) * height
    spot = np.exp(-(((x - cx) / (0.6 * width)) ** 2 + ((y - cy) / (0.6 * height)) ** 2))
    return f32(color * (paper * (0.35 + spot))[..., None])


def _street(rng: Rng, height: int, width: int) -> Array:
    canvas = _leaves(rng, height, width, 160, 0.06, (BOX,), (1.0,), upright=True)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    # Rows of windows, some lit, on what the boxes are.
    step = rng.uniform(0.03, 0.08, 2) * min(height, width)
    column, row = np.floor(x / step[0]), np.floor(y / step[1])
    pane = (np.abs(x / step[0] % 1 - 0.5) < 0.28) & (np.abs(y / step[1] % 1 - 0.5) < 0.33)
    lit = rng.random((int(row.max()) + 1, int(column.max()) + 1))[row.astype(int), column.astype(int)]
    shade = np.where(lit > 0.93, rng.uniform(2, 12), np.where(lit > 0.5, 0.25, 0.7))
    canvas = np.where((pane & (lit < 0.6 + 0.4 * (lit > 0.9)))[..., None], canvas * shade[..., None], canvas)
    return _defocus(rng, canvas.astype(np.float32), rng.uniform(0, 0.015))


_BUILDERS = {"clutter": _clutter, "foliage": _foliage, "bokeh": _bokeh, "studio": _studio, "street": _street}


def _leaves(
    rng: Rng,
    height: int,
    width: int,
    count: int,
    smallest: float,
    kinds: tuple[int, ...],
    shares: tuple[float, ...],
    *,
    upright: bool = False,
    green: bool = False,
) -> Array:
    """Return a pile of textured shapes, radii by the inverse cube that makes pictures look alike at every scale."""
    side = min(height, width)
    low, high = smallest * side, 0.35 * side
    radius = (low**-2 - rng.random(count) * (low**-2 - high**-2)) ** -0.5
    angle = rng.normal(0, 0.02, count) if upright else rng.uniform(0, np.pi, count)
    aspect = np.exp(rng.normal(0, 0.45, count)) * (0.45 if green else 1.0)
    place = rng.random((count, 2)) * [width, height]
    shapes = np.column_stack([place, radius / np.sqrt(aspect), radius * np.sqrt(aspect), angle]).astype(np.float32)
    seen = pile(height, width, rng.choice(kinds, count, p=shares), shapes)
    colors = palette.colors(rng, count + 1)
    if green:
        colors = colors * [0.55, 1.0, 0.3] * 0.9
    return _fill(rng, seen, shapes, colors)


def _fill(rng: Rng, seen: NDArray[np.int32], shapes: Array, colors: Array) -> Array:
    """Give each shape its colour, its texture somewhere in the bank, and a shade that runs across it."""
    height, width = seen.shape
    bank = texture_bank(rng, 256)
    count = len(colors)
    which, offset = rng.integers(0, len(bank), count), rng.integers(0, 256, (2, count))
    contrast, slope = np.abs(rng.normal(0, 0.22, count)) + 0.03, rng.normal(0, 0.35, (2, count))
    y, x = np.mgrid[:height, :width]
    grain = bank[which[seen], (y + offset[0][seen]) % 256, (x + offset[1][seen]) % 256]
    center = np.vstack([shapes, shapes[:1]])[seen]
    across = ((x - center[..., 0]) * slope[0][seen] + (y - center[..., 1]) * slope[1][seen]) / center[..., 2]
    shade = np.exp(contrast[seen] * grain + np.clip(across, -1.5, 1.5) * 0.7)
    filled: Array = (colors[seen] * shade[..., None]).astype(np.float32)
    return filled


def _defocus(rng: Rng, picture: Array, fraction: float) -> Array:
    radius = fraction * min(picture.shape[:2])
    if radius < 0.7:
        return picture
    return lens.blur(picture, lens.disc(radius, int(rng.choice([0, 0, 6, 7])), rng.uniform(0, 1)))


def _falloff(rng: Rng, height: int, width: int) -> Array:
    """Light that is not the same everywhere: a slope and slow shadows."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    slope = rng.normal(0, 0.5, 2)
    ramp = slope[0] * (x / width - 0.5) + slope[1] * (y / height - 0.5)
    field: Array = np.exp(ramp + 0.25 * fractal(rng, height, width, 2.2)).astype(np.float32)
    return field
