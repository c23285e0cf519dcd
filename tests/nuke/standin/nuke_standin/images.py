"""Pictures: channels over a bounding box in a format. y grows upwards, as in Nuke; rows are kept from the top down."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


class Box:
    """Left, bottom, right, top; right and top are one past the last pixel."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._sides = tuple(int(side) for side in args)

    def x(self) -> int:
        return self._sides[0]

    def y(self) -> int:
        return self._sides[1]

    def r(self) -> int:
        return self._sides[2]

    def t(self) -> int:
        return self._sides[3]

    def w(self) -> int:
        return self._sides[2] - self._sides[0]

    def h(self) -> int:
        return self._sides[3] - self._sides[1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Box) and self._sides == other._sides

    def __hash__(self) -> int:
        return hash(self._sides)

    def __repr__(self) -> str:
        return f"Box{self._sides}"

    def union(self, other: Box) -> Box:
        mine, theirs = self._sides, other._sides
        return Box(*(pick(a, b) for pick, a, b in zip((min, min, max, max), mine, theirs)))

    def intersection(self, other: Box) -> Box:
        mine, theirs = self._sides, other._sides
        return Box(*(pick(a, b) for pick, a, b in zip((max, max, min, min), mine, theirs)))


class Format:
    """Width, height and pixel aspect."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._width, self._height, self._aspect = int(args[0]), int(args[1]), float(args[2]) if len(args) > 2 else 1.0

    @classmethod
    def parse(cls, text: str) -> Format:
        parts = text.split()
        return cls(parts[0], parts[1], parts[6] if len(parts) > 6 else 1.0)

    def width(self) -> int:
        return self._width

    def height(self) -> int:
        return self._height

    def pixelAspect(self) -> float:
        return self._aspect

    def box(self) -> Box:
        return Box(0, 0, self._width, self._height)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Format) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"Format({self._width}, {self._height}, {self._aspect})"


@dataclass(frozen=True)
class Picture:
    """What a node gives: outside the bounding box everything is black."""

    format: Format
    bbox: Box
    channels: dict[str, np.ndarray] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def channel(self, name: str, box: Box | None = None) -> np.ndarray:
        """Return one channel over ``box``: black where the picture has nothing."""
        box = box or self.bbox
        found = np.zeros((box.h(), box.w()), np.float32)
        pixels = self.channels.get(name)
        common = self.bbox.intersection(box)
        if pixels is None or common.w() <= 0 or common.h() <= 0:
            return found
        rows, columns = self._slices(common, box)
        source_rows, source_columns = self._slices(common, self.bbox)
        found[rows, columns] = pixels[source_rows, source_columns]
        return found

    @staticmethod
    def _slices(part: Box, whole: Box) -> tuple[slice, slice]:
        top, left = whole.t() - part.t(), part.x() - whole.x()
        return slice(top, top + part.h()), slice(left, left + part.w())

    def over(self, box: Box) -> Picture:
        """Return the picture with another bounding box."""
        return replace(self, bbox=box, channels={name: self.channel(name, box) for name in self.channels})

    def with_channels(self, **channels: np.ndarray) -> Picture:
        """Return it with channels added or replaced; ``_`` stands for the dot of a name."""
        return replace(self, channels={**self.channels, **channels})


BLACK = ["red", "green", "blue", "alpha"]


def black(format_: Format) -> Picture:
    """Return what an unconnected input gives."""
    shape = (format_.height(), format_.width())
    return Picture(format_, format_.box(), {f"rgba.{name}": np.zeros(shape, np.float32) for name in BLACK})
