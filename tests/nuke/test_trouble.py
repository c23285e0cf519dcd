"""What goes wrong with servers: the node says what failed, on which frame and what to do, and goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nuke_standin.driver import press

import fbamatte
from fbamatte.testing import RunningServer, running_server, serve_in_process
from nuke_session import dialogs, status, works_again

PLUGIN = Path(__file__).resolve().parents[2] / "nuke_plugin"
SLEEP = "testing-sleep-0.5"


@pytest.fixture(name="address")
def fixture_address(other_process: RunningServer) -> str:
    return other_process.address


def test_server_down(node: Any, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    press(node, "render_current")
    monkeypatch.setenv("FBAMATTE_PATIENCE", "0.5")
    node["server"].setValue("127.0.0.1:1")
    job = press(node)
    assert job.outcome.state == "failed"
    assert job.outcome.exit_code == 75
    assert "FBA1, frame 1002" in status(node)
    assert "127.0.0.1:1" in status(node)
    assert "Start the server (fbamatte serve)" in status(node)
    assert list(job.outcome.failed) == [job.tasks[1]], "the range stops where nothing further can succeed"
    assert "cached 1001" in status(node)
    assert not dialogs(), "a modal dialog from a thread would freeze Nuke"
    monkeypatch.delenv("FBAMATTE_PATIENCE")
    node["server"].setValue(address)
    works_again(node, finished=2, kept=1)


def test_connection_test_names_the_cause(node: Any) -> None:
    for address, words in (
        ("127.0.0.1:1", "nothing listens on port 1. Start the server"),
        ("no-such-machine.invalid:50051", "no machine is called"),
        ("unix:/nowhere/fbamatte.sock", "no socket"),
    ):
        node["server"].setValue(address)
        press(node, "test_connection")
        assert words in dialogs()[-1]
        assert words in status(node)
    node["server"].setValue("nonsense")
    press(node, "test_connection")
    assert "'nonsense' is no address" in dialogs()[-1]


def test_server_killed_in_the_middle_of_a_frame(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from nuke_standin import runtime

    with running_server(models=("testing-null", SLEEP)) as doomed:
        node["server"].setValue(doomed.address)
        node["model"].setValue(SLEEP)

        def kill(job: Any) -> None:
            runtime.pump(lambda: len(job.outcome.finished) == 1 and job.outcome.current == job.tasks[1])
            doomed.process.send_signal(signal.SIGKILL)

        monkeypatch.setenv("FBAMATTE_PATIENCE", "0.5")
        job = press(node, during=kill)
    assert job.outcome.state == "failed"
    assert "FBA1, frame 1002" in status(node)
    assert "render again" in status(node)
    assert status(node).startswith("cached 1001")
    folder = Path(node["run_folder"].value())
    assert sorted(path.name for path in folder.rglob("*.exr")) == ["fba.1001.exr"]
    assert not list(folder.rglob("*.part"))
    monkeypatch.setenv("FBAMATTE_PATIENCE", "20")
    with running_server(f"--listen={doomed.address}", models=(SLEEP,)):
        works_again(node, finished=2, kept=1)


def test_wrong_and_missing_token(node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "correct-horse-battery-staple"
    tokens = tmp_path / "tokens"
    tokens.write_text(f"artist {secret}\n")
    tokens.chmod(0o600)
    with serve_in_process(token_file=str(tokens)) as server:
        node["server"].setValue(server.addresses[0])
        for token in ("", "wrong"):
            monkeypatch.setenv("FBAMATTE_TOKEN", token)
            job = press(node)
            assert job.outcome.state == "failed"
            assert len(job.outcome.failed) == 1
            assert "FBA1, frame 1001" in status(node)
            assert "Put the right token into FBAMATTE_TOKEN or the FBA preferences" in status(node)
        own = tmp_path / "token"
        own.write_text(secret + "\n")
        monkeypatch.delenv("FBAMATTE_TOKEN")
        monkeypatch.setenv("FBAMATTE_TOKEN_FILE", str(own))
        works_again(node, finished=3, kept=0)
    import nuke

    nuke.scriptSaveAs(str(tmp_path / "saved.nk"))
    assert secret not in (tmp_path / "saved.nk").read_text()
    run = Path(node["run_folder"].value())
    assert all(secret.encode() not in path.read_bytes() for path in run.rglob("*") if path.is_file())


def test_model_that_the_server_does_not_have(node: Any) -> None:
    node["model"].setValue("sausage")
    job = press(node)
    assert job.outcome.state == "failed"
    assert len(job.outcome.failed) == 1
    assert "sausage" in status(node)
    assert "Choose a model that the server has" in status(node)
    node["model"].setValue("")
    works_again(node, finished=3, kept=0)


def test_interpreter_without_wheels(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fbamatte, "rpc", fbamatte.rpc)  # which the imports to come bind to another package
    for name in [name for name in sys.modules if name.startswith(("grpc", "fbamatte.rpc"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "grpc", None)
    assert press(node) is None
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert f"gRPC does not load in this Nuke's Python {version}" in status(node)
    assert f"Run python3 install.py nuke --nuke-python {version}, or set bridge_python" in status(node)
    monkeypatch.setenv("FBAMATTE_PYTHON", sys.executable)
    works_again(node, finished=3, kept=0)


def test_interpreter_that_has_nothing_at_all() -> None:
    """A bare interpreter, no site-packages: the same words, from the real import failing."""
    code = (
        f"import sys; sys.path.append({str(PLUGIN)!r})\n"
        "from fbamatte_nuke import preferences, transport\n"
        "try:\n"
        "    transport.connect('127.0.0.1:1', preferences.Preferences())\n"
        "except transport.Problem as problem:\n"
        "    print(problem)\n"
    )
    found = subprocess.run(
        [sys.executable, "-S", "-E", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "gRPC does not load" in found.stdout
    assert "ModuleNotFoundError" in found.stdout


def test_server_out_of_memory(node: Any) -> None:
    """A server with too little memory for any frame says so at once, for every frame."""
    with serve_in_process(memory=1000) as server:
        node["server"].setValue(server.addresses[0])
        job = press(node)
    assert [task.frame for task in job.outcome.failed] == [1001, 1002, 1003]
    assert "FBA1, frame 1001: needs about" in status(node)
    assert "use a smaller plate or another server" in status(node)


def test_a_model_out_of_memory_once_is_tried_again(node: Any) -> None:
    """As when another program took the GPU's memory for a moment."""
    with serve_in_process(models=("testing-memory-3",)) as server:
        node["server"].setValue(server.addresses[0])
        works_again(node, finished=3, kept=0)


def test_meanwhile_one_can_see_where_a_frame_is(node: Any) -> None:
    from nuke_standin import runtime

    node["model"].setValue(SLEEP)
    stages: list[str] = []

    def look(job: Any) -> None:
        def over() -> bool:
            if job.outcome.stage and job.outcome.stage not in stages:
                stages.append(job.outcome.stage)
            return job.outcome.state not in {"waiting", "running"}

        runtime.pump(over)

    press(node, during=look)
    assert "estimating" in stages
    assert any("estimating" in message for message in runtime.state.progress[0]._messages)
