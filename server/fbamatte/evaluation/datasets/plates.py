"""A user's own plates: nothing is known of the truth, but speed, recomposition and pictures side by side are."""

from __future__ import annotations

from pathlib import Path

from fbamatte.compositing.trimap import from_roto
from fbamatte.errors import ImageReadError
from fbamatte.evaluation.datasets.base import Case, Shot, require
from fbamatte.imaging.frames import frame_from_images
from fbamatte.imaging.reader import read_image

# Where there is a roto and no trimap: what `fbamatte matte` takes unless told otherwise.
INSIDE, OUTSIDE = 6.0, 4.0


class Plates:
    """Folders of ``plate.NNNN.exr`` with ``trimap.NNNN.exr`` or ``roto.NNNN.exr``: ROOT itself or those in it.

    A roto becomes a trimap by 6 pixels inwards and 4 outwards.
    """

    name = "plates"

    def __init__(self, root: Path, backgrounds: Path | None = None) -> None:
        del backgrounds
        require(root, "the folder of the plates")
        self._root = root
        self._plates = {self._title(path): path for path in sorted([*root.glob("plate.*"), *root.glob("*/plate.*")])}
        if not self._plates:
            raise ImageReadError(f"{root / 'plate.*'}: missing (the plates)")

    def _title(self, path: Path) -> str:
        return "/".join([*path.relative_to(self._root).parts[:-1], path.name.split(".")[1]])

    def names(self) -> list[str]:
        """Return ``FOLDER/NNNN``."""
        return list(self._plates)

    def load(self, name: str) -> Shot:
        """Return one frame, without truth."""
        path = self._plates[name]
        drawn = self._drawn(path)
        frame = frame_from_images(read_image(path), read_image(drawn), name=name)
        trimap = frame.trimap if drawn.name.startswith("trimap") else from_roto(frame.trimap, INSIDE, OUTSIDE)
        return Shot([Case(name, frame.plate, trimap, light="linear", colorspace=frame.colorspace)])

    def _drawn(self, plate: Path) -> Path:
        beside = [plate.with_name(plate.name.replace("plate", kind, 1)) for kind in ("trimap", "roto")]
        return beside[0] if beside[0].exists() else require(beside[1], "trimap or roto of the plate")
