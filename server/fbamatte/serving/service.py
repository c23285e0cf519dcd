"""The three methods of the wire; each is one thin method here."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

import grpc

from fbamatte import __version__
from fbamatte.errors import FbaMatteError
from fbamatte.rpc import memory
from fbamatte.rpc.framing import CHUNK_BYTES, Request, Response
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.serving.auth import caller_of
from fbamatte.serving.desk import Desk
from fbamatte.serving.device import memory_of, title_of
from fbamatte.serving.leases import StreamLeases
from fbamatte.serving.queue import Priority
from fbamatte.serving.stream import MatteStream
from fbamatte.serving.tokens import TokenFile
from fbamatte.serving.worker import DeviceWorker


class MattingService:
    """Implements ``fbamatte.rpc.v1.Matting``.

    Parameters
    ----------
    desk : Desk
        What all streams share.
    tokens : TokenFile, optional
        Names the callers.
    """

    def __init__(self, desk: Desk, tokens: TokenFile | None) -> None:
        self._desk = desk
        self._tokens = tokens

    def Matte(self, requests: Iterable[Request], context: Any) -> Iterator[Response]:  # noqa: N802 - the wire's name
        """Matte the frames of one stream."""
        try:
            caller = caller_of(context, self._tokens)
            leases = StreamLeases(self._lease_bytes(context), _why_no_lease(context))
            stream = MatteStream(context, caller, self._desk, leases)
            self._desk.opened(stream)
        except FbaMatteError as error:
            _abort(context, error)
        return stream.run(requests)

    def ListModels(self, _request: pb.ListModelsRequest, _context: Any) -> pb.ListModelsResponse:  # noqa: N802
        """List the models that a frame may ask for."""
        catalogue = self._desk.catalogue
        catalogue.refresh()
        models = [self._model(name) for name in sorted(catalogue.names())]
        return pb.ListModelsResponse(models=models, default_model=catalogue.default)

    def GetServerInfo(self, _request: pb.GetServerInfoRequest, context: Any) -> pb.GetServerInfoResponse:  # noqa: N802
        """Tell what the server is, what it allows and how busy it is."""
        desk = self._desk
        return pb.GetServerInfoResponse(
            version=__version__,
            state=desk.state,
            uptime_seconds=time.monotonic() - desk.started,
            default_model=desk.catalogue.default,
            devices=[_device(worker) for worker in desk.scheduler.workers],
            limits=self._limits(),
            shared_memory=self._lease_bytes(context) > 0,
            frames_done=desk.watcher.done,
            frames_failed=desk.watcher.failed,
        )

    def _model(self, name: str) -> pb.Model:
        info = self._desk.catalogue.info(name)
        workers = self._desk.scheduler.workers
        return pb.Model(
            name=info.name,
            title=info.title,
            licence=info.licence,
            commercial=info.commercial,
            sha256=info.sha256,
            parameters=info.parameters,
            description=info.description,
            loaded_on=[w.device.name for w in workers if any(key.model == name for key in w.pool.loaded())],
        )

    def _limits(self) -> pb.Limits:
        settings = self._desk.settings
        return pb.Limits(
            frame_pixels=settings.frame_pixels,
            frame_side=settings.frame_side,
            payload_bytes=settings.payload_bytes,
            chunk_bytes=CHUNK_BYTES,
            frames_in_flight=settings.frames_in_flight,
            lease_bytes=settings.shared_memory,
        )

    def _lease_bytes(self, context: Any) -> int:
        return int(self._desk.settings.shared_memory) if not _why_no_lease(context) else 0


def _why_no_lease(context: Any) -> str:
    if not str(context.peer()).startswith("unix:"):
        return "shared memory is lent over a Unix socket only"
    return "" if memory.supported() else "this system has no shared memory that can be lent"


def _device(worker: DeviceWorker) -> pb.Device:
    used, total = memory_of(worker.device.name)
    return pb.Device(
        name=worker.device.name,
        title=title_of(worker.device.name),
        memory_bytes=total,
        memory_used_bytes=used,
        queued_interactive=worker.queue.waiting(Priority.INTERACTIVE),
        queued_batch=worker.queue.waiting(Priority.BATCH),
        queue_capacity=worker.queue.capacity,
        running=worker.running,
    )


def _abort(context: Any, error: FbaMatteError) -> NoReturn:
    context.abort(getattr(grpc.StatusCode, error.status), str(error))
    raise AssertionError("abort raises")
