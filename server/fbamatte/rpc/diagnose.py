"""Why a server does not answer: for a connection button and ``fbamatte doctor``.

gRPC says "failed to connect to all addresses" for most of it, so each layer is tried by itself: name,
port, TLS, gRPC, token, health.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import grpc

from fbamatte.errors import FbaMatteError
from fbamatte.rpc import framing, health
from fbamatte.rpc.endpoint import PEM, TLS, Endpoint, Trust, read_tls, read_token
from fbamatte.rpc.v1 import matting_pb2 as pb


@dataclass(frozen=True)
class Diagnosis:
    """What is the matter with one server.

    Parameters
    ----------
    endpoint : str
        The address that was tried.
    cause : str
        ``ok``, ``address``, ``settings``, ``name``, ``refused``, ``unreachable``, ``timeout``, ``socket``,
        ``needs-tls``, ``no-tls``, ``untrusted``, ``wrong-name``, ``expired``, ``client-certificate``,
        ``not-grpc``, ``token-missing``, ``token-wrong``, ``not-serving`` or ``failed``.
    message : str
        For people, one sentence: what was found.
    advice : str
        For people: what to do about it; empty where all is well.
    """

    endpoint: str
    cause: str
    message: str
    advice: str = ""

    @property
    def ok(self) -> bool:
        """Whether frames can be sent there."""
        return self.cause == "ok"

    def __str__(self) -> str:
        return f"{self.endpoint}: {self.message}" + (f" {self.advice}" if self.advice else "")


class _FoundError(Exception):
    """Carries cause, message and advice up from the layer that fails."""


def diagnose(target: str, token: Optional[str] = None, tls: Trust = None, timeout: float = 5.0) -> Diagnosis:
    """Try a server layer by layer and name the first thing that is wrong.

    Parameters
    ----------
    target, token, tls
        As for `fbamatte.rpc.client.Client`, one address.
    timeout : float
        Seconds for each layer.

    Returns
    -------
    Diagnosis
        Never raises for what it finds.
    """
    try:
        endpoint = Endpoint(target, read_token(token), read_tls(tls))
    except FbaMatteError as error:
        return Diagnosis(target, "settings" if error.status == "UNAUTHENTICATED" else "address", str(error))
    return examine(endpoint, timeout)


def examine(endpoint: Endpoint, timeout: float = 5.0) -> Diagnosis:
    """Do the same for an endpoint, over a connection of its own."""
    try:
        with contextlib.closing(endpoint.fresh()) as fresh:
            _socket(fresh, timeout)
            return Diagnosis(endpoint.name, "ok", _grpc(fresh, timeout))
    except _FoundError as found:
        return Diagnosis(endpoint.name, *found.args)
    except FbaMatteError as error:
        return Diagnosis(endpoint.name, "settings", str(error))


# The socket


def _socket(endpoint: Endpoint, timeout: float) -> None:
    if endpoint.address.path:
        _unix(endpoint.address.path, timeout)
        return
    with _connected(endpoint, timeout) as connection:
        if endpoint.tls is not None:
            _handshake(connection, endpoint, endpoint.tls)


def _unix(path: str, timeout: float) -> None:
    try:
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            raise _FoundError("socket", f"{path} is not a socket.", "Check the path.")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(path)
    except FileNotFoundError:
        raise _FoundError("socket", f"there is no socket {path}.", "Start the server, or check the path.") from None
    except PermissionError:
        raise _FoundError("socket", f"this user may not use the socket {path}.", "Ask for access to it.") from None
    except ConnectionRefusedError:
        raise _FoundError("refused", f"nobody listens on {path} any more.", "Start the server.") from None
    except OSError as error:
        raise _FoundError("socket", f"{path}: {error.strerror or error}.", "Check the path.") from None


@contextlib.contextmanager
def _connected(endpoint: Endpoint, timeout: float) -> Iterator[socket.socket]:
    host, port = endpoint.address.host, endpoint.address.port
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror:
        raise _FoundError(
            "name", f"no machine is called {host!r}.", "Check the spelling of the server's name."
        ) from None
    try:
        connection = socket.create_connection((host, port), timeout)
    except socket.timeout:
        message = f"no answer from {host} within {timeout:g} s."
        raise _FoundError("timeout", message, "Check that the machine is on and no firewall is between.") from None
    except ConnectionRefusedError:
        message = f"{host} is there, but nothing listens on port {port}."
        raise _FoundError("refused", message, "Start the server, or check the port.") from None
    except OSError as error:
        cause = "unreachable" if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH) else "failed"
        raise _FoundError(cause, f"{host}: {error.strerror or error}.", "Check the network.") from None
    with connection:
        yield connection


# TLS


def _handshake(connection: socket.socket, endpoint: Endpoint, tls: TLS) -> None:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    try:
        with _files(tls.ca, tls.certificate, tls.key) as (ca, certificate, key):
            if ca:
                context = ssl.create_default_context(cafile=ca)
                context.set_alpn_protocols(["h2"])
            if certificate:
                context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise _FoundError("settings", f"the TLS files cannot be used: {error}.", "Check the certificates.") from None
    try:
        secured = context.wrap_socket(connection, server_hostname=tls.server_name or endpoint.address.host)
    except ssl.SSLCertVerificationError as error:
        raise _certificate(error, endpoint) from None
    except (ssl.SSLError, OSError) as error:
        message = f"the server does not speak TLS ({getattr(error, 'reason', None) or error})."
        advice = "Switch TLS off, if the server is on this machine; else check the port."
        raise _FoundError("no-tls", message, advice) from None
    with secured:
        _first_bytes(secured)


def _first_bytes(secured: ssl.SSLSocket) -> None:
    """With TLS 1.3 a server turns a caller without a client certificate away only after the handshake."""
    try:
        if secured.recv(1):
            return
    except socket.timeout:
        # Says nothing by itself: gRPC will find out what it is.
        return
    except OSError:
        pass
    message = "the server wants a client certificate and got none that it trusts."
    raise _FoundError("client-certificate", message, "Give a client certificate and its key.")


def _certificate(error: ssl.SSLCertVerificationError, endpoint: Endpoint) -> _FoundError:
    # Numbers of X509_V_ERR_*: has expired, is not yet valid, hostname and address mismatch.
    reason = error.verify_message.rstrip(".")
    if error.verify_code in (9, 10):
        return _FoundError("expired", f"its certificate: {reason}.", "Check this machine's clock; renew it.")
    if error.verify_code in (62, 64):
        message = f"its certificate is not for {endpoint.address.host!r}: {reason}."
        return _FoundError("wrong-name", message, "Use the name in the certificate, or set the TLS server name.")
    message = f"its certificate is signed by somebody who is not trusted: {reason}."
    return _FoundError("untrusted", message, "Give the authority (CA) that has signed it.")


@contextlib.contextmanager
def _files(*sources: PEM) -> Iterator[list[str]]:
    """Give the names of files with what may have been given as bytes; empty where nothing was."""
    with contextlib.ExitStack() as stack:
        names = []
        for source in sources:
            if isinstance(source, bytes):
                # Only its owner may read a NamedTemporaryFile.
                file = stack.enter_context(tempfile.NamedTemporaryFile())
                file.write(source)
                file.flush()
                names.append(file.name)
            else:
                names.append(str(source or ""))
        yield names


def _speaks_tls(endpoint: Endpoint, timeout: float) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with _connected(endpoint, timeout) as connection, context.wrap_socket(connection):
            return True
    except ssl.SSLError as error:
        # It answered with a TLS alert rather than with something else, or nothing.
        return "ALERT" in str(error).upper()
    except OSError:
        return False


# gRPC, token, health


def _grpc(endpoint: Endpoint, timeout: float) -> str:
    """Return what a working server says of itself."""
    state = _health(endpoint, timeout)
    try:
        call = framing.unary_method(endpoint.channel, "GetServerInfo")
        info = call(pb.GetServerInfoRequest(), timeout=timeout, metadata=endpoint.metadata)
    except grpc.RpcError as error:
        raise _status(error, endpoint, timeout) from None
    if state == health.NOT_SERVING or info.state in (pb.SERVER_STATE_STARTING, pb.SERVER_STATE_DRAINING):
        doing = "is shutting down" if info.state == pb.SERVER_STATE_DRAINING else "is still starting"
        raise _FoundError(
            "not-serving", f"fbamatte {info.version} {doing} and takes no frames.", "Try again in a minute."
        )
    devices = ", ".join(device.name for device in info.devices)
    return f"fbamatte {info.version} is ready" + (f" on {devices}." if devices else ".")


def _health(endpoint: Endpoint, timeout: float) -> int:
    try:
        return int(endpoint.check(timeout).result())
    except grpc.RpcError as error:
        # Behind Ray's proxy there is no health service.
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return health.UNKNOWN
        raise _status(error, endpoint, timeout) from None


def _status(error: Any, endpoint: Endpoint, timeout: float) -> _FoundError:
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.UNAVAILABLE:
        if endpoint.tls is None and not endpoint.address.path and _speaks_tls(endpoint, timeout):
            return _FoundError("needs-tls", "the server speaks TLS, and it was called without.", "Switch TLS on.")
        return _FoundError(
            "not-grpc", f"something listens there that is no gRPC server ({details}).", "Check the port."
        )
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        if endpoint.metadata:
            return _FoundError("token-wrong", "the server does not accept the token.", "Ask for the current one.")
        return _FoundError("token-missing", "the server wants a token and got none.", "Give one.")
    known = {
        grpc.StatusCode.UNIMPLEMENTED: (
            "not-grpc",
            "a gRPC server is there, but it is not fbamatte.",
            "Check the port.",
        ),
        grpc.StatusCode.DEADLINE_EXCEEDED: (
            "not-grpc",
            f"something listens there but did not answer within {timeout:g} s.",
            "Check the port; if it is right, the server hangs.",
        ),
    }
    return _FoundError(*known.get(code, ("failed", f"{code.name}: {details}.", "See the server's log.")))
