"""Shared memory for a caller on the same machine: the server allocates, the caller maps.

The rules, and why (docs/wire.md says more):

- Only the server makes segments, under random names that only its own user may open. A request
  names a lease of its own stream, never a segment.
- All of it is reserved at once, for a page that cannot be had later would kill the process.
- The name is removed when the lease is first used, so that nothing stays behind if the server dies.
- What a frame's pixels are calculated from is copied out first: the caller can still write there.
"""

from __future__ import annotations

import mmap
import os
import re
import secrets
import sys
from pathlib import Path
from typing import Optional

from fbamatte.errors import FrameError, ResourceError
from fbamatte.rpc.v1 import matting_pb2 as pb

FOLDER = Path("/dev/shm")
_POPULATE = getattr(mmap, "MAP_POPULATE", 0)  # Python 3.10, Linux
_NAME = re.compile(r"fbamatte-[0-9a-f]{32}")


def supported() -> bool:
    """Return whether this system has shared memory as files, as Linux does."""
    return sys.platform == "linux" and FOLDER.is_dir()


class Segment:
    """A mapped segment of shared memory.

    Attributes
    ----------
    name : str
        Its name in /dev/shm.
    bytes : int
        Its size.
    view : memoryview
        Its content.
    """

    def __init__(self, name: str, descriptor: int, size: int) -> None:
        self.name = name
        self.bytes = size
        # All pages at once: one by one, as they are touched, they take longer than what is written there.
        self._map: Optional[mmap.mmap] = mmap.mmap(descriptor, size, flags=mmap.MAP_SHARED | _POPULATE)
        self.view = memoryview(self._map)

    @classmethod
    def create(cls, size: int) -> Segment:
        """Make one under a random name.

        Raises
        ------
        ResourceError
            If there is not that much shared memory.
        """
        name = f"fbamatte-{secrets.token_hex(16)}"
        path = FOLDER / name
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
            return cls(name, descriptor, size)
        except OSError as error:
            path.unlink()
            raise ResourceError(f"no {size} bytes of shared memory: {error.strerror}") from error
        finally:
            os.close(descriptor)

    @classmethod
    def open(cls, name: str, size: int) -> Segment:
        """Map the one that a server has made.

        Raises
        ------
        ResourceError
            If it cannot be opened (another machine, container or user) or is smaller than ``size``.
        """
        if not _NAME.fullmatch(name):
            raise ResourceError(f"{name[:60]!r} is not the name of a segment of this service")
        try:
            descriptor = os.open(FOLDER / name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise ResourceError(f"shared memory {name} cannot be opened: {error.strerror}") from error
        try:
            if os.fstat(descriptor).st_size < size:
                raise ResourceError(f"shared memory {name} has less than {size} bytes")
            return cls(name, descriptor, size)
        finally:
            os.close(descriptor)

    def hide(self) -> None:
        """Remove the name; who has it mapped keeps it. May be called more than once."""
        (FOLDER / self.name).unlink(missing_ok=True)

    def close(self) -> None:
        """Unmap it. Where arrays still look at it, the memory goes with the last of them."""
        try:
            self.view.release()
            if self._map is not None:
                self._map.close()
        except BufferError:
            pass
        self._map = None


class Leases:
    """The shared memory of one stream, on the server's side. Not thread-safe.

    Parameters
    ----------
    limit : int
        Bytes that the stream may hold at a time; 0: it gets none.
    reason : str
        What to say where ``limit`` is 0.
    """

    def __init__(self, limit: int, reason: str = "shared memory is switched off") -> None:
        self._limit = limit
        self._reason = reason
        self._segments: dict[str, Segment] = {}
        self._busy: set[str] = set()
        self._released: set[str] = set()

    def grant(self, request: pb.MemoryRequest) -> pb.MemoryLease:
        """Answer a request: with a lease, or with the reason why there is none."""
        held = sum(segment.bytes for segment in self._segments.values())
        answer = pb.MemoryLease(tag=request.tag)
        if not self._limit:
            answer.refusal = self._reason
        elif not request.bytes or held + request.bytes > self._limit:
            answer.refusal = f"{request.bytes} bytes beside {held} held; a stream may hold {self._limit}"
        else:
            try:
                segment = Segment.create(request.bytes)
            except ResourceError as error:
                answer.refusal = str(error)
                return answer
            answer.lease, answer.segment, answer.bytes = secrets.token_hex(8), segment.name, segment.bytes
            self._segments[answer.lease] = segment
        return answer

    def take(self, lease: str, size: int, label: str) -> memoryview:
        """Return the memory of ``lease``, which is the frame's until `give`.

        The frame needs ``size`` bytes, its answer included.

        Raises
        ------
        FrameError
            If there is no such lease on this stream, another frame has it, or it is too small.
        """
        segment = self._segments.get(lease)
        if segment is None or lease in self._released:
            raise FrameError(f"{label}: this stream has no lease {lease[:40]!r}")
        if lease in self._busy:
            raise FrameError(f"{label}: lease {lease} belongs to another frame in flight")
        if size > segment.bytes:
            raise FrameError(f"{label}: needs {size} bytes, its answer included; lease {lease} has {segment.bytes}")
        segment.hide()
        self._busy.add(lease)
        return segment.view

    def give(self, lease: str) -> None:
        """Take ``lease`` back from its frame, which is answered."""
        self._busy.discard(lease)
        if lease in self._released:
            self.release(lease)

    def release(self, lease: str) -> None:
        """Free ``lease``; one that a frame still has goes when the frame is answered."""
        if lease in self._busy:
            self._released.add(lease)
            return
        self._released.discard(lease)
        segment = self._segments.pop(lease, None)
        if segment is not None:
            segment.hide()
            segment.close()

    def close(self) -> None:
        """Free all, as the stream has ended."""
        self._busy.clear()
        for lease in list(self._segments):
            self.release(lease)
