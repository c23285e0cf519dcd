"""One estimator on one shot: solve, compare with the truth, keep what a report shows."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fbamatte.compositing.recomposition import recompose, recomposition_error
from fbamatte.compositing.trimap import is_known
from fbamatte.engine import Engine
from fbamatte.engine.tta import Augmentation, Augmented
from fbamatte.evaluation import metrics
from fbamatte.evaluation.baselines import Baseline
from fbamatte.evaluation.datasets.base import Case, Light, Plane, Shot
from fbamatte.evaluation.figures import SPEED
from fbamatte.frame import Frame
from fbamatte.imaging import color
from fbamatte.models.base import Estimator

# What 8-bit pictures of data sets are in, and what their light is called once it is linear.
_ENCODED_SPACE, _LINEAR_SPACE = "srgb_rec709_scene", "lin_rec709_scene"


@dataclass(frozen=True, eq=False)
class Solved:
    """What an estimator made of a case, all in the light that the case was solved in."""

    case: Case
    alpha: Plane
    foreground: Plane
    background: Plane
    seconds: float


def in_light(case: Case, light: Light) -> Case:
    """Return a case with its colours in the light asked for; alpha says what share each layer has in either."""
    if case.light == light:
        return case
    if light == "display":
        raise ValueError("scene-linear light does not fit into a display's range")
    foreground, background = (
        None if layer is None else _linear(layer, case.light) for layer in (case.foreground, case.background)
    )
    image = _linear(case.image, case.light)
    return replace(
        case, image=image, foreground=foreground, background=background, light=light, colorspace=_LINEAR_SPACE
    )


def solve(case: Case, estimator: Estimator, augmentations: tuple[Augmentation, ...] = ()) -> Solved:
    """Return α, F and B: through the engine in linear light, straight from the estimator in display light."""
    if augmentations:
        estimator = Augmented(estimator, augmentations, case.light)
    started = time.perf_counter()
    if case.light == "linear" and isinstance(estimator, Baseline):
        parts = _as_given(case, estimator)
    elif case.light == "linear":
        frame = Frame(case.image, case.trimap, colorspace=case.colorspace or _LINEAR_SPACE, name=case.name)
        matte = Engine(estimator=estimator).matte_one(frame)
        parts = matte.alpha, matte.foreground, matte.background
    else:
        estimate = estimator.estimate(case.image, case.trimap)
        parts = estimate.alpha, estimate.foreground, estimate.background
    return Solved(case, *parts, time.perf_counter() - started)


def _as_given(case: Case, estimator: Estimator) -> tuple[Plane, Plane, Plane]:
    """Return another's α with its own colours, decoded and made exact: the engine would fit new ones to its α."""
    encoded = np.clip(color.encode(case.image), 0, 1)
    estimate = estimator.estimate(encoded, case.trimap)
    # Bounded by the picture, as the engine bounds what it decodes.
    foreground, background = (
        color.decode(np.clip(part, encoded.min(), encoded.max())) for part in (estimate.foreground, estimate.background)
    )
    return estimate.alpha, *recompose(case.image, estimate.alpha, foreground, background)


def measure(
    shot: Shot, estimator: Estimator, *, linear: bool = False, augmentations: tuple[Augmentation, ...] = ()
) -> tuple[dict[str, float], list[Solved]]:
    """Return a shot's figures, means over its frames, and what was solved.

    Parameters
    ----------
    linear : bool
        Solve display-encoded pictures in linear light too; scene-linear ones always are.
    augmentations : tuple of Augmentation
        What the estimator is asked about; empty: the picture as it is.

    Returns
    -------
    dict
        By the keys of `fbamatte.evaluation.figures.FIGURES`, those whose truth is known.
    list of Solved
        One for each frame.
    """
    cases = [in_light(case, "linear" if linear else case.light) for case in shot.frames]
    solved = [solve(case, estimator, augmentations) for case in cases]
    each = [_figures(one) for one in solved]
    means = {key: float(np.mean([figures[key] for figures in each])) for key in each[0]}
    means |= _steadiness(shot, solved)
    height, width = shot.frames[0].trimap.shape
    means[SPEED] = float(np.mean([one.seconds for one in solved])) / (height * width / 1e6)
    return {key: value for key, value in means.items() if np.isfinite(value)}, solved


def _figures(solved: Solved) -> dict[str, float]:
    case = solved.case
    error = recomposition_error(case.image, solved.alpha, solved.foreground, solved.background)
    found = {"recomposition": float(error.max())}
    if case.alpha is None or is_known(case.trimap).all():
        return found
    found |= {
        "sad": metrics.sad(solved.alpha, case.alpha, case.trimap),
        "mse": metrics.mse(solved.alpha, case.alpha, case.trimap),
        "gradient": metrics.gradient(solved.alpha, case.alpha, case.trimap),
        "connectivity": metrics.connectivity(solved.alpha, case.alpha, case.trimap),
    }
    if case.foreground is not None:
        found |= _color_figures(solved, case.alpha, case.foreground)
    return found


def _color_figures(solved: Solved, alpha: Plane, foreground: Plane) -> dict[str, float]:
    case = solved.case
    shown, truth = (_encoded(f, case.light) for f in (solved.foreground, foreground))
    premultiplied = solved.alpha[..., None] * shown, alpha[..., None] * truth
    light = [_linear(f, case.light) for f in (solved.foreground, foreground)]
    return {
        "premultiplied_sad": metrics.premultiplied_sad(*premultiplied, case.trimap),
        "premultiplied_mse": metrics.premultiplied_mse(*premultiplied, case.trimap),
        "foreground_error": metrics.foreground_error(shown, truth, alpha),
        "edge_halo": metrics.edge_halo(solved.alpha, light[0], alpha, light[1]),
    }


def _steadiness(shot: Shot, solved: list[Solved]) -> dict[str, float]:
    truths = [case.alpha for case in shot.frames if case.alpha is not None]
    if len(truths) < 2 or len(truths) < len(solved):
        return {}
    alphas, truth = np.stack([one.alpha for one in solved]), np.stack(truths)
    trimaps = np.stack([case.trimap for case in shot.frames])
    motion = shot.motion
    if motion is None:
        motion = metrics.estimate_motion(np.stack([_encoded(case.image, case.light) for case in shot.frames]))
    return {
        "dtssd": metrics.dtssd(alphas, truth, trimaps),
        "messddt": metrics.messddt(alphas, truth, trimaps, motion),
    }


def _encoded(picture: Plane, light: Light) -> Plane:
    """Colours as a display has them: in linear light one highlight would outweigh the rest."""
    return np.clip(color.encode(picture), 0, 1) if light == "linear" else picture


def _linear(picture: Plane, light: Light) -> NDArray[np.float32]:
    return picture if light == "linear" else color.to_scene_linear(picture, _ENCODED_SPACE)[0]
