"""Memory that frames in flight may take, reserved before anything is allocated."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fbamatte.errors import ResourceError
from fbamatte.serving.failures import LimitError
from fbamatte.serving.queue import Priority

# What a frame costs while it is worked on and until its answer is sent, per pixel: the frame and its
# display-encoded copy (28 B), estimate and matte (56 B), the answer (up to 32 B), and some on the way.
BYTES_PER_PIXEL = 128
# Batch frames leave this share of the memory to interactive ones.
BATCH_SHARE = 0.75
POLL_SECONDS = 0.1


class MemoryBudget:
    """Bytes that are handed out in advance and taken back when a frame is answered.

    Parameters
    ----------
    total : int
        Bytes that all frames in flight may take together.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0
        self._freed = threading.Condition()

    def allowed(self, priority: Priority) -> int:
        """Return the bytes that frames of one priority may fill the budget up to."""
        return int(self.total * BATCH_SHARE) if priority is Priority.BATCH else self.total

    def reserve(self, size: int, priority: Priority, label: str, *, wait: Callable[[], bool]) -> None:
        """Take ``size`` bytes, or wait for them.

        Parameters
        ----------
        wait : callable
            Asked again and again while there is no room: False gives up.

        Raises
        ------
        LimitError
            If there will never be so much.
        ResourceError
            If there is not now and ``wait`` says not to wait.
        """
        allowed = self.allowed(priority)
        if size > self.total:
            raise LimitError(
                f"{label}: needs about {_megabytes(size)} of memory on its way, the server has {_megabytes(self.total)}"
            )
        with self._freed:
            # A frame too large for its priority's share goes when nothing else is there.
            while self.used + size > allowed and not (self.used == 0 and size <= self.total):
                if not wait():
                    raise ResourceError(
                        f"{label}: needs about {_megabytes(size)} of memory on its way and "
                        f"{_megabytes(self.used)} of {_megabytes(self.total)} are taken; try again in a moment"
                    )
                self._freed.wait(POLL_SECONDS)
            self.used += size

    def release(self, size: int) -> None:
        """Give ``size`` bytes back."""
        with self._freed:
            self.used -= size
            assert self.used >= 0, "more memory was given back than was taken"
            self._freed.notify_all()


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
