"""Hair and fur: thousands of curves that start on a body, each with a colour, a sheen and a taper of its own."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from fbamatte.evaluation.procedural import bodies, palette
from fbamatte.evaluation.procedural.arrays import Array, Rng, f32
from fbamatte.evaluation.procedural.bodies import Body, Lighting
from fbamatte.evaluation.procedural.noise import fractal
from fbamatte.evaluation.procedural.raster import Layer, Strands, draw_strands


def hair(rng: Rng, height: int, width: int) -> Layer:
    """Return a head with long hair: locks that fall, single hairs that fly away."""
    side = min(height, width)
    light = Lighting.draw(rng)
    cx, cy, head = width * rng.uniform(0.42, 0.58), height * rng.uniform(0.36, 0.44), side * rng.uniform(0.13, 0.17)
    centers = [[cx, cy], [cx, cy + 0.8 * head], [cx, cy + 1.6 * head], [cx, cy + 2.5 * head]]
    centers += [[cx - 1.2 * head, cy + 3.1 * head], [cx + 1.2 * head, cy + 3.1 * head], [cx, cy + 3.6 * head]]
    body = bodies.balls(height, width, f32(centers), head * f32([0.78, 0.6, 0.5, 0.7, 0.8, 0.8, 1.4]))
    skin = palette.SKIN[rng.integers(len(palette.SKIN))]
    cloth = palette.colors(rng, 1)[0]
    y = np.arange(height, dtype=np.float32)[:, None, None]
    coat = np.where(y < cy + 2.0 * head, skin, cloth) * np.ones((height, width, 1), np.float32)
    coat *= np.exp(0.08 * fractal(rng, height, width, 1.2, 0.3))[..., None]
    layer = bodies.solid(body, bodies.shade(body, coat.astype(np.float32), light, 0.15))
    base = palette.HAIR[rng.integers(len(palette.HAIR))] * np.exp(rng.normal(0, 0.07, 3))
    draw_strands(layer, _locks(rng, side, (cx, cy, head), base, light))
    layer = thicken(layer, 0.006 * side)
    draw_strands(layer, _flyaways(rng, side, (cx, cy, head), base, light))
    return layer


def fur(rng: Rng, height: int, width: int) -> Layer:
    """Return a furry creature."""
    side = min(height, width)
    light = Lighting.draw(rng)
    body = bodies.creature(rng, height, width)
    first, second = palette.HAIR[rng.choice(len(palette.HAIR), 2)]
    coat = bodies.pattern(rng, height, width, first, second)
    layer = bodies.solid(body, bodies.shade(body, coat * 0.6, light))
    length = side * rng.uniform(0.025, 0.08)
    count = int(min(26000, 3.2 * (body.inside > 0).sum() / (0.022 * length * max(side / 512, 0.5) + 0.25) / 14))
    draw_strands(layer, _pelt(rng, body, coat, light, length, count))
    layer = thicken(layer, 0.004 * side)
    draw_strands(layer, _pelt(rng, body, coat, light, length * 1.9, count // 40, thin=0.6))
    return layer


def thicken(layer: Layer, depth: float) -> Layer:
    """Return a layer whose dense parts let nothing through: behind the hairs that are drawn there are more.

    Parameters
    ----------
    depth : float
        In pixels; what is dense over so wide a neighbourhood becomes solid.
    """
    dense = ndimage.gaussian_filter(layer.alpha, depth, mode="nearest")
    glow = ndimage.gaussian_filter(layer.premultiplied, (depth, depth, 0), mode="nearest")
    behind = np.clip((dense - 0.72) / 0.18, 0, 1)
    color = 0.45 * glow / np.maximum(dense, 1e-3)[..., None]
    return layer.over(Layer(behind, behind[..., None] * color))


def _grow(
    rng: Rng, root: Array, heading: Array, length: Array, steps: int, curl: Array, frizz: float, fall: float
) -> Array:
    """Return curves of shape (N, steps, 2): headings that drift, curl and are pulled down as they go."""
    count = len(root)
    points = np.empty((count, steps, 2), np.float32)
    points[:, 0] = root
    pace = (length / (steps - 1))[:, None]
    drift = rng.normal(0, frizz, count)
    for step in range(1, steps):
        drift += rng.normal(0, frizz, count) * 0.6
        heading = heading + (curl + drift) / steps
        direction = np.stack([np.cos(heading), np.sin(heading) + fall * step / steps], axis=-1)
        direction /= np.maximum(np.linalg.norm(direction, axis=-1, keepdims=True), 1e-6)
        heading = np.arctan2(direction[:, 1], direction[:, 0])
        points[:, step] = points[:, step - 1] + pace * direction
    return points


def _taper(radius: Array, steps: int, sharp: float = 0.35) -> Array:
    along = np.linspace(0, 1, steps, dtype=np.float32)
    profile = np.minimum(1, (1 - along) / sharp + 0.12)
    return f32(radius[:, None] * profile[None])


def _sheen(points: Array, base: Array, light: Lighting, gloss: float, normal: Array | None = None) -> Array:
    """Return the light of hairs after Kajiya and Kay: dull across the light, bright where it glances along."""
    tangent = np.gradient(points, axis=1)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=-1, keepdims=True), 1e-6)
    toward = light.direction[:2]
    cosine = np.clip(tangent @ toward, -1, 1)
    sine = np.sqrt(1 - cosine**2)
    # The camera looks along the third axis, across every tangent: the highlight peaks where light does too.
    glint = np.clip(sine * np.hypot(light.direction[2], 0.2), 0, 1) ** 22
    facing = 1.0 if normal is None else (0.25 + 0.75 * np.clip(normal @ light.direction, 0, 1))[:, None]
    diffuse = (0.35 + 0.65 * sine)[..., None] * light.key * np.reshape(facing, (-1, 1, 1) if normal is not None else ())
    lit = base * (diffuse + light.ambient) + gloss * glint[..., None] * light.key * (0.3 + base)
    return f32(lit)


def _locks(rng: Rng, side: int, head: tuple[float, float, float], base: Array, light: Lighting) -> Strands:
    cx, cy, radius = head
    guides, per_guide, steps = int(rng.integers(80, 140)), int(rng.integers(18, 34)), 22
    angle = rng.uniform(-1.15 * np.pi, 0.15 * np.pi, guides)
    # What grows nearer to the camera, in the middle of the crown, is drawn later.
    reach = np.sort(rng.uniform(0.15, 1.02, guides) ** 0.7)[::-1]
    root = np.stack([cx + radius * reach * np.cos(angle), cy + radius * reach * np.sin(angle) * 1.05], axis=-1)
    length = side * rng.uniform(0.16, 0.5) * np.exp(rng.normal(0, 0.22, guides))
    wave = rng.normal(0, rng.uniform(0.2, 2.2), guides)
    parting = np.where(np.cos(angle) > 0, 1, -1) * rng.uniform(0.2, 0.8)
    heading = np.arctan2(np.sin(angle) * 0.9, np.cos(angle) + 0.3 * parting)
    n = guides * per_guide
    spread = side * rng.uniform(0.004, 0.012)
    share = np.repeat(np.arange(guides), per_guide)
    offset = rng.normal(0, spread, (n, 2))
    roots = (root[share] + offset).astype(np.float32)
    fall = rng.uniform(0.6, 2.2)
    jitter = rng.normal(0, 0.12, n)
    points = _grow(
        rng, roots, heading[share] + jitter, length[share] * np.exp(rng.normal(0, 0.12, n)), steps,
        wave[share] + rng.normal(0, 0.3, n), rng.uniform(0.1, 0.8), fall,
    )  # fmt: skip
    fine = side / 512
    thickness = rng.uniform(0.22, 0.55) * fine * np.exp(rng.normal(0, 0.2, n))
    tone = base * np.exp(rng.normal(0, 0.12, (guides, 1)))[share] * np.exp(rng.normal(0, 0.18, (n, 1)))
    ramp = np.linspace(0.75, 1.25, steps)[None, :, None]
    color = _sheen(points, tone[:, None, :] * ramp, light, rng.uniform(0.1, 0.6)) + _backlight(
        points, head, light, tone
    )
    order = np.argsort(share + rng.normal(0, 12, n))
    return Strands(
        points[order], _taper(thickness, steps)[order].astype(np.float32), color[order], np.ones(n, np.float32)
    )


def _backlight(points: Array, head: tuple[float, float, float], light: Lighting, tone: Array) -> Array:
    """Light from behind comes through where the hair is thin: at the outside."""
    cx, cy, radius = head
    away = np.hypot(points[..., 0] - cx, points[..., 1] - cy) / radius
    through = np.clip(away - 1.1, 0, 0.9)[..., None] * np.sqrt(np.maximum(tone, 0))[:, None, :]
    glow: Array = (light.rim * through * 0.5).astype(np.float32)
    return glow


def _flyaways(rng: Rng, side: int, head: tuple[float, float, float], base: Array, light: Lighting) -> Strands:
    cx, cy, radius = head
    count, steps = int(rng.integers(40, 220)), 20
    angle = rng.uniform(-1.15 * np.pi, 0.15 * np.pi, count)
    root = np.stack([cx + radius * np.cos(angle), cy + radius * np.sin(angle)], axis=-1).astype(np.float32)
    heading = angle + rng.normal(0, 0.6, count)
    length = side * rng.uniform(0.04, 0.3, count)
    points = _grow(rng, root, heading, length, steps, rng.normal(0, 1.5, count), 1.2, rng.uniform(0, 0.5))
    thickness = rng.uniform(0.12, 0.3, count) * side / 512
    tone = base * np.exp(rng.normal(0, 0.25, (count, 1)))
    color = _sheen(points, tone[:, None, :] * np.ones((1, steps, 1)), light, 0.5) + _backlight(
        points, head, light, tone
    )
    return Strands(points, _taper(thickness, steps).astype(np.float32), color, np.ones(count, np.float32))


def _pelt(rng: Rng, body: Body, coat: Array, light: Lighting, length: float, count: int, thin: float = 1.0) -> Strands:
    height, width = body.inside.shape
    side = min(height, width)
    rows, columns = np.nonzero(body.inside > 0.02 * side * 0.3)
    pick = rng.integers(0, len(rows), count)
    pick = pick[np.argsort(body.inside[rows[pick], columns[pick]] + rng.normal(0, 0.3 * length, count))]
    at = rows[pick], columns[pick]
    root = np.stack([at[1] + rng.random(count) - 0.5, at[0] + rng.random(count) - 0.5], axis=-1).astype(np.float32)
    normal = body.normal[at]
    swirl = fractal(rng, height, width, 1.8, 0.6)[at]
    comb = np.stack([0.4 * np.cos(swirl * 1.5 + 1.2), 0.25 + 0.5 * np.sin(swirl * 1.5 + 1.2)], axis=-1)
    direction = normal[:, :2] * 1.4 + comb * (0.6 + normal[:, 2:]) + rng.normal(0, 0.22, (count, 2))
    heading = np.arctan2(direction[:, 1], direction[:, 0])
    steps = 7
    size = length * np.exp(rng.normal(0, 0.25, count)) * (0.55 + 0.45 * (1 - normal[:, 2]))
    points = _grow(rng, root, heading, size.astype(np.float32), steps, rng.normal(0, 0.7, count), 0.5, 0.15)
    thickness = thin * rng.uniform(0.25, 0.6) * side / 512 * np.exp(rng.normal(0, 0.25, count))
    ramp = np.linspace(0.55, 1.3, steps)[None, :, None]
    tone = coat[at] * np.exp(rng.normal(0, 0.22, (count, 1)))
    color = _sheen(points, tone[:, None, :] * ramp, light, rng.uniform(0.02, 0.3), normal)
    edge = np.clip(1 - normal[:, 2], 0, 1)[:, None, None] * np.linspace(0, 1, steps)[None, :, None]
    color = color + (light.rim * edge * (0.15 + 0.6 * np.sqrt(tone))[:, None, :]).astype(np.float32)
    return Strands(points, _taper(thickness, steps, 0.8).astype(np.float32), color, np.ones(count, np.float32))
