"""Several plain servers behind nginx and HAProxy, by the very configurations that the documentation gives."""

import os
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
import trustme

from fbamatte.errors import AuthenticationError, UnavailableError
from fbamatte.frame import Frame
from fbamatte.rpc.client import TLS, Client
from fbamatte.testing import running_server, serve_in_process

CONFIGURATIONS = Path(__file__).parents[2] / "docs" / "balancing"
PROXIES = {
    "nginx": ("nginx.conf", lambda config: ["nginx", "-p", config.parent, "-c", config, "-g", "daemon off;"]),
    "haproxy": ("haproxy.cfg", lambda config: ["haproxy", "-db", "-f", config]),
}
TOKEN = "a-token-of-the-studio"


def search_path():
    """Debian keeps both where only root looks."""
    return os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"


@pytest.fixture(params=PROXIES)
def proxy(request, tmp_path):
    """Return what starts a proxy by its name in front of some servers."""
    name = request.param
    if shutil.which(name, path=search_path()) is None:
        pytest.skip(f"{name} is not installed")

    @contextmanager
    def run(servers, tls=None):
        file, command = PROXIES[name]
        file = file.replace(".c", "-tls-token.c") if tls else file
        port = free_port()
        config = tmp_path / file
        config.write_text(adapted((CONFIGURATIONS / file).read_text(), servers, port))
        if tls:
            tls.write(tmp_path)
        arguments = [str(part) for part in command(config)]
        arguments[0] = shutil.which(name, path=search_path())
        process = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            wait_for(port, process)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)

    return run


def adapted(text, servers, port):
    """Put a test's addresses where the documentation has names; everything else stays."""
    for name, address in zip(("gpu1:50051", "gpu2:50051"), servers, strict=True):
        assert name in text
        text = text.replace(name, address)
    assert ("listen 50050" in text) != ("bind :50050" in text)
    return text.replace("listen 50050", f"listen 127.0.0.1:{port}").replace("bind :50050", f"bind 127.0.0.1:{port}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, process):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stdout.read()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("the proxy does not listen")


def frame(number, height=120):
    """About 3 MB as planes, which proxies do not buffer away as they would a kilobyte."""
    rng = np.random.default_rng(number)
    trimap = np.tile(np.clip(np.linspace(-1, 2, 1600, dtype=np.float32), 0, 1), (height, 1))
    return Frame(rng.random((height, 1600, 3), dtype=np.float32), trimap, number=number)


def count(address):
    with Client(address) as client:
        return client.server_info().frames_done


def test_the_less_busy_server_gets_more(proxy):
    """Forty calls, six at a time, to a fast and a slow server: taking turns would wait for the slow one."""
    with ExitStack() as stack:
        speeds = ("testing-sleep-0.02", "testing-sleep-0.3")
        servers = [stack.enter_context(serve_in_process(models=(speed,), lanes=1)) for speed in speeds]
        addresses = [server.addresses[0] for server in servers]
        address = stack.enter_context(proxy(addresses))

        def one(number):
            with Client(address) as client:
                return next(client.matte([frame(number, 8)])).number

        with ThreadPoolExecutor(6) as callers:
            assert sorted(callers.map(one, range(40))) == list(range(40))
        fast, slow = (count(each) for each in addresses)
        assert fast + slow == 40
        assert fast > 2 * slow


def test_a_killed_server_costs_no_frame(proxy):
    """Three callers with frames of 3 MB each, one of two servers killed in the middle."""
    with ExitStack() as stack:
        kept = stack.enter_context(serve_in_process(models=("testing-sleep-0.05",)))
        killed = stack.enter_context(running_server(models=("testing-sleep-0.05",)))
        address = stack.enter_context(proxy([kept.addresses[0], killed.address]))
        answered = Counter()
        lock = threading.Lock()

        def call(caller):
            with Client(address, patience=60) as client:
                for matte in client.matte(frame(caller * 100 + n) for n in range(16)):
                    np.testing.assert_allclose(matte.alpha, frame(0).trimap, atol=1e-6)
                    with lock:
                        answered[matte.number] += 1

        with ThreadPoolExecutor(3) as callers:
            calls = [callers.submit(call, n) for n in range(3)]
            while len(answered) < 6 and not any(each.done() for each in calls):
                time.sleep(0.01)
            had_work = count(killed.address) > 0
            killed.process.kill()
            for each in calls:
                each.result()
        assert had_work, "nothing is shown by killing a server without work"
        assert answered == Counter({c * 100 + n: 1 for c in range(3) for n in range(16)})


class Secrets:
    """Certificates and tokens as each proxy wants them."""

    def __init__(self):
        self.ca = trustme.CA()
        self._certificate = self.ca.issue_cert("127.0.0.1", "localhost")

    def write(self, folder):
        key = self._certificate.private_key_pem.bytes()
        chain = b"".join(blob.bytes() for blob in self._certificate.cert_chain_pems)
        # HAProxy wants both in one file, nginx takes that as well
        (folder / "server.pem").write_bytes(chain + key)
        (folder / "server.key").write_bytes(key)
        (folder / "tokens.conf").write_text(f'"Bearer {TOKEN}" 1;\n')
        (folder / "tokens.lst").write_text(f"Bearer {TOKEN}\n")

    @property
    def trust(self):
        return TLS(ca=self.ca.cert_pem.bytes())


def test_tls_and_token_in_front_of_servers_that_have_neither(proxy):
    secrets = Secrets()
    with ExitStack() as stack:
        servers = [stack.enter_context(serve_in_process(models=("testing-null",))) for _ in range(2)]
        address = stack.enter_context(proxy([server.addresses[0] for server in servers], secrets))
        with Client(address, TOKEN, secrets.trust) as client:
            assert {matte.number for matte in client.matte(frame(n) for n in range(4))} == set(range(4))
        for token in ("another-token", TOKEN + "x", TOKEN[:-1], None):
            with Client(address, token or "", secrets.trust, patience=60) as client, pytest.raises(AuthenticationError):
                next(client.matte([frame(1, 8)]))
        stranger = TLS(ca=trustme.CA().cert_pem.bytes())
        with Client(address, TOKEN, stranger, patience=1) as client, pytest.raises(UnavailableError):
            next(client.matte([frame(1, 8)]))
        with Client(address, "", patience=1) as client, pytest.raises(UnavailableError):
            next(client.matte([frame(1, 8)]))


def test_no_server_at_all_is_said_in_grpc(proxy):
    nowhere = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    with ExitStack() as stack:
        client = stack.enter_context(Client(stack.enter_context(proxy(nowhere)), patience=1))
        with pytest.raises(UnavailableError, match="no server"):
            next(client.matte([frame(1, 8)]))
