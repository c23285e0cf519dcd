"""What is wrong with a server is named, layer by layer."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import grpc
import pytest
import trustme

from fbamatte.frame import EncodedFrame
from fbamatte.rpc import health
from fbamatte.rpc.client import TLS, Client
from fbamatte.rpc.diagnose import diagnose
from rpc.echo_server import Behaviour, serve

AUTHORITY = trustme.CA()
TRUST = TLS(ca=AUTHORITY.cert_pem.bytes())


def chain(certificate: trustme.LeafCert) -> bytes:
    return b"".join(part.bytes() for part in certificate.cert_chain_pems)


def credentials(certificate: trustme.LeafCert, clients: bool = False) -> grpc.ServerCredentials:
    pair = (certificate.private_key_pem.bytes(), chain(certificate))
    return grpc.ssl_server_credentials([pair], AUTHORITY.cert_pem.bytes() if clients else None, clients)


@pytest.fixture
def secured() -> Iterator[str]:
    with serve(credentials=credentials(AUTHORITY.issue_cert("127.0.0.1"))) as address:
        yield address


def test_a_server_that_is_well() -> None:
    with serve() as address:
        found = diagnose(address)
        assert (found.ok, found.cause, found.advice) == (True, "ok", "")
        assert "0.0.echo" in found.message
        with Client([address]) as client:
            assert client.diagnose().ok
        with Client([address, "127.0.0.1:9"]) as client:
            assert client.diagnose().cause == "refused"


def test_tls_that_is_well(secured: str) -> None:
    assert diagnose(secured, tls=TRUST).ok
    with Client(secured, token="over-tls", tls=TRUST) as client:
        assert len(list(client.matte_exr([EncodedFrame(b"x")]))) == 1


def test_tls_on_one_side_only(secured: str) -> None:
    assert diagnose(secured).cause == "needs-tls"
    with serve() as address:
        assert diagnose(address, tls=TRUST).cause == "no-tls"


def test_a_stranger_is_not_trusted(secured: str) -> None:
    assert diagnose(secured, tls=TLS(ca=trustme.CA().cert_pem.bytes())).cause == "untrusted"
    assert diagnose(secured, tls=True).cause == "untrusted"


def test_a_certificate_for_somebody_else() -> None:
    with serve(credentials=credentials(AUTHORITY.issue_cert("matte.example"))) as address:
        found = diagnose(address, tls=TRUST)
        assert found.cause == "wrong-name"
        assert "127.0.0.1" in found.message
        assert diagnose(address, tls=TLS(TRUST.ca, server_name="matte.example")).ok


def test_a_certificate_of_old() -> None:
    old = AUTHORITY.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1))
    with serve(credentials=credentials(old)) as address:
        assert diagnose(address, tls=TRUST).cause == "expired"


def test_a_client_certificate_is_wanted() -> None:
    with serve(credentials=credentials(AUTHORITY.issue_cert("127.0.0.1"), clients=True)) as address:
        assert diagnose(address, tls=TRUST).cause == "client-certificate"
        own = AUTHORITY.issue_cert("artist@studio.example")
        proof = TLS(TRUST.ca, chain(own), own.private_key_pem.bytes())
        assert diagnose(address, tls=proof).ok


def test_the_token() -> None:
    with serve(Behaviour(token="s3cret")) as address:
        assert diagnose(address, token="").cause == "token-missing"
        found = diagnose(address, token="wr0ng")
        assert found.cause == "token-wrong"
        assert "wr0ng" not in str(found)
        assert diagnose(address, token="s3cret").ok


def test_a_server_that_takes_no_frames() -> None:
    with serve(Behaviour(health=health.NOT_SERVING)) as address:
        assert diagnose(address).cause == "not-serving"


def test_nobody_there(tmp_path: Path) -> None:
    assert diagnose("127.0.0.1:9").cause == "refused"
    assert diagnose("no-such-host.invalid:50051").cause == "name"
    assert diagnose(f"unix:{tmp_path}/none").cause == "socket"
    file = tmp_path / "file"
    file.touch()
    assert "not a socket" in diagnose(f"unix:{file}").message
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "stale"))
    stale.close()
    assert diagnose(f"unix:{tmp_path}/stale").cause == "refused"


def test_settings_that_cannot_be() -> None:
    assert diagnose("nonsense").cause == "address"
    assert diagnose("matte.example:50051", token="s3cret").cause == "settings"
    assert diagnose("127.0.0.1:9", tls=TLS(certificate="/missing.pem", key="/missing.key")).cause == "refused"


def test_certificates_that_cannot_be_used(secured: str, tmp_path: Path) -> None:
    assert diagnose(secured, tls=TLS(ca=str(tmp_path / "missing.pem"))).cause == "settings"
    assert diagnose(secured, tls=TLS(ca=b"not a certificate")).cause == "settings"


def test_something_else_listens_there() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        assert diagnose(f"127.0.0.1:{web.server_port}", timeout=20.0).cause == "not-grpc"
        web.shutdown()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert diagnose(f"127.0.0.1:{silent.getsockname()[1]}", timeout=0.5).cause == "not-grpc"
