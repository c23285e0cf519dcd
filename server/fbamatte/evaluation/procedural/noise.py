"""Noise with the statistics of the world: fractal fields, and small textures to fill shapes with."""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage

from fbamatte.evaluation.procedural.arrays import Array, Rng, f32


def fractal(rng: Rng, height: int, width: int, slope: float = 1.0, coarsest: float = 1.0) -> Array:
    """Return a field whose amplitude falls as frequency to the ``slope``; mean 0, standard deviation 1.

    Parameters
    ----------
    slope : float
        1 is what photographs have, 2 is smooth as clouds, 0 is white.
    coarsest : float
        The largest structure as a fraction of the shorter side.
    """
    fy = fft.fftfreq(height)[:, None]
    fx = fft.rfftfreq(width)[None, :]
    frequency = np.hypot(fy, fx)
    lowest = 1 / (coarsest * min(height, width))
    amplitude = np.where(frequency >= lowest * 0.75, np.maximum(frequency, lowest) ** -slope, 0)
    phase = rng.random(amplitude.shape, np.float32) * (2 * np.pi)
    spectrum = (amplitude * np.exp(1j * phase)).astype(np.complex64)
    field: Array = fft.irfft2(spectrum, s=(height, width)).astype(np.float32)
    return f32((field - field.mean()) / max(float(field.std()), 1e-12))


def warp(field: Array, across: Array, down: Array) -> Array:
    """Return the field seen through a displacement in pixels; it wraps around."""
    height, width = field.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    moved: Array = ndimage.map_coordinates(field, [y + down, x + across], order=1, mode="grid-wrap")
    return moved


def texture_bank(rng: Rng, size: int) -> Array:
    """Return eight textures, grain to weave to bark, shape (8, size, size), mean 0 and deviation 1."""
    rough, smooth = fractal(rng, size, size, 0.8, 0.3), fractal(rng, size, size, 1.6, 0.5)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    period = rng.uniform(4, 9)
    weave = np.sin(2 * np.pi * x / period + smooth) * np.sin(2 * np.pi * y / period - smooth)
    stripes = np.sin(2 * np.pi * (x / rng.uniform(6, 18)) + 2.5 * smooth)
    blades = ndimage.gaussian_filter1d(rng.standard_normal((size, size), np.float32), 7, axis=0, mode="wrap")
    bark = warp(ndimage.gaussian_filter1d(rough, 9, axis=0, mode="wrap"), 6 * smooth, 3 * rough)
    speckle = (fractal(rng, size, size, 0.3, 0.1) > 1.6).astype(np.float32)
    speckle = ndimage.gaussian_filter(speckle, 0.7, mode="wrap")
    fields = [rough, smooth, fractal(rng, size, size, 1.1), weave, stripes, blades, bark, speckle]
    return np.stack([(f - f.mean()) / f.std() for f in fields]).astype(np.float32)
