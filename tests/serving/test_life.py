"""The life of a server as a process: start, serve, drain, stop."""

import argparse
import json
import logging
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import psutil
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

import fbamatte.testing
from fbamatte import cli
from fbamatte.errors import UnavailableError
from fbamatte.models import devices
from fbamatte.rpc.client import Client
from fbamatte.serving.process import Ready
from fbamatte.serving.settings import ServerSettings
from fbamatte.settings import add_flags
from fbamatte.testing import running_server, serve_in_process
from serving.helpers import frame, messages, raw, wait_until

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "fbamatte", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        **options,
    )


def test_from_start_to_stop(tmp_path):
    """Health says SERVING only when the ready file is there; SIGTERM ends it in order; nothing stays behind."""
    path = tmp_path / "s.sock"
    with running_server("--listen=127.0.0.1:0", f"--listen=unix:{path}", "--metrics=127.0.0.1:0") as server:
        assert server.ready.pid == server.process.pid
        assert [address.split(":")[0] for address in server.ready.addresses] == ["127.0.0.1", "unix"]
        assert int(server.metrics.rsplit(":", 1)[1]) > 0
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for address in server.ready.addresses:
            with grpc.insecure_channel(address) as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                for name in ("", "fbamatte.rpc.v1.Matting"):
                    assert stub.Check(health_pb2.HealthCheckRequest(service=name)).status == SERVING
            with Client(address) as client:
                assert len(list(client.matte([frame(1)]))) == 1
        server.process.send_signal(signal.SIGHUP)
        with Client(f"unix:{path}") as client:
            assert client.server_info().frames_done == 2
        server.process.terminate()
        assert server.process.wait(60) == 0
        assert not path.exists()
        assert not list(server.log.parent.glob("*ready*"))


def test_not_serving_until_warm(monkeypatch):
    """A model that takes a while to load: the port answers, health says no, frames are refused."""
    made, seen, warm = [], [], threading.Event()

    class Noted(fbamatte.testing.Server):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    def health(server):
        with grpc.insecure_channel(server.addresses[0]) as channel:
            return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()).status

    def look():
        wait_until(lambda: made and made[0].addresses)
        seen.append(health(made[0]))
        with raw(made[0].addresses[0]) as stream:
            seen.append(stream.status())
        warm.set()

    monkeypatch.setattr(fbamatte.testing, "Server", Noted)
    looking = threading.Thread(target=look)
    looking.start()
    with serve_in_process(on_load=lambda _: warm.wait(60)) as server:
        looking.join(60)
        seen.append(health(server))
    assert seen == [NOT_SERVING, grpc.StatusCode.UNAVAILABLE, SERVING]


def test_draining_finishes_what_is_in_flight_and_refuses_the_rest():
    """Fault 19: SIGTERM under load."""
    with running_server(models=["testing-sleep-0.2"]) as server, raw(server.address) as stream:
        for number in range(6):
            stream.send(*messages(frame(number)))
        stream.answers(1)
        with grpc.insecure_channel(server.address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert next(watch).status == SERVING
            begin = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert next(watch).status == NOT_SERVING
            noticed = time.monotonic() - begin
            watch.cancel()
        stream.send(*messages(frame(99)))
        answers = stream.all_answers()
        assert stream.call.code() is grpc.StatusCode.UNAVAILABLE
        assert server.process.wait(60) == 0
        took = time.monotonic() - begin
    completed = sum(answer == "OK" for answer in answers.values())
    print(f"fault 19: NOT_SERVING after {noticed:.2f} s, {completed} of 5 in flight completed, exit after {took:.1f} s")
    assert completed == 5
    assert "k99" not in answers or answers["k99"].code == "UNAVAILABLE"


def test_a_second_signal_ends_it_now():
    with running_server(models=["testing-late-600"]) as server, raw(server.address) as stream:
        stream.send(*messages(frame(1)))
        with Client(server.address) as client:
            wait_until(lambda: client.server_info().devices[0].running == 1)
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert server.process.poll() is None
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 130
        took = time.monotonic() - begin
    # In order it would have ended with 0, after the estimate.
    print(f"fault 19: second signal: exit after {took:.2f} s")


def test_a_drain_has_a_deadline():
    with (
        serve_in_process(drain_timeout=0.5, models=["testing-polling-3600"]) as server,
        raw(server.addresses[0]) as stream,
    ):
        stream.send(*messages(frame(1)))
        wait_until(lambda: server.scheduler.workers[0].running == 1)
        server.stop()
        assert server.stopped.wait(60)
        assert stream.status() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def test_it_ends_when_idle():
    with serve_in_process(idle_timeout=600.0) as server:
        with raw(server.addresses[0]) as stream:
            stream.send(*messages(frame(1)))
            stream.answers(1)
            # Only now, for who knows how long that took.
            object.__setattr__(server.settings, "idle_timeout", 0.1)
            time.sleep(0.6)
            assert not server.stopped.is_set(), "a stream is open"
        assert server.stopped.wait(60)


def test_it_ends_with_its_owner():
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        with serve_in_process(owner=owner.pid) as server:
            time.sleep(0.6)
            assert not server.stopped.is_set()
            # killed and not waited for, as by a farm that is killed itself
            owner.kill()
            assert server.stopped.wait(60)
    finally:
        owner.kill()
        owner.wait()


def test_detach_returns_when_it_serves_and_stop_is_idempotent(tmp_path):
    ready, log = tmp_path / "ready.json", tmp_path / "log"
    start = ["serve", "--testing", "--model=testing-null", "--listen=127.0.0.1:0", f"--ready-file={ready}"]
    # A pipe that the server inherited would keep this call waiting until it gives up.
    done = command(*start, "--detach", f"--log={log}", env={**os.environ, "FBAMATTE_LOG_FORMAT": "json"})
    assert done.returncode == 0, done.stderr
    told = Ready.read(ready)
    process = psutil.Process(told.pid)
    try:
        assert str(told.pid) in done.stdout
        assert os.getsid(told.pid) == told.pid
        with Client(told.addresses[0]) as client:
            assert len(list(client.matte([frame(1)]))) == 1
        again = command(*start, "--detach")
        assert again.returncode == 2
        assert f"runs as process {told.pid}" in again.stderr
        assert command("serve", "--stop", f"--ready-file={ready}").returncode == 0
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    finally:
        if process.is_running():
            process.kill()
    assert not ready.exists()
    second = command("serve", "--stop", f"--ready-file={ready}")
    assert (second.returncode, second.stdout) == (0, "there was no server to stop\n")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines][-1] == "stopped"


def test_a_ready_file_of_a_process_that_is_gone_is_not_believed(tmp_path):
    ready = tmp_path / "ready.json"
    # the id of a living process that was started at another time
    Ready(os.getpid(), 1.0, ["127.0.0.1:1"], "", "0").write(ready)
    assert command("serve", "--stop", f"--ready-file={ready}").returncode == 0
    assert not ready.exists()


def test_detach_tells_why_it_failed(tmp_path):
    log = tmp_path / "log"
    done = command("serve", "--listen=0.0.0.0:0", "--detach", f"--ready-file={tmp_path / 'ready'}", f"--log={log}")
    assert done.returncode == 2, "as without --detach: trying again would not help"
    assert "can be reached from other machines" in done.stderr


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--listen=0.0.0.0:0"], 2, "needs --tls-cert and --tls-key.*--token-file or --tls-client-ca"),
        (["--metrics=0.0.0.0:0"], 2, "--metrics 0.0.0.0:0 can be reached"),
        (["--listen=nonsense"], 2, "no address"),
        (["--model=no-such-model"], 2, "no model called 'no-such-model'"),
        (["--token-file=/no/such/file"], 2, "token file cannot be read"),
        (["--owner=999999999"], 2, "no such process"),
        (["--device=cpu", "--device=cpu"], 2, "named twice"),
        (["--detach"], 2, "needs --ready-file"),
        (["--stop"], 2, "needs --ready-file"),
        (["--model=testing-null"], 2, "no model called"),
    ],
)
def test_it_refuses_to_start_and_says_why(flags, code, words, capfd):
    assert served(*flags) == code
    told = capfd.readouterr().err
    assert re.search(words, told), told
    assert "Traceback" not in told


def test_a_precision_that_the_processor_lacks_is_found_at_the_start(capfd, monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "computes_bf16", lambda: False)
    ready = tmp_path / "ready.json"
    assert served("--device=cpu", "--precision=bf16", f"--ready-file={ready}") == 2
    told = capfd.readouterr().err
    assert "use --precision auto or fp32" in told
    assert "Traceback" not in told
    assert not ready.exists()


def served(*flags):
    """Serve in this process, which does not come back but for a refusal, and return its exit code."""
    before = [signal.getsignal(number) for number in SIGNALS]
    try:
        return cli.main(["serve", "--listen=127.0.0.1:0", *flags])
    finally:
        for number, handler in zip(SIGNALS, before):
            signal.signal(number, handler)
        structlog.reset_defaults()
        logging.root.handlers.clear()


def test_an_address_in_use_is_not_shared():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(UnavailableError, match="in use"), serve_in_process(listen=(taken,)):
            pass
        with pytest.raises(UnavailableError, match="in use"), serve_in_process(metrics=taken):
            pass


def test_the_settings_of_the_unit_are_flags():
    """The systemd unit in docs/ starts the server with flags that it has."""
    unit = Path(__file__).parents[2] / "docs" / "fbamatte.service"
    words = next(line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")).split()[1:]
    parser = argparse.ArgumentParser()
    add_flags(parser, ServerSettings)
    assert words[0] == "serve"
    parser.parse_args(words[1:])
