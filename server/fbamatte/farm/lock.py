"""One writer per output file, on one machine or across a shared folder that honours locks."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from fbamatte.errors import OutputError, UnavailableError
from fbamatte.imaging.matte_exr import TEMPORARY_PREFIX, TEMPORARY_SUFFIX

# A file that nobody has written to for so long belongs to a process that was killed.
LEFT_BEHIND_S = 3600

if sys.platform == "win32":  # pragma: no cover - exercised on Windows only
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class OutputLock:
    """The sole right to write one file, held until released or until this process ends, however it ends.

    Parameters
    ----------
    output : Path
        The file to be written. The lock is a hidden file beside it, gone once released.

    Raises
    ------
    UnavailableError
        If somebody else holds it.
    OutputError
        If the folder cannot be written.
    """

    def __init__(self, output: Path) -> None:
        # named by a digest, since the output's own name may already be as long as names can be
        name = hashlib.blake2b(output.name.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
        self.path = output.parent / f".fbamatte-{name}.lock"
        self._descriptor = self._acquire(output)

    def _acquire(self, output: Path) -> int:
        while True:
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as error:
                raise OutputError(f"{output}: cannot write in its folder: {error.strerror}") from error
            try:
                _try_lock(descriptor)
            except OSError:
                os.close(descriptor)
                raise UnavailableError(f"{output}: another process is writing it") from None
            if self._is_current(descriptor):
                return descriptor
            # its last holder removed the file between our opening and our locking it
            os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let others write; harmless if called twice."""
        if self._descriptor < 0:
            return
        with suppress(OSError):
            self.path.unlink()
        os.close(self._descriptor)
        self._descriptor = -1


def remove_leftovers(folder: Path) -> None:
    """Remove the unfinished files that killed processes left in a folder."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*{TEMPORARY_SUFFIX}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > LEFT_BEHIND_S:
                path.unlink()
