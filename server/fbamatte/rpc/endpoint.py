"""One server: its address, how to trust it, the connection to it, and how busy we keep it."""

from __future__ import annotations

import ipaddress
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

import grpc

from fbamatte.errors import AuthenticationError, UsageError
from fbamatte.rpc import framing, health

CHANNEL_OPTIONS = (
    *framing.TRANSPORT_OPTIONS,
    # A frame that was not answered is sent again by Exchange, which has it anyway. gRPC's own retries
    # would keep a second copy of all that was sent, up to grpc.per_rpc_retry_buffer_size, and give up beyond.
    ("grpc.enable_retries", 0),
    # A server may count a ping within 5 minutes of the last as abuse, and by default does.
    ("grpc.keepalive_time_ms", 310_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # http_proxy is for the web; a server in the next room is not behind it.
    ("grpc.enable_http_proxy", 0),
)

PEM = Union[str, Path, bytes, None]
"""Where certificates or a key are: a file, or the text itself."""


@dataclass(frozen=True)
class TLS:
    """How to trust a server, and how to prove oneself to it.

    Parameters
    ----------
    ca : path or bytes, optional
        PEM certificates to trust; None: those that come with gRPC.
    certificate, key : path or bytes, optional
        PEM certificate chain and private key of the client, both or neither.
    server_name : str
        The name that the server's certificate has to carry; empty: the host of the address.
    """

    ca: PEM = None
    certificate: PEM = None
    key: PEM = None
    server_name: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Optional[TLS]:
        """Return what FBAMATTE_TLS (1), _TLS_CA, _TLS_CERT, _TLS_KEY and _TLS_SERVER_NAME say; None: no TLS."""
        values = {name: environment.get(f"FBAMATTE_TLS_{name}", "") for name in ("CA", "CERT", "KEY", "SERVER_NAME")}
        if not any(values.values()) and environment.get("FBAMATTE_TLS", "0") in ("", "0"):
            return None
        return cls(values["CA"] or None, values["CERT"] or None, values["KEY"] or None, values["SERVER_NAME"])

    def credentials(self) -> Any:
        """Return gRPC channel credentials.

        Raises
        ------
        AuthenticationError
            If a file cannot be read or only one of certificate and key is given.
        """
        if (self.certificate is None) != (self.key is None):
            raise AuthenticationError("TLS: a client certificate needs its key, and a key its certificate")
        return grpc.ssl_channel_credentials(_pem(self.ca), _pem(self.key), _pem(self.certificate))


Trust = Union[TLS, bool, None]
"""As callers may give it: settings, True for the well-known authorities, False for none, None for the environment's."""


def read_tls(tls: Trust) -> Optional[TLS]:
    """Return the settings that ``tls`` stands for; None: not encrypted."""
    if tls is None:
        return TLS.from_environment()
    return TLS() if tls is True else tls or None


def _pem(source: PEM) -> Optional[bytes]:
    if source is None or isinstance(source, bytes):
        return source
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise AuthenticationError(f"TLS: {source}: {error.strerror}") from error


@dataclass(frozen=True)
class Address:
    """``host:port``, ``[IPv6]:port`` or ``unix:path``."""

    host: str
    port: int
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read one; raise `UsageError` naming ``text`` where it is none."""
        if text.startswith("unix:"):
            # Also as a URL: unix:///run/fbamatte.sock
            path = text[5:]
            path = path[2:] if path.startswith("///") else path
            if not path:
                raise UsageError(f"{text!r} is no address: the path is missing")
            return cls("", 0, path)
        host, _, port = text.rpartition(":")
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
            raise UsageError(f"{text!r} is no address: needed host:port or unix:path")
        return cls(host, int(port))

    @property
    def target(self) -> str:
        """As gRPC spells it."""
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether what is sent there stays on this machine."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def read_token(token: Optional[str] = None, environment: Mapping[str, str] = os.environ) -> str:
    """Return the token to use: ``token``, else FBAMATTE_TOKEN, else the content of FBAMATTE_TOKEN_FILE, else none.

    Raises
    ------
    AuthenticationError
        If the file cannot be read or the token is not plain printable text. The token is not shown.
    """
    found = environment.get("FBAMATTE_TOKEN", "") if token is None else token
    file = environment.get("FBAMATTE_TOKEN_FILE", "")
    if not found and token is None and file:
        try:
            found = Path(file).read_text()
        except OSError as error:
            raise AuthenticationError(f"token file {file}: {error.strerror}") from error
    found = found.strip()
    if not all("!" <= character <= "~" for character in found):
        raise AuthenticationError("the token holds characters that no token has: spaces, line ends or accents")
    return found


class Endpoint:
    """The connection to one server, shared by all calls of a client and kept open between them.

    Parameters
    ----------
    address : str
        See `Address`.
    token : str
        Empty: none.
    tls : TLS, optional
        None: not encrypted.

    Raises
    ------
    AuthenticationError
        If the token would travel unencrypted to another machine.
    """

    def __init__(self, address: str, token: str = "", tls: Optional[TLS] = None) -> None:
        self.address = Address.parse(address)
        self.name = self.address.target
        self.tls = None if self.address.path else tls
        if token and not self.address.is_local and self.tls is None:
            raise AuthenticationError(
                f"{self.name}: the token would travel there unencrypted, for all to read; give TLS settings"
            )
        self._token = token
        self.metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._lock = threading.Lock()
        self._outstanding = 0
        self._channel: Any = None

    def fresh(self) -> Endpoint:
        """Return another connection to the same server."""
        return Endpoint(self.name, self._token, self.tls)

    @property
    def channel(self) -> Any:
        """The gRPC channel, made when first needed."""
        with self._lock:
            if self._channel is None:
                self._channel = self._connect()
            return self._channel

    def _connect(self) -> Any:
        options = list(CHANNEL_OPTIONS)
        if self.tls is None:
            return grpc.insecure_channel(self.name, options)
        if self.tls.server_name:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))  # type: ignore[arg-type]
        return grpc.secure_channel(self.name, self.tls.credentials(), options)

    def check(self, timeout: float) -> Any:
        """Ask for its health; returns a gRPC future of a number of `fbamatte.rpc.health`."""
        method = health.check_method(self.channel)
        return method.future(framing.SERVICE, timeout=timeout, metadata=self.metadata)

    @property
    def outstanding(self) -> int:
        """Frames on their way there, of all calls of this client."""
        return self._outstanding

    def occupy(self, frames: int) -> None:
        """Count ``frames`` more, or fewer, on their way."""
        with self._lock:
            self._outstanding += frames

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._lock:
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
