"""Photographs with measured or drawn alpha: alphamatting.com, AIM-500, and any folder of that shape."""

from __future__ import annotations

from pathlib import Path

from fbamatte.errors import ImageReadError
from fbamatte.evaluation.datasets.base import (
    Case,
    Light,
    Plane,
    Shot,
    first_of,
    read_plane,
    read_rgb,
    read_trimap,
    require,
)
from fbamatte.imaging.reader import read_image

_PICTURES = (".exr", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dpx")
_TRIMAPS = ("Trimap1", "Trimap2", "Trimap3")


class AlphaMattingTraining:
    """The 27 pictures of alphamatting.com whose alpha is public, with each of their trimaps.

    ``ROOT/input_training_lowres``, ``gt_training_lowres`` and ``trimap_training_lowres/{Trimap1,Trimap2,Trimap3}``, or
    the same with ``highres``; at least one of the trimap folders.
    """

    name = "alphamatting-training"

    def __init__(self, root: Path, backgrounds: Path | None = None) -> None:
        del backgrounds
        inputs = first_of([root / f"input_training_{size}" for size in ("lowres", "highres")], "the training pictures")
        size = inputs.name.rpartition("_")[2]
        self._inputs = inputs
        self._truths = require(root / f"gt_training_{size}", "the training alphas")
        self._trimaps = require(root / f"trimap_training_{size}", "the training trimaps")
        self._widths = _widths(self._trimaps)

    def names(self) -> list[str]:
        """Return ``TrimapN/GTnn``."""
        return [f"{width}/{path.stem}" for width in self._widths for path in pictures(self._inputs)]

    def load(self, name: str) -> Shot:
        """Return one picture with one of its trimaps."""
        width, _, stem = name.partition("/")
        image = read_rgb(self._inputs / f"{stem}.png", "training picture")
        alpha = read_plane(self._truths / f"{stem}.png", "training alpha")
        return Shot([Case(name, image, read_trimap(self._trimaps / width / f"{stem}.png"), alpha)])


class AlphaMattingTest:
    """The 8 pictures of the alphamatting.com benchmark with three trimaps each; their alpha is not public.

    ``ROOT/input_lowres`` and ``trimap_lowres/{Trimap1,Trimap2,Trimap3}``. A run writes the folder that the site takes.
    """

    name = "alphamatting-test"

    def __init__(self, root: Path, backgrounds: Path | None = None) -> None:
        del backgrounds
        self._inputs = require(root / "input_lowres", "the test pictures")
        self._trimaps = require(root / "trimap_lowres", "the test trimaps")
        self._widths = _widths(self._trimaps)

    def names(self) -> list[str]:
        """Return ``TrimapN/PICTURE``."""
        return [f"{width}/{path.stem}" for width in self._widths for path in pictures(self._inputs)]

    def load(self, name: str) -> Shot:
        """Return one picture with one of its trimaps and no truth."""
        width, _, stem = name.partition("/")
        image = read_rgb(self._inputs / f"{stem}.png", "test picture")
        trimap = read_trimap(self._trimaps / width / f"{stem}.png")
        return Shot([Case(name, image, trimap, submission=f"{width}/{stem}.png")])


class Aim500:
    """The 500 photographs of AIM-500: ``ROOT/original``, ``mask`` (the alphas) and ``trimap``."""

    name = "aim-500"

    def __init__(self, root: Path, backgrounds: Path | None = None) -> None:
        del backgrounds
        self._folders = [
            require(root / part, f"{what} of AIM-500")
            for part, what in (("original", "the pictures"), ("mask", "the alphas"), ("trimap", "the trimaps"))
        ]

    def names(self) -> list[str]:
        """Return the pictures' names."""
        return [path.stem for path in pictures(self._folders[0])]

    def load(self, name: str) -> Shot:
        """Return one photograph."""
        original, mask, trimap = self._folders
        image = read_rgb(find(original, name, "picture"), "picture")
        alpha = read_plane(find(mask, name, "alpha"), "alpha")
        return Shot([Case(name, image, read_trimap(find(trimap, name, "trimap")), alpha)])


class Folder:
    """Any folder of ``image``, ``alpha`` and one or more of ``trimap``, ``trimap1``…; ``fg`` and ``bg`` if known.

    Files belong together by name. EXR is scene-linear, everything else is display-encoded.
    """

    name = "folder"

    def __init__(self, root: Path, backgrounds: Path | None = None) -> None:
        del backgrounds
        self._root = root
        self._images = require(root / "image", "the pictures")
        self._alphas = require(root / "alpha", "the alphas")
        self._trimaps = sorted(path for path in root.glob("trimap*") if path.is_dir())
        if not self._trimaps:
            raise ImageReadError(f"{root / 'trimap'}: missing (the trimaps)")

    def names(self) -> list[str]:
        """Return the pictures' names, behind the trimap folder's where there are several."""
        stems = [path.stem for path in pictures(self._images)]
        if len(self._trimaps) == 1:
            return stems
        return [f"{folder.name}/{stem}" for folder in self._trimaps for stem in stems]

    def load(self, name: str) -> Shot:
        """Return one picture with one of its trimaps."""
        width, _, stem = name.rpartition("/")
        folder = self._root / width if width else self._trimaps[0]
        image, light, space = self._picture(find(self._images, stem, "picture"))
        alpha = _any_plane(find(self._alphas, stem, "alpha"), "alpha")
        foreground, background = self._layer("fg", stem, "foreground"), self._layer("bg", stem, "background")
        drawn = find(folder, stem, "trimap")
        trimap = read_trimap(drawn) if drawn.suffix.lower() != ".exr" else read_image(drawn).matte_plane()
        return Shot([Case(name, image, trimap, alpha, foreground, background, light, space)])

    def _layer(self, part: str, stem: str, what: str) -> Plane | None:
        folder = self._root / part
        return self._picture(find(folder, stem, what))[0] if folder.is_dir() else None

    @staticmethod
    def _picture(path: Path) -> tuple[Plane, Light, str]:
        if path.suffix.lower() != ".exr":
            return read_rgb(path, "picture"), "display", ""
        picture = read_image(path)
        return picture.rgb(), "linear", picture.colorspace


def _any_plane(path: Path, what: str) -> Plane:
    return read_image(path).matte_plane() if path.suffix.lower() == ".exr" else read_plane(path, what)


def _widths(folder: Path) -> list[str]:
    found = [width for width in _TRIMAPS if (folder / width).is_dir()]
    if not found:
        raise ImageReadError(f"{folder / _TRIMAPS[0]}: missing (the trimaps)")
    return found


def pictures(folder: Path) -> list[Path]:
    """Return the picture files of a folder by name.

    Raises
    ------
    ImageReadError
        If there is none.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in _PICTURES)
    if not found:
        raise ImageReadError(f"{folder}: no picture in it")
    return found


def find(folder: Path, stem: str, what: str) -> Path:
    """Return the file of a name in a folder, whatever its kind.

    Raises
    ------
    ImageReadError
        Naming the file that is missing.
    """
    for suffix in _PICTURES:
        for spelled in (suffix, suffix.upper()):
            if (folder / f"{stem}{spelled}").exists():
                return folder / f"{stem}{spelled}"
    raise ImageReadError(f"{folder / stem}.*: missing ({what})")
