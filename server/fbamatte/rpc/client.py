"""The client: frames to one or several servers, mattes back. Needs neither torch nor, for EXR bytes, numpy."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Callable, Optional, Union

import grpc

from fbamatte.errors import FbaMatteError, UnavailableError, UsageError, from_status
from fbamatte.frame import EncodedFrame, EncodedMatte, Frame, Matte
from fbamatte.rpc import framing
from fbamatte.rpc.diagnose import Diagnosis, examine
from fbamatte.rpc.endpoint import TLS, Endpoint, Trust, read_tls, read_token
from fbamatte.rpc.exchange import Exchange
from fbamatte.rpc.jobs import EncodedJob, Job, Request
from fbamatte.rpc.route import FrameProgress, Route, Settings, delay
from fbamatte.rpc.v1 import matting_pb2 as pb

__all__ = ["TLS", "Client", "FrameProgress"]

Target = Union[str, Sequence[str], None]
OnError = Optional[Callable[[Any, FbaMatteError], None]]
OnProgress = Optional[Callable[[Any, FrameProgress], None]]


class Client:
    """Mattes frames on servers. One client may be used by several threads; connections are kept and shared.

    Parameters
    ----------
    target : str or sequence of str, optional
        ``host:port`` or ``unix:path``; several, also with commas between them, share the frames: each
        goes where the fewest are under way, and away from servers that do not answer. None:
        FBAMATTE_SERVER.
    token : str, optional
        None: FBAMATTE_TOKEN, else the content of FBAMATTE_TOKEN_FILE, else none. Never sent
        unencrypted to another machine.
    tls : TLS or bool, optional
        None: as FBAMATTE_TLS, FBAMATTE_TLS_CA … say, which without them is none. True: trust the
        authorities that come with gRPC.
    timeout : float, optional
        Seconds that each frame may take from being sent until it is answered, retries included.
        None: for ever.
    model, precision, priority : str
        What to ask for where a call does not say; see `fbamatte.rpc.jobs.Request`.
    patience : float
        Seconds to keep trying while no server can be reached.
    window : int
        Frames under way at a time, per server. As many as a server has stages keep it busy.
    metadata : sequence of (str, str)
        Further gRPC metadata of every call, such as a ``traceparent``.
    shared_memory : bool
        Use shared memory for planes where the server is reached over a Unix socket and grants it.

    Raises
    ------
    UsageError
        If there is no address or one is malformed.
    AuthenticationError
        If the token would travel unencrypted, or a file of ``tls`` or the token cannot be read.
    """

    def __init__(
        self,
        target: Target = None,
        token: Optional[str] = None,
        tls: Trust = None,
        timeout: Optional[float] = 1800.0,
        *,
        model: str = "",
        precision: str = "",
        priority: str = "",
        patience: float = 30.0,
        window: int = 4,
        metadata: Sequence[tuple[str, str]] = (),
        shared_memory: bool = True,
    ) -> None:
        if window < 1:
            raise UsageError(f"window is {window}, needed at least 1")
        trust, secret = read_tls(tls), read_token(token)
        self._endpoints = [Endpoint(address, secret, trust) for address in _addresses(target)]
        self._request = Request(model=model, precision=precision, priority=priority)
        self._timeout = timeout
        self._patience = patience
        self._window = window
        self._metadata = tuple(metadata)
        self._shared_memory = shared_memory
        self._lock = threading.Lock()
        self._running: set[Exchange] = set()

    @property
    def targets(self) -> tuple[str, ...]:
        """The addresses of its servers."""
        return tuple(endpoint.name for endpoint in self._endpoints)

    def matte(
        self,
        frames: Iterable[Frame],
        on_error: OnError = None,
        on_progress: OnProgress = None,
        *,
        pixel_type: str = "float",
        **request: Any,
    ) -> Iterator[Matte]:
        """Yield the mattes of ``frames`` as they finish, not always in order.

        ``frames`` is read on the caller's thread, no further ahead than the window; callbacks come
        on the caller's thread too. Leaving the loop early cancels what is under way.

        Parameters
        ----------
        frames : iterable of Frame
            May be endless.
        on_error : callable, optional
            Gets a frame that failed for good and its error, and the rest goes on. Without it the
            error is raised.
        on_progress : callable, optional
            Gets a frame and a `FrameProgress`, again and again.
        pixel_type : str
            ``float`` is exact; ``half`` halves the traffic.
        **request
            Fields of `fbamatte.rpc.jobs.Request`: model, priority, precision, traceparent.

        Raises
        ------
        FbaMatteError
            As `fbamatte.errors` maps the server's statuses; names frame and server. `UnavailableError`
            if no server can be reached for ``patience`` seconds, `CancelledError` after `cancel`.
        """
        # Only whoever has arrays needs numpy.
        from fbamatte.rpc.pixel_job import PlanesJob

        jobs = (PlanesJob(frame, pixel_type) for frame in frames)
        return self.run(jobs, replace(self._request, pixel_type=pixel_type, **request), on_error, on_progress)

    def matte_exr(
        self, frames: Iterable[EncodedFrame], on_error: OnError = None, on_progress: OnProgress = None, **request: Any
    ) -> Iterator[EncodedMatte]:
        """Yield the mattes of frames of EXR bytes, as EXR bytes; otherwise as `matte`.

        ``request`` may further have pixel_type, rgba, compression and write_trimap.
        """
        jobs = (EncodedJob(frame) for frame in frames)
        return self.run(jobs, replace(self._request, **request), on_error, on_progress)

    def run(
        self, jobs: Iterable[Job], request: Request, on_error: OnError = None, on_progress: OnProgress = None
    ) -> Iterator[Any]:
        """Yield what ``jobs`` make of their answers: what `matte` and `matte_exr` are built on."""
        settings = Settings(
            request=request,
            timeout=self._timeout,
            patience=self._patience,
            window=self._window,
            metadata=self._metadata,
            shared_memory=self._shared_memory,
            on_error=on_error,
            on_progress=on_progress,
        )
        exchange = Exchange(self._endpoints, iter(jobs), settings)
        with self._lock:
            self._running.add(exchange)
        try:
            yield from exchange.run()
        finally:
            with self._lock:
                self._running.discard(exchange)

    def cancel(self) -> None:
        """From any thread: end all that is under way with `CancelledError`; the client stays usable."""
        with self._lock:
            running = list(self._running)
        for exchange in running:
            exchange.cancel()

    def list_models(self, timeout: float = 10.0) -> list[pb.Model]:
        """Return the models that frames may ask for, from the first server that answers."""
        return list(self._unary("ListModels", pb.ListModelsRequest(), timeout).models)

    def server_info(self, timeout: float = 10.0, target: str = "") -> pb.GetServerInfoResponse:
        """Return what a server is, allows and does: that of ``target``, else the first that answers."""
        info: pb.GetServerInfoResponse = self._unary("GetServerInfo", pb.GetServerInfoRequest(), timeout, target)
        return info

    def diagnose(self, timeout: float = 5.0) -> Diagnosis:
        """Tell what is the matter: with the first server that has something, else that all is well."""
        found = [examine(endpoint, timeout) for endpoint in self._endpoints]
        return next((diagnosis for diagnosis in found if not diagnosis.ok), found[0])

    def wait_ready(self, timeout: float = 60.0) -> str:
        """Wait until a server takes frames; return its address.

        Raises
        ------
        UnavailableError
            If none does within ``timeout`` seconds; says why.
        AuthenticationError
            If a server refuses the token.
        """
        routes = [Route(endpoint) for endpoint in self._endpoints]
        end = time.monotonic() + timeout
        for attempt in range(1 << 30):
            for route in routes:
                if route.ask(min(5.0, max(0.1, end - time.monotonic()))):
                    return route.endpoint.name
            pause = delay(attempt)
            if time.monotonic() + pause >= end:
                break
            time.sleep(pause)
        causes = "; ".join(f"{route.endpoint.name}: {route.cause}" for route in routes)
        raise UnavailableError(f"no server took frames within {timeout:g} s: {causes}")

    def close(self) -> None:
        """Cancel what is under way and close the connections."""
        self.cancel()
        for endpoint in self._endpoints:
            endpoint.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def _unary(self, method: str, request: Any, timeout: float, target: str = "") -> Any:
        errors: list[FbaMatteError] = []
        for endpoint in self._endpoints:
            if target and endpoint.name != target:
                continue
            call = framing.unary_method(endpoint.channel, method)
            try:
                return call(request, timeout=timeout, metadata=endpoint.metadata + self._metadata)
            except grpc.RpcError as error:
                errors.append(from_status(error.code().name, f"{endpoint.name}: {error.details()}"))
        if not errors:
            raise UsageError(f"{target!r} is none of this client's servers: {', '.join(self.targets)}")
        raise errors[0]


def _addresses(target: Target) -> list[str]:
    found = os.environ.get("FBAMATTE_SERVER", "") if target is None else target
    given = found.split(",") if isinstance(found, str) else list(found)
    addresses = [address.strip() for address in given if address.strip()]
    if not addresses:
        raise UsageError("no server is named: give an address such as host:50051 or set FBAMATTE_SERVER")
    return addresses
