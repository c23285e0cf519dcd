"""Metrics for Prometheus and a status page for people, on an address of their own.

Read only, self-contained, and plain HTTP on this machine; from elsewhere it takes TLS and a token (as a
bearer, or as the password that a browser asks for) or a client certificate, like the frames themselves.
"""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from fbamatte.errors import AuthenticationError, UnavailableError, UsageError
from fbamatte.serving.addresses import Address, check_exposure, is_this_machine, parse_address
from fbamatte.serving.desk import Desk
from fbamatte.serving.report import LiveNumbers, status
from fbamatte.serving.settings import ServerSettings
from fbamatte.serving.tokens import TokenFile

PAGE = Path(__file__).with_name("page")
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_HEADERS = {
    # Nothing from elsewhere, no frames, no forms.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_SLOW_SECONDS = 10
_CONNECTIONS = 32


class StatusServer:
    """Serves ``/metrics``, the page at ``/`` and what it shows.

    Parameters
    ----------
    desk : Desk
        What to report on.
    tokens : TokenFile, optional
        Who may look; without it whoever reaches the address.

    Raises
    ------
    UsageError
        If the address could be reached from elsewhere and is not protected.
    """

    def __init__(self, desk: Desk, tokens: TokenFile | None) -> None:
        settings = desk.settings
        self._desk = desk
        self._tokens = tokens
        self._settings = settings
        self.address = parse_address(settings.metrics)
        if self.address.path is not None:
            raise UsageError(f"--metrics {settings.metrics}: browsers and Prometheus need host:port")
        authenticated = tokens is not None or bool(settings.tls_client_ca)
        check_exposure(self.address, "--metrics", tls=bool(settings.tls_cert), authenticated=authenticated)
        desk.watcher.registry.register(LiveNumbers(desk))
        self._http: _Http | None = None

    def start(self) -> None:
        """Listen and answer from now on."""
        routes = {"/metrics": self._metrics, "/status.json": self._status}
        try:
            self._http = _Http(self.address, routes, self._thumbnail, self._check)
        except OSError as error:
            raise UnavailableError(f"--metrics {self.address}: {error.strerror}") from None
        if not self.address.is_local:
            self._http.socket = tls_context(self._settings).wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )
        self.address = self.address.with_port(self._http.server_address[1])
        threading.Thread(target=self._http.serve_forever, name="status", daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()

    def _metrics(self) -> tuple[str, bytes]:
        return CONTENT_TYPE_LATEST, generate_latest(self._desk.watcher.registry)

    def _status(self) -> tuple[str, bytes]:
        return "application/json", json.dumps(status(self._desk)).encode()

    def _thumbnail(self, number: int) -> bytes:
        return next((frame.thumbnail for frame in self._desk.watcher.recent() if frame.number == number), b"")

    def _check(self, path: str, host: str, authorization: str) -> HTTPStatus:
        """Return whether a request may be answered."""
        if self.address.is_local and not is_this_machine(host):
            # A name of somebody else's that leads here: a web page trying to look in.
            return HTTPStatus.FORBIDDEN
        if self._tokens is None or (path == "/metrics" and self.address.is_local):
            return HTTPStatus.OK
        try:
            self._tokens.identify(_shown(authorization))
        except AuthenticationError:
            return HTTPStatus.UNAUTHORIZED
        return HTTPStatus.OK


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self,
        address: Address,
        routes: dict[str, Callable[[], tuple[str, bytes]]],
        thumbnail: Callable[[int], bytes],
        check: Callable[[str, str, str], HTTPStatus],
    ) -> None:
        self.routes, self.thumbnail, self.check = routes, thumbnail, check
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        if ":" in address.host:
            self.address_family = socket.AF_INET6
        super().__init__((address.host, address.port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer on a thread, or not at all where too many wait."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, then let the next one in."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a browser that went away is no event."""


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    timeout = _SLOW_SECONDS
    server_version, sys_version = "fbamatte", ""

    def do_GET(self) -> None:
        """Answer with a page, numbers or a picture."""
        path = urlsplit(self.path).path
        allowed = self.server.check(path, self.headers.get("Host", ""), self.headers.get("Authorization", ""))
        if allowed is HTTPStatus.OK:
            self._answer(path)
        elif allowed is HTTPStatus.UNAUTHORIZED:
            self._send(allowed, "text/plain", b"a token is needed\n", {"WWW-Authenticate": 'Basic realm="fbamatte"'})
        else:
            self._send(allowed, "text/plain", b"this page answers to this machine's own names only\n")

    def _answer(self, path: str) -> None:
        if path in self.server.routes:
            self._send(HTTPStatus.OK, *self.server.routes[path]())
        elif path in _FILES:
            name, kind = _FILES[path]
            self._send(HTTPStatus.OK, kind, (PAGE / name).read_bytes())
        elif picture := self._picture(path):
            self._send(HTTPStatus.OK, "image/jpeg", picture, {"Cache-Control": "private, max-age=3600, immutable"})
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"not found\n")

    def _picture(self, path: str) -> bytes:
        number = path.removeprefix("/thumbnails/").removesuffix(".jpg")
        known = path == f"/thumbnails/{number}.jpg" and number.isdecimal() and len(number) < 16
        return self.server.thumbnail(int(number)) if known else b""

    def _send(self, code: HTTPStatus, kind: str, body: bytes, more: dict[str, str] | None = None) -> None:
        self.send_response(code)
        headers = {"Cache-Control": "no-store", **_HEADERS, **(more or {})}
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing: who looks at a page is no event."""


def tls_context(settings: ServerSettings) -> ssl.SSLContext:
    """Return the same TLS for HTTP as for gRPC."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.tls_cert, settings.tls_key)
    if settings.tls_client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(settings.tls_client_ca)
    return context


def _shown(authorization: str) -> str:
    """Return the token of an Authorization header; empty where there is none."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except ValueError:
            return ""
    return ""
