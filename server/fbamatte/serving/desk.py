"""What all streams of a server share: the way to its devices, its limits, and whether it takes frames."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import structlog

from fbamatte.errors import FbaMatteError, ResourceError, UnavailableError
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.serving.catalogue import Catalogue
from fbamatte.serving.inflight import Memory
from fbamatte.serving.observer import Observer
from fbamatte.serving.scheduler import Scheduler
from fbamatte.serving.settings import ServerSettings

if TYPE_CHECKING:
    from fbamatte.serving.stream import MatteStream

_log = structlog.get_logger(__name__)


class Desk:
    """Where streams report.

    Parameters
    ----------
    settings : ServerSettings
    catalogue : Catalogue
    scheduler : Scheduler
    memory : Memory
    watcher : Observer
        Metrics, log and traces.
    """

    def __init__(
        self,
        settings: ServerSettings,
        catalogue: Catalogue,
        scheduler: Scheduler,
        memory: Memory,
        watcher: Observer,
    ) -> None:
        self.settings = settings
        self.catalogue = catalogue
        self.scheduler = scheduler
        self.memory = memory
        self.watcher = watcher
        self.state: pb.ServerState = pb.SERVER_STATE_STARTING
        self.started = self._used = time.monotonic()
        self._streams: set[MatteStream] = set()
        self._changed = threading.Condition()

    def check_serving(self) -> None:
        """Raise `UnavailableError` where no frames are taken."""
        if self.state == pb.SERVER_STATE_DRAINING:
            raise UnavailableError("this server is stopping and takes no more frames; send to another")
        if self.state != pb.SERVER_STATE_SERVING:
            raise UnavailableError("this server is still warming up")

    def opened(self, stream: MatteStream) -> None:
        """Let a stream in, or raise `ResourceError` where there are too many."""
        self.check_serving()
        with self._changed:
            if len(self._streams) >= self.settings.streams:
                raise ResourceError(
                    f"{len(self._streams)} of {self.settings.streams} streams are open; try again in a moment"
                )
            self._streams.add(stream)

    def closed(self, stream: MatteStream) -> None:
        """Forget a stream that is over."""
        with self._changed:
            self._streams.discard(stream)
            self._used = time.monotonic()
            self._changed.notify_all()

    @property
    def streams(self) -> list[MatteStream]:
        """Streams that are open."""
        with self._changed:
            return list(self._streams)

    @property
    def idle_seconds(self) -> float:
        """How long no stream has been open."""
        with self._changed:
            return 0.0 if self._streams else time.monotonic() - self._used

    def check_pace(self) -> None:
        """Cut callers that stand still."""
        now = time.monotonic()
        for stream in self.streams:
            stream.check_pace(now)

    def drain(self, timeout: float) -> bool:
        """Take no more frames and wait for those in flight; return whether all were answered."""
        self.state = pb.SERVER_STATE_DRAINING
        for stream in self.streams:
            stream.drain(UnavailableError("this server is stopping; send to another"))
        with self._changed:
            return self._changed.wait_for(lambda: not self._streams, timeout)

    def refused(self, header: pb.FrameHeader, caller: tuple[str, str], error: FbaMatteError) -> None:
        """Note a frame that never reached a queue."""
        self.watcher.refused(error.status)
        _log.warning(
            "frame refused",
            frame_id=header.frame_id,
            caller=caller[0] or caller[1],
            code=error.status,
            reason=str(error),
        )

    def cut(self, stream: MatteStream, why: str) -> None:
        """Note a caller that was cut off."""
        self.watcher.cut()
        _log.warning("caller cut off", caller=stream.caller[0] or stream.caller[1], reason=why)

    def crashed(self, where: str, error: BaseException) -> None:
        """Note a mistake of our own."""
        _log.error("unexpected error", where=where, exc_info=error)
