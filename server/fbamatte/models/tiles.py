"""How a picture is cut into strips, so that strips change nothing in the result.

Plain tiles shift colour: GroupNorm and pyramid pooling would see another picture in each. Here each
layer runs over the whole picture before the next, in strips of rows with the halo its kernel needs, so
every statistic is the whole picture's and memory holds feature maps but no temporaries of their size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from fbamatte.models import interruption

DEFAULT_BUDGET = 16 << 20

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
    head : int
        Bytes of a strip of the head, which works at full size and in float32.
    share : int
        Strips are made smaller, or by a quarter larger, so that their number is a multiple of this: for threads that
        share them.
    """

    budget: int = 0
    folder: str = ""
    head: int = 64 << 20
    share: int = 1

    def cut(self, height: int, row_bytes: int, budget: Optional[int] = None) -> Iterator[tuple[int, int]]:
        """Yield first and last row (excluded) of each strip of a picture of ``height`` rows."""
        budget = self.budget if budget is None else budget
        step = height
        if budget:
            step = max(budget // max(row_bytes, 1) // ROW_STEP * ROW_STEP, ROW_STEP)
            if self.share > 1:
                count = -(-height // step)
                step = max(-(-height // (max(round(count / self.share), 1) * self.share)), ROW_STEP)
        for first in range(0, height, step):
            interruption.check()
            yield first, min(first + step, height)

    def smaller(self) -> Strips:
        """Return strips of a quarter of the size, for a second try when memory ran out."""
        budget = (self.budget or DEFAULT_BUDGET * 4) // 4
        return Strips(max(budget, 1 << 20), self.folder, max(self.head // 4, 1 << 20))


WHOLE = Strips()
