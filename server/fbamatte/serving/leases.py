"""Shared memory lent to callers, and what a server that crashed has left of it.

A segment loses its name when a frame first uses it, so only one that was lent and never used can be
left behind. The server keeps each of those locked; what can be locked has lost its server.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path

if sys.platform != "win32":
    import fcntl

from fbamatte.rpc import memory
from fbamatte.rpc.v1 import matting_pb2 as pb

# A segment is locked right after it is made; a younger one may not be yet.
_YOUNG_SECONDS = 10.0


class StreamLeases:
    """The shared memory of one stream; any thread.

    Parameters
    ----------
    limit : int
        Bytes that the stream may hold at a time; 0: it gets none.
    reason : str
        What to say where ``limit`` is 0.
    """

    def __init__(self, limit: int, reason: str) -> None:
        self._leases = memory.Leases(limit, reason)
        self._locks: dict[str, int] = {}
        self._guard = threading.Lock()
        self._closed = False

    def grant(self, request: pb.MemoryRequest) -> pb.MemoryLease:
        """Answer a request: with a lease, or with the reason why there is none."""
        with self._guard:
            answer = self._leases.grant(request)
            if answer.segment:
                # Without a file descriptor to spare it works as well and is only not swept.
                with contextlib.suppress(OSError):
                    self._lock(answer.lease, memory.FOLDER / answer.segment)
            return answer

    def take(self, lease: str, size: int, label: str) -> memoryview:
        """Return the memory of a lease for one frame, until `give`; raise `FrameError` where it cannot be."""
        with self._guard:
            view = self._leases.take(lease, size, label)
            self._unlock(lease)
            return view

    def give(self, lease: str) -> None:
        """Take a lease back from its frame, which is answered."""
        with self._guard:
            if not self._closed:
                self._leases.give(lease)

    def release(self, lease: str) -> None:
        """Free a lease; one that a frame still has goes when the frame is answered."""
        with self._guard:
            self._leases.release(lease)
            self._unlock(lease)

    def close(self) -> None:
        """Free all, as the stream has ended."""
        with self._guard:
            self._closed = True
            self._leases.close()
            for lease in list(self._locks):
                self._unlock(lease)

    def _lock(self, lease: str, path: Path) -> None:
        if sys.platform == "win32":
            return
        self._locks[lease] = descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(self, lease: str) -> None:
        descriptor = self._locks.pop(lease, None)
        if descriptor is not None:
            os.close(descriptor)


def sweep(now: float) -> int:
    """Remove segments of this user whose server is gone; return how many.

    Parameters
    ----------
    now : float
        Seconds since the epoch.
    """
    if sys.platform == "win32" or not memory.supported():
        return 0
    removed = 0
    for path in memory.FOLDER.glob("fbamatte-*"):
        # Another user's cannot be opened, one that is in use cannot be locked.
        with contextlib.suppress(OSError):
            if now - path.stat().st_ctime < _YOUNG_SECONDS:
                continue
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
                removed += 1
            finally:
                os.close(descriptor)
    return removed
