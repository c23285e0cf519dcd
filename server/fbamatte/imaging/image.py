"""A picture as its file holds it: named planes, two windows, and all that was said about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fbamatte.errors import ImageReadError
from fbamatte.frame import Window
from fbamatte.imaging.attributes import Value

Plane = NDArray[np.float32]

# Where a trimap or roto is looked for, in this order.
MATTE_CHANNELS = ("fba_trimap.A", "A", "Y", "R", "G", "B")


class AsFloat(Mapping[str, Plane]):
    """Planes of half or float that become float32 when asked for: most layers of a render never are."""

    def __init__(self, planes: Mapping[str, NDArray[Any]]) -> None:
        self._planes = planes

    def __getitem__(self, name: str) -> Plane:
        return np.ascontiguousarray(self._planes[name], np.float32)

    def __contains__(self, name: object) -> bool:
        return name in self._planes

    def __iter__(self) -> Iterator[str]:
        return iter(self._planes)

    def __len__(self) -> int:
        return len(self._planes)


@dataclass(frozen=True, eq=False)
class Image:
    """One view of one part of a picture file.

    Parameters
    ----------
    channels : mapping of str to ndarray, shape (H, W), float32
        Values as the file holds them: unbounded for half and float files, 0–1 for integer files. No
        colour conversion has happened.
    display_window, data_window : Window
        As in the file; the channels cover the data window.
    pixel_aspect : float
        Width over height of a pixel.
    view : str
        Stereo view; empty where the file says none.
    colorspace : str
        What the file says about its colour, in the file's own words; empty where it says nothing.
    metadata : mapping
        Every other attribute, as `fbamatte.imaging.attributes` describes values.
    name : str
        What to call the picture in messages: its path.
    skipped : mapping of str to str
        Channels that were left out, and why.
    windowed : bool
        Whether the file's format has windows of its own; False for PNG, JPEG and the like.
    """

    channels: Mapping[str, Plane]
    display_window: Window
    data_window: Window
    pixel_aspect: float = 1.0
    view: str = ""
    colorspace: str = ""
    metadata: Mapping[str, Value] = field(default_factory=dict)
    name: str = ""
    skipped: Mapping[str, str] = field(default_factory=dict)
    windowed: bool = True

    def rgb(self) -> Plane:
        """Return R, G and B, or luminance three times.

        Channels without a layer come first; else the one layer that has R, G and B.

        Returns
        -------
        ndarray, shape (H, W, 3), float32

        Raises
        ------
        ImageReadError
            If there is no colour, or more than one layer could be meant.
        """
        picture = np.empty((self.data_window.height, self.data_window.width, 3), np.float32)
        for i, name in enumerate(self._rgb_names()):
            picture[..., i] = self.channels[name]
        return picture

    def matte_plane(self) -> Plane:
        """Return the plane that a trimap or roto file means.

        ``fba_trimap.A``, alpha, luminance, then red. An alpha that is 1 everywhere is passed over where
        the colour is a drawing in grey: painting programs add an opaque alpha to a trimap.

        Returns
        -------
        ndarray, shape (H, W), float32
            Not colour-converted.

        Raises
        ------
        ImageReadError
            If there is no such plane.
        """
        names = [name for name in MATTE_CHANNELS if name in self.channels] or list(self.channels)
        if not names or (names[0] not in MATTE_CHANNELS and len(names) > 1):
            raise ImageReadError(f"{self.name}: no alpha, luminance or red to take a trimap from; {self._inventory()}")
        plane = self.channels[names[0]]
        if names[0] == "A" and names[1:] and (plane == 1).all():
            drawn = [self.channels[name] for name in names[1:]]
            if (drawn[0] != drawn[0].flat[0]).any() and all(np.array_equal(drawn[0], other) for other in drawn[1:]):
                return drawn[0]
        return plane

    def _rgb_names(self) -> list[str]:
        if all(name in self.channels for name in "RGB"):
            return ["R", "G", "B"]
        if "Y" in self.channels:
            return ["Y"] * 3
        layers = sorted(
            name[:-2] for name in self.channels if name.endswith(".R") and not name.startswith(("fba_fg.", "fba_bg."))
        )
        complete = [layer for layer in layers if all(f"{layer}.{c}" in self.channels for c in "GB")]
        if len(complete) == 1:
            return [f"{complete[0]}.{c}" for c in "RGB"]
        if complete:
            raise ImageReadError(
                f"{self.name}: several layers have R, G, B; name one as the part: {', '.join(complete)}"
            )
        raise ImageReadError(f"{self.name}: no R, G, B and no Y; {self._inventory()}")

    def _inventory(self) -> str:
        have = f"channels are {', '.join(self.channels) or 'none'}"
        left_out = "; ".join(f"{name} left out: {why}" for name, why in self.skipped.items())
        return f"{have}; {left_out}" if left_out else have
