"""The bridge: another Python speaks gRPC, lines of JSON go over its pipes. Real processes, a real server."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fbamatte.serving.server import Server
from fbamatte.testing import serve_in_process
from fbamatte_nuke import transport
from fbamatte_nuke.preferences import Preferences
from fbamatte_nuke.problems import Cancelled, Problem

SLEEP = "testing-sleep-1"


@pytest.fixture(name="server", scope="module")
def fixture_server() -> Iterator[Server]:
    with serve_in_process(models=("testing-null", SLEEP)) as server:
        yield server


@pytest.fixture(name="line")
def fixture_line(server: Server, preferences_file: Path) -> Iterator[transport.Transport]:
    chosen = Preferences(mode="bridge", bridge_python=sys.executable, patience=1.0)
    yield transport.connect(server.addresses[0], chosen)
    transport.disconnect()


@pytest.fixture(name="request_")
def fixture_request(tmp_path: Path) -> transport.Request:
    from nuke_standin import trees

    trees.write_exr(tmp_path / "plate.exr", trees.plate_pixels(1))
    trimap = np.repeat(np.linspace(0, 1, 3, dtype=np.float32), trees.WIDTH // 3)
    trees.write_exr(tmp_path / "trimap.exr", {"A": np.tile(trimap, (trees.HEIGHT, 1))})
    files = (tmp_path / "plate.exr", tmp_path / "trimap.exr", tmp_path / "out.exr")
    return transport.Request(*files, 7, "", "FBA1", "FBA1, frame 7", {"model": "testing-null"})


def slowly(request: transport.Request) -> transport.Request:
    return dataclasses.replace(request, settings={"model": SLEEP})


def worker(line: transport.Transport) -> subprocess.Popen[str]:
    process: subprocess.Popen[str] = line._line._process
    return process


def test_same_bytes_as_in_process(line: transport.Transport, request_: transport.Request, server: Server) -> None:
    assert line.kind == "bridge"
    made = line.matte(request_, lambda: False)
    assert made["model"] == "testing-null"
    through_bridge = request_.target.read_bytes()
    here = transport.connect(server.addresses[0], Preferences(mode="in-process"))
    here.matte(request_, lambda: False)
    assert here.kind == "in-process"
    from nuke_standin import exr

    from fbamatte_nuke import exrfile

    exrfile.check(request_.target)
    ends = [exr.attributes(data)[1] for data in (through_bridge, request_.target.read_bytes())]
    # The header says how long it took; the pixels behind it are the same.
    assert through_bridge[ends[0] :][-4000:] == request_.target.read_bytes()[ends[1] :][-4000:]


def test_a_whole_range_through_the_node(
    begin: Callable[..., Any], tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nuke_standin import app, runtime, trees

    from fbamatte_nuke.jobs import the_queue

    monkeypatch.setenv("FBAMATTE_NUKE_MODE", "bridge")
    monkeypatch.setenv("FBAMATTE_PYTHON", sys.executable)
    # What Nuke sets for its own interpreter would break another.
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    begin()
    node = trees.tree(tmp_path / "shot")
    node["server"].setValue(server.addresses[0])
    app.press(node, "render_range")
    runtime.pump(lambda: not the_queue.active())
    runtime.drain()
    assert node["status"].value() == "cached 1001-1003"


def test_progress_information_and_diagnosis_come_through(
    line: transport.Transport, request_: transport.Request
) -> None:
    stages: list[tuple[str, float]] = []
    line.matte(slowly(request_), lambda: False, lambda stage, share: stages.append((stage, share)))
    assert {"estimating"} <= {stage for stage, _ in stages}
    info = line.info()
    assert {model["name"] for model in info["models"]} == {"testing-null", SLEEP}
    assert line.diagnose()["ok"]


def test_the_token_is_neither_in_arguments_nor_in_the_environment(
    server: Server, preferences_file: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    secret.write_text("correct-horse-battery-staple")
    chosen = Preferences(mode="bridge", bridge_python=sys.executable, token_file=str(secret))
    process = Path(f"/proc/{worker(transport.connect(server.addresses[0], chosen)).pid}")
    for name in ("cmdline", "environ"):
        assert b"correct-horse" not in (process / name).read_bytes()


def test_errors_keep_their_meaning(line: transport.Transport, request_: transport.Request) -> None:
    request_.settings["model"] = "sausage"
    with pytest.raises(Problem, match="sausage") as found:
        line.matte(request_, lambda: False)
    assert found.value.status == "NOT_FOUND"
    assert found.value.fatal
    request_.settings["model"] = "testing-null"
    request_.target.symlink_to("/dev/full")
    with pytest.raises(Problem, match="the disk is full"):
        line.matte(request_, lambda: False)


def test_cancel_reaches_the_other_side(line: transport.Transport, request_: transport.Request) -> None:
    started = time.monotonic()
    with pytest.raises(Cancelled):
        line.matte(slowly(request_), lambda: True)
    assert time.monotonic() - started < 0.9
    assert not request_.target.exists()
    line.matte(request_, lambda: False)


def test_a_worker_that_dies_is_told_of_and_started_again(
    line: transport.Transport, request_: transport.Request
) -> None:
    first = worker(line).pid

    def kill() -> bool:
        if worker(line).pid == first and worker(line).poll() is None:
            os.kill(first, signal.SIGKILL)
        return False

    with pytest.raises(Problem, match=r"the bridge .* has ended"):
        line.matte(slowly(request_), kill)
    assert line.matte(request_, lambda: False)["model"] == "testing-null"
    assert worker(line).pid != first


def test_it_ends_with_nuke(line: transport.Transport) -> None:
    process = worker(line)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(20) == 0


@pytest.mark.parametrize("kind", ["missing", "empty", "none"])
def test_a_python_that_will_not_do(kind: str, tmp_path: Path, preferences_file: Path) -> None:
    python = "/nowhere/python"
    if kind == "empty":
        venv.create(tmp_path / "venv", with_pip=False)
        python = str(tmp_path / "venv" / "bin" / "python")
    elif kind == "none":
        python = ""
    words = {
        "missing": "/nowhere/python does not start: No such file",
        "empty": "cannot load it: ModuleNotFoundError: .*Install fbamatte into that Python",
        "none": "the bridge has no interpreter. Set FBAMATTE_PYTHON or bridge_python",
    }[kind]
    with pytest.raises(Problem) as found:
        transport.connect("127.0.0.1:1", Preferences(mode="bridge", bridge_python=python))
    assert re.search(words, str(found.value)), found.value
