"""Data sets that come as foregrounds, alphas and lists of backgrounds, composed as their authors' scripts do."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from fbamatte.errors import ImageReadError, UsageError
from fbamatte.evaluation.datasets.base import (
    Case,
    Plane,
    Shot,
    drawn_radius,
    first_of,
    open_pillow,
    read_lines,
    read_trimap,
    require,
    trimap_around,
    unit,
)

Bytes = NDArray[np.uint8]

ADOBE, OTHER = "Adobe-licensed images", "Other"


class Composed(ABC):
    """Foregrounds, each over the next so many backgrounds of a list.

    Source: the composition script that the Adobe Deep Image Matting data set ships: a background smaller than the
    foreground is enlarged bicubically to cover it, its upper left part is used, and the result is cut off, not rounded,
    to 8 bits.
    """

    name = ""
    backgrounds_each = 0

    def __init__(self, foregrounds: list[Path], alphas: list[Path], backgrounds: list[str], folder: Path) -> None:
        if len(backgrounds) < len(foregrounds) * self.backgrounds_each:
            raise UsageError(
                f"{self.name} needs {self.backgrounds_each} backgrounds for each of {len(foregrounds)} foregrounds, "
                f"but its list names {len(backgrounds)}"
            )
        self._foregrounds, self._alphas = foregrounds, alphas
        self._backgrounds, self._folder = backgrounds, folder
        self._index = {self._title(f, k): (f, k) for f in range(len(foregrounds)) for k in range(self.backgrounds_each)}

    def _title(self, foreground: int, background: int) -> str:
        return f"{self._foregrounds[foreground].stem}_{background}"

    def names(self) -> list[str]:
        """Return ``FOREGROUND_N`` for the N-th background of each foreground."""
        return list(self._index)

    def load(self, name: str) -> Shot:
        """Return one composite with its α, F and B."""
        which, nth = self._index[name]
        background = self._folder / self._backgrounds[which * self.backgrounds_each + nth]
        foreground = open_pillow(self._foregrounds[which], "foreground").convert("RGB")
        alpha = np.asarray(open_pillow(self._alphas[which], "alpha").convert("RGB"))[..., 0]
        if alpha.shape != (foreground.height, foreground.width):
            raise ImageReadError(
                f"{self._alphas[which]}: alpha is {alpha.shape[1]}×{alpha.shape[0]}, "
                f"its foreground {foreground.width}×{foreground.height}"
            )
        behind = cover(open_pillow(background, "background").convert("RGB"), foreground.size)
        image = compose(np.asarray(foreground), alpha, np.asarray(behind))
        soft = (alpha / 255).astype(np.float32)
        layers = (unit(np.asarray(foreground)), unit(np.asarray(behind)))
        return Shot([Case(name, unit(image), self.trimap(name, soft), soft, *layers)])

    @abstractmethod
    def trimap(self, name: str, alpha: Plane) -> Plane:
        """Return the trimap of a composite."""


def cover(background: Pillow.Image, size: tuple[int, int]) -> Pillow.Image:
    """Return the upper left part of a background, enlarged first where it is too small."""
    width, height = size
    ratio = max(width / background.width, height / background.height)
    if ratio > 1:
        enlarged = math.ceil(background.width * ratio), math.ceil(background.height * ratio)
        background = background.resize(enlarged, Pillow.Resampling.BICUBIC)
    return background.crop((0, 0, width, height))


def compose(foreground: Bytes, alpha: Bytes, background: Bytes) -> Bytes:
    """Return αF + (1−α)B of 8-bit pictures, cut off to 8 bits as the script's ``int()`` does."""
    share = alpha[..., None] / 255
    composed: Bytes = (share * foreground + (1 - share) * background).astype(np.uint8)
    return composed


class Composition1k(Composed):
    """The 1,000 test composites: 50 Adobe foregrounds over 20 backgrounds of Pascal VOC each.

    ``ROOT/Test_set`` with ``test_fg_names.txt``, ``test_bg_names.txt`` and, in ``Adobe-licensed images``, the folders
    ``fg``, ``alpha`` and ``trimaps``; ROOT may also be the folder above. VOC's ``JPEGImages`` from ``backgrounds``,
    else in ROOT or beside it.
    """

    name = "composition-1k"
    backgrounds_each = 20

    def __init__(self, root: Path, backgrounds: Path | None = None) -> None:
        tests = first_of([root / "Test_set", root / "Combined_Dataset/Test_set"], "the Adobe test set")
        self._trimaps = tests / ADOBE / "trimaps"
        names = read_lines(tests / "test_fg_names.txt", "list of test foregrounds")
        behind = read_lines(tests / "test_bg_names.txt", "list of test backgrounds")
        layers = [[tests / ADOBE / part / name for name in names] for part in ("fg", "alpha")]
        super().__init__(layers[0], layers[1], behind, backgrounds or voc_folder(root))

    def trimap(self, name: str, alpha: Plane) -> Plane:
        """Return the authors' trimap, one for each composite."""
        del alpha
        return read_trimap(self._trimaps / f"{name}.png", "trimap of the test set")


class AdobeTraining(Composed):
    """The training composites: 431 foregrounds over 100 pictures of COCO each.

    ``ROOT/Training_set`` with ``training_fg_names.txt``, ``training_bg_names.txt``, ``Adobe-licensed images`` and
    ``Other``, each with ``fg`` and ``alpha``. COCO's ``train2014`` or ``train2017`` from ``backgrounds``, else in ROOT.
    The set has no trimaps: unknown here is what lies within 3 to 25 pixels of an edge, fixed for each composite.
    """

    name = "adobe-training"
    backgrounds_each = 100

    def __init__(self, root: Path, backgrounds: Path | None = None) -> None:
        training = first_of([root / "Training_set", root / "Combined_Dataset/Training_set"], "the Adobe training set")
        names = read_lines(training / "training_fg_names.txt", "list of training foregrounds")
        behind = read_lines(training / "training_bg_names.txt", "list of training backgrounds")
        layers = [
            [_either(training / ADOBE / part / name, training / OTHER / part / name) for name in names]
            for part in ("fg", "alpha")
        ]
        places = [root / year for year in ("train2014", "train2017", "coco/train2014", "coco/train2017")]
        folder = backgrounds or first_of(places, "COCO's training pictures")
        # The later release dropped the prefix from the same pictures' names.
        if "2017" in folder.name:
            behind = [name.removeprefix("COCO_train2014_") for name in behind]
        super().__init__(layers[0], layers[1], behind, folder)

    def trimap(self, name: str, alpha: Plane) -> Plane:
        """Return a band of 3 to 25 pixels."""
        return trimap_around(alpha, drawn_radius(name, 3, 25))


class Distinctions646(Composed):
    """The 1,000 test composites of Distinctions-646: 50 foregrounds over 20 backgrounds of Pascal VOC each.

    ``ROOT/fg_test.txt`` and ``bg_test.txt`` (from the authors' repository; also looked for in ``ROOT/Test``), pictures
    in ``Test/FG`` and ``Test/GT`` or, as the authors' script calls them, ``Test_ori/Fg_images`` and
    ``Test_ori/Alpha_matte``. The set has no trimaps: unknown here is what lies within 10 pixels of an edge.
    """

    name = "distinctions-646"
    backgrounds_each = 20
    band = 10

    def __init__(self, root: Path, backgrounds: Path | None = None) -> None:
        parts = [(root / "Test/FG", root / "Test/GT"), (root / "Test_ori/Fg_images", root / "Test_ori/Alpha_matte")]
        at = first_of([fg for fg, _ in parts], "the test foregrounds of Distinctions-646")
        alphas = require(dict(parts)[at], "the test alphas of Distinctions-646")
        lists = [
            read_lines(first_of([root / file, root / "Test" / file], f"list {file} of Distinctions-646"), file)
            for file in ("fg_test.txt", "bg_test.txt")
        ]
        layers = [[folder / name for name in lists[0]] for folder in (at, alphas)]
        super().__init__(layers[0], layers[1], lists[1], backgrounds or voc_folder(root))

    def trimap(self, name: str, alpha: Plane) -> Plane:
        """Return a band of 10 pixels."""
        del name
        return trimap_around(alpha, self.band)


def voc_folder(root: Path) -> Path:
    """Return the ``JPEGImages`` of Pascal VOC in a root or beside it."""
    places = [
        base / at / "JPEGImages"
        for base in (root, root.parent)
        for at in ("VOCdevkit/VOC2012", "VOC2012", "VOCdevkit/VOC2008", "VOC2008")
    ]
    return first_of(places, "the backgrounds of Pascal VOC")


def _either(path: Path, other: Path) -> Path:
    # Where neither is there, the message names the first.
    return other if other.exists() and not path.exists() else path
