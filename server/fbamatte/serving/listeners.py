"""The gRPC server on its addresses: credentials, limits of the transport, sockets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from fbamatte.errors import UnavailableError, UsageError
from fbamatte.rpc import framing
from fbamatte.serving.addresses import Address, check_exposure, claim_socket, parse_address
from fbamatte.serving.auth import TokenGate
from fbamatte.serving.service import MattingService
from fbamatte.serving.settings import ServerSettings
from fbamatte.serving.tokens import TokenFile

# Threads beside those of the streams, for everything else that is asked.
SPARE_THREADS = 32
HEALTH_SERVICE = "grpc.health.v1.Health"
_STATUS = health_pb2.HealthCheckResponse
_log = structlog.get_logger(__name__)


class Listeners:
    """A gRPC server and where it listens.

    Parameters
    ----------
    settings : ServerSettings
    tokens : TokenFile, optional

    Raises
    ------
    UsageError
        If an address could be reached from elsewhere and is not protected, or cannot be listened on.
    """

    def __init__(self, settings: ServerSettings, tokens: TokenFile | None) -> None:
        self._settings = settings
        self._tokens = tokens
        self._wanted = [parse_address(text) for text in settings.listen]
        if not self._wanted:
            raise UsageError("--listen is empty: there is nowhere to listen")
        for address in self._wanted:
            check_exposure(
                address,
                "--listen",
                tls=bool(settings.tls_cert),
                authenticated=tokens is not None or bool(settings.tls_client_ca),
            )
        self.addresses: list[Address] = []
        self.health = health.HealthServicer()
        self._server: Any = None

    def start(self, service: MattingService) -> None:
        """Listen and answer; health says NOT_SERVING until `set_serving`."""
        threads = self._settings.streams + SPARE_THREADS
        self._server = grpc.server(
            futures.ThreadPoolExecutor(threads, thread_name_prefix="rpc"),
            interceptors=[TokenGate(self._tokens)] if self._tokens else [],
            options=transport_options(self._settings),
            maximum_concurrent_rpcs=4 * threads,
        )
        framing.add_to_server(service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        names = (framing.SERVICE, HEALTH_SERVICE, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self.set_serving(False)
        for address in self._wanted:
            self.addresses.append(self._listen(address))
        self._server.start()

    def set_serving(self, serving: bool) -> None:
        """Tell load balancers whether to send frames."""
        status = _STATUS.SERVING if serving else _STATUS.NOT_SERVING
        for name in ("", framing.SERVICE):
            self.health.set(name, status)

    def stop(self, grace: float) -> None:
        """End all calls, those in flight after ``grace`` seconds, and remove sockets."""
        if self._server is not None:
            self._server.stop(grace).wait(grace + 5)
        for address in self.addresses:
            if address.path is not None:
                address.path.unlink(missing_ok=True)

    def _listen(self, address: Address) -> Address:
        if address.path is not None:
            return self._listen_unix(address, address.path)
        try:
            if self._settings.tls_cert:
                port = self._server.add_secure_port(str(address), tls_credentials(self._settings))
            else:
                port = self._server.add_insecure_port(str(address))
        except RuntimeError:
            port = 0
        if not port:
            raise UnavailableError(f"--listen {address}: the address is in use or not this machine's")
        return address.with_port(port)

    def _listen_unix(self, address: Address, path: Path) -> Address:
        claim_socket(path)
        # Only this user may connect, from the first moment on.
        mask = os.umask(0o177)
        try:
            port = self._server.add_insecure_port(f"unix:{path}")
        except RuntimeError:
            port = 0
        finally:
            os.umask(mask)
        if not port:
            raise UnavailableError(f"--listen {address}: a socket cannot be made there")
        path.chmod(0o600)
        return address


def transport_options(settings: ServerSettings) -> Sequence[tuple[str, int]]:
    """Return what gRPC is told about connections."""
    return (
        # Else a second server would silently share the port.
        ("grpc.so_reuseport", 0),
        *framing.TRANSPORT_OPTIONS,
        ("grpc.max_metadata_size", 16 * 1024),
        ("grpc.max_concurrent_streams", settings.streams_per_connection),
        # A peer that vanished without a word is noticed within 80 s.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # A caller may ping every 10 s while it waits; three that come faster end its connection.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.max_connection_idle_ms", 30 * 60_000),
    )


def tls_credentials(settings: ServerSettings) -> Any:
    """Return credentials that follow their files: a renewed certificate needs no restart.

    Raises
    ------
    UsageError
        If a file cannot be read.
    """
    files = [Path(name) for name in (settings.tls_cert, settings.tls_key, settings.tls_client_ca) if name]
    try:
        initial = _configuration(settings)
        stamps = [path.stat().st_mtime_ns for path in files]
    except OSError as error:
        raise UsageError(f"{error.filename}: cannot be read: {error.strerror}") from None

    def fetch() -> Any:
        nonlocal stamps
        try:
            now = [path.stat().st_mtime_ns for path in files]
            if now == stamps:
                return None
            stamps = now
            _log.info("certificates reloaded")
            return _configuration(settings)
        except OSError as error:
            _log.error("certificates not reloaded, the old ones hold", file=error.filename, reason=error.strerror)
            return None

    return grpc.dynamic_ssl_server_credentials(initial, fetch, bool(settings.tls_client_ca))


def _configuration(settings: ServerSettings) -> Any:
    chain = Path(settings.tls_cert).read_bytes()
    key = Path(settings.tls_key).read_bytes()
    roots = Path(settings.tls_client_ca).read_bytes() if settings.tls_client_ca else None
    return grpc.ssl_server_certificate_configuration([(key, chain)], roots)
