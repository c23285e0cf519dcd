"""Room in Unix sockets for a whole chunk: gRPC opens them and has no setting for it."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from fbamatte.rpc.framing import CHUNK_BYTES

_DESCRIPTORS = Path("/proc/self/fd")


def make_room(path: str) -> int:
    """Let this process's Unix sockets at ``path``, of either side, hold a chunk on its way; return how many now do.

    Linux gives them a fifth of that, and each time it is full both sides are put to sleep and woken again. What it
    grants is bounded by net.core.wmem_max. Elsewhere nothing is done.
    """
    # Python would give its default timeout to every socket that is looked at.
    if not _DESCRIPTORS.is_dir() or socket.getdefaulttimeout() is not None:
        return 0
    return sum(_widen(int(entry.name), path) for entry in _DESCRIPTORS.iterdir())


def _widen(descriptor: int, path: str) -> bool:
    with suppress(OSError):
        found = socket.socket(fileno=descriptor)
        try:
            if found.family == socket.AF_UNIX and (_is(found.getsockname(), path) or _is(found.getpeername(), path)):
                # The system counts twice what is asked for.
                if found.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) < 2 * CHUNK_BYTES:
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHUNK_BYTES)
                return True
        finally:
            # It stays gRPC's.
            found.detach()
    return False


def _is(name: object, path: str) -> bool:
    """Return whether the name of a socket is that file; one that is connected has none on the client's side."""
    return isinstance(name, str) and bool(name) and Path(name).samefile(path)
