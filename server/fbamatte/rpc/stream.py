"""One Matte stream from the caller's side: a thread sends, a thread receives, events come out.

The sending thread is gRPC's own: it pulls `_Outbox`, which makes chunks only as fast as they leave.
The receiving thread puts payloads together and turns them into what the caller gets.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Callable, NamedTuple, Optional

import grpc

from fbamatte.errors import FbaMatteError, InternalError, ResourceError
from fbamatte.rpc import framing, layout
from fbamatte.rpc.endpoint import Endpoint
from fbamatte.rpc.jobs import Job
from fbamatte.rpc.memory import Segment, supported
from fbamatte.rpc.sockets import make_room
from fbamatte.rpc.v1 import matting_pb2 as pb


class Answered(NamedTuple):
    """The frame ``key`` is done."""

    key: str
    result: Any


class Failed(NamedTuple):
    """The frame ``key`` could not be matted."""

    key: str
    error: pb.FrameError


class Progressed(NamedTuple):
    """Where the frame ``key`` is."""

    key: str
    progress: pb.Progress


class Ended(NamedTuple):
    """The stream is over: ``code`` is a gRPC status name. ``reached``: keys of frames that the server has seen."""

    stream: Stream
    code: str
    details: str
    reached: frozenset[str]


@dataclass
class _Open:
    """A frame on this stream."""

    job: Job
    header: pb.FrameHeader
    answer: Optional[pb.MatteHeader] = None
    payload: Optional[layout.Payload] = None
    segment: Optional[Segment] = None
    lease: str = ""
    reached: bool = False


@dataclass
class _Memory:
    """Shared memory of this stream."""

    allowed: bool
    tags: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    waiting: dict[int, str] = field(default_factory=dict)
    free: dict[str, Segment] = field(default_factory=dict)


class Stream:
    """An open call of Matte.

    Parameters
    ----------
    endpoint : Endpoint
        Where to.
    post : callable
        Gets every event, from the receiving thread.
    metadata : tuple
        Further call metadata.
    shared_memory : bool
        Use it where the server grants it.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        post: Callable[[Any], None],
        metadata: tuple[tuple[str, str], ...] = (),
        shared_memory: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self._post = post
        self._lock = threading.Lock()
        self._frames: dict[str, _Open] = {}
        self._memory = _Memory(shared_memory and bool(endpoint.address.path) and supported())
        # Only a connection to a Unix socket wants room made for it.
        self._roomy = not endpoint.address.path
        self._outbox: queue.SimpleQueue[Optional[Callable[[], Iterator[framing.Request]]]] = queue.SimpleQueue()
        method = framing.stub_method(endpoint.channel)
        self._call = method(self._messages(), metadata=endpoint.metadata + metadata)
        self._thread = threading.Thread(target=self._receive, name=f"fbamatte {endpoint.name}", daemon=True)
        self._thread.start()

    def send(self, job: Job, header: pb.FrameHeader) -> None:
        """Send a frame; ``header`` is the job's own with key, times and wishes filled in."""
        opened = _Open(job, header)
        with self._lock:
            self._frames[header.key] = opened
            size = job.lease_bytes if self._memory.allowed else 0
            if not size:
                self._outbox.put(lambda: self._inline(opened))
                return
            lease = next((name for name, segment in self._memory.free.items() if segment.bytes >= size), None)
            if lease is not None:
                opened.lease, opened.segment = lease, self._memory.free.pop(lease)
                self._outbox.put(lambda: self._shared(opened))
                return
            tag = next(self._memory.tags)
            self._memory.waiting[tag] = header.key
        self._put(pb.MatteRequest(memory_request=pb.MemoryRequest(tag=tag, bytes=size)))

    def cancel_frame(self, key: str) -> None:
        """Give a frame up; no event comes of it any more. Its memory stays taken until the server has let go."""
        self._put(pb.MatteRequest(cancel=pb.FrameCancel(key=key)))

    def finish(self) -> None:
        """Say that no more frames come; the server ends the stream when it has answered all."""
        self._outbox.put(None)

    def cancel(self) -> None:
        """Drop everything now."""
        self._call.cancel()
        self._outbox.put(None)

    def join(self, timeout: float) -> None:
        """Wait until the stream has ended and its memory is given back."""
        self._thread.join(timeout)

    # Sending

    def _put(self, message: pb.MatteRequest) -> None:
        self._outbox.put(lambda: iter((message,)))

    def _messages(self) -> Iterator[framing.Request]:
        while True:
            parts = self._outbox.get()
            if parts is None:
                return
            yield from parts()

    def _inline(self, opened: _Open) -> Iterator[framing.Request]:
        key = opened.header.key
        yield pb.MatteRequest(header=opened.header)
        # gRPC asks for the next message when it has written the one before to an open connection.
        opened.reached = True
        if not self._roomy:
            self._roomy = True
            make_room(self.endpoint.address.path)
        for chunk in framing.split(key, opened.job.buffers()):
            # Refused or given up: the rest is not worth sending.
            if key not in self._frames:
                return
            yield chunk
        yield pb.MatteRequest(end=pb.FrameEnd(key=key))

    def _shared(self, opened: _Open) -> Iterator[framing.Request]:
        assert opened.segment is not None
        try:
            opened.job.fill(opened.segment.view)
        except ValueError:
            # The stream ended meanwhile and its memory is unmapped.
            if opened.header.key in self._frames:
                raise
            return
        header = pb.FrameHeader()
        header.CopyFrom(opened.header)
        header.payload, header.lease = pb.PAYLOAD_KIND_SHARED_MEMORY, opened.lease
        yield pb.MatteRequest(header=header)
        opened.reached = True
        yield pb.MatteRequest(end=pb.FrameEnd(key=header.key))

    # Receiving

    def _receive(self) -> None:
        code, details = "OK", ""
        try:
            for message in self._call:
                self._dispatch(message)
        except grpc.RpcError as error:
            code, details = error.code().name, error.details() or ""
        except Exception as error:  # whatever it is, the caller waits for an event
            self._call.cancel()
            code, details = "INTERNAL", f"{type(error).__name__}: {error}"
        finally:
            self._outbox.put(None)
            reached = frozenset(key for key, opened in self._frames.items() if opened.reached)
            self._forget()
            self._post(Ended(self, code, details, reached))

    def _dispatch(self, message: framing.Response) -> None:
        if isinstance(message, framing.Chunk):
            opened = self._frames.get(message.key)
            if opened is not None and opened.payload is not None:
                opened.payload.add(message.data)
            return
        kind = message.WhichOneof("kind")
        if kind == "progress":
            self._post(Progressed(message.progress.key, message.progress))
        elif kind == "header":
            self._begin(message.header)
        elif kind == "end":
            self._complete(message.end.key)
        elif kind == "error":
            self._close_frame(message.error.key)
            self._post(Failed(message.error.key, message.error))
        elif kind == "memory_lease":
            self._leased(message.memory_lease)

    def _begin(self, header: pb.MatteHeader) -> None:
        opened = self._frames.get(header.key)
        if opened is None:
            return
        opened.answer = header
        size = layout.payload_bytes(header, opened.job.label)
        if header.payload != pb.PAYLOAD_KIND_SHARED_MEMORY:
            opened.payload = opened.job.receive(header, size)

    def _complete(self, key: str) -> None:
        opened = self._frames.get(key)
        if opened is None or opened.answer is None:
            return
        try:
            result = opened.job.read(opened.answer, self._content(opened))
        except FbaMatteError as error:
            failure = pb.FrameError(key=key, code="INTERNAL", message=f"answer not understood: {error}", permanent=True)
            self._close_frame(key)
            self._post(Failed(key, failure))
            return
        self._close_frame(key)
        self._post(Answered(key, result))

    def _content(self, opened: _Open) -> Any:
        if opened.payload is not None:
            return opened.payload.finish()
        if opened.segment is None:
            raise InternalError(f"{opened.job.label}: answered in shared memory that it does not have")
        return opened.segment.view

    def _leased(self, lease: pb.MemoryLease) -> None:
        """Send the frame that waited for this lease; with chunks where there is none."""
        segment = None
        if lease.lease:
            try:
                segment = Segment.open(lease.segment, lease.bytes)
            except ResourceError:
                # Another user or container than the server: planes in chunks go through all the same.
                self._put(pb.MatteRequest(memory_release=pb.MemoryRelease(lease=lease.lease)))
        with self._lock:
            opened = self._frames.get(self._memory.waiting.pop(lease.tag, ""))
            if segment is None:
                self._memory.allowed = False
            elif opened is None:
                self._memory.free[lease.lease] = segment
                return
            else:
                opened.lease, opened.segment = lease.lease, segment
        if opened is not None:
            waiting = opened
            send = self._shared if segment is not None else self._inline
            self._outbox.put(lambda: send(waiting))

    def _close_frame(self, key: str) -> None:
        with self._lock:
            opened = self._frames.pop(key, None)
            if opened is not None and opened.segment is not None:
                self._memory.free[opened.lease] = opened.segment

    def _forget(self) -> None:
        """Unmap all shared memory."""
        with self._lock:
            segments = list(self._memory.free.values())
            segments += [opened.segment for opened in self._frames.values() if opened.segment is not None]
            self._frames.clear()
            self._memory.free.clear()
        for segment in segments:
            segment.close()
