"""What a lens and a shutter do to light: discs of confusion and streaks."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.signal import oaconvolve

from fbamatte.evaluation.procedural.arrays import Array, f32
from fbamatte.evaluation.procedural.raster import Layer


def disc(radius: float, blades: int = 0, angle: float = 0.0) -> Array:
    """Return a defocus kernel of sum 1: a disc, or a polygon for an iris with ``blades``."""
    half = int(np.ceil(radius)) + 1
    fine = (np.arange(-half * 4 - 2, half * 4 + 2, dtype=np.float32) + 0.5) / 4
    y, x = fine[:, None], fine[None, :]
    distance = np.hypot(y, x)
    if blades >= 3:
        turn = (np.arctan2(y, x) - angle) % (2 * np.pi / blades) - np.pi / blades
        distance = distance * np.cos(turn) / np.cos(np.pi / blades)
    open_part = (distance <= radius).astype(np.float32)
    size = 2 * half + 1
    kernel: Array = open_part.reshape(size, 4, size, 4).mean(axis=(1, 3))
    return f32(kernel / kernel.sum())


def streak(across: float, down: float, bend: float = 0.0) -> Array:
    """Return a motion kernel of sum 1 along a slightly bent path of the given extent in pixels."""
    half = int(np.ceil(max(abs(across), abs(down)) / 2 + abs(bend))) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    steps = 16 * (2 * half + 1)
    t = np.linspace(-0.5, 0.5, steps)
    length = max(np.hypot(across, down), 1e-6)
    sag = bend * (1 - 4 * t * t)
    x, y = across * t - down / length * sag + half, down * t + across / length * sag + half
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - left, y - top
    for dy, wy in ((0, 1 - fy), (1, fy)):
        for dx, wx in ((0, 1 - fx), (1, fx)):
            np.add.at(kernel, (np.clip(top + dy, 0, 2 * half), np.clip(left + dx, 0, 2 * half)), wx * wy)
    return f32(kernel / kernel.sum())


def blur(picture: Array, kernel: Array) -> Array:
    """Return the picture (H, W) or (H, W, C) convolved with a kernel, its border pixels repeated outside."""
    if kernel.size == 1:
        return picture
    half = kernel.shape[0] // 2
    planes = picture[..., None] if picture.ndim == 2 else picture
    padded = np.pad(planes, ((half, half), (half, half), (0, 0)), mode="edge")
    blurred: Array = oaconvolve(padded, kernel[..., None], mode="valid", axes=(0, 1)).astype(np.float32)
    # The transform's rounding must not make light negative.
    blurred = np.maximum(blurred, 0)
    return blurred[..., 0] if picture.ndim == 2 else blurred


def blur_layer(layer: Layer, kernel: Array) -> Layer:
    """Return a layer seen through a kernel: coverage and light blur alike, so no edge turns dark."""
    both = blur(np.concatenate([layer.alpha[..., None], layer.premultiplied], axis=-1), kernel)
    return Layer(np.clip(both[..., 0], 0, 1), both[..., 1:])


def soften(picture: Array, sigma: float) -> Array:
    """Return the picture (H, W, 3) as a good lens and the sensor's filter give it."""
    softened: Array = ndimage.gaussian_filter(picture, (sigma, sigma, 0), mode="nearest")
    return softened
