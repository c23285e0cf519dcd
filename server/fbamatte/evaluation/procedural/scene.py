"""From a layer and a background to a plate whose truth is exact."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from fbamatte.evaluation.procedural.arrays import Array, Rng, f32
from fbamatte.evaluation.procedural.raster import Layer
from fbamatte.evaluation.procedural.trimaps import draw_trimap

# Coverage below what an 8-bit matte can show is none, and as much short of full is full.
_SNAP = 0.004


@dataclass(frozen=True, eq=False)
class Sample:
    """A plate and its whole truth, scene-linear: plate = αF + (1−α)B to the last bits of float32.

    Parameters
    ----------
    plate, foreground, background : ndarray, shape (H, W, 3), float32
        Straight F, and B everywhere, also where they do not show. Unbounded; grain may make them negative.
    alpha : ndarray, shape (H, W), float32
        In [0, 1].
    trimap : ndarray, shape (H, W), float32
        0, 0.5, 1; wherever 0 < α < 1 it is 0.5.
    family : str
        Of the generator.
    seed : int
        Of the generator.
    grain : ndarray, shape (H, W, 3), float32
        The noise that is part of plate, F and B alike: taken off all three, the equation still holds.
    """

    plate: Array
    alpha: Array
    foreground: Array
    background: Array
    trimap: Array
    family: str
    seed: int
    grain: Array

    def with_grain(self, rng: Rng, strength: float) -> Sample:
        """Return the same picture with noise in plate, F and B alike.

        Parameters
        ----------
        strength : float
            Deviation of the noise at a signal of 1; it falls with the square root of the signal. 0: none.
        """
        if strength <= 0:
            return self
        noise = _grain(rng, self.plate, strength)
        foreground, background = self.foreground + noise, self.background + noise
        return replace(
            self,
            plate=_over(foreground, self.alpha, background),
            foreground=foreground,
            background=background,
            grain=self.grain + noise,
        )


def assemble(rng: Rng, layer: Layer, background: Array, family: str, seed: int) -> Sample:
    """Return the sample of a layer in front of a background, without grain."""
    foreground = straight(layer)
    alpha = np.clip((layer.alpha - _SNAP) / (1 - 2 * _SNAP), 0, 1).astype(np.float32)
    plate = _over(foreground, alpha, background)
    trimap = draw_trimap(rng, alpha)
    return Sample(plate, alpha, foreground, background, trimap, family, seed, np.zeros_like(plate))


def straight(layer: Layer) -> Array:
    """Return F of a layer: its light over its coverage, and where it covers nothing, that of the nearest parts."""
    weight, light = layer.alpha, layer.premultiplied
    levels = [(weight, light)]
    while min(weight.shape) > 1:
        weight, light = _half(weight), _half(light)
        levels.append((weight, light))
    known = levels[-1][1] / np.maximum(levels[-1][0], 1e-6)[..., None]
    for weight, light in reversed(levels[:-1]):
        grown = _double(known, weight.shape)
        known = np.where(weight[..., None] > _SNAP / 2, light / np.maximum(weight, _SNAP / 2)[..., None], grown)
    return known.astype(np.float32)


def _half(picture: Array) -> Array:
    height, width = picture.shape[:2]
    pad = [(0, height % 2), (0, width % 2)] + [(0, 0)] * (picture.ndim - 2)
    even = np.pad(picture, pad, mode="edge")
    return f32((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4)


def _double(picture: Array, shape: tuple[int, ...]) -> Array:
    repeated = picture.repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]
    smoothed: Array = ndimage.uniform_filter(repeated, (3, 3, 1), mode="nearest")
    return smoothed


def _over(foreground: Array, alpha: Array, background: Array) -> Array:
    a = alpha[..., None].astype(np.float64)
    return (a * foreground + (1 - a) * background).astype(np.float32)


def _grain(rng: Rng, clean: Array, strength: float) -> Array:
    # Photon noise grows with the root of the signal; blue is the sensor's noisiest channel; film and
    # demosaicing spread a grain over a little more than a pixel.
    white = ndimage.gaussian_filter(rng.standard_normal(clean.shape, np.float32), (0.45, 0.45, 0))
    deviation = strength * np.sqrt(np.maximum(clean, 0) + 0.01) * f32([1.0, 0.85, 1.4])
    noise: Array = (white / white.std() * deviation).astype(np.float32)
    return noise
