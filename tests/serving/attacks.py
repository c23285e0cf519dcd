"""Callers that mean no good, or are merely broken. Each stays on this machine and is bounded."""

from __future__ import annotations

import contextlib
import io
import re
import socket
import struct
import subprocess
import sys
import threading
import time

import numpy as np

from fbamatte.imaging.exr import write_exr
from fbamatte.imaging.image import Image
from fbamatte.rpc.framing import Chunk
from fbamatte.rpc.v1 import matting_pb2 as pb
from serving.helpers import frame, messages, raw

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
ENHANCE_YOUR_CALM = 11

# Opens a call, sends one and a half frames, says so and waits to be killed. Loads no numpy: it starts quickly.
_VICTIM = """
import sys, queue, grpc
from fbamatte.rpc import framing
from fbamatte.rpc.v1 import matting_pb2 as pb
address, model = sys.argv[1:]
outgoing = queue.SimpleQueue()
call = framing.stub_method(grpc.insecure_channel(address))(iter(outgoing.get, None))
def header(key):
    head = pb.FrameHeader(key=key, payload=pb.PAYLOAD_KIND_PLANES, model=model)
    head.planes.width, head.planes.height = 512, 512
    for kind in (pb.PLANE_KIND_PLATE, pb.PLANE_KIND_TRIMAP):
        head.planes.planes.add(kind=kind, pixel_type=pb.PIXEL_TYPE_FLOAT)
    return pb.MatteRequest(header=head)
for key in "abc":
    outgoing.put(header(key))
    for part in range(4 if key != "c" else 2):
        outgoing.put(framing.Chunk(key, bytes(1 << 20)))
    if key != "c":
        outgoing.put(pb.MatteRequest(end=pb.FrameEnd(key=key)))
print("sent", flush=True)
import time; time.sleep(600)
"""


def victim(address: str, model: str) -> subprocess.Popen:
    """Start a client in mid-stream; kill it when you like."""
    return subprocess.Popen([sys.executable, "-c", _VICTIM, address, model], stdout=subprocess.PIPE)


class Http2:
    """A connection that sends whatever frames it is told to."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.socket.sendall(PREFACE)
        self.send(SETTINGS, 0, 0, b"")

    def send(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self.socket.sendall(
            struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload
        )

    def open_call(self, stream: int, path: str = "/fbamatte.rpc.v1.Matting/Matte") -> None:
        """Send the headers of a call, without HPACK's compression."""
        block = b"\x83\x86" + b"\x04" + _text(path) + b"\x01" + _text("localhost")
        block += b"\x0f\x10" + _text("application/grpc") + b"\x00" + _text("te") + _text("trailers")
        self.send(HEADERS, 4, stream, block)

    def goaway(self, seconds: float) -> int | None:
        """Read until the server says goodbye and return why; None where it does not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                head = self._exactly(9)
                body = self._exactly(int.from_bytes(head[:3], "big"))
            except (OSError, EOFError):
                return None
            if head[3] == GOAWAY:
                return struct.unpack(">I", body[4:8])[0]
        return None

    def close(self) -> None:
        self.socket.close()

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            more = self.socket.recv(count - len(found))
            if not more:
                raise EOFError
            found += more
        return found


def _text(text: str) -> bytes:
    return bytes((len(text),)) + text.encode()


@contextlib.contextmanager
def running(*attacks, address: str):
    """Run attacks on threads until the block is left; each is ``attack(address, stop)``."""
    stop = threading.Event()
    threads = [threading.Thread(target=attack, args=(address, stop), daemon=True) for attack in attacks]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)


def slowloris(address: str, stop: threading.Event) -> None:
    """Open a frame and send a byte of it now and then, again and again."""
    while not stop.is_set():
        with raw(address) as stream, contextlib.suppress(Exception):
            stream.send(messages(frame(1))[0])
            while not stop.wait(0.05) and stream.call.is_active():
                stream.send(Chunk("k1", b"x"))


def slow_reader(address: str, stop: threading.Event) -> None:
    """Send frames and never take an answer."""
    while not stop.is_set():
        with raw(address) as stream:
            for number in range(8):
                stream.send(*messages(frame(number, 400, 300), model="testing-wire"))
            while not stop.wait(0.05) and stream.call.is_active():
                pass


def silent_connections(address: str, stop: threading.Event) -> None:
    """Connect and say nothing."""
    host, port = address.rsplit(":", 1)
    sockets = [socket.create_connection((host, int(port)), timeout=60) for _ in range(50)]
    stop.wait()
    for item in sockets:
        item.close()


def ping_flood(address: str, stop: threading.Event) -> None:
    """Ping as fast as the server lets us, connecting anew when thrown out."""
    while not stop.is_set():
        connection = Http2(address)
        with contextlib.suppress(OSError):
            for number in range(1000):
                connection.send(PING, 0, 0, struct.pack(">Q", number))
                if stop.wait(0.001):
                    break
        connection.close()


def rapid_reset(address: str, stop: threading.Event) -> None:
    """Open calls and reset them at once (CVE-2023-44487), at a bounded rate."""
    while not stop.is_set():
        connection = Http2(address)
        with contextlib.suppress(OSError):
            for number in range(1, 400, 2):
                connection.open_call(number)
                connection.send(RST_STREAM, 0, number, struct.pack(">I", 8))
                if stop.wait(0.002):
                    break
        connection.close()


def exr(width: int = 32, height: int = 16, **channels) -> bytes:
    """Return a small EXR with R, G, B and a trimap."""
    item = frame(1, width, height)
    planes = {name: item.plate[..., n] for n, name in enumerate("RGB")} | {"fba_trimap.A": item.trimap} | channels
    target = io.BytesIO()
    write_exr(target, Image(planes, item.display_window, item.data_window, name="x"), compression="zips")
    return target.getvalue()


def with_window(data: bytes, *corners: int) -> bytes:
    """Return an EXR whose header claims another data window."""
    at = re.search(rb"dataWindow\0box2i\0....", data, re.DOTALL).end()
    return data[:at] + struct.pack("<4i", *corners) + data[at + 16 :]


def with_channels(data: bytes, count: int) -> bytes:
    """Return an EXR whose header claims so many channels."""
    found = re.search(rb"channels\0chlist\0(....)", data, re.DOTALL)
    size = struct.unpack("<I", found.group(1))[0]
    entries = b"".join(b"c%06d\0" % n + struct.pack("<i4xii", 1, 1, 1) for n in range(count)) + b"\0"
    return data[: found.start(1)] + struct.pack("<I", len(entries)) + entries + data[found.end() + size :]


def exr_messages(data: bytes, key: str = "k", trimap: bytes = b"") -> list:
    """Return the messages of a frame of EXR bytes."""
    header = pb.FrameHeader(key=key, payload=pb.PAYLOAD_KIND_EXR)
    header.exr.plate_bytes, header.exr.trimap_bytes = len(data), len(trimap)
    header.info.name = "plate.exr"
    both = data + trimap
    chunks = [Chunk(key, both[at : at + 2**20]) for at in range(0, len(both), 2**20)]
    return [pb.MatteRequest(header=header), *chunks, pb.MatteRequest(end=pb.FrameEnd(key=key))]


def latencies(address: str, count: int, model: str = "") -> np.ndarray:
    """Return the seconds of so many frames, one after the other, of an honest caller."""
    seconds = []
    with raw(address) as stream:
        for number in range(count):
            begin = time.monotonic()
            stream.send(*messages(frame(number), model=model))
            assert stream.answers(1) == {f"k{number}": "OK"}
            seconds.append(time.monotonic() - begin)
    return np.array(seconds)
