"""When a caller stands still: no byte for a while, or so few that it might as well be none."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

# A caller that moves bytes at all moves this many a second.
SLOWEST_BYTES_PER_SECOND = 1 << 20


def is_slow(now: float, begun: float, moved: float, size: int, patience: float) -> bool:
    """Return whether a transfer of ``size`` bytes has stood still, or as a whole takes too long.

    Parameters
    ----------
    now, begun, moved : float
        Monotonic: now, when the transfer began, when a byte last moved.
    patience : float
        Seconds for which a caller may stand still.
    """
    return now - moved > patience or now - begun > patience + size / SLOWEST_BYTES_PER_SECOND


@dataclass
class Sending:
    """What is being sent: ``size`` bytes since ``begun``, the last that went at ``moved``."""

    size: int = 0
    begun: float = field(default_factory=time.monotonic)
    moved: float = field(default_factory=time.monotonic)

    def is_slow(self, now: float, patience: float) -> bool:
        """Return whether its reader stands still."""
        return is_slow(now, self.begun, self.moved, self.size, patience)
