"""Who gets in, and what a request can reach. Faults 16 and 17."""

import base64
import datetime
import http.client
import os
import ssl
import time

import grpc
import pytest
import trustme
from structlog.testing import capture_logs

from fbamatte.errors import AuthenticationError
from fbamatte.rpc.client import TLS, Client
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.serving import tokens as tokens_module
from fbamatte.testing import running_server, serve_in_process
from serving.helpers import RawStream, frame, messages, raw

SECRET, OTHER = "c0ffee" * 6, "decade" * 6


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority, tmp_path_factory):
    """Certificate, key, authority and tokens as files."""
    folder = tmp_path_factory.mktemp("tls")
    own = authority.issue_cert("127.0.0.1", "localhost")
    own.private_key_pem.write_to_path(folder / "key.pem")
    own.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    past = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    tokens = folder / "tokens"
    tokens.touch(0o600)
    tokens.write_text(f"lighting {SECRET}\nguest {OTHER} {past.isoformat()}\n")
    return folder


@pytest.fixture(scope="module")
def guarded(files):
    """A server that others could reach: TLS and a token."""
    settings = {"tls_cert": str(files / "cert.pem"), "tls_key": str(files / "key.pem")}
    with serve_in_process(**settings, token_file=str(files / "tokens"), metrics="127.0.0.1:0") as server:
        yield server


def trust(files):
    return TLS(ca=(files / "ca.pem").read_bytes())


def matted(address, **options):
    with Client(address, patience=60, timeout=60, **options) as client:
        return len(list(client.matte([frame(1)])))


def test_the_right_token_over_tls_gets_in(guarded, files):
    assert matted(guarded.addresses[0], token=SECRET, tls=trust(files)) == 1


@pytest.mark.parametrize("token", ["", "wrong", SECRET[:-1], SECRET.upper(), OTHER, "lighting", "x" * 8000])
def test_any_other_does_not(guarded, files, token):
    """Missing, wrong, expired."""
    with capture_logs() as lines, pytest.raises(AuthenticationError, match="token") as refused:
        matted(guarded.addresses[0], token=token, tls=trust(files))
    told = str(refused.value) + str(lines)
    assert SECRET not in told
    assert OTHER not in told


METHODS = [
    "/fbamatte.rpc.v1.Matting/Matte",
    "/fbamatte.rpc.v1.Matting/ListModels",
    "/fbamatte.rpc.v1.Matting/GetServerInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/fbamatte.rpc.v1.Matting/NoSuchMethod",
]
HEADERS = [
    [],
    [("authorization", "Bearer")],
    [("authorization", "Bearer ")],
    [("authorization", f"Basic {SECRET}")],
    [("authorization", SECRET)],
    [("authorization", "Bearer wrong"), ("x-authorization", f"Bearer {SECRET}")],
    [("authorization-bin", SECRET.encode())],
]


def test_no_method_and_no_header_gets_around_the_token(guarded, files):
    credentials = grpc.ssl_channel_credentials((files / "ca.pem").read_bytes())
    bypasses = 0
    with grpc.secure_channel(guarded.addresses[0], credentials) as channel:
        for method in METHODS:
            for metadata in HEADERS:
                call = channel.stream_stream(method)(iter([b""]), metadata=metadata, timeout=60)
                with pytest.raises(grpc.RpcError):
                    next(call)
                bypasses += call.code() is not grpc.StatusCode.UNAUTHENTICATED
    print(f"fault 17: {bypasses} bypasses of {len(METHODS) * len(HEADERS)}")
    assert bypasses == 0


def test_health_needs_no_token(guarded, files):
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    credentials = grpc.ssl_channel_credentials((files / "ca.pem").read_bytes())
    with grpc.secure_channel(guarded.addresses[0], credentials) as channel:
        assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()).status == 1


def test_plaintext_to_tls_and_a_wrong_authority_fail_in_the_handshake(guarded):
    with raw(guarded.addresses[0], timeout=60) as stream:
        assert stream.status() is grpc.StatusCode.UNAVAILABLE
    stranger = grpc.ssl_channel_credentials(_pem(trustme.CA().cert_pem))
    with grpc.secure_channel(guarded.addresses[0], stranger) as channel:
        assert RawStream(channel, timeout=60).status() is grpc.StatusCode.UNAVAILABLE


def test_client_certificates_replace_tokens(files, authority):
    tls = {"tls_cert": str(files / "cert.pem"), "tls_key": str(files / "key.pem")}
    with serve_in_process(**tls, tls_client_ca=str(files / "ca.pem")) as server:
        ours = authority.issue_cert("artist@example.com", common_name="artist")
        theirs = trustme.CA().issue_cert("mallory@example.com")
        for certificate, good in ((ours, True), (theirs, False), (None, False)):
            credentials = grpc.ssl_channel_credentials(
                (files / "ca.pem").read_bytes(),
                certificate and _pem(certificate.private_key_pem),
                certificate and _pem(certificate.cert_chain_pems[0]),
            )
            with grpc.secure_channel(server.addresses[0], credentials) as channel:
                stream = RawStream(channel, timeout=60)
                if good:
                    stream.send(*messages(frame(1)))
                    assert stream.answers(1) == {"k1": "OK"}
                else:
                    assert stream.status() is grpc.StatusCode.UNAVAILABLE
        assert server.desk.watcher.recent()[0].caller == "artist"


def test_a_renewed_certificate_needs_no_restart(tmp_path, authority):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def issue(by):
        own = by.issue_cert("127.0.0.1")
        own.private_key_pem.write_to_path(key)
        own.cert_chain_pems[0].write_to_path(cert)
        os.utime(cert, ns=(time.time_ns(), time.time_ns()))

    issue(authority)
    with serve_in_process(tls_cert=str(cert), tls_key=str(key)) as server:
        assert matted(server.addresses[0], tls=TLS(ca=_pem(authority.cert_pem))) == 1
        other = trustme.CA()
        issue(other)
        assert matted(server.addresses[0], tls=TLS(ca=_pem(other.cert_pem))) == 1


def test_tokens_are_taken_in_and_thrown_out_while_it_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(tokens_module, "_RELOAD_SECONDS", 0.0)
    file = tmp_path / "tokens"
    file.write_text(f"a {SECRET}\n")
    with serve_in_process(token_file=str(file)) as server:
        assert matted(server.addresses[0], token=SECRET) == 1
        file.write_text(f"b {OTHER} # new\n")
        assert matted(server.addresses[0], token=OTHER) == 1
        with pytest.raises(AuthenticationError):
            matted(server.addresses[0], token=SECRET)


def test_no_token_is_in_the_log_of_a_server_that_says_everything(tmp_path):
    file = tmp_path / "tokens"
    file.write_text(f"a {SECRET}\n")
    file.chmod(0o600)
    with running_server(f"--token-file={file}", "--log-level=debug", environment={"GRPC_VERBOSITY": "info"}) as server:
        assert matted(server.address, token=SECRET) == 1
        with pytest.raises(AuthenticationError):
            matted(server.address, token=OTHER)
        log = server.log.read_text()
    assert "call refused" in log
    assert SECRET not in log
    assert OTHER not in log


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_an_hour_off_changes_no_deadline(monkeypatch, hours):
    """Deadlines are monotonic; of the wall clock only an expiry knows, and allows five minutes."""
    with serve_in_process(models=("testing-sleep-0.1",)) as server, raw(server.addresses[0], timeout=600) as stream:
        real = time.time
        stream.send(*messages(frame(1), timeout_ms=600_000))
        monkeypatch.setattr(time, "time", lambda: real() + hours * 3600)
        stream.send(*messages(frame(2), timeout_ms=600_000))
        assert stream.answers(2) == {"k1": "OK", "k2": "OK"}
    print(f"fault 17: clock {hours:+d} h: 2 of 2 frames; skew tolerance {tokens_module.SKEW_SECONDS:.0f} s")


PATHS = [
    "../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "/etc/passwd",
    "/proc/self/environ",
    "file:///etc/passwd",
    "\\\\server\\share\\model.pth",
    "//server/share/model.pth",
    "C:\\models\\fba.pth",
    "~/model.pth",
    "testing-null/../../../etc/passwd",
    "./testing-null",
    "testing-null ",
    "testing-null%00.pth",
    "${HOME}/x",
    "http://127.0.0.1:1/x.pth",
]


def test_no_request_reaches_a_file(tmp_path):
    """Fault 16: whatever looks like a path, in whatever field, is refused or only text."""
    link = tmp_path / "model.safetensors"
    link.symlink_to("/etc/passwd")
    escapes, tried = 0, [*PATHS, str(link)]
    with serve_in_process() as server, raw(server.addresses[0]) as stream:
        opened = _watch_opens()
        for number, path in enumerate(tried):
            stream.send(*messages(frame(number), key=f"m{number}", model=path))
            escapes += stream.answers(1)[f"m{number}"].code != "NOT_FOUND"
            # A name, a view, a colour space and a lease are text; none is opened.
            named = messages(frame(number), key=f"n{number}")
            named[0].header.info.name = named[0].header.info.view = path
            stream.send(*named)
            stream.answers(1)
            leased = messages(frame(number), key=f"l{number}")[:1]
            leased[0].header.payload, leased[0].header.lease = pb.PAYLOAD_KIND_SHARED_MEMORY, path
            stream.send(*leased)
            escapes += stream.answers(1)[f"l{number}"].code != "INVALID_ARGUMENT"
        escapes += sum(any(path in name for path in tried) or "passwd" in name for name in opened())
        stream.send(*messages(frame(0), key="nul", model="a\0b"))
        assert stream.answers(1)["nul"].code == "INVALID_ARGUMENT"
    print(f"fault 16: {escapes} escapes of {3 * len(tried) + 1}")
    assert escapes == 0


def _watch_opens():
    """Note every file that this process opens from now on; Python's own audit events."""
    import sys

    seen, on = [], [True]
    sys.addaudithook(lambda event, args: seen.append(str(args[0])) if on[0] and event == "open" else None)

    def stop():
        on[0] = False
        return seen

    return stop


# The status page.


def get(address, path, headers=None, context=None):
    make = http.client.HTTPSConnection if context else http.client.HTTPConnection
    connection = make(address, timeout=5, **({"context": context} if context else {}))
    connection.request("GET", path, headers=headers or {})
    return connection.getresponse()


def test_the_page_asks_for_the_token_and_metrics_on_this_machine_do_not(guarded):
    basic = base64.b64encode(f"anybody:{SECRET}".encode()).decode()
    assert get(guarded.metrics, "/metrics").status == 200
    assert get(guarded.metrics, "/").status == 401
    assert get(guarded.metrics, "/status.json", {"Authorization": "Bearer wrong"}).status == 401
    assert get(guarded.metrics, "/status.json", {"Authorization": "Basic !!"}).status == 401
    assert get(guarded.metrics, "/status.json", {"Authorization": f"Bearer {SECRET}"}).status == 200
    assert get(guarded.metrics, "/", {"Authorization": f"Basic {basic}"}).status == 200


def test_a_foreign_page_cannot_look_in_through_a_name_of_its_own(guarded):
    assert get(guarded.metrics, "/metrics", {"Host": "evil.example"}).status == 403
    answer = get(guarded.metrics, "/metrics")
    assert "default-src 'none'" in answer.getheader("Content-Security-Policy")
    assert answer.getheader("X-Content-Type-Options") == "nosniff"


@pytest.mark.parametrize("path", ["/../server.py", "/..%2fserver.py", "/page/../../server.py", "/thumbnails/../x.jpg"])
def test_the_page_serves_its_own_files_only(guarded, path):
    assert get(guarded.metrics, path, {"Authorization": f"Bearer {SECRET}"}).status == 404


def test_the_page_reached_from_elsewhere_speaks_tls(files, monkeypatch):
    tls = {"tls_cert": str(files / "cert.pem"), "tls_key": str(files / "key.pem")}
    with serve_in_process(**tls, token_file=str(files / "tokens"), metrics="0.0.0.0:0") as server:
        port = server.metrics.rsplit(":", 1)[1]
        context = ssl.create_default_context(cafile=str(files / "ca.pem"))
        assert get(f"127.0.0.1:{port}", "/metrics", context=context).status == 401
        bearer = {"Authorization": f"Bearer {SECRET}"}
        assert get(f"127.0.0.1:{port}", "/metrics", bearer, context).status == 200
        with pytest.raises(OSError, match=r"."):
            get(f"127.0.0.1:{port}", "/metrics", bearer)


def _pem(blob):
    return blob.bytes()


def test_the_stand_ins_are_not_offered_unless_asked_for():
    from fbamatte.serving.catalogue import Catalogue

    assert not [name for name in Catalogue.of_registry().names() if name.startswith("testing")]
