"""Our server on the machines of a Ray cluster: Ray Serve takes the calls, places the replicas and replaces lost ones.

A replica is the plain server with a relay in front. Ray's proxy hands the bytes of each message to a replica, which
passes them on to its own server over a Unix socket: queue, limits, cancelling, errors and pixels are the plain
server's. Ray's proxy knows neither TLS nor tokens and has no health service but ours; nginx or HAProxy in front keeps
the door.
"""

from __future__ import annotations

import importlib
import signal
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc

from fbamatte.errors import UnavailableError, UsageError
from fbamatte.farm.settings import RaySettings
from fbamatte.rpc.framing import SERVICE, TRANSPORT_OPTIONS
from fbamatte.serving.catalogue import Catalogue
from fbamatte.serving.server import Server
from fbamatte.serving.settings import ServerSettings, Size

NAME = "fbamatte"
HEALTH = "grpc.health.v1.Health"
# Streams that one replica takes at once; its own queue is bounded besides.
STREAMS = 32
_START_S = 300.0


class Message(bytes):
    """Bytes that pass for a protobuf message where Ray wants one."""

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """Return the bytes."""
        return bytes(self)


def add_to_proxy(servicer: Any, server: Any) -> None:
    """Register our methods with Ray's proxy; messages stay the bytes that they are."""
    stream = grpc.stream_stream_rpc_method_handler(servicer.Matte)
    unary = {
        name: grpc.unary_unary_rpc_method_handler(getattr(servicer, name)) for name in ("ListModels", "GetServerInfo")
    }
    check = grpc.unary_unary_rpc_method_handler(servicer.Check)
    for service, methods in ((SERVICE, {"Matte": stream, **unary}), (HEALTH, {"Check": check})):
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))


class Replica:
    """A plain server in this process, and the relay to it. Ray calls the methods by the wire's names.

    Parameters
    ----------
    settings : ServerSettings
        Addresses, tokens and certificates in it are those of the cluster's door, not of a replica.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fbamatte-replica-")
        socket = f"unix:{Path(self._folder.name, 'socket')}"
        own = replace(settings, listen=(socket,), metrics="", ready_file="", shared_memory=Size(0))
        self._server = Server(own, Catalogue.of_registry(own.model, _stand_ins(settings)))
        self._thread = threading.Thread(target=self._server.run, name="server", daemon=True)
        self._thread.start()
        if not self._server.ready.wait(_START_S):
            raise UnavailableError("the server of this replica did not start")
        self._socket = socket
        self.connect()

    def connect(self) -> None:
        """Open the connection to our own server, on the event loop that will use it."""
        channel = grpc.aio.insecure_channel(self._socket, list(TRANSPORT_OPTIONS))
        self._matte = channel.stream_stream(f"/{SERVICE}/Matte")
        paths = {"ListModels": SERVICE, "GetServerInfo": SERVICE, "Check": HEALTH}
        self._unary = {name: channel.unary_unary(f"/{service}/{name}") for name, service in paths.items()}

    async def Matte(self, requests: AsyncIterator[bytes], grpc_context: Any) -> AsyncIterator[Message]:  # noqa: N802
        """Relay a stream; when its caller goes, so does the call to our own server."""
        call = self._matte(_passed(requests))
        try:
            async for answer in call:
                yield Message(answer)
        except grpc.aio.AioRpcError as error:
            _pass_on(error, grpc_context)
            raise
        finally:
            call.cancel()

    async def ListModels(self, request: bytes, grpc_context: Any) -> Message:  # noqa: N802
        """Relay a call."""
        return await self._relay("ListModels", request, grpc_context)

    async def GetServerInfo(self, request: bytes, grpc_context: Any) -> Message:  # noqa: N802
        """Relay a call: the answer is about whichever replica took it."""
        return await self._relay("GetServerInfo", request, grpc_context)

    async def Check(self, request: bytes, grpc_context: Any) -> Message:  # noqa: N802
        """Relay a call of the standard health service."""
        return await self._relay("Check", request, grpc_context)

    async def _relay(self, name: str, request: bytes, grpc_context: Any) -> Message:
        try:
            return Message(await self._unary[name](request))
        except grpc.aio.AioRpcError as error:
            _pass_on(error, grpc_context)
            raise

    def check_health(self) -> None:
        """Ray asks now and then, and replaces a replica that raises."""
        if not self._thread.is_alive():
            raise UnavailableError("the server of this replica has ended")

    def close(self) -> None:
        """Drain and stop the server."""
        self._server.stop()
        self._thread.join(self._server.settings.drain_timeout + 5)
        self._folder.cleanup()

    # Ray has no other word for "you may go now".
    __del__ = close


async def _passed(requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


def _pass_on(error: grpc.aio.AioRpcError, context: Any) -> None:
    context.set_code(error.code())
    context.set_details(error.details() or "")


def _stand_ins(settings: ServerSettings) -> Mapping[str, Any] | None:
    """Return the models that only tests know, where the settings ask for them."""
    return importlib.import_module("fbamatte.testing").Sources() if settings.testing else None


@contextmanager
def serving(settings: ServerSettings, spread: RaySettings) -> Iterator[str]:
    """Serve on a cluster while the context lasts; yields the address of this machine's proxy.

    Raises
    ------
    UsageError
        If Ray is not installed, or the settings ask for what its proxy does not do.
    UnavailableError
        If there is no such cluster, or the server does not come up on it.
    """
    _check(settings)
    port = _port(settings)
    ray, serve, config = (_import(name) for name in ("ray", "ray.serve", "ray.serve.config"))
    try:
        ray.init(address=spread.address or None, include_dashboard=False, log_to_driver=False, logging_level="error")
    except ConnectionError as error:
        raise UnavailableError(f"no Ray cluster at {spread.address}: {error}") from error
    try:
        serve.start(
            proxy_location="EveryNode" if spread.proxies == "every" else "HeadOnly",
            http_options={"host": "127.0.0.1", "port": 0} if spread.proxies == "head" else {"host": "127.0.0.1"},
            grpc_options=config.gRPCOptions(port=port, grpc_servicer_functions=[f"{__name__}.{add_to_proxy.__name__}"]),
        )
        serve.run(_application(ray, serve, settings, spread), name=NAME, route_prefix="/")
        yield f"127.0.0.1:{port}"
    finally:
        # On somebody's cluster nothing may stay behind.
        serve.shutdown()
        ray.shutdown()


def run(settings: ServerSettings, spread: RaySettings, say: Callable[[str], None] = print) -> int:
    """Serve on a cluster until SIGTERM or Ctrl-C."""
    told = threading.Event()
    with serving(settings, spread) as address:
        # only now: Ray puts handlers of its own in as it starts
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: told.set())
        say(f"serving on {address} and on the same port of every machine with a proxy")
        while not told.wait(1):
            pass
    return 0


def _application(ray: Any, serve: Any, settings: ServerSettings, spread: RaySettings) -> Any:
    gpus = int(ray.cluster_resources().get("GPU", 0))
    machines = sum(node["Alive"] and node["Resources"].get("CPU", 0) > 0 for node in ray.nodes())
    most = spread.replicas or gpus or machines or 1
    deployment = serve.deployment(
        name=NAME,
        ray_actor_options={"num_gpus": 1} if gpus else {"num_cpus": 1},
        max_ongoing_requests=STREAMS,
        # A replica with more than two callers asks for another; it keeps one machine warm, and may use all.
        autoscaling_config={
            "min_replicas": 1,
            "max_replicas": most,
            "initial_replicas": most,
            "target_ongoing_requests": 2,
        },
        graceful_shutdown_timeout_s=settings.drain_timeout,
        health_check_period_s=2,
        health_check_timeout_s=10,
    )(Replica)
    return deployment.bind(settings)


def _check(settings: ServerSettings) -> None:
    for name in ("token_file", "tls_cert", "tls_client_ca"):
        if getattr(settings, name):
            raise UsageError(
                f"--{name.replace('_', '-')}: Ray's proxy has neither TLS nor tokens; put nginx or HAProxy in front, "
                "with the configurations of docs/balancing"
            )


def _port(settings: ServerSettings) -> int:
    """Return the port of the one address that Ray's proxy can have: it listens on all of a machine's."""
    address = settings.listen[0] if len(settings.listen) == 1 else ""
    _, _, port = address.rpartition(":")
    if not port.isdigit() or not int(port):
        raise UsageError(f"--listen {', '.join(settings.listen)}: with Ray, one host:port with a port of its own")
    return int(port)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UsageError("--engine ray needs Ray: pip install 'fbamatte[ray]'") from None
