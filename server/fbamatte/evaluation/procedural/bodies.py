"""Solid things: soft unions of balls, inflated and lit, and the straight parts that other things hold on to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fbamatte.evaluation.procedural import palette
from fbamatte.evaluation.procedural.arrays import Array, Rng, f32
from fbamatte.evaluation.procedural.noise import fractal
from fbamatte.evaluation.procedural.raster import Layer


@dataclass(frozen=True)
class Lighting:
    """One key light, what the rest of the world sends, and a light from behind.

    Parameters
    ----------
    direction : ndarray, shape (3,)
        Towards the key light: right, down, to the camera.
    key, ambient, rim : ndarray, shape (3,)
        Linear light.
    """

    direction: Array
    key: Array
    ambient: Array
    rim: Array

    @classmethod
    def draw(cls, rng: Rng) -> Lighting:
        """Return a light like those on a set."""
        direction = np.array([rng.normal(0, 0.6), -abs(rng.normal(0.5, 0.4)), 0.35 + rng.random()])
        strength = np.exp(rng.normal(0, 0.4))
        rim = palette.light(rng) * (np.exp(rng.normal(1.0, 0.8)) if rng.random() < 0.5 else 0.0)
        return cls(
            (direction / np.linalg.norm(direction)).astype(np.float32),
            palette.light(rng) * np.float32(1.6 * strength),
            palette.light(rng) * np.float32(0.35 * strength),
            rim.astype(np.float32),
        )


@dataclass(frozen=True)
class Body:
    """A solid shape.

    Parameters
    ----------
    inside : ndarray, shape (H, W), float32
        Signed distance to the outline in pixels, about right near it: positive inside.
    normal : ndarray, shape (H, W, 3), float32
        Of the surface inside, outwards of the outline elsewhere; unit length.
    """

    inside: Array
    normal: Array

    @property
    def coverage(self) -> Array:
        """Alpha of the shape alone, its edge filtered by a pixel's width."""
        return np.clip(self.inside + 0.5, 0, 1)


def balls(height: int, width: int, centers: Array, radii: Array) -> Body:
    """Return the soft union of balls; ``centers`` of shape (N, 2) as x, y, and ``radii`` in pixels."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    field = np.full((height, width), -1.0, np.float32)
    for (cx, cy), radius in zip(centers, radii):
        field += np.exp(2 * (1 - ((x - cx) ** 2 + (y - cy) ** 2) / radius**2)).astype(np.float32)
    down, across = np.gradient(field)
    steep = np.hypot(down, across)
    inside = field / np.maximum(steep, 1e-3 / max(float(np.mean(radii)), 1))
    # Far outside the field is flat and its slope no distance: stay below the nearest ball's.
    nearest = np.max([r * 1.6 - np.hypot(x - cx, y - cy) for (cx, cy), r in zip(centers, radii)], axis=0)
    inside = np.where(
        field > 0, np.minimum(inside, 1e4), np.minimum(np.maximum(inside, -1e4), np.minimum(nearest, -0.5))
    )
    # Inflate: flat in the middle, turning away at the outline.
    lift = np.sqrt(1 - np.exp(-0.9 * np.maximum(field, 0)))
    outward = -np.stack([across, down], axis=-1) / np.maximum(steep, 1e-9)[..., None]
    tilt = np.sqrt(np.clip(1 - lift**2, 0, 1))
    normal = np.concatenate([outward * tilt[..., None], np.maximum(lift, 0.05)[..., None]], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    return Body(inside.astype(np.float32), normal.astype(np.float32))


def creature(rng: Rng, height: int, width: int) -> Body:
    """Return a body as of an animal or a toy: a trunk that leaves the picture below, a head, ears or limbs."""
    side = min(height, width)
    cx, cy = width / 2 + rng.normal(0, 0.08) * side, height * rng.uniform(0.48, 0.58)
    trunk = [[cx + rng.normal(0, 0.05) * side, height * 0.95], [cx + rng.normal(0, 0.06) * side, height * 0.78]]
    radii = [side * rng.uniform(0.16, 0.24), side * rng.uniform(0.12, 0.18)]
    head = side * rng.uniform(0.12, 0.17)
    centers = [*trunk, [cx, cy]]
    radii.append(head)
    for angle in rng.uniform(-0.95 * np.pi, -0.05 * np.pi, rng.integers(0, 4)):
        centers.append([cx + 1.25 * head * np.cos(angle), cy + 1.25 * head * np.sin(angle)])
        radii.append(head * rng.uniform(0.25, 0.5))
    return balls(height, width, f32(centers), f32(radii))


def pattern(rng: Rng, height: int, width: int, base: Array, second: Array, strength: float = 0.25) -> Array:
    """Return a coat of two colours in patches, each uneven, shape (H, W, 3)."""
    patches = fractal(rng, height, width, 1.5, rng.uniform(0.15, 0.5))
    mix = 1 / (1 + np.exp(-rng.uniform(1.5, 8) * (patches + rng.normal(0, 0.6))))
    uneven = np.exp(strength * fractal(rng, height, width, 1.0, 0.3))
    coat: Array = (mix[..., None] * base + (1 - mix[..., None]) * second) * uneven[..., None]
    return coat.astype(np.float32)


def shade(body: Body, coat: Array, light: Lighting, gloss: float = 0.0) -> Array:
    """Return the light that a body's surface sends back, shape (H, W, 3)."""
    facing = np.clip(body.normal @ light.direction, 0, 1)[..., None]
    lit = coat * (light.key * facing + light.ambient * (0.6 + 0.4 * body.normal[..., 2:]))
    edge = np.clip(1 - body.normal[..., 2:], 0, 1) ** 3
    lit = lit + 0.25 * light.rim * edge
    if gloss > 0:
        halfway = light.direction + f32([0, 0, 1])
        halfway /= np.linalg.norm(halfway)
        lit = lit + gloss * light.key * np.clip(body.normal @ halfway, 0, 1)[..., None] ** 90
    shaded: Array = lit.astype(np.float32)
    return shaded


def solid(body: Body, surface: Array) -> Layer:
    """Return a body as a layer."""
    alpha = body.coverage
    return Layer(alpha, alpha[..., None] * surface)


def toy(rng: Rng, height: int, width: int) -> Layer:
    """Return a smooth painted creature: nothing soft about it but its edge."""
    body = creature(rng, height, width)
    first, second = palette.colors(rng, 2)
    paint = pattern(rng, height, width, first, second, 0.1)
    return solid(body, shade(body, paint, Lighting.draw(rng), rng.uniform(0, 2)))


def bar(height: int, width: int, start: Array, end: Array, radius: float) -> Body:
    """Return a round bar from one point to another."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / max(dx * dx + dy * dy, 1e-6), 0, 1)
    away_x, away_y = x - start[0] - along * dx, y - start[1] - along * dy
    away = np.hypot(away_x, away_y)
    lift = np.sqrt(np.clip(1 - (away / radius) ** 2, 0.0025, 1))
    outward = np.stack([away_x, away_y], axis=-1) / np.maximum(away, 1e-6)[..., None]
    tilt = np.sqrt(1 - lift**2)
    normal = np.concatenate([outward * tilt[..., None], lift[..., None]], axis=-1)
    return Body((radius - away).astype(np.float32), normal.astype(np.float32))


def outline_distance(mask: NDArray[np.bool_]) -> Array:
    """Return the signed distance in pixels to a mask's outline, positive inside."""
    inner = ndimage.distance_transform_edt(mask)
    outer = ndimage.distance_transform_edt(~mask)
    return f32(np.where(mask, inner - 0.5, 0.5 - outer))
