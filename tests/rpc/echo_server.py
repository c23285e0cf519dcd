"""A small real server for the wire's own tests: alpha is the trimap, foreground and background the plate.

It speaks the protocol as the .proto says, over real sockets, and can be told to misbehave.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc

from fbamatte.errors import FbaMatteError
from fbamatte.frame import Matte
from fbamatte.rpc import codec, framing, health, layout, memory
from fbamatte.rpc.v1 import matting_pb2 as pb


@dataclass
class Behaviour:
    """What the server does besides echoing; every callable may raise through ``context``."""

    token: str = ""
    seconds: float = 0.0
    lease_bytes: int = 1 << 30
    health: int = health.SERVING
    lose_segments: bool = False
    before_stream: Callable[[Any], None] = lambda _context: None
    on_frame: Callable[[pb.FrameHeader, Any], pb.FrameError | None] = lambda _header, _context: None
    on_work: Callable[[pb.FrameHeader], pb.FrameError | None] = lambda _header: None
    headers: list[pb.FrameHeader] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    streams_ended: int = 0


class EchoServicer:
    """Answers every frame on the stream's own thread, in the order of arrival."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour

    def Matte(self, requests: Iterator[framing.Request], context: Any) -> Iterator[framing.Response]:  # noqa: N802
        self._authenticate(context)
        behaviour = self.behaviour
        behaviour.metadata.append({item.key: item.value for item in context.invocation_metadata()})
        behaviour.before_stream(context)
        local = context.peer().startswith("unix:")
        leases = memory.Leases(behaviour.lease_bytes if local else 0, "shared memory needs a Unix socket")
        frames: dict[str, tuple[pb.FrameHeader, layout.Payload | None]] = {}
        try:
            for request in requests:
                if isinstance(request, framing.Chunk):
                    if request.key in frames:
                        payload = frames[request.key][1]
                        payload.add(request.data)
                    continue
                kind = request.WhichOneof("kind")
                if kind == "header":
                    yield from self._open(request.header, frames, context)
                elif kind == "end" and request.end.key in frames:
                    yield from self._answer(*frames.pop(request.end.key), leases)
                elif kind == "cancel":
                    behaviour.cancelled.append(request.cancel.key)
                    if frames.pop(request.cancel.key, None):
                        yield _error(request.cancel.key, "CANCELLED", "cancelled")
                elif kind == "memory_request":
                    yield pb.MatteResponse(memory_lease=self._grant(request.memory_request, leases))
                elif kind == "memory_release":
                    leases.release(request.memory_release.lease)
        finally:
            leases.close()
            behaviour.streams_ended += 1

    def ListModels(self, _request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:  # noqa: N802
        self._authenticate(context)
        return pb.ListModelsResponse(models=[pb.Model(name="echo", commercial=True)], default_model="echo")

    def GetServerInfo(self, _request: pb.GetServerInfoRequest, context: Any) -> pb.GetServerInfoResponse:  # noqa: N802
        self._authenticate(context)
        return pb.GetServerInfoResponse(version="0.0.echo", state=pb.SERVER_STATE_SERVING, default_model="echo")

    def _grant(self, request: pb.MemoryRequest, leases: memory.Leases) -> pb.MemoryLease:
        lease = leases.grant(request)
        if self.behaviour.lose_segments and lease.segment:
            # As it is for a caller in another container.
            (memory.FOLDER / lease.segment).unlink()
        return lease

    def _authenticate(self, context: Any) -> None:
        given = dict(context.invocation_metadata()).get("authorization", "")
        if self.behaviour.token and given != f"Bearer {self.behaviour.token}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "token missing or wrong")

    def _open(self, header: pb.FrameHeader, frames: dict[str, Any], context: Any) -> Iterator[pb.MatteResponse]:
        self.behaviour.headers.append(header)
        refusal = self.behaviour.on_frame(header, context)
        if refusal is not None:
            refusal.key = header.key
            yield pb.MatteResponse(error=refusal)
            return
        label = codec.info_label(header.info)
        try:
            size = layout.payload_bytes(header, label)
        except FbaMatteError as error:
            yield _error(header.key, error.status, str(error))
            return
        shared = header.payload == pb.PAYLOAD_KIND_SHARED_MEMORY
        frames[header.key] = header, None if shared else layout.Payload(size, label)

    def _answer(
        self, header: pb.FrameHeader, payload: layout.Payload | None, leases: memory.Leases
    ) -> Iterator[framing.Response]:
        key = header.key
        if header.progress:
            at = pb.Progress(key=key, stage=pb.Progress.STAGE_ESTIMATING, fraction=0.5)
            yield pb.MatteResponse(progress=at)
        failure = self.behaviour.on_work(header)
        if failure is not None:
            failure.key = key
            yield pb.MatteResponse(error=failure)
            return
        time.sleep(self.behaviour.seconds)
        try:
            if header.payload == pb.PAYLOAD_KIND_EXR:
                yield from _exr_answer(header, payload.finish())
            else:
                yield from _planes_answer(header, payload, leases)
        except FbaMatteError as error:
            yield _error(key, error.status, str(error))


def _exr_answer(header: pb.FrameHeader, content: memoryview) -> Iterator[framing.Response]:
    """Send the plate's bytes back: this server knows nothing of EXR."""
    plate = content[: header.exr.plate_bytes]
    answer = codec.encoded_answer(header.info, len(plate), header.key, header.frame_id)
    answer.provenance["model"].text = header.model or "echo"
    yield pb.MatteResponse(header=answer)
    yield from framing.split(header.key, [plate])
    yield pb.MatteResponse(end=pb.FrameEnd(key=header.key))


def _planes_answer(
    header: pb.FrameHeader, payload: layout.Payload | None, leases: memory.Leases
) -> Iterator[framing.Response]:
    # A frame of EXR bytes needs no numpy here either.
    from fbamatte.rpc import pixels

    label, shared = codec.info_label(header.info), payload is None
    content = leases.take(header.lease, layout.payload_bytes(header, label), label) if shared else payload.finish()
    frame = pixels.read_frame(header, content)
    provenance = {"model": header.model or "echo", "seconds": 0.25}
    matte = Matte.for_frame(frame, frame.trimap, frame.plate, frame.plate, provenance)
    planes = pixels.answer_planes(header, header.planes.width, header.planes.height)
    answer = pixels.matte_header(matte, planes, header.key, header.frame_id, shared=shared)
    if shared:
        pixels.to_lease(content, matte, planes)
        leases.give(header.lease)
    yield pb.MatteResponse(header=answer)
    if not shared:
        yield from framing.split(header.key, pixels.to_buffers(matte, planes))
    yield pb.MatteResponse(end=pb.FrameEnd(key=header.key))


def _error(key: str, code: str, message: str) -> pb.MatteResponse:
    return pb.MatteResponse(error=pb.FrameError(key=key, code=code, message=message))


def _health_handler(behaviour: Behaviour) -> Any:
    """Serve Health/Check with hand-made bytes, so that the client's reading of them is compared elsewhere."""

    def check(request: bytes, context: Any) -> bytes:
        return bytes((0x08, behaviour.health))

    handler = grpc.unary_unary_rpc_method_handler(check)
    return grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler})


@contextlib.contextmanager
def serve(behaviour: Behaviour | None = None, address: str = "127.0.0.1:0", credentials: Any = None) -> Iterator[str]:
    """Run the server; gives the address that a client uses."""
    behaviour = behaviour or Behaviour()
    options = [("grpc.max_receive_message_length", framing.MESSAGE_BYTES), ("grpc.so_reuseport", 0)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=options)
    framing.add_to_server(EchoServicer(behaviour), server)
    server.add_generic_rpc_handlers((_health_handler(behaviour),))
    add = server.add_insecure_port if credentials is None else lambda at: server.add_secure_port(at, credentials)
    port = add(address)
    server.start()
    try:
        yield address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
    finally:
        server.stop(0).wait()


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Return whether ``condition`` comes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        threading.Event().wait(0.01)
    return condition()


if __name__ == "__main__":
    # Run by itself, to be killed: python echo_server.py ADDRESS SECONDS_PER_FRAME
    with serve(Behaviour(seconds=float(sys.argv[2])), sys.argv[1]) as where:
        print(where, flush=True)
        threading.Event().wait()
