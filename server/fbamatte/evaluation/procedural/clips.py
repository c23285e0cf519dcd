"""Clips: one object, one background, two motions, both known exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from fbamatte.evaluation.procedural.arrays import Array, Rng, f32
from fbamatte.evaluation.procedural.background import background
from fbamatte.evaluation.procedural.raster import Layer
from fbamatte.evaluation.procedural.scene import Sample, assemble

# Drawn finer than it is shown, so that a turn by half a pixel neither blurs nor crawls.
_FINE = 2
# The background reaches this far beyond the frame on each side, as a fraction of it.
_MARGIN = 0.25


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames of one shot.

    Parameters
    ----------
    frames : list of Sample
        In order.
    motion : ndarray, shape (T − 1, H, W, 2), float32
        Where what a pixel shows is in the next frame: pixels to the right and down. The object's where α > 0, the
        background's elsewhere.
    """

    frames: list[Sample]
    motion: Array


@dataclass(frozen=True)
class _Path:
    """A smooth move: position (x, y) in pixels, turn in radians and size, each of shape (T,) or (T, 2)."""

    position: Array
    turn: Array
    scale: Array

    @classmethod
    def draw(cls, rng: Rng, frames: int, side: int, reach: float, turn: float, zoom: float) -> _Path:
        t = np.arange(frames) - (frames - 1) / 2
        speed = rng.normal(0, reach, 2) * side
        swing = rng.normal(0, 0.6 * reach, 2) * side * 4
        phase = rng.uniform(0, 2 * np.pi, 2)
        position = t[:, None] * speed + swing * np.sin(t[:, None] * 0.35 + phase) - swing * np.sin(phase)
        return cls(
            position.astype(np.float32),
            (t * rng.normal(0, turn)).astype(np.float32),
            np.exp(t * rng.normal(0, zoom)).astype(np.float32),
        )

    def matrix(self, frame: int, center: tuple[float, float]) -> Array:
        """Return the 3×3 matrix that takes a place on the thing to its place (x, y, 1) in a frame."""
        cosine, sine = np.cos(self.turn[frame]) * self.scale[frame], np.sin(self.turn[frame]) * self.scale[frame]
        cx, cy = center
        x, y = self.position[frame]
        return np.array(
            [
                [cosine, -sine, cx + x - cosine * cx + sine * cy],
                [sine, cosine, cy + y - sine * cx - cosine * cy],
                [0, 0, 1],
            ]
        )


def render_clip(
    rng: Rng,
    maker: Callable[[Rng, int, int], Layer],
    frames: int,
    size: tuple[int, int],
    grain: float,
    family: str,
    seed: int,
) -> Clip:
    """Return a clip of what ``maker`` draws; see `fbamatte.evaluation.procedural.clip`."""
    height, width = size
    side = min(size)
    layer = maker(rng, height * _FINE, width * _FINE)
    margin = int(_MARGIN * max(size))
    behind = background(rng, height + 2 * margin, width + 2 * margin)
    own = _Path.draw(rng, frames, side, 0.012, 0.015, 0.005)
    camera = _Path.draw(rng, frames, side, 0.010, 0.003, 0.004)
    center = ((width - 1) / 2, (height - 1) / 2)
    seen = [camera.matrix(t, center) for t in range(frames)]
    placed = [seen[t] @ own.matrix(t, center) for t in range(frames)]
    hand = int(rng.integers(2**31))
    samples = []
    for t in range(frames):
        moved = _place(layer, placed[t], size)
        shown = _see(behind, seen[t], size, margin)
        # One hand draws all trimaps of a shot; the grain is new in every frame.
        frame = assemble(np.random.default_rng([hand, 0]), moved, shown, family, seed)
        samples.append(frame.with_grain(np.random.default_rng([hand, 1 + t]), grain))
    motion = np.stack([_motion(samples[t].alpha, placed, seen, t) for t in range(frames - 1)])
    return Clip(samples, motion)


def _grid(size: tuple[int, int]) -> Array:
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    return np.stack([x, y])


def _apply(matrix: Array, at: Array) -> Array:
    x, y = at
    return np.stack(
        [
            matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2],
            matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2],
        ]
    )


def _place(layer: Layer, matrix: Array, size: tuple[int, int]) -> Layer:
    height, width = size
    # Fine pixel i covers the coarse place (i + 0.5) / fine − 0.5.
    fine = (_grid((height * _FINE, width * _FINE)) + 0.5) / _FINE - 0.5
    x, y = (_apply(np.linalg.inv(matrix), fine) + 0.5) * _FINE - 0.5
    planes = np.concatenate([layer.alpha[..., None], layer.premultiplied], axis=-1)
    moved = np.stack([ndimage.map_coordinates(planes[..., c], [y, x], order=1, mode="nearest") for c in range(4)], -1)
    coarse = moved.reshape(height, _FINE, width, _FINE, 4).mean(axis=(1, 3)).astype(np.float32)
    return Layer(np.clip(coarse[..., 0], 0, 1), coarse[..., 1:])


def _see(behind: Array, matrix: Array, size: tuple[int, int], margin: int) -> Array:
    x, y = _apply(np.linalg.inv(matrix), _grid(size)) + margin
    planes = [ndimage.map_coordinates(behind[..., c], [y, x], order=3, mode="mirror", prefilter=True) for c in range(3)]
    return f32(np.maximum(np.stack(planes, -1), 1e-4))


def _motion(alpha: Array, placed: list[Array], seen: list[Array], t: int) -> Array:
    at = _grid(alpha.shape)
    object_move, camera_move = (_apply(m[t + 1] @ np.linalg.inv(m[t]), at) - at for m in (placed, seen))
    both = np.where(alpha > 0, object_move, camera_move)
    return np.moveaxis(both, 0, -1).astype(np.float32)
