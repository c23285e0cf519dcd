"""How steady an alpha is in time: the two figures of the video matting benchmark that look at pairs of frames.

Source: Erofeev, Gitman, Vatolin, Fedorov and Wang, Perceptually Motivated Benchmark for Video Matting, BMVC 2015.
Values are the formulas' own, per pair of frames; tables print them under various scales.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from fbamatte.errors import FrameError
from fbamatte.evaluation.metrics.alpha import unknown_region

Clip = NDArray[np.float64]


def dtssd(prediction: ArrayLike, truth: ArrayLike, trimap: ArrayLike) -> float:
    """Return the mean over pairs of frames of √Σ(dα̂/dt − dα/dt)², the sum over the first frame's unknown region.

    Parameters
    ----------
    prediction, truth : array_like, shape (T, H, W), T ≥ 2
        Alpha in [0, 1].
    trimap : array_like, shape (T, H, W)
        As in `fbamatte.evaluation.metrics.unknown_region`.

    Raises
    ------
    FrameError
        If the shapes differ or there is no pair of frames.
    TrimapError
        If a frame has no unknown pixel.
    """
    estimate, reference, unknown = _clips(prediction, truth, trimap)
    change = np.diff(estimate, axis=0) - np.diff(reference, axis=0)
    return float(np.mean([np.sqrt(np.square(c)[u].sum()) for c, u in zip(change, unknown)]))


def messddt(prediction: ArrayLike, truth: ArrayLike, trimap: ArrayLike, motion: ArrayLike) -> float:
    """Return the mean over pairs of frames of Σ|e(p, t) − e(p + v, t + 1)| with e = (α̂ − α)².

    What moves with the picture is compared with itself: an error that travels along is forgiven, one that flickers
    is not. The sum is over the first frame's unknown pixels whose motion stays inside the picture; between pixels,
    e is interpolated.

    Parameters
    ----------
    prediction, truth : array_like, shape (T, H, W), T ≥ 2
        Alpha in [0, 1].
    trimap : array_like, shape (T, H, W)
        As in `fbamatte.evaluation.metrics.unknown_region`.
    motion : array_like, shape (T − 1, H, W, 2)
        v in pixels, to the right and down, from each frame to the next, of the true picture.

    Raises
    ------
    FrameError, TrimapError
        As for `dtssd`; also if ``motion`` is not of its shape.
    """
    estimate, reference, unknown = _clips(prediction, truth, trimap)
    vectors = np.asarray(motion, np.float64)
    if vectors.shape != (estimate.shape[0] - 1, *estimate.shape[1:], 2):
        raise FrameError(f"motion has shape {vectors.shape}, not a pair of numbers for all but the last frame")
    error = np.square(estimate - reference)
    pairs = zip(error, error[1:], unknown, vectors)
    return float(np.mean([_moved_change(now, after, where, v) for now, after, where, v in pairs]))


def estimate_motion(frames: ArrayLike) -> NDArray[np.float32]:
    """Return the motion from each frame to the next, shape (T − 1, H, W, 2), right and down in pixels.

    For clips without known motion, by Lucas and Kanade's iterative method on a pyramid.

    Parameters
    ----------
    frames : array_like, shape (T, H, W) or (T, H, W, 3)
        The true clip, display-encoded.
    """
    from skimage.registration import optical_flow_ilk  # noqa: PLC0415  # slow to load, and few clips need it

    clip = np.asarray(frames, np.float32)
    grey = clip.mean(axis=-1) if clip.ndim == 4 else clip
    flows = [optical_flow_ilk(now, after, radius=7) for now, after in zip(grey, grey[1:])]  # type: ignore[no-untyped-call]  # skimage
    return np.stack([np.stack([across, down], axis=-1) for down, across in flows]).astype(np.float32)


def _clips(prediction: ArrayLike, truth: ArrayLike, trimap: ArrayLike) -> tuple[Clip, Clip, NDArray[np.bool_]]:
    estimate, reference = np.asarray(prediction, np.float64), np.asarray(truth, np.float64)
    unknown = np.stack([unknown_region(frame) for frame in np.asarray(trimap)])
    if not (estimate.shape == reference.shape == unknown.shape) or estimate.ndim != 3 or len(estimate) < 2:
        raise FrameError(
            f"prediction {estimate.shape}, truth {reference.shape} and trimap {unknown.shape} must agree "
            "and hold at least two frames"
        )
    return estimate, reference, unknown


def _moved_change(now: Clip, after: Clip, unknown: NDArray[np.bool_], motion: Clip) -> float:
    rows, columns = np.nonzero(unknown)
    across, down = motion[unknown].T
    target = np.stack([rows + down, columns + across])
    height, width = now.shape
    inside = (target >= 0).all(axis=0) & (target[0] <= height - 1) & (target[1] <= width - 1)
    later = ndimage.map_coordinates(after, target[:, inside], order=1, mode="nearest")
    return float(np.abs(now[unknown][inside] - later).sum())
