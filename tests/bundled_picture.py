"""One small picture whose alpha, F and B are known: a disc with strands, over a textured ground."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

HEIGHT, WIDTH = 96, 128


@dataclass(frozen=True, eq=False)
class Truth:
    """The picture, its trimap, and what it was made of; all in display-encoded light."""

    image: np.ndarray
    trimap: np.ndarray
    alpha: np.ndarray
    foreground: np.ndarray
    background: np.ndarray


@cache
def make() -> Truth:
    """Return the picture; the same numbers everywhere."""
    rng = np.random.Generator(np.random.PCG64(7))
    alpha = _strands(rng)
    foreground = _texture(rng, (0.75, 0.45, 0.25), 6)
    background = _texture(rng, (0.25, 0.4, 0.6), 14)
    image = alpha[..., None] * foreground + (1 - alpha[..., None]) * background
    return Truth(image.astype(np.float32), _trimap(alpha), alpha, foreground, background)


def errors(truth: Truth, found) -> tuple[float, float, float]:
    """Return mean |Δ| in the unknown region: alpha, F where alpha > 0.1, B where alpha < 0.9."""
    unknown = (truth.trimap > 0) & (truth.trimap < 1)
    seen, behind = unknown & (truth.alpha > 0.1), unknown & (truth.alpha < 0.9)
    return (
        float(np.abs(found.alpha - truth.alpha)[unknown].mean()),
        float(np.abs(found.foreground - truth.foreground)[seen].mean()),
        float(np.abs(found.background - truth.background)[behind].mean()),
    )


def _strands(rng: np.random.Generator) -> np.ndarray:
    fine = 4
    y, x = np.mgrid[: HEIGHT * fine, : WIDTH * fine] / fine
    solid = np.hypot((x - 60) / 30, (y - 55) / 26) < 1
    for _ in range(60):
        angle, length, bend = rng.uniform(0, 2 * np.pi), rng.uniform(8, 18), rng.normal(0, 0.5)
        t = np.linspace(0, 1, 100)
        sx = 60 + 29 * np.cos(angle) + length * t * np.cos(angle + bend * t)
        sy = 55 + 25 * np.sin(angle) + length * t * np.sin(angle + bend * t)
        ix, iy = (sx * fine).astype(int), (sy * fine).astype(int)
        inside = (ix >= 0) & (iy >= 0) & (ix < WIDTH * fine - 1) & (iy < HEIGHT * fine - 1)
        for dy in (0, 1):
            solid[iy[inside] + dy, ix[inside]] = True
    return solid.reshape(HEIGHT, fine, WIDTH, fine).mean(axis=(1, 3)).astype(np.float32)


def _texture(rng: np.random.Generator, colour: tuple[float, float, float], scale: int) -> np.ndarray:
    noise = rng.standard_normal((HEIGHT, WIDTH, 3))
    smooth = ndimage.gaussian_filter(noise, (scale, scale, 0)) * scale * 0.25 + noise * 0.01
    return np.clip(np.array(colour) + smooth, 0, 1).astype(np.float32)


def _trimap(alpha: np.ndarray) -> np.ndarray:
    mixed = (alpha > 0) & (alpha < 1)
    near = ndimage.distance_transform_edt(~mixed) <= 4
    return np.where(near, 0.5, alpha >= 1).astype(np.float32)
