"""Addresses to listen on: what they mean, who may reach them, and what that demands."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fbamatte.errors import UsageError

# What fits into sockaddr_un on Linux, less the final zero.
_UNIX_PATH_BYTES = 107


@dataclass(frozen=True)
class Address:
    """Where to listen: a host and port, or the path of a Unix socket."""

    host: str = ""
    port: int = 0
    path: Path | None = None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it: a Unix socket or a loopback address."""
        return self.path is not None or all(ip.is_loopback for ip in _resolved(self.host))

    def with_port(self, port: int) -> Address:
        """Return the same address with the port that was actually taken."""
        return Address(self.host, port)

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Return the address that ``host:port``, ``[ipv6]:port`` or ``unix:path`` means.

    Raises
    ------
    UsageError
        If it is none of these.
    """
    if text.startswith("unix:"):
        # Absolute, for the process may change its folder and a client has another one.
        path = Path(os.path.abspath("/" + text[5:].lstrip("/") if text.startswith("unix:///") else text[5:]))  # noqa: PTH100 - resolve() would follow a link
        if text == "unix:" or len(os.fsencode(path)) > _UNIX_PATH_BYTES:
            raise UsageError(f"{text!r}: the path of a Unix socket has 1 to {_UNIX_PATH_BYTES} bytes")
        return Address(path=path)
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535 or (":" in host and not host.startswith("[")):
        raise UsageError(f"{text!r} is no address; write host:port, [ipv6]:port or unix:path")
    return Address(host.strip("[]"), int(port))


def socket_paths(listen: Sequence[str]) -> list[str]:
    """Return the files of the Unix sockets among addresses to listen on."""
    return [str(address.path) for address in map(parse_address, listen) if address.path is not None]


def check_exposure(address: Address, option: str, *, tls: bool, authenticated: bool) -> None:
    """Refuse to listen beyond this machine without encryption and proof of who calls.

    Raises
    ------
    UsageError
        If others could reach the address and it is not protected; the message says what is missing.
    """
    if address.is_local or (tls and authenticated):
        return
    missing = [] if tls else ["--tls-cert and --tls-key, for pixels and tokens would travel in the clear"]
    if not authenticated:
        missing.append("--token-file or --tls-client-ca, for anybody could use it")
    raise UsageError(
        f"{option} {address} can be reached from other machines; that needs {'; and '.join(missing)}. "
        "Without them listen on 127.0.0.1 or a unix: path"
    )


def claim_socket(path: Path) -> None:
    """Make way for a Unix socket: remove a stale one, refuse one that is in use or is no socket.

    Raises
    ------
    UsageError
        If another server listens there, or the path is something else.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return
    if not stat.S_ISSOCK(mode):
        raise UsageError(f"unix:{path}: there is already something that is no socket; it was left alone")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
        else:
            raise UsageError(f"unix:{path}: another server is listening there")


def is_this_machine(host: str) -> bool:
    """Return whether the Host header of a request is a loopback name, with or without a port."""
    name = host.rsplit(":", 1)[0] if host.rsplit(":", 1)[-1].isdecimal() else host
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _resolved(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return every address that a host name stands for; one that is unknown counts as outside."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        raise UsageError(f"{host!r} is no host that this machine knows") from None
    return [ipaddress.ip_address(str(item[4][0]).split("%")[0]) for item in found]
