"""What goes wrong: the node says what failed, on which frame and what to do; nothing cached is lost; it goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nuke_standin.driver import press

from fbamatte.testing import RunningServer, running_server, serve_in_process

PLUGIN = Path(__file__).resolve().parents[2] / "nuke_plugin"
SLEEP = "testing-sleep-0.5"


@pytest.fixture(name="server", scope="module")
def fixture_server() -> Iterator[RunningServer]:
    with running_server(models=("testing-null", SLEEP)) as server:
        yield server


@pytest.fixture(name="node")
def fixture_node(
    begin: Callable[..., Any], tmp_path: Path, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> Any:
    from nuke_standin import trees

    begin()
    node = trees.tree(tmp_path / "shot")
    node["server"].setValue(server.address)
    return node


def status(node: Any) -> str:
    return str(node["status"].value())


def dialogs() -> list[str]:
    from nuke_standin import runtime

    return list(runtime.state.dialogs)


def works_again(node: Any, **counts: int) -> None:
    job = press(node)
    assert job.outcome.state == "done", job.outcome
    assert (len(job.outcome.finished), len(job.outcome.kept)) == (counts["finished"], counts["kept"])
    assert status(node) == "cached 1001-1003"


def test_server_down(node: Any, server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
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
    node["server"].setValue(server.address)
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


def test_full_disk_where_the_cache_is(node: Any) -> None:
    """The part of frame 1002 leads to /dev/full: every write to it fails as on a full disk."""
    from fbamatte_nuke import cache, key
    from fbamatte_nuke.node import FbaNode

    wrapped = FbaNode(node)
    run = cache.next_revision(wrapped.cache_base(), key.run_key(wrapped))
    part = run.part("main", 1002)
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    job = press(node)
    assert job.outcome.state == "failed"
    assert "FBA1, frame 1002" in status(node)
    assert "the disk is full. Make room or choose another cache folder" in status(node)
    assert status(node).startswith("cached 1001")
    assert len(job.outcome.failed) == 1
    works_again(node, finished=2, kept=1)


def test_full_disk_where_frames_are_exported(node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where the plate's export leads."""
    import tempfile

    full = tmp_path / "full"
    full.mkdir()
    (full / "plate.main.1001.exr").symlink_to("/dev/full")
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: str(full))
    job = press(node)
    monkeypatch.undo()
    assert job.outcome.state == "failed"
    assert "FBA1, frame 1001: exporting: the disk is full" in status(node)


def test_cache_folder_that_cannot_be_written(node: Any, tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("")
    node["cache_dir"].setValue((tmp_path / "a-file").as_posix())
    assert press(node) is None
    assert "FBA1: cache folder" in dialogs()[-1]
    assert "a-file" in status(node)
    node["cache_dir"].setValue("")
    works_again(node, finished=3, kept=0)


def test_empty_trimap(node: Any, tmp_path: Path) -> None:
    """The roto has left the picture on frame 1002."""
    import numpy as np
    from nuke_standin import app, trees

    empty = {"A": np.zeros((trees.HEIGHT, trees.WIDTH), np.float32)}
    trees.write_exr(tmp_path / "shot" / "roto.main.1002.exr", empty)
    job = press(node)
    assert job.outcome.state == "failed"
    assert [task.frame for task in job.outcome.finished] == [1001, 1003], "the other frames can be matted"
    assert "FBA1, frame 1002: the trimap is all background, so there is nothing to matte" in status(node)
    assert "Check the roto on this frame" in status(node)
    node["empty_trimap"].setValue("keep")
    works_again(node, finished=1, kept=2)
    assert not app.picture(node, 1002).channels["rgba.alpha"].any()


def test_missing_input(node: Any) -> None:
    roto = node.input(1)
    node.setInput(1, None)
    assert press(node) is None
    assert dialogs()[-1] == "FBA1: nothing is connected to roto.\n\nConnect a roto"
    assert status(node) == "failed: FBA1: nothing is connected to roto. Connect a roto"
    node.setInput(1, roto)
    works_again(node, finished=3, kept=0)


def test_missing_file_of_an_input(node: Any, tmp_path: Path) -> None:
    plate = tmp_path / "shot" / "plate.main.1002.exr"
    plate.rename(plate.with_suffix(".away"))
    job = press(node)
    assert [task.frame for task in job.outcome.finished] == [1001, 1003]
    assert "FBA1, frame 1002: Nuke could not render it: plate: " in status(node)
    assert "plate.main.1002.exr: No such file or directory" in status(node)
    plate.with_suffix(".away").rename(plate)
    works_again(node, finished=1, kept=2)


def test_plate_and_roto_of_different_size(node: Any, tmp_path: Path) -> None:
    """Nuke brings them together by itself: the trimap has the plate's windows, whatever the roto has."""
    import numpy as np
    from nuke_standin import trees

    large = np.zeros((200, 300), np.float32)
    large[150:180, 30:60] = 1
    for frame in trees.FRAMES:
        trees.write_exr(tmp_path / "shot" / f"roto.main.{frame}.exr", {"A": large})
    works_again(node, finished=3, kept=0)


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty"])
def test_unreadable_cache(node: Any, damage: str) -> None:
    from nuke_standin import app

    press(node)
    first = Path(node["run_folder"].value())
    path = first / "main" / "fba.1002.exr"
    data = path.read_bytes()
    path.write_bytes({"cut": data[: len(data) * 2 // 3], "garbage": b"nonsense" * 100, "empty": b""}[damage])
    press(node, "refresh_status")
    assert "cached 1001 1003" in status(node)
    assert f"failed: {path} cannot be read: it is " in status(node)
    assert "Render it again" in status(node)
    works_again(node, finished=1, kept=2)
    assert app.picture(node, 1002).channels["fba_fg.red"].any()
    assert Path(node["run_folder"].value()) != first, "Nuke may have read the damaged file: the name is not used again"


def test_interpreter_without_wheels(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_proxy_mode_is_refused(node: Any) -> None:
    from nuke_standin import runtime

    import nuke

    nuke.root()["proxy"].setValue(True)
    assert press(node) is None
    assert "proxy mode is on" in dialogs()[-1]
    assert "Turn proxy mode off" in status(node)
    assert not runtime.state.executed
    nuke.root()["proxy"].setValue(False)
    works_again(node, finished=3, kept=0)


def test_proxy_mode_switched_on_in_the_middle_is_refused_too(node: Any) -> None:
    from nuke_standin import runtime

    import nuke

    node["model"].setValue(SLEEP)

    def switch(job: Any) -> None:
        runtime.pump(lambda: len(job.outcome.finished) == 1)
        nuke.root()["proxy"].setValue(True)

    job = press(node, during=switch)
    assert job.outcome.state == "failed"
    assert "proxy mode is on" in job.outcome.stopped_by


def test_nuke_busy_with_a_render_of_its_own(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from nuke_standin import runtime

    from fbamatte_nuke import host

    monkeypatch.setattr(host, "BUSY_SECONDS", 0.3)
    runtime.state.executing = True
    job = press(node)
    assert "Nuke is rendering something else" in next(iter(job.outcome.failed.values()))
    runtime.state.executing = False
    works_again(node, finished=3, kept=0)


def test_frame_ranges_that_are_none(node: Any) -> None:
    for text, words in (("1001-", "is no frame range"), ("1003-1001", "runs backwards"), ("1001-1003x0", "step of 0")):
        node["frame_range"].setValue(text)
        assert press(node) is None
        assert words in dialogs()[-1]
    node["frame_range"].setValue("1002")
    assert len(press(node).outcome.finished) == 1


def test_a_view_that_is_not_there(node: Any) -> None:
    node["render_views"].setValue("left")
    assert press(node) is None
    assert dialogs()[-1] == "FBA1: the script has no view left.\n\nIts views: main"


def test_damaged_preferences(node: Any, preferences_file: Path) -> None:
    preferences_file.parent.mkdir(parents=True)
    preferences_file.write_text("{")
    assert press(node) is None
    assert "Correct the preferences file or delete it" in dialogs()[-1]
    preferences_file.write_text('{"timeout": "soon"}')
    assert press(node) is None
    assert "timeout 'soon' is no number of seconds" in dialogs()[-1]
    preferences_file.unlink()
    works_again(node, finished=3, kept=0)


def test_pressing_twice_does_not_matte_twice(node: Any) -> None:
    from nuke_standin import app

    node["model"].setValue(SLEEP)
    job = press(node, during=lambda _: app.press(node, "render_range"))
    assert "is being matted already" in dialogs()[-1]
    assert job.outcome.state == "done"


def test_a_mistake_of_the_plugin_ends_in_words_too(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fbamatte_nuke import key

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(key, "files", broken)
    job = press(node)
    assert job.outcome.state == "failed"
    assert "FBA1, frame 1001: ZeroDivisionError: oops" in status(node)


@pytest.mark.parametrize("how", ["deleted", "closed"])
def test_a_node_that_is_gone_in_the_middle(node: Any, how: str) -> None:
    from nuke_standin import runtime

    import nuke

    node["model"].setValue(SLEEP)

    def away(job: Any) -> None:
        runtime.pump(lambda: len(job.outcome.finished) == 1)
        nuke.delete(node) if how == "deleted" else nuke.scriptClear()

    job = press(node, during=away)
    assert job.outcome.state == "failed"
    assert job.outcome.stopped_by == "FBA1 is no more, so its range ends here"
    assert not runtime.state.printed
    assert job.target.look("main", 1001).state == "cached"


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
