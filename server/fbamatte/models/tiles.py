"""How a picture is cut into strips, so that strips change nothing in the result.

Plain tiles shift colour: GroupNorm and pyramid pooling would see another picture in each. Here each
layer runs over the whole picture before the next, in strips of rows with the halo its kernel needs, so
every statistic is the whole picture's and memory holds feature maps but no temporaries of their size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

ROW_STEP = 8
"""Strips are multiples of so many rows: fewer shapes to plan convolutions for."""


@dataclass(frozen=True)
class Strips:
    """How large a strip may be.

    Parameters
    ----------
    budget : int
        Bytes of a layer's input and output strip together; 0 for whole maps.
    folder : str
        Where maps are kept in files instead of memory; empty for memory.
    """

    budget: int = 0
    folder: str = ""

    def cut(self, height: int, row_bytes: int) -> Iterator[tuple[int, int]]:
        """Yield first and last row (excluded) of each strip of a picture of ``height`` rows."""
        step = height
        if self.budget:
            step = max(self.budget // max(row_bytes, 1) // ROW_STEP * ROW_STEP, ROW_STEP)
        for first in range(0, height, step):
            yield first, min(first + step, height)

    def smaller(self) -> Strips:
        """Return strips of a quarter of the size, for a second try when memory ran out."""
        return Strips(max(self.budget // 4, 1 << 20), self.folder)


WHOLE = Strips()
