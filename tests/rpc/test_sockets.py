"""Unix sockets get room for a chunk, and only those of the path that was asked for."""

import socket
import sys
from pathlib import Path

import pytest

from fbamatte.rpc.framing import CHUNK_BYTES
from fbamatte.rpc.sockets import make_room

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds its sockets in /proc")


def connected(path):
    """Return a listening socket and both ends of a connection to it."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    near = socket.socket(socket.AF_UNIX)
    near.connect(str(path))
    return listening, near, listening.accept()[0]


def room(found):
    return found.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)


def descriptors():
    return sorted(entry.name for entry in Path("/proc/self/fd").iterdir())


def test_both_ends_of_a_path_hold_more_and_others_as_much_as_before(tmp_path):
    mine, others = connected(tmp_path / "mine"), connected(tmp_path / "others")
    before = room(mine[1])
    try:
        # The listening one counts too: it is of that path.
        assert make_room(str(tmp_path / "mine")) == 3
        granted = 2 * min(CHUNK_BYTES, int(Path("/proc/sys/net/core/wmem_max").read_text()))
        assert [room(end) for end in mine[1:]] == [max(granted, before)] * 2
        assert [room(end) for end in others] == [before] * 3
        mine[1].sendall(b"still open")
        assert mine[2].recv(100) == b"still open"
    finally:
        for end in (*mine, *others):
            end.close()


def test_a_link_to_the_socket_is_the_socket(tmp_path):
    ends = connected(tmp_path / "s")
    (tmp_path / "link").symlink_to(tmp_path / "s")
    try:
        assert make_room(str(tmp_path / "link")) == 3
    finally:
        for end in ends:
            end.close()


def test_no_descriptor_is_lost_or_left_open(tmp_path):
    ends = connected(tmp_path / "s")
    try:
        before = descriptors()
        make_room(str(tmp_path / "s"))
        assert descriptors() == before
        assert make_room(str(tmp_path / "nowhere")) == 0
    finally:
        for end in ends:
            end.close()


def test_a_default_timeout_reaches_no_socket(tmp_path, monkeypatch):
    """Python gives it to every socket that it wraps."""
    ends = connected(tmp_path / "s")
    try:
        socket.setdefaulttimeout(5)
        assert make_room(str(tmp_path / "s")) == 0
    finally:
        socket.setdefaulttimeout(None)
        for end in ends:
            end.close()
