"""Things that one sees through: smoke, glass, nets, leaves."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from fbamatte.evaluation.procedural import bodies, palette
from fbamatte.evaluation.procedural.arrays import Array, Rng, f32
from fbamatte.evaluation.procedural.bodies import Lighting
from fbamatte.evaluation.procedural.noise import fractal, warp
from fbamatte.evaluation.procedural.raster import LEAF, Layer, Strands, draw_strands, pile


def smoke(rng: Rng, height: int, width: int) -> Layer:
    """Return smoke that rises from a bowl: absorption along its depth, lit from one side."""
    side = min(height, width)
    light = Lighting.draw(rng)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    source_x, source_y = width * rng.uniform(0.35, 0.65), height * rng.uniform(0.72, 0.82)
    up = np.maximum(source_y - y, 0) / side
    bend = rng.normal(0, 0.35)
    sway = 0.06 * fractal(rng, height, width, 2.2, 0.8) * (0.2 + up * 2)
    axis = source_x + side * (bend * up**1.5 + sway)
    spread = side * (0.035 + rng.uniform(0.18, 0.42) * up)
    column = np.exp(-(((x - axis) / spread) ** 2)) * (y < source_y + 0.01 * side)
    curl = side * rng.uniform(0.03, 0.07)
    eddies = curl * fractal(rng, height, width, 2.0, 0.5), curl * fractal(rng, height, width, 2.0, 0.5)
    billow = warp(fractal(rng, height, width, 1.85, 0.4), *eddies)
    wisps = np.logaddexp(0, 3 * (0.45 + 0.8 * billow)) / 3
    depth = (
        rng.uniform(1.0, 3.5) * column * wisps / (0.6 + 2.2 * up) * np.clip((source_y - y) / (0.04 * side) + 1, 0, 1)
    )
    fade = np.clip((y + 0.02 * side) / (0.12 * side), 0, 1)
    alpha = 1 - np.exp(-depth * fade)
    tint = f32([0.75, 0.78, 0.82]) * np.exp(rng.normal(0, 0.2))
    across = ndimage.gaussian_filter(alpha, side * 0.02)
    shadow = np.exp(-1.3 * warp(across, -0.04 * side * light.direction[0], -0.04 * side * light.direction[1]))
    scattered = tint * (0.5 * light.key * (shadow * (0.8 + 0.25 * billow))[..., None] + light.ambient)
    plume = Layer(alpha.astype(np.float32), (alpha[..., None] * np.maximum(scattered, 0.005)).astype(np.float32))
    bowl = bodies.balls(
        height, width,
        f32([source_x, source_y + 0.085 * side]) + f32([[-0.07, 0], [0, 0.02], [0.07, 0]]) * side,
        f32([0.055, 0.075, 0.055]) * side,
    )  # fmt: skip
    clay = bodies.pattern(rng, height, width, palette.colors(rng, 1)[0], palette.colors(rng, 1)[0], 0.1)
    return plume.over(bodies.solid(bowl, bodies.shade(bowl, clay, light, 0.3)))


def glass(rng: Rng, height: int, width: int) -> Layer:
    """Return a bottle: clear in the middle, dense where its wall is seen edge on, with a label and a cap."""
    side = min(height, width)
    light = Lighting.draw(rng)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    cx, top, bottom = width * rng.uniform(0.4, 0.6), height * rng.uniform(0.12, 0.2), height * rng.uniform(0.86, 0.96)
    belly, neck = side * rng.uniform(0.15, 0.22), side * rng.uniform(0.04, 0.07)
    shoulder = top + (bottom - top) * rng.uniform(0.3, 0.45)
    soft = side * rng.uniform(0.03, 0.08)
    half = neck + (belly - neck) / (1 + np.exp(-(y - shoulder) / (soft * 0.45)))
    inside = np.minimum.reduce([half - np.abs(x - cx), (y - top), (bottom - y)])
    slope = np.hypot(1, np.gradient(half, axis=0))
    coverage = np.clip(np.minimum.reduce([(half - np.abs(x - cx)) / slope, y - top, bottom - y]) + 0.5, 0, 1)
    edge_on = np.clip(np.abs(x - cx) / half, 0, 1)
    tint = f32([[0.10, 0.32, 0.14], [0.28, 0.14, 0.03], [0.55, 0.62, 0.62], [0.12, 0.25, 0.4]][rng.integers(4)])
    thick = rng.uniform(0.05, 0.45)
    opacity = thick + (0.92 - thick) * edge_on ** rng.uniform(5, 12)
    body_light = tint * (light.ambient + 0.25 * light.key) * (0.6 + 0.8 * edge_on[..., None] ** 4)
    alpha = coverage * opacity
    light_out = alpha[..., None] * body_light
    reflected, covers = _reflections(rng, (x - cx) / half, y, (top, shoulder, bottom), light)
    covers = covers * coverage
    layer = Layer(covers, covers[..., None] * reflected).over(
        Layer(alpha.astype(np.float32), light_out.astype(np.float32))
    )
    layer = _liquid(rng, layer, inside, y, shoulder, bottom, side)
    return _label_and_cap(rng, layer, (x, y), (cx, half), (top, shoulder, bottom), side, light)


def _reflections(
    rng: Rng, u: Array, y: Array, heights: tuple[float, float, float], light: Lighting
) -> tuple[Array, Array]:
    """Windows and lamps in the wall: brighter than paper, so HDR, and covering in their own right."""
    top, shoulder, bottom = heights
    covers = np.zeros_like(u)
    for _ in range(int(rng.integers(2, 5))):
        at, width = rng.uniform(-0.8, 0.8), rng.uniform(0.03, 0.14)
        start, end = sorted(rng.uniform(shoulder, bottom, 2))
        soft = rng.uniform(0.15, 0.6)
        strip = np.clip((width - np.abs(u - at)) / (width * soft), 0, 1)
        span = np.clip(np.minimum(y - start, end - y) / 6, 0, 1)
        covers = np.maximum(covers, strip * span * rng.uniform(0.15, 0.9))
    glint = np.exp(-(((u - rng.uniform(-0.5, 0.5)) / 0.1) ** 2) - ((y - shoulder) / (0.04 * (bottom - top))) ** 2)
    covers = np.maximum(covers, np.where(glint > 0.02, glint, 0))
    bright = (light.key * np.exp(rng.normal(1.0, 0.7))) * (1 + 12 * glint[..., None] ** 2)
    return bright.astype(np.float32), covers.astype(np.float32)


def _liquid(rng: Rng, layer: Layer, inside: Array, y: Array, shoulder: float, bottom: float, side: int) -> Layer:
    if rng.random() < 0.4:
        return layer
    level = shoulder + (bottom - shoulder) * rng.uniform(0.1, 0.8)
    depth = np.clip(inside / (0.06 * side), 0, 1)
    covers = (
        np.clip((y - level) / 1.5, 0, 1) * np.clip(inside + 0.5, 0, 1) * rng.uniform(0.3, 0.9) * (0.7 + 0.3 * depth)
    )
    tint = palette.colors(rng, 1)[0]
    return layer.over(Layer(covers.astype(np.float32), (covers[..., None] * tint).astype(np.float32)))


def _label_and_cap(
    rng: Rng, layer: Layer, grid: tuple[Array, Array], wall: tuple[float, Array], heights: tuple[float, float, float],
    side: int, light: Lighting,
) -> Layer:  # fmt: skip
    x, y = grid
    cx, half = wall
    top, shoulder, bottom = heights
    start = shoulder + (bottom - shoulder) * rng.uniform(0.2, 0.4)
    end = min(start + (bottom - shoulder) * rng.uniform(0.25, 0.45), bottom - 0.03 * side)
    reach = half * rng.uniform(0.7, 0.98)
    label = np.clip(np.minimum.reduce([reach - np.abs(x - cx), y - start, end - y]) + 0.5, 0, 1)
    cap = np.clip(
        np.minimum.reduce([half * 1.2 - np.abs(x - cx), y - top + 0.03 * side, top + 0.05 * side - y]) + 0.5, 0, 1
    )
    around = np.sqrt(np.clip(1 - ((x - cx) / (half * 1.25)) ** 2, 0.05, 1))
    shade = (light.key * (0.75 * around)[..., None] + light.ambient).astype(np.float32)
    height, width = x.shape
    paper = bodies.pattern(rng, height, width, palette.colors(rng, 1)[0], f32([0.7, 0.68, 0.6]), 0.04) * shade
    metal = palette.colors(rng, 1)[0] * shade * (1 + 2 * around[..., None] ** 24)
    covers = np.maximum(label, cap)
    light_out = np.where((cap > label)[..., None], metal, paper)
    return Layer(covers.astype(np.float32), (covers[..., None] * light_out).astype(np.float32)).over(layer)


def net(rng: Rng, height: int, width: int) -> Layer:
    """Return a sagging net on two posts: threads over and under each other, knots, a hole torn into it."""
    side = min(height, width)
    light = Lighting.draw(rng)
    layer = Layer.empty(height, width)
    left, right = width * rng.uniform(0.08, 0.18), width * rng.uniform(0.82, 0.92)
    top, bottom = height * rng.uniform(0.12, 0.22), height * rng.uniform(0.75, 0.92)
    cell = side * rng.uniform(0.016, 0.05)
    diagonal = rng.random() < 0.5
    # Pulled tight at the posts, loose between them.
    slack = np.sin(np.pi * np.clip((np.arange(width) - left) / (right - left), 0, 1))[None, :] * side * 0.035
    bulge = slack * fractal(rng, height, width, 2.2, 0.7), slack * fractal(rng, height, width, 2.2, 0.7)
    base = palette.colors(rng, 1)[0] * rng.uniform(0.6, 1.6)
    for family in _threads((left, right, top, bottom), cell, diagonal):
        draw_strands(layer, _thread_strands(rng, family, bulge, base, light, cell, (height, width)))
    for at in (left, right):
        post = bodies.bar(
            height,
            width,
            f32([at, top - 0.06 * side]),
            f32([at + rng.normal(0, 0.01) * side, height + 20]),
            0.022 * side,
        )
        wood = bodies.pattern(rng, height, width, palette.colors(rng, 1)[0], palette.HAIR[3], 0.3)
        layer = bodies.solid(post, bodies.shade(post, wood, light, 0.1)).over(layer)
    return layer


def _threads(box: tuple[float, float, float, float], cell: float, diagonal: bool) -> list[Array]:
    """Return two families of straight threads, each of shape (N, M, 2), inside a box."""
    left, right, top, bottom = box
    steps = 90
    t = np.linspace(0, 1, steps)
    families = []
    if diagonal:
        reach = bottom - top
        for sign in (1, -1):
            start = np.arange(left - reach, right + reach, cell * 1.4)
            x = start[:, None] + sign * reach * (t[None] - (sign < 0))
            y = np.broadcast_to(top + reach * t, x.shape)
            families.append(np.stack([np.clip(x, left, right), y], axis=-1))
    else:
        x, y = np.arange(left, right, cell), np.arange(top, bottom, cell)
        across = np.broadcast_to(left + (right - left) * t, (len(y), steps))
        down = np.broadcast_to(top + (bottom - top) * t, (len(x), steps))
        families.append(np.stack([across, np.repeat(y[:, None], steps, 1)], axis=-1))
        families.append(np.stack([np.repeat(x[:, None], steps, 1), down], axis=-1))
    return [f.astype(np.float32) for f in families]


def _thread_strands(
    rng: Rng,
    straight: Array,
    bulge: tuple[Array, Array],
    base: Array,
    light: Lighting,
    cell: float,
    size: tuple[int, int],
) -> Strands:
    height, width = size
    column = np.clip(straight[..., 0].astype(int), 0, width - 1)
    row = np.clip(straight[..., 1].astype(int), 0, height - 1)
    points = straight + np.stack([bulge[0][row, column], bulge[1][row, column]], axis=-1)
    count, steps = points.shape[:2]
    radius = np.full((count, steps), rng.uniform(0.025, 0.07) * cell + 0.2) * np.exp(rng.normal(0, 0.1, (count, 1)))
    slope = bulge[0][row, column] / (0.05 * height)
    shade = np.clip(0.7 + 0.4 * slope * np.sign(light.direction[0]), 0.2, 1.6) * np.exp(
        rng.normal(0, 0.12, (count, steps))
    )
    color = base * (light.key * shade[..., None] + light.ambient)
    return Strands(points, radius.astype(np.float32), color.astype(np.float32), np.ones(count, np.float32))


def leaves(rng: Rng, height: int, width: int) -> Layer:
    """Return a branch with leaves: many small holes, hard edges, light that shines through."""
    side, fine = min(height, width), 2
    light = Lighting.draw(rng)
    twigs = Layer.empty(height, width)
    count, steps = int(rng.integers(7, 14)), 24
    root = f32([width * rng.uniform(0.3, 0.7), height * 1.02])
    heading = rng.uniform(-0.85 * np.pi, -0.15 * np.pi, count)
    along = np.linspace(0, 1, steps)
    length = side * rng.uniform(0.4, 0.85, count)
    bend = rng.normal(0, 0.5, count)
    angle = heading[:, None] + bend[:, None] * along[None]
    path = np.cumsum(np.stack([np.cos(angle), np.sin(angle)], -1) * (length / steps)[:, None, None], axis=1)
    points = root + path
    bark = palette.HAIR[3] * np.exp(rng.normal(0, 0.2))
    color = np.broadcast_to(bark * (light.key * 0.6 + light.ambient), (count, steps, 3))
    radius = side * 0.011 * (1.05 - along)[None] * np.ones((count, 1))
    draw_strands(
        twigs,
        Strands(
            points.astype(np.float32), radius.astype(np.float32), color.astype(np.float32), np.ones(count, np.float32)
        ),
    )
    n = int(rng.integers(220, 520))
    which, where = rng.integers(0, count, n), rng.integers(steps // 5, steps, n)
    size = side * rng.uniform(0.016, 0.042, n)
    turn = angle[which, where] + rng.normal(0, 1.0, n)
    center = points[which, where] + np.stack([np.cos(turn), np.sin(turn)], -1) * size[:, None]
    shape = np.column_stack([center * fine, size * fine, size * fine * rng.uniform(0.25, 0.55, n), turn]).astype(
        np.float32
    )
    seen = pile(height * fine, width * fine, np.full(n, LEAF, np.int32), shape)
    green = palette.colors(rng, n) * 0.25 + f32([0.10, 0.22, 0.035]) * np.exp(rng.normal(0, 0.3, (n, 1)))
    lit = green * (light.key * rng.uniform(0.3, 1.2, (n, 1)) + light.ambient) + green**0.5 * light.rim * 0.12
    covered = seen >= 0
    vein = 1 + 0.15 * fractal(rng, height * fine, width * fine, 0.8, 0.08)
    shown = np.where(covered[..., None], lit[np.maximum(seen, 0)] * vein[..., None], 0)
    small = (height, fine, width, fine)
    foliage = Layer(
        covered.reshape(small).mean(axis=(1, 3)).astype(np.float32),
        np.maximum(shown, 0).reshape(*small, 3).mean(axis=(1, 3)).astype(np.float32),
    )
    return foliage.over(twigs)
