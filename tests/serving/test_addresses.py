import socket

import pytest

from fbamatte.errors import UsageError
from fbamatte.serving.addresses import check_exposure, claim_socket, is_this_machine, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:50051", "127.0.0.1", 50051), ("localhost:0", "localhost", 0), ("[::1]:7", "::1", 7)],
)
def test_host_and_port(text, host, port):
    address = parse_address(text)
    assert (address.host, address.port, str(address)) == (host, port, text)


@pytest.mark.parametrize(
    "text", ["", "host", "host:", "host:http", "1.2.3.4:65536", ":50051", "::1:7", "unix:", "h:-1"]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(UsageError):
        parse_address(text)


def test_a_unix_path_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(parse_address("unix:a/b.sock")) == f"unix:{tmp_path}/a/b.sock"
    assert str(parse_address("unix:///x/y")) == "unix:/x/y"
    with pytest.raises(UsageError, match="107 bytes"):
        parse_address("unix:" + "a" * 120)


@pytest.mark.parametrize("text", ["127.0.0.1:0", "127.9.9.9:0", "[::1]:0", "localhost:0", "unix:/tmp/x"])
def test_this_machine_alone_needs_no_protection(text):
    check_exposure(parse_address(text), "--listen", tls=False, authenticated=False)


@pytest.mark.parametrize("text", ["0.0.0.0:0", "[::]:0", "192.168.1.5:0", "10.0.0.1:50051", "[2001:db8::1]:1"])
@pytest.mark.parametrize(
    ("tls", "authenticated", "missing"),
    [(False, False, "--tls-cert.*--token-file"), (True, False, "--token-file"), (False, True, "--tls-cert")],
)
def test_elsewhere_needs_both_and_the_message_says_which(text, tls, authenticated, missing):
    with pytest.raises(UsageError, match=missing):
        check_exposure(parse_address(text), "--listen", tls=tls, authenticated=authenticated)
    check_exposure(parse_address(text), "--listen", tls=True, authenticated=True)


def test_an_unknown_host_is_refused():
    with pytest.raises(UsageError, match="no host"):
        check_exposure(parse_address("no-such-host.invalid:1"), "--listen", tls=True, authenticated=True)


def test_a_stale_socket_is_cleared_away(tmp_path):
    path = tmp_path / "deep" / "s.sock"
    claim_socket(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    claim_socket(path)
    assert not path.exists()


def test_a_live_socket_and_a_file_are_left_alone(tmp_path):
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        with pytest.raises(UsageError, match="another server"):
            claim_socket(path)
    assert path.exists()
    precious = tmp_path / "precious"
    precious.write_text("data")
    link = tmp_path / "link"
    link.symlink_to(precious)
    for wrong in (precious, link):
        with pytest.raises(UsageError, match="no socket"):
            claim_socket(wrong)
    assert precious.read_text() == "data"


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost:9090", True),
        ("127.0.0.1", True),
        ("[::1]:80", True),
        ("evil.example:9090", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_only_loopback_names_are_this_machine(host, ours):
    assert is_this_machine(host) is ours
