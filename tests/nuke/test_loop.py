"""The loop around the frames: kept, stale, cancelled, asked for; a free interface, a farm without the plug-in."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuke_standin.driver import press

from fbamatte.serving.server import Server
from nuke_session import SLOW, SLOW_MODEL, cached, exr


def test_what_is_cached_and_right_is_kept(node: Any) -> None:
    press(node)
    job = press(node)
    assert not job.outcome.finished
    assert len(job.outcome.kept) == 3
    cached(node, 1002).unlink()
    job = press(node)
    assert [task.frame for task in job.outcome.finished] == [1002]


@pytest.mark.parametrize("what", ["knob", "plate", "upstream", "linked", "model"])
def test_a_change_gives_another_path(node: Any, what: str) -> None:
    from nuke_standin import app

    import nuke

    grade = nuke.nodes.Grade(inputs=[node.input(0)], name="Grade1")
    other = nuke.nodes.Grade(name="Elsewhere")
    grade["add"].setExpression("Elsewhere.multiply - 1")
    node.setInput(0, grade)
    press(node)
    first, before = node["run_folder"].value(), app.picture(node).channels["fba_fg.red"].copy()
    assert "stale" not in node["status"].value()
    {
        "knob": lambda: node["inside_width"].setValue(5),
        "plate": lambda: node.setInput(0, node.input(0).input(0)),
        "upstream": lambda: grade["multiply"].setValue(2),
        "linked": lambda: other["multiply"].setValue(1.5),
        "model": lambda: node["model"].setValue(SLOW_MODEL),
    }[what]()
    app.press(node, "refresh_status")
    expected = {"plate": "cached"}.get(what, "stale")
    assert node["status"].value().startswith(expected if what != "plate" else "stale")
    job = press(node)
    assert len(job.outcome.finished) == 3
    assert node["run_folder"].value() != first
    assert node["status"].value() == "cached 1001-1003"
    if what in {"upstream", "linked"}:
        assert not np.array_equal(app.picture(node).channels["fba_fg.red"], before)
    assert (Path(first) / "main" / "fba.1001.exr").is_file(), "what was finished is not lost"


def test_going_back_finds_what_was_cached(node: Any) -> None:
    press(node)
    first = node["run_folder"].value()
    node["inside_width"].setValue(5)
    press(node)
    node["inside_width"].setValue(4)
    job = press(node)
    assert len(job.outcome.kept) == 3
    assert node["run_folder"].value() == first


def test_moving_and_renaming_nodes_is_no_change(node: Any) -> None:
    from nuke_standin import app

    press(node)
    node.input(0).setXYpos(500, 900)
    node.input(0).setName("SomethingElse")
    node["label"].setValue("hello")
    node["view_mode"].setValue("Comp")
    app.press(node, "refresh_status")
    assert node["status"].value() == "cached 1001-1003"


def test_a_plate_written_again_under_its_name_is_noticed(node: Any, tmp_path: Path) -> None:
    """Nuke would go on showing the old pixels under the old path: only that frame is matted again, elsewhere."""
    from nuke_standin import app, trees

    press(node)
    first = Path(node["run_folder"].value())
    before = app.picture(node, 1002).channels["fba_fg.red"].copy()
    trees.write_exr(tmp_path / "shot" / "plate.main.1002.exr", trees.plate_pixels(1002, seed=7), **trees.ATTRIBUTES)
    node.input(0)["reload"].execute()
    app.press(node, "refresh_status")
    assert node["status"].value().splitlines()[:2] == ["cached 1001 1003", "stale 1002"]
    job = press(node)
    assert [task.frame for task in job.outcome.finished] == [1002]
    assert len(job.outcome.kept) == 2
    assert Path(node["run_folder"].value()) != first
    assert not np.array_equal(app.picture(node, 1002).channels["fba_fg.red"], before)
    assert node["status"].value() == "cached 1001-1003"


def test_the_interface_waits_for_one_export_at_most(begin: Callable[..., Any], tmp_path: Path, server: Server) -> None:
    """20 frames: the longest time that Nuke's event loop stands still, against the slowest export."""
    from nuke_standin import runtime, trees

    from fbamatte_nuke import export

    begin()
    node = trees.tree(tmp_path / "shot", frames=tuple(range(1001, 1021)), size=(480, 270))
    node["server"].setValue(server.addresses[0])
    node["model"].setValue(SLOW_MODEL)
    exports: list[float] = []
    real = export.export_frame

    def timed(*arguments: Any) -> Any:
        started = time.monotonic()
        try:
            return real(*arguments)
        finally:
            exports.append(time.monotonic() - started)

    export.export_frame = timed
    try:
        started = time.monotonic()
        job = press(node)
        took = time.monotonic() - started
    finally:
        export.export_frame = real
    assert len(job.outcome.finished) == 20
    assert took > 20 * SLOW
    # What comes on top is the call itself, on a machine that does other things too.
    assert runtime.state.longest_gap <= 1.1 * max(exports) + 0.01
    print(f"longest gap {runtime.state.longest_gap * 1000:.0f} ms, slowest export {max(exports) * 1000:.0f} ms")


def test_cancel_keeps_what_is_finished_and_resume_goes_on(node: Any) -> None:
    from nuke_standin import app, runtime

    node["model"].setValue(SLOW_MODEL)

    def after_the_first(_: Any) -> None:
        runtime.pump(lambda: bool(node["has_result"].value()))
        app.press(node, "cancel")

    job = press(node, during=after_the_first)
    assert job.outcome.state == "cancelled"
    done = [task.frame for task in job.outcome.finished]
    assert 1 <= len(done) < 3
    files = [path for path in Path(node["run_folder"].value()).rglob("*") if path.is_file()]
    assert sorted(path.name for path in files if path.suffix == ".exr") == [f"fba.{frame:04d}.exr" for frame in done]
    assert not [path for path in files if path.name.endswith(".part")]
    job = press(node)
    assert [task.frame for task in job.outcome.kept] == done
    assert len(job.outcome.finished) == 3 - len(done)


def test_the_progress_bar_cancels_too(node: Any) -> None:
    from nuke_standin import runtime

    runtime.state.press_cancel_at = 33
    node["model"].setValue(SLOW_MODEL)
    job = press(node)
    assert job.outcome.state == "cancelled"
    assert len(job.outcome.finished) == 1
    bar = runtime.state.progress[0]
    assert "FBA1, frame 1001" in bar._messages[0]


def test_what_the_node_is_asked_for_is_what_is_matted(node: Any) -> None:
    """A FrameHold below the node holds 1003 while the viewer stands on 1001; a TimeOffset shifts by one."""
    from nuke_standin import app

    import nuke

    hold = nuke.nodes.FrameHold(firstFrame=1003, inputs=[node])
    viewer = nuke.nodes.Viewer(inputs=[hold])
    job = press(node, "render_current")
    assert [task.frame for task in job.outcome.finished] == [1003]
    assert app.picture(hold, 1001).channels["fba_fg.red"].any()
    shift = nuke.nodes.TimeOffset(time_offset=-1, inputs=[node])
    viewer.setInput(0, shift)
    job = press(node, "render_current")
    assert [task.frame for task in job.outcome.finished] == [1002]
    assert np.array_equal(
        app.picture(shift, 1001).channels["fba_fg.red"], app.picture(node, 1002).channels["fba_fg.red"]
    )


def test_a_plate_that_is_shifted_upstream_is_cached_by_the_frame_asked_for(node: Any) -> None:
    import nuke

    for index in (0, 1):
        node.setInput(index, nuke.nodes.TimeOffset(time_offset=100, inputs=[node.input(index)]))
    job = press(node)
    assert [task.frame for task in job.outcome.finished] == [1101, 1102, 1103]
    assert cached(node, 1101).is_file()


def test_the_result_plays_without_the_plugin(node: Any, tmp_path: Path) -> None:
    """The farm's way: another process without plug-in, server or plug-in path opens the script and writes it."""
    import nuke

    press(node)
    nuke.nodes.Write(
        name="Out", file=f"{tmp_path.as_posix()}/comp.%04d.exr", file_type="exr", channels="rgba", inputs=[node]
    )
    script = tmp_path / "shot.nk"
    nuke.scriptSaveAs(str(script))
    farm = tmp_path / "farm.py"
    farm.write_text(
        "import sys, nuke\n"
        "assert 'fbamatte_nuke' not in sys.modules\n"
        f"nuke.scriptOpen({str(script)!r})\n"
        "nuke.execute('Out', 1001, 1003)\n"
    )
    standin = Path(__file__).with_name("standin")
    environment = {**os.environ, "PYTHONPATH": str(standin), "FBAMATTE_SERVER": "127.0.0.1:1"}
    command = [sys.executable, str(standin / "nuke_standin" / "app.py"), str(farm)]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 0, found.stderr
    for frame in (1001, 1002, 1003):
        assert np.array_equal(exr(tmp_path / f"comp.{frame}.exr")["R"], exr(cached(node, frame))["R"])
    farm.write_text(farm.read_text().replace("1001, 1003", "1003, 1004"))
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode != 0
    assert "FBA has no matte for this frame" in found.stderr


def test_writes_stay_off_so_that_render_all_leaves_them_alone(node: Any) -> None:
    press(node)
    for name in ("PlateOut", "TrimapOut"):
        assert node.node(name)["disable"].value()
        assert node.node(name)["file"].value() == "fba-export.exr"


def test_nothing_but_the_main_thread_touches_nodes(node: Any) -> None:
    """The stand-in raises where another thread does; here it is made sure that work does happen on another."""
    from fbamatte_nuke import transport

    threads = set()
    real = transport.Transport.matte

    def noted(self: Any, *arguments: Any) -> Any:
        threads.add(threading.current_thread().name)
        return real(self, *arguments)

    transport.Transport.matte = noted  # type: ignore[method-assign]
    try:
        assert press(node).outcome.state == "done"
    finally:
        transport.Transport.matte = real  # type: ignore[method-assign]
    assert threads == {"fbamatte"}


def test_connection_test_tells_that_all_is_well(node: Any, server: Server) -> None:
    from nuke_standin import app, runtime

    app.press(node, "test_connection")
    assert server.addresses[0] in runtime.state.dialogs[-1]
    assert "is ready" in runtime.state.dialogs[-1]
