"""Connections over a Unix socket: gRPC's own, with room for a chunk."""

import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from fbamatte.frame import Frame
from fbamatte.rpc.client import Client
from fbamatte.rpc.framing import CHUNK_BYTES
from fbamatte.testing import serve_in_process


@pytest.mark.skipif(sys.platform != "linux", reason="finds its sockets in /proc")
def test_a_large_frame_over_a_unix_socket_makes_room_on_both_sides(tmp_path):
    """The server runs in this process, so that all of the connection can be looked at."""
    large = Frame(np.zeros((400, 800, 3), np.float32), np.ones((400, 800), np.float32))
    with (
        serve_in_process(listen=(f"unix:{tmp_path}/s",), models=("testing-wire",)) as server,
        Client(server.addresses[0], shared_memory=False) as client,
    ):
        assert len(list(client.matte([large]))) == 1
        rooms = [send_buffer(end) for end in ends_at(f"{tmp_path}/s")]
    assert len(rooms) == 2
    # What a new socket has, half as much again or more, as far as the system grants it.
    with socket.socket(socket.AF_UNIX) as new:
        assert min(rooms) >= min(2 * CHUNK_BYTES, 1.5 * send_buffer(new))


def send_buffer(end):
    return end.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)


def ends_at(path):
    """Return copies of this process's ends of connections to that path."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            end = socket.socket(fileno=os.dup(int(entry.name)))
            if end.family == socket.AF_UNIX and path in (end.getsockname(), end.getpeername()):
                found.append(end)
    return found
