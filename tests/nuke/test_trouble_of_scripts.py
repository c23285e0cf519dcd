"""What goes wrong in the script and on its disks: the node says what and where; nothing cached is lost; it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nuke_standin.driver import press

from fbamatte.testing import RunningServer
from nuke_session import dialogs, status, works_again

SLEEP = "testing-sleep-0.5"


@pytest.fixture(name="address")
def fixture_address(other_process: RunningServer) -> str:
    return other_process.address


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
