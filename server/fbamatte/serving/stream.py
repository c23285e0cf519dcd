"""One call of Matte: frames in on one thread, answers out on another, work in between.

The reader takes the caller's messages and stops taking them while too much is in flight, so that the
transport's own flow control slows the caller down. The writer, which is gRPC's thread, sends one answer
at a time as fast as the caller takes it. Neither computes anything.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Any

import grpc

from fbamatte.errors import CancelledError, DeadlineError, FbaMatteError, FrameError, InternalError, UnavailableError
from fbamatte.rpc.framing import CHUNK_BYTES, Chunk, Request, Response, split
from fbamatte.rpc.sockets import make_room
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.serving.addresses import socket_paths
from fbamatte.serving.admission import admit, check_key
from fbamatte.serving.desk import Desk
from fbamatte.serving.failures import is_permanent
from fbamatte.serving.inflight import InFlight
from fbamatte.serving.job import Job
from fbamatte.serving.leases import StreamLeases
from fbamatte.serving.open_frames import End, OpenFrames
from fbamatte.serving.pace import Sending

_STAGES = {
    "queued": (pb.Progress.STAGE_QUEUED, 0.1),
    "decoding": (pb.Progress.STAGE_DECODING, 0.15),
    "estimating": (pb.Progress.STAGE_ESTIMATING, 0.3),
    "encoding": (pb.Progress.STAGE_ENCODING, 0.9),
}
FOR_EVER_SECONDS = 1e7
_numbers = itertools.count(1)


class MatteStream:
    """One call of Matte.

    Parameters
    ----------
    context : grpc.ServicerContext
        Of the call.
    caller : tuple of str
        Who takes turns in the queue: name and connection.
    desk : Desk
        What all streams share.
    leases : StreamLeases
        Shared memory for this stream.
    """

    def __init__(self, context: Any, caller: tuple[str, str], desk: Desk, leases: StreamLeases) -> None:
        # Connections over a Unix socket have no names of their own.
        self.caller = (caller[0], caller[1] if caller[1] != "unix:" else f"unix:{next(_numbers)}")
        self._context = context
        self._desk = desk
        self._leases = leases
        metadata = {item.key: item.value for item in context.invocation_metadata() or ()}
        self._traceparent = str(metadata.get("traceparent", ""))
        remaining = context.time_remaining()
        # gRPC says centuries where a caller sets no deadline.
        self._deadline = time.monotonic() + remaining if remaining and remaining < FOR_EVER_SECONDS else None
        # Only a connection over a Unix socket wants room made for it.
        self._roomy = not str(context.peer()).startswith("unix:")
        # What the writer does next: an answer, a progress message, a lease, the end.
        self._outbox: SimpleQueue[InFlight | pb.MatteResponse | End] = SimpleQueue()
        self._frames = OpenFrames(self._outbox.put)
        self._sending: Sending | None = None

    # The writer, on gRPC's thread.

    def run(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Yield the answers to ``requests`` until all are answered or the call is over."""
        if not self._context.add_callback(self.close):
            self.close()
            return
        threading.Thread(target=self._read, args=(requests,), name="stream-reader", daemon=True).start()
        try:
            while not isinstance(item := self._outbox.get(), End):
                self._sending = Sending()
                if isinstance(item, InFlight):
                    yield from self._answer(item)
                else:
                    yield item
                self._sending = None
                del item  # else its pixels would live until the next one
            if item.error:
                self._context.abort(getattr(grpc.StatusCode, item.error.status), str(item.error))
        finally:
            self.close()

    def _answer(self, frame: InFlight) -> Iterator[Response]:
        job = frame.job
        if job is None or job.answer is None:
            error = job.error if job else None
            self._forget(frame)
            yield _error(frame.key, frame.admitted.frame_id, error or CancelledError(f"{frame.label}: cancelled"))
            return
        answer, job.answer = job.answer, None
        answer.header.stage_seconds.update(job.seconds())
        size = sum(len(buffer) for buffer in answer.buffers)
        sending = self._sending = Sending(size)
        if size > CHUNK_BYTES and not self._roomy:
            self._make_room()
        yield pb.MatteResponse(header=answer.header)
        for chunk in split(frame.key, answer.buffers):
            sending.moved = time.monotonic()
            yield chunk
        del answer
        self._desk.watcher.stage_ended("sending", time.monotonic() - sending.begun)
        # The key is free for use again as soon as the caller has the end.
        self._forget(frame)
        yield pb.MatteResponse(end=pb.FrameEnd(key=frame.key))

    def _make_room(self) -> None:
        self._roomy = True
        for path in socket_paths(self._desk.settings.listen):
            make_room(path)

    # The reader, on its own thread.

    def _read(self, requests: Iterable[Request]) -> None:
        try:
            for request in requests:
                self._take(request)
                del request  # else gRPC's error, a cycle of its own, would keep a mebibyte until it is collected
                if not self._frames.takes_more:
                    return
            for frame in self._frames.all():
                if not frame.complete:
                    self._fail(frame, FrameError(f"{frame.label}: the stream ended before its payload was complete"))
            self._finish(None)
        except FbaMatteError as error:
            self._finish(error)
        except grpc.RpcError:
            # The call is over; the callback that was added clears up.
            return
        except Exception as error:
            self._desk.crashed("reading a stream", error)
            self._finish(InternalError("reading the stream failed"))

    def _take(self, request: Request) -> None:
        self._frames.heard()
        if isinstance(request, Chunk):
            self._chunk(request)
            return
        kind = request.WhichOneof("kind")
        if kind not in self._TAKE:
            raise FrameError("a message without a kind that this server knows")
        self._TAKE[kind](self, getattr(request, kind))

    def _chunk(self, chunk: Chunk) -> None:
        if not 1 <= len(chunk.data) <= CHUNK_BYTES:
            raise FrameError(f"a chunk has {len(chunk.data)} bytes, allowed 1 to {CHUNK_BYTES}")
        frame = self._frames.get(chunk.key)
        if frame is not None and not frame.complete:
            self._guarded(frame, lambda: frame.add(chunk.data))

    def _open(self, header: pb.FrameHeader) -> None:
        check_key(header.key)
        if header.key in self._frames:
            raise FrameError(f"key {header.key!r} is used again while its frame is in flight")
        try:
            frame = self._admit(header)
        except FbaMatteError as error:
            self._desk.refused(header, self.caller, error)
            self._outbox.put(_error(header.key, header.frame_id, error))
            return
        if not self._frames.add(frame):
            self._let_go(frame)

    def _admit(self, header: pb.FrameHeader) -> InFlight:
        desk = self._desk
        desk.check_serving()
        admitted = admit(header, desk.settings, desk.catalogue)
        desk.scheduler.check_room()
        self._frames.wait_for_room(desk.settings.frames_in_flight, admitted.label)
        if header.payload == pb.PAYLOAD_KIND_SHARED_MEMORY:
            view = self._leases.take(header.lease, admitted.lease_bytes, admitted.label)
            return InFlight(header, admitted, desk.settings, desk.memory, view)
        # Who waits with a payload half received waits for himself in the end.
        with self._frames.paused():
            desk.memory.payloads.reserve(
                admitted.memory_bytes,
                admitted.priority,
                admitted.label,
                wait=lambda: self._frames.takes_more and not self._frames.has_partial,
            )
        return InFlight(header, admitted, desk.settings, desk.memory)

    def _end(self, message: pb.FrameEnd) -> None:
        frame = self._frames.get(message.key)
        if frame is not None and not frame.complete:
            self._guarded(frame, lambda: self._submit(frame))

    def _submit(self, frame: InFlight) -> None:
        frame.finish_payload()
        self._desk.watcher.stage_ended("receiving", time.monotonic() - frame.begun)
        self._desk.check_serving()
        header, admitted = frame.header, frame.admitted
        job = frame.job = Job(
            work=frame,
            model=admitted.model,
            precision=admitted.precision,
            priority=admitted.priority,
            caller=self.caller,
            frame_id=admitted.frame_id,
            label=admitted.label,
            deadline=self._deadline_of(frame),
            watcher=self._desk.watcher,
            on_done=lambda _job: self._done(frame),
            on_stage=(lambda stage: self._report(frame, stage)) if header.progress else None,
            traceparent=header.traceparent or self._traceparent,
        )
        self._desk.scheduler.submit(job)
        if header.progress:
            self._report(frame, "queued")

    def _deadline_of(self, frame: InFlight) -> float | None:
        ends = [] if self._deadline is None else [self._deadline]
        if frame.header.timeout_ms:
            ends.append(frame.begun + frame.header.timeout_ms / 1000)
        return min(ends, default=None)

    def _cancel(self, message: pb.FrameCancel) -> None:
        frame = self._frames.get(message.key)
        if frame is not None and frame.job is not None:
            self._desk.scheduler.cancel(frame.job)
        elif frame is not None:
            self._fail(frame, CancelledError(f"{frame.label}: cancelled by the caller"))

    def _lend(self, request: pb.MemoryRequest) -> None:
        self._outbox.put(pb.MatteResponse(memory_lease=self._leases.grant(request)))

    def _take_back(self, message: pb.MemoryRelease) -> None:
        self._leases.release(message.lease)

    _TAKE: dict[str | None, Callable[..., None]] = {  # noqa: RUF012 - a table, never changed
        "header": _open,
        "end": _end,
        "cancel": _cancel,
        "memory_request": _lend,
        "memory_release": _take_back,
    }

    def _guarded(self, frame: InFlight, action: Callable[[], None]) -> None:
        try:
            action()
        except FbaMatteError as error:
            self._fail(frame, error)

    # Any thread.

    def _done(self, frame: InFlight) -> None:
        """Hand a finished frame to the writer, or clear it away where nobody listens any more."""
        if not self._frames.unless_closed(lambda: self._outbox.put(frame)):
            self._let_go(frame)

    def _fail(self, frame: InFlight, error: FbaMatteError) -> None:
        """Answer a frame that never became a job."""
        self._desk.refused(frame.header, self.caller, error)
        self._outbox.put(_error(frame.key, frame.admitted.frame_id, error))
        self._forget(frame)

    def _forget(self, frame: InFlight) -> None:
        self._let_go(frame)
        self._frames.remove(frame)

    def _let_go(self, frame: InFlight) -> None:
        if frame.shared:
            self._leases.give(frame.header.lease)
        frame.release()

    def _finish(self, error: FbaMatteError | None) -> None:
        for frame in self._frames.finish(error):
            self._fail(frame, error or CancelledError(f"{frame.label}: cancelled"))

    def drain(self, error: FbaMatteError) -> None:
        """Answer what is complete, then end the call with ``error``."""
        self._finish(error)

    def close(self) -> None:
        """Stop all work for a call that is over, however that came, and free what it holds."""
        frames = self._frames.close()
        if frames is None:
            return
        self._outbox.put(End())
        for frame in frames:
            if frame.job is None or frame.job.ended:
                self._let_go(frame)
            else:
                self._desk.scheduler.cancel(frame.job)
        self._leases.close()
        self._desk.closed(self)

    def check_pace(self, now: float) -> None:
        """Cut a caller that stands still: in the middle of sending, of receiving, or with nothing to do."""
        if not self._context.is_active():
            self.close()
            return
        settings = self._desk.settings
        sending = self._sending
        if sending and sending.is_slow(now, settings.stall_timeout):
            self._desk.cut(self, "did not take its answer")
            # The writer is stuck in the transport: only ending the call gets it out.
            self._context.cancel()
            return
        for frame in self._frames.all():
            if frame.job is not None:
                self._desk.scheduler.expire(frame.job)
        slow = self._frames.slow(now, settings.stall_timeout)
        if slow:
            self._desk.cut(self, "stood still while sending a frame")
            self._finish(DeadlineError(f"{slow.label}: its payload stood still or came too slowly"))
        elif self._frames.idle(now) > settings.stream_idle_timeout:
            self._finish(UnavailableError(f"nothing was asked for {settings.stream_idle_timeout:.0f} s"))

    def _report(self, frame: InFlight, stage: str) -> None:
        job = frame.job
        if job is None or stage not in _STAGES:
            return
        number, fraction = _STAGES[stage]
        position = self._desk.scheduler.position(job) if stage == "queued" else 0
        progress = pb.Progress(key=frame.key, stage=number, queue_position=position, fraction=fraction)

        def put() -> None:
            # A lane may be quicker than the thread that queued the frame.
            if fraction > frame.reported:
                frame.reported = fraction
                self._outbox.put(pb.MatteResponse(progress=progress))

        self._frames.unless_closed(put)


def _error(key: str, frame_id: str, error: FbaMatteError) -> pb.MatteResponse:
    return pb.MatteResponse(
        error=pb.FrameError(
            key=key, code=error.status, message=str(error), frame_id=frame_id, permanent=is_permanent(error)
        )
    )
