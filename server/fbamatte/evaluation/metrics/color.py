"""How far the colours are from the truth: αF, F at the edge, and what an eye sees over a new background."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fbamatte.errors import FrameError
from fbamatte.evaluation.metrics.alpha import unknown_region
from fbamatte.evaluation.metrics.ciede2000 import ciede2000, lab_of_linear

# Where a straight foreground colour both shows and is hard to know.
EDGE = (0.05, 0.95)

# Linear Rec.709. A halo of the old background shows against at least one of them: night, paper, and a saturated blue.
HALO_BACKGROUNDS = ((0.005, 0.005, 0.006), (0.9, 0.9, 0.9), (0.02, 0.12, 0.55))


def premultiplied_sad(prediction: ArrayLike, truth: ArrayLike, trimap: ArrayLike) -> float:
    """Return the sum over unknown pixels and the three channels of |α̂F̂ − αF|, in thousands.

    Parameters
    ----------
    prediction, truth : array_like, shape (H, W, 3)
        αF, in whichever light both share.
    trimap : array_like, shape (H, W)
        As in `fbamatte.evaluation.metrics.unknown_region`.

    Notes
    -----
    Source: the αF columns of the FBA paper's Table 3.
    """
    difference = _difference(prediction, truth)[unknown_region(trimap)]
    return float(np.abs(difference).sum() / 1000)


def premultiplied_mse(prediction: ArrayLike, truth: ArrayLike, trimap: ArrayLike) -> float:
    """Return the mean over unknown pixels and the three channels of (α̂F̂ − αF)²; see `premultiplied_sad`."""
    return float(np.square(_difference(prediction, truth)[unknown_region(trimap)]).mean())


def foreground_error(prediction: ArrayLike, truth: ArrayLike, alpha: ArrayLike) -> float:
    """Return the mean |F̂ − F| over the three channels where 0.05 < α < 0.95; NaN where no pixel is.

    Parameters
    ----------
    prediction, truth : array_like, shape (H, W, 3)
        Straight F. In scene-linear light a few highlights outweigh the rest: encode both first.
    alpha : array_like, shape (H, W)
        The true alpha.
    """
    edge = edge_region(alpha)
    return float(np.abs(_difference(prediction, truth)[edge]).mean()) if edge.any() else float("nan")


def edge_region(alpha: ArrayLike) -> NDArray[np.bool_]:
    """Return where 0.05 < α < 0.95."""
    values = np.asarray(alpha)
    edge: NDArray[np.bool_] = (values > EDGE[0]) & (values < EDGE[1])
    return edge


def edge_halo(
    alpha: ArrayLike,
    foreground: ArrayLike,
    true_alpha: ArrayLike,
    true_foreground: ArrayLike,
    *,
    backgrounds: Sequence[ArrayLike] = HALO_BACKGROUNDS,
) -> float:
    """Return the mean CIEDE2000 between the estimate and the truth over new backgrounds, at the true edge.

    Parameters
    ----------
    alpha, true_alpha : array_like, shape (H, W)
        In [0, 1].
    foreground, true_foreground : array_like, shape (H, W, 3)
        Straight F, linear Rec.709 light (primaries are not converted); seen between black and display white.
    backgrounds : sequence of array_like, each of shape (3,) or (H, W, 3)
        Linear light.

    Returns
    -------
    float
        NaN where no pixel has 0.05 < α < 0.95. About 1 is just noticeable.
    """
    edge = edge_region(true_alpha)
    if not edge.any():
        return float("nan")
    layers = [(_at(alpha, edge), _at(foreground, edge)), (_at(true_alpha, edge), _at(true_foreground, edge))]
    means = []
    for background in backgrounds:
        plate = np.asarray(background, np.float64)
        behind = plate[edge] if plate.ndim == 3 else plate
        seen, meant = (lab_of_linear(a[:, None] * f + (1 - a[:, None]) * behind) for a, f in layers)
        means.append(float(ciede2000(seen, meant).mean()))
    return float(np.mean(means))


def _at(array: ArrayLike, region: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.asarray(array)[region].astype(np.float64)


def _difference(prediction: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    estimate, reference = np.asarray(prediction, np.float64), np.asarray(truth, np.float64)
    if estimate.shape != reference.shape:
        raise FrameError(f"prediction {estimate.shape} and truth {reference.shape} differ in shape")
    difference: NDArray[np.float64] = estimate - reference
    return difference
