"""Addresses, tokens, trust and health."""

from __future__ import annotations

from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2

from fbamatte.errors import AuthenticationError, UsageError
from fbamatte.rpc import health
from fbamatte.rpc.endpoint import TLS, Address, Endpoint, read_token

ADDRESSES = [
    ("localhost:50051", "localhost:50051", True),
    ("127.0.0.1:1", "127.0.0.1:1", True),
    ("127.8.9.10:65535", "127.8.9.10:65535", True),
    ("[::1]:50051", "[::1]:50051", True),
    ("matte-01.studio.example:50051", "matte-01.studio.example:50051", False),
    ("10.0.0.7:50051", "10.0.0.7:50051", False),
    ("[fe80::1]:50051", "[fe80::1]:50051", False),
    ("localhost.evil.example:50051", "localhost.evil.example:50051", False),
    ("unix:/run/fbamatte.sock", "unix:/run/fbamatte.sock", True),
    ("unix:///run/fbamatte.sock", "unix:/run/fbamatte.sock", True),
    ("unix:relative.sock", "unix:relative.sock", True),
]


@pytest.mark.parametrize(("text", "target", "local"), ADDRESSES, ids=[text for text, _, _ in ADDRESSES])
def test_an_address_is_understood(text: str, target: str, local: bool) -> None:
    address = Address.parse(text)
    assert (address.target, address.is_local) == (target, local)
    assert Address.parse(address.target) == address


@pytest.mark.parametrize(
    "text",
    ["", "host", "host:", ":50051", "host:0", "host:65536", "host:5o", "unix:", "https://host:1", "host:¹", "[]:1"],
)
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match="is no address") as caught:
        Address.parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", [text for text, _, local in ADDRESSES if not local])
def test_a_token_never_leaves_the_machine_unencrypted(text: str) -> None:
    with pytest.raises(AuthenticationError, match="unencrypted") as caught:
        Endpoint(text, token="s3cret")
    assert "s3cret" not in str(caught.value)
    assert Endpoint(text, token="s3cret", tls=TLS()).metadata == (("authorization", "Bearer s3cret"),)


@pytest.mark.parametrize("text", [text for text, _, local in ADDRESSES if local])
def test_a_token_may_stay_on_the_machine(text: str) -> None:
    assert Endpoint(text, token="s3cret").metadata


def test_where_the_token_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    environment = {"FBAMATTE_TOKEN_FILE": str(file)}
    assert read_token(None, environment) == "from-file"
    assert read_token(None, {**environment, "FBAMATTE_TOKEN": "from-variable"}) == "from-variable"
    assert read_token("given", environment) == "given"
    assert read_token("", environment) == ""
    assert read_token(None, {}) == ""


@pytest.mark.parametrize("token", ["two words", "naïve", "line\nend", "tab\there"])
def test_a_token_that_cannot_be_one_is_refused_unseen(token: str) -> None:
    with pytest.raises(AuthenticationError) as caught:
        read_token(token)
    assert token not in str(caught.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(AuthenticationError, match="missing"):
        read_token(None, {"FBAMATTE_TOKEN_FILE": missing})
    with pytest.raises(AuthenticationError, match="missing"):
        TLS(ca=missing).credentials()
    with pytest.raises(AuthenticationError, match="needs its key"):
        TLS(certificate=b"x").credentials()


def test_trust_comes_from_the_environment() -> None:
    assert TLS.from_environment({}) is None
    assert TLS.from_environment({"FBAMATTE_TLS": "0"}) is None
    assert TLS.from_environment({"FBAMATTE_TLS": "1"}) == TLS()
    found = TLS.from_environment({"FBAMATTE_TLS_CA": "ca.pem", "FBAMATTE_TLS_SERVER_NAME": "matte"})
    assert found == TLS(ca="ca.pem", server_name="matte")


@pytest.mark.parametrize("service", ["", "fbamatte.rpc.v1.Matting"])
def test_health_by_hand_is_what_the_standard_says(service: str) -> None:
    assert health_pb2.HealthCheckRequest.FromString(health.request(service)).service == service
    assert health.request(service) == health_pb2.HealthCheckRequest(service=service).SerializeToString()
    for status in health_pb2.HealthCheckResponse.ServingStatus.values():
        assert health.status(health_pb2.HealthCheckResponse(status=status).SerializeToString()) == status
    assert health.SERVING == health_pb2.HealthCheckResponse.SERVING
    assert health.NOT_SERVING == health_pb2.HealthCheckResponse.NOT_SERVING
    assert health.SERVICE_UNKNOWN == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
