"""Test-time augmentation: one estimator asked about turned, mirrored and scaled versions of a picture.

`Augmented` is an estimator around an estimator, so whatever takes one takes the other. Answers are brought back into
the picture's own geometry, each is made to agree with the picture, and then they are averaged: α in the light of the
compositing equation, F and B after they recompose.

Source: Forte and Pitié, "F, B, Alpha Matting", 2020, section 4: "rotation, flipping and scaling". What the paper leaves
open, the scales and their weights, is an argument here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from fbamatte.compositing.recomposition import recompose
from fbamatte.compositing.trimap import UNKNOWN
from fbamatte.engine.solve import in_linear_light
from fbamatte.errors import UsageError
from fbamatte.imaging import curve
from fbamatte.models import interruption
from fbamatte.models.base import Estimate, Estimator, ModelInfo

Plane = NDArray[np.float32]
Light = Literal["linear", "display"]


@dataclass(frozen=True)
class Augmentation:
    """One way to look at a picture.

    Parameters
    ----------
    turns : int
        Quarter turns, counter-clockwise, after the flip.
    flip : bool
        Mirrored left to right.
    scale : float
        Of width and height.
    weight : float
        In the average.
    """

    turns: int = 0
    flip: bool = False
    scale: float = 1.0
    weight: float = 1.0

    def forth(self, picture: Plane) -> Plane:
        """Return the picture (H, W) or (H, W, C) flipped and turned."""
        return np.ascontiguousarray(np.rot90(picture[:, ::-1] if self.flip else picture, self.turns))

    def back(self, picture: Plane) -> Plane:
        """Undo `forth`."""
        turned = np.rot90(picture, -self.turns)
        return np.ascontiguousarray(turned[:, ::-1] if self.flip else turned)


# Rotations and flips by quarter turns are eight; naming both flips and all their turns would count four twice.
_GEOMETRIES: dict[str, tuple[tuple[int, bool], ...]] = {
    "none": ((0, False),),
    "flip": ((0, False), (0, True)),
    "rotations": tuple((turns, False) for turns in range(4)),
    "all": tuple((turns, flip) for flip in (False, True) for turns in range(4)),
}
_NAMED = {"paper": "all@0.75,1*2,1.25", "quick": "flip@1"}
NAMES = (*_NAMED, *_GEOMETRIES)


def parse(text: str) -> tuple[Augmentation, ...]:
    """Return a set of augmentations by name or recipe.

    Parameters
    ----------
    text : str
        ``paper``, ``quick``, or ``GEOMETRY[@SCALE[*WEIGHT],...]`` with a geometry of ``none``, ``flip``, ``rotations``
        or ``all`` (rotations and flips combined), as in ``all@0.75,1*2,1.25``.

    Raises
    ------
    UsageError
        If it is none of these.
    """
    geometry, at, scales = _NAMED.get(text, text).partition("@")
    if geometry not in _GEOMETRIES:
        raise UsageError(
            f"no augmentation called {text!r}; there are: {', '.join(NAMES)}, with scales as in all@0.75,1*2"
        )
    return tuple(
        Augmentation(turns, flip, scale, weight)
        for scale, weight in (_scale(part, text) for part in (scales if at else "1").split(","))
        for turns, flip in _GEOMETRIES[geometry]
    )


def _scale(part: str, text: str) -> tuple[float, float]:
    scale, _, weight = part.partition("*")
    try:
        numbers = float(scale), float(weight or 1)
    except ValueError:
        numbers = 0.0, 0.0
    if not (0.1 <= numbers[0] <= 4 and 0 < numbers[1] < np.inf):
        raise UsageError(
            f"augmentation {text!r}: {part!r} is no scale between 0.1 and 4 with an optional positive weight"
        )
    return numbers


class Augmented:
    """An estimator that averages what another says of a picture's augmentations.

    Parameters
    ----------
    estimator : Estimator
        Closed with this one.
    augmentations : sequence of Augmentation
        At least one.
    light : str
        Where the compositing equation holds: ``linear`` as everywhere in this house, or ``display`` to measure as the
        paper does, on pictures that were composited so.
    """

    def __init__(
        self, estimator: Estimator, augmentations: tuple[Augmentation, ...] | str = "paper", light: Light = "linear"
    ) -> None:
        self._estimator = estimator
        self.augmentations = parse(augmentations) if isinstance(augmentations, str) else tuple(augmentations)
        self._light = light

    @property
    def info(self) -> ModelInfo:
        """The estimator's, its name followed by ``+tta``."""
        info = self._estimator.info
        return replace(info, name=f"{info.name}+tta", title=f"{info.title}, {len(self.augmentations)} augmentations")

    @property
    def device(self) -> str:
        """Where the estimator computes."""
        return self._estimator.device

    @property
    def precision(self) -> str:
        """How the estimator computes."""
        return self._estimator.precision

    def estimate(self, image: Plane, trimap: Plane) -> Estimate:
        """Return the average of all augmentations; see `fbamatte.models.base.Estimator.estimate`."""
        plate = self._to_light(image)
        total = sum(augmentation.weight for augmentation in self.augmentations)
        alpha = np.zeros(trimap.shape, np.float32)
        foreground, background = np.zeros_like(plate), np.zeros_like(plate)
        fitted, light = False, "linear"
        for augmentation in self.augmentations:
            interruption.check()
            weight = np.float32(augmentation.weight / total)
            seen = self._seen(plate, image, trimap, augmentation)
            a, f, b = self._solved(plate, image, seen)
            alpha += weight * a
            foreground += weight * f
            background += weight * b
            fitted = seen.fitted
            light = "linear" if self._light == "linear" else seen.light
        alpha[trimap <= 0], alpha[trimap >= 1] = 0, 1
        # An average of products is no product of averages: agree with the picture once more. Whoever solves α from
        # these F and B then finds the average again.
        foreground, background = recompose(plate, alpha, foreground, background)
        return Estimate(alpha, self._from_light(foreground), self._from_light(background), fitted, light)

    def _seen(self, plate: Plane, image: Plane, trimap: Plane, augmentation: Augmentation) -> Estimate:
        """Return what the estimator says of one view, in the picture's own geometry."""
        answer = self._estimator.estimate(*self._scaled(plate, image, trimap, augmentation))
        rows, columns = trimap.shape
        alpha, foreground, background = (
            np.clip(_resize(augmentation.back(part), (columns, rows)), 0, 1)
            for part in (answer.alpha, answer.foreground, answer.background)
        )
        alpha[trimap <= 0], alpha[trimap >= 1] = 0, 1
        return Estimate(alpha, foreground, background, answer.fitted, answer.light)

    def _solved(self, plate: Plane, image: Plane, seen: Estimate) -> tuple[Plane, Plane, Plane]:
        """Return one view's α, F and B in the equation's light, recomposing the plate exactly."""
        if self._light == "linear":
            return in_linear_light(plate, image, seen)
        return seen.alpha, *recompose(plate, seen.alpha, seen.foreground, seen.background)

    def _scaled(self, plate: Plane, image: Plane, trimap: Plane, augmentation: Augmentation) -> tuple[Plane, Plane]:
        if augmentation.scale == 1:
            return augmentation.forth(image), augmentation.forth(trimap)
        rows, columns = trimap.shape
        size = max(8, round(columns * augmentation.scale)), max(8, round(rows * augmentation.scale))
        # Light adds up in the equation's own light; a pixel is known only if all that it is made of is.
        smaller = np.clip(self._from_light(_resize(plate, size)), 0, 1)
        known = [_resize(mask.astype(np.float32), size) > 0.999 for mask in (trimap <= 0, trimap >= 1)]
        resized = np.where(known[1], np.float32(1), np.where(known[0], np.float32(0), UNKNOWN))
        return augmentation.forth(smaller), augmentation.forth(resized)

    def _to_light(self, encoded: Plane) -> Plane:
        return curve.decode(encoded) if self._light == "linear" else encoded

    def _from_light(self, light: Plane) -> Plane:
        return np.clip(curve.encode(light) if self._light == "linear" else light, 0, 1)

    def close(self) -> None:
        """Close the estimator."""
        self._estimator.close()


def _resize(picture: Plane, size: tuple[int, int]) -> Plane:
    """Resize (H, W) or (H, W, 3) by a filter that is nowhere negative: strong lights get no dark rings."""
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    if picture.ndim == 3:
        return np.stack([_resize(picture[..., channel], size) for channel in range(picture.shape[2])], axis=-1)
    resized = Pillow.fromarray(np.ascontiguousarray(picture, np.float32)).resize(size, Pillow.Resampling.BILINEAR)
    return np.asarray(resized, np.float32)
