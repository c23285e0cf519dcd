"""How far an alpha is from the truth: the four figures of the Composition-1k benchmark.

All four follow the benchmark authors' MATLAB code, in the units that papers print: SAD, gradient and connectivity in
thousands, MSE as it is. All four look at the unknown region of the trimap alone.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from fbamatte.errors import FrameError, TrimapError

Plane = NDArray[np.float64]
Mask = NDArray[np.bool_]

GRADIENT_SIGMA = 1.4
CONNECTIVITY_STEP = 0.1
CONNECTIVITY_TOLERANCE = 0.15
# 153/255 and 6 × 0.1 are the same number and differ in their last bit, differently in single and double precision.
_ROUNDING = 1e-7


def unknown_region(trimap: ArrayLike) -> Mask:
    """Return where a trimap says neither background nor foreground.

    Parameters
    ----------
    trimap : array_like, shape (H, W)
        Either 0 background, 1 foreground and anything between unknown; or, where any value exceeds 1, the 8-bit form
        of the data sets, in which exactly 128 is unknown, as in the MATLAB code.

    Raises
    ------
    TrimapError
        If no pixel is unknown: there is nothing to measure.
    """
    values = np.asarray(trimap)
    unknown: Mask = values == 128 if values.size and values.max() > 1 else (values > 0) & (values < 1)
    if not unknown.any():
        raise TrimapError(f"trimap of shape {values.shape} has no unknown pixel to measure")
    return unknown


def sad(prediction: ArrayLike, truth: ArrayLike, trimap: ArrayLike) -> float:
    """Return the sum of absolute differences over the unknown region, in thousands.

    Parameters
    ----------
    prediction, truth : array_like, shape (H, W)
        Alpha in [0, 1].
    trimap : array_like, shape (H, W)
        As in `unknown_region`.

    Raises
    ------
    FrameError
        If the shapes differ.
    TrimapError
        If no pixel is unknown.
    """
    estimate, reference, unknown = _checked(prediction, truth, trimap)
    return float(np.abs(estimate - reference)[unknown].sum() / 1000)


def mse(prediction: ArrayLike, truth: ArrayLike, trimap: ArrayLike) -> float:
    """Return the mean squared difference over the unknown region.

    Parameters and errors are those of `sad`. Papers print a thousand times this.
    """
    estimate, reference, unknown = _checked(prediction, truth, trimap)
    return float(np.square(estimate - reference)[unknown].mean())


def gradient(prediction: ArrayLike, truth: ArrayLike, trimap: ArrayLike, *, sigma: float = GRADIENT_SIGMA) -> float:
    """Return the squared difference of gradient magnitudes summed over the unknown region, in thousands.

    Both alphas are stretched to their own minimum and maximum first, as the MATLAB code's ``mat2gray`` does. Other
    parameters and errors are those of `sad`.

    Parameters
    ----------
    sigma : float
        Of the Gaussian whose first derivative the alphas are convolved with, in pixels.
    """
    estimate, reference, unknown = _checked(prediction, truth, trimap)
    slope, smooth = _derivative_kernel(sigma)
    near = _around(unknown, len(smooth) // 2)
    magnitudes = [_gradient_magnitude(_stretched(plane)[near], slope, smooth) for plane in (estimate, reference)]
    return float(np.square(magnitudes[0] - magnitudes[1])[unknown[near]].sum() / 1000)


def connectivity(
    prediction: ArrayLike, truth: ArrayLike, trimap: ArrayLike, *, step: float = CONNECTIVITY_STEP
) -> float:
    """Return the difference in connectedness to the common source region, in thousands.

    The source region at a threshold is the largest 4-connected component where both alphas reach it; a pixel's level
    is the last threshold at which it belonged. Other parameters and errors are those of `sad`. Source: Rhemann et al.,
    A Perceptually Motivated Online Benchmark for Image Matting, CVPR 2009, as the Composition-1k code computes it.

    Parameters
    ----------
    step : float
        Between thresholds.
    """
    estimate, reference, unknown = _checked(prediction, truth, trimap)
    level = _connected_level(np.minimum(estimate, reference), step)[unknown]
    difference = _connectedness(estimate[unknown] - level) - _connectedness(reference[unknown] - level)
    return float(np.abs(difference).sum() / 1000)


def _checked(prediction: ArrayLike, truth: ArrayLike, trimap: ArrayLike) -> tuple[Plane, Plane, Mask]:
    estimate, reference = np.asarray(prediction, np.float64), np.asarray(truth, np.float64)
    unknown = unknown_region(trimap)
    if not (estimate.shape == reference.shape == unknown.shape):
        raise FrameError(
            f"prediction {estimate.shape}, truth {reference.shape} and trimap {unknown.shape} differ in shape"
        )
    return estimate, reference, unknown


def _stretched(plane: Plane) -> Plane:
    low, high = float(plane.min()), float(plane.max())
    # mat2gray leaves a constant picture as it is, within 0 and 1.
    return (plane - low) / (high - low) if high > low else np.clip(plane, 0, 1)


def _derivative_kernel(sigma: float) -> tuple[Plane, Plane]:
    """Return the two factors of the first-order Gaussian-derivative kernel, along and across the derivative."""
    half = math.ceil(sigma * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * sigma * 0.01)))
    x = np.arange(-half, half + 1, dtype=np.float64)
    smooth = np.exp(-(x**2) / (2 * sigma**2))
    slope = -x * smooth
    # The two-dimensional kernel, their outer product, has unit L2 norm.
    return slope / np.linalg.norm(slope), smooth / np.linalg.norm(smooth)


def _around(region: Mask, reach: int) -> tuple[slice, slice]:
    """Return the rectangle of a region and ``reach`` more on each side, cut off at the picture's border."""
    spans = []
    for axis in (1, 0):
        inside = np.flatnonzero(region.any(axis=axis))
        spans.append(slice(max(0, int(inside[0]) - reach), int(inside[-1]) + reach + 1))
    return spans[0], spans[1]


def _gradient_magnitude(plane: Plane, slope: Plane, smooth: Plane) -> Plane:
    along_x = ndimage.convolve1d(ndimage.convolve1d(plane, smooth, axis=0, mode="nearest"), slope, 1, mode="nearest")
    along_y = ndimage.convolve1d(ndimage.convolve1d(plane, slope, axis=0, mode="nearest"), smooth, 1, mode="nearest")
    magnitude: Plane = np.hypot(along_x, along_y)
    return magnitude


def _connected_level(common: Plane, step: float) -> Plane:
    """Return the last threshold at which each pixel was in the source region of ``common``, the lesser alpha."""
    level = np.zeros_like(common)
    still = np.ones(common.shape, dtype=bool)
    for index in range(1, round(1 / step) + 1):
        still &= _largest_component(common >= index * step - _ROUNDING)
        level[still] = index * step
    return level


def _largest_component(mask: Mask) -> Mask:
    # MATLAB scans columns first; of two components of one size it takes the one it meets first.
    labels, count = ndimage.label(mask.T)
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: Mask = (labels == sizes.argmax()).T
    return largest


def _connectedness(distance: Plane) -> Plane:
    return 1 - distance * (distance >= CONNECTIVITY_TOLERANCE - _ROUNDING)
