"""From the node through a real server into cached EXRs and back: pixels, windows, metadata, resume, staleness."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest

from fbamatte.serving.server import Server
from fbamatte.testing import serve_in_process

SLOW = 0.15


@pytest.fixture(name="server", scope="module")
def fixture_server() -> Iterator[Server]:
    with serve_in_process(models=("testing-null", f"testing-sleep-{SLOW}")) as server:
        yield server


@pytest.fixture(name="node")
def fixture_node(begin: Callable[..., Any], tmp_path: Path, server: Server) -> Any:
    from nuke_standin import trees

    begin()
    node = trees.tree(tmp_path / "shot")
    node["server"].setValue(server.addresses[0])
    return node


def render(node: Any, button: str = "render_range", during: Callable[[], None] | None = None) -> Any:
    """Press a button and be Nuke's event loop until its job is over; return the job."""
    from nuke_standin import app, runtime

    from fbamatte_nuke.jobs import the_queue

    before = the_queue.jobs()[:1]
    app.press(node, button)
    assert the_queue.jobs()[:1] != before, (runtime.state.dialogs, runtime.state.printed)
    job = the_queue.jobs()[0]
    if during is not None:
        during()
    runtime.pump(lambda: not the_queue.active())
    runtime.drain()
    return job


def exr(path: Path) -> dict[str, np.ndarray]:
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return {name: np.array(channel.pixels) for name, channel in file.channels().items()}


def cached(node: Any, frame: int, view: str = "main") -> Path:
    return Path(node["run_folder"].value()) / view / f"fba.{frame:04d}.exr"


def test_one_button_and_the_layers_are_in_the_tree(node: Any) -> None:
    from nuke_standin import app, runtime

    job = render(node)
    assert job.outcome.state == "done", job.outcome
    assert [task.frame for task in job.outcome.finished] == [1001, 1002, 1003]
    assert node["view_mode"].value() == "Result"
    picture = app.picture(node)
    for layer in ("rgba", "fba_fg", "fba_bg"):
        assert {f"{layer}.{channel}" for channel in ("red", "green", "blue")} <= set(picture.channels)
    assert {"rgba.alpha", "fba_trimap.alpha"} <= set(picture.channels)
    assert node["status"].value() == "cached 1001-1003"
    assert node["status_line"].value() == "3 cached"
    assert not runtime.state.printed
    assert not runtime.state.dialogs


def test_f_over_b_gives_the_plate_back_also_beyond_one(node: Any) -> None:
    from nuke_standin import app

    assert render(node, "render_current").outcome.state == "done"
    shown, plate = app.picture(node), app.picture(node.input(0))
    alpha = shown.channels["rgba.alpha"]
    assert ((alpha > 0.02) & (alpha < 0.98)).any()
    assert plate.channels["rgba.red"].max() > 15
    assert plate.channels["rgba.red"].min() < 0
    for color in ("red", "green", "blue"):
        foreground, background = shown.channels[f"fba_fg.{color}"], shown.channels[f"fba_bg.{color}"]
        expected = plate.channels[f"rgba.{color}"]
        error = np.abs(alpha * foreground + (1 - alpha) * background - expected) / np.maximum(1, np.abs(expected))
        # The cached colours are halves.
        assert error.max() < 2e-3
        premultiplied = shown.channels[f"rgba.{color}"]
        assert np.abs(premultiplied - alpha * foreground).max() <= 2e-3 * max(1.0, np.abs(premultiplied).max())


def command(node: Any, folder: Path, *options: str) -> Path:
    """Give frame 1001, as Nuke exports it, to ``fbamatte matte``; return its EXR."""
    from fbamatte_nuke import export
    from fbamatte_nuke.node import FbaNode

    exported = export.export_frame(FbaNode(node), 1001, "main", folder, "FBA1, frame 1001")
    line = [sys.executable, "-m", "fbamatte", "matte", str(exported.plate), "--trimap", str(exported.trimap)]
    line += ["-o", str(folder / "out.exr"), *options]
    found = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
    assert found.returncode == 0, found.stderr
    (out,) = folder.glob("out*.exr")
    return out


def same_pixels(node: Any, out: Path) -> None:
    from nuke_standin import app

    expected, ours = exr(out), exr(cached(node, 1001))
    assert set(ours) == {*"RGBA", *(f"fba_{which}.{color}" for which in ("fg", "bg") for color in "RGB")}
    for name, plane in ours.items():
        assert plane.dtype == expected[name].dtype
        assert np.array_equal(plane, expected[name]), name
    shown = app.picture(node)
    assert np.array_equal(shown.channels["rgba.alpha"], expected["A"])
    assert np.array_equal(shown.channels["fba_bg.blue"], expected["fba_bg.B"].astype(np.float32))


def test_pixels_equal_those_of_the_command(node: Any, tmp_path: Path, server: Server) -> None:
    """Stand-in script → real server → cached EXR → Read; against the same frame given to ``fbamatte matte``."""
    assert render(node, "render_current").outcome.state == "done"
    same_pixels(node, command(node, tmp_path, "--server", server.addresses[0], "--model", "testing-null"))


@pytest.mark.slow
def test_pixels_equal_those_of_the_command_with_a_real_model(node: Any, tmp_path: Path) -> None:
    """The same with the closed-form model, the command on its own engine."""
    with serve_in_process(device=("cpu",), models=("closed-form",)) as server:
        node["server"].setValue(server.addresses[0])
        assert render(node, "render_current").outcome.state == "done"
    same_pixels(node, command(node, tmp_path, "--model", "closed-form", "--device", "cpu"))


def test_views_switch_without_matting_again(node: Any) -> None:
    from nuke_standin import app, runtime

    render(node)
    executed = len(runtime.state.executed)
    layer = {name: app.picture(node).channels[name] for name in app.picture(node).channels}
    expected = {
        "Result": layer["rgba.green"],
        "Alpha": layer["rgba.alpha"],
        "Foreground": layer["fba_fg.green"],
        "Background": layer["fba_bg.green"],
        "Trimap": layer["fba_trimap.alpha"],
    }
    for mode, pixels in expected.items():
        node["view_mode"].setValue(mode)
        assert np.array_equal(app.picture(node).channels["rgba.green"], pixels), mode
    node["view_mode"].setValue("Result")
    node["output"].setValue("straight")
    assert np.array_equal(app.picture(node).channels["rgba.green"], layer["fba_fg.green"])
    assert len(runtime.state.executed) == executed


@pytest.mark.parametrize("backdrop", ["checker", "black", "input"])
def test_comp_is_the_result_over_the_backdrop(node: Any, backdrop: str) -> None:
    from nuke_standin import app

    import nuke

    render(node, "render_current")
    result = app.picture(node)
    node.setInput(5, nuke.nodes.Constant(color=[0.25, 0.5, 0.75, 1.0]))
    node["bg_mode"].setValue(backdrop)
    node["view_mode"].setValue("Comp")
    comp = app.picture(node).channels["rgba.blue"]
    behind = {
        "checker": app.picture(node.node("Checker")).channel("rgba.blue", result.bbox),
        "black": np.zeros_like(comp),
        "input": np.full_like(comp, 0.75),
    }[backdrop]
    expected = result.channels["rgba.blue"] + (1 - result.channels["rgba.alpha"]) * behind
    assert np.allclose(comp, expected, atol=1e-6)


def test_overscan_comes_back_with_both_windows(begin: Callable[..., Any], tmp_path: Path, server: Server) -> None:
    from nuke_standin import app, trees

    begin()
    node = trees.tree(tmp_path / "shot", window=((-4, -6), (91, 57)), display=((0, 0), (87, 51)), aspect=2.0)
    node["server"].setValue(server.addresses[0])
    assert render(node, "render_current").outcome.state == "done"
    plate, shown = app.picture(node.input(0)), app.picture(node)
    assert shown.format == plate.format
    assert shown.format.pixelAspect() == 2.0
    assert shown.bbox == plate.bbox
    assert shown.channels["rgba.alpha"].any()


def test_metadata_and_timecode_pass_through(node: Any) -> None:
    from nuke_standin import app, trees
    from nuke_standin import exr as exr_of_nuke

    render(node, "render_current")
    plate, shown = app.picture(node.input(0)).metadata, app.picture(node).metadata
    assert shown == plate
    assert plate["input/timecode"] == "01:02:03:04"
    read = app.picture(node.node("Cache")).metadata
    kept = {f"exr/{name}" for name in trees.ATTRIBUTES}
    assert {key: read[key] for key in kept} == {key: plate[key] for key in kept}
    assert read["input/timecode"] == plate["input/timecode"]
    attributes, _ = exr_of_nuke.attributes(cached(node, 1001).read_bytes())
    assert attributes["fbamatte/model"][1] == b"testing-null"


def test_two_views_two_files(begin: Callable[..., Any], tmp_path: Path, server: Server) -> None:
    from nuke_standin import app, trees

    begin()
    node = trees.tree(tmp_path / "shot", frames=(1001,), views=("left", "right"))
    node["server"].setValue(server.addresses[0])
    job = render(node)
    assert [(task.frame, task.view) for task in job.outcome.finished] == [(1001, "left"), (1001, "right")]
    assert cached(node, 1001, "left").is_file()
    assert cached(node, 1001, "right").is_file()
    pictures = {view: app.picture(node, view=view).channels["fba_fg.red"] for view in ("left", "right")}
    assert not np.array_equal(pictures["left"], pictures["right"])
    node["render_views"].setValue("right")
    assert not render(node).outcome.finished


def test_what_is_cached_and_right_is_kept(node: Any) -> None:
    render(node)
    job = render(node)
    assert not job.outcome.finished
    assert len(job.outcome.kept) == 3
    cached(node, 1002).unlink()
    job = render(node)
    assert [task.frame for task in job.outcome.finished] == [1002]


@pytest.mark.parametrize("what", ["knob", "plate", "upstream", "linked", "model"])
def test_a_change_gives_another_path(node: Any, what: str) -> None:
    from nuke_standin import app

    import nuke

    grade = nuke.nodes.Grade(inputs=[node.input(0)], name="Grade1")
    other = nuke.nodes.Grade(name="Elsewhere")
    grade["add"].setExpression("Elsewhere.multiply - 1")
    node.setInput(0, grade)
    render(node)
    first, before = node["run_folder"].value(), app.picture(node).channels["fba_fg.red"].copy()
    assert "stale" not in node["status"].value()
    {
        "knob": lambda: node["inside_width"].setValue(5),
        "plate": lambda: node.setInput(0, node.input(0).input(0)),
        "upstream": lambda: grade["multiply"].setValue(2),
        "linked": lambda: other["multiply"].setValue(1.5),
        "model": lambda: node["model"].setValue(f"testing-sleep-{SLOW}"),
    }[what]()
    app.press(node, "refresh_status")
    expected = {"plate": "cached"}.get(what, "stale")
    assert node["status"].value().startswith(expected if what != "plate" else "stale")
    job = render(node)
    assert len(job.outcome.finished) == 3
    assert node["run_folder"].value() != first
    assert node["status"].value() == "cached 1001-1003"
    if what in {"upstream", "linked"}:
        assert not np.array_equal(app.picture(node).channels["fba_fg.red"], before)
    assert (Path(first) / "main" / "fba.1001.exr").is_file(), "what was finished is not lost"


def test_going_back_finds_what_was_cached(node: Any) -> None:
    render(node)
    first = node["run_folder"].value()
    node["inside_width"].setValue(5)
    render(node)
    node["inside_width"].setValue(4)
    job = render(node)
    assert len(job.outcome.kept) == 3
    assert node["run_folder"].value() == first


def test_moving_and_renaming_nodes_is_no_change(node: Any) -> None:
    from nuke_standin import app

    render(node)
    node.input(0).setXYpos(500, 900)
    node.input(0).setName("SomethingElse")
    node["label"].setValue("hello")
    node["view_mode"].setValue("Comp")
    app.press(node, "refresh_status")
    assert node["status"].value() == "cached 1001-1003"


def test_a_plate_written_again_under_its_name_is_noticed(node: Any, tmp_path: Path) -> None:
    """Nuke would go on showing the old pixels under the old path: only that frame is matted again, elsewhere."""
    from nuke_standin import app, trees

    render(node)
    first = Path(node["run_folder"].value())
    before = app.picture(node, 1002).channels["fba_fg.red"].copy()
    trees.write_exr(tmp_path / "shot" / "plate.main.1002.exr", trees.plate_pixels(1002, seed=7), **trees.ATTRIBUTES)
    node.input(0)["reload"].execute()
    app.press(node, "refresh_status")
    assert node["status"].value().splitlines()[:2] == ["cached 1001 1003", "stale 1002"]
    job = render(node)
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
    node["model"].setValue(f"testing-sleep-{SLOW}")
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
        job = render(node)
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

    node["model"].setValue(f"testing-sleep-{SLOW}")

    def after_the_first() -> None:
        runtime.pump(lambda: bool(node["has_result"].value()))
        app.press(node, "cancel")

    job = render(node, during=after_the_first)
    assert job.outcome.state == "cancelled"
    done = [task.frame for task in job.outcome.finished]
    assert 1 <= len(done) < 3
    files = [path for path in Path(node["run_folder"].value()).rglob("*") if path.is_file()]
    assert sorted(path.name for path in files if path.suffix == ".exr") == [f"fba.{frame:04d}.exr" for frame in done]
    assert not [path for path in files if path.name.endswith(".part")]
    job = render(node)
    assert [task.frame for task in job.outcome.kept] == done
    assert len(job.outcome.finished) == 3 - len(done)


def test_the_progress_bar_cancels_too(node: Any) -> None:
    from nuke_standin import runtime

    runtime.state.press_cancel_at = 33
    node["model"].setValue(f"testing-sleep-{SLOW}")
    job = render(node)
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
    job = render(node, "render_current")
    assert [task.frame for task in job.outcome.finished] == [1003]
    assert app.picture(hold, 1001).channels["fba_fg.red"].any()
    shift = nuke.nodes.TimeOffset(time_offset=-1, inputs=[node])
    viewer.setInput(0, shift)
    job = render(node, "render_current")
    assert [task.frame for task in job.outcome.finished] == [1002]
    assert np.array_equal(
        app.picture(shift, 1001).channels["fba_fg.red"], app.picture(node, 1002).channels["fba_fg.red"]
    )


def test_a_plate_that_is_shifted_upstream_is_cached_by_the_frame_asked_for(node: Any) -> None:
    import nuke

    for index in (0, 1):
        node.setInput(index, nuke.nodes.TimeOffset(time_offset=100, inputs=[node.input(index)]))
    job = render(node)
    assert [task.frame for task in job.outcome.finished] == [1101, 1102, 1103]
    assert cached(node, 1101).is_file()


def test_the_result_plays_without_the_plugin(node: Any, tmp_path: Path) -> None:
    """The farm's way: another process without plug-in, server or plug-in path opens the script and writes it."""
    import nuke

    render(node)
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
    render(node)
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
        assert render(node).outcome.state == "done"
    finally:
        transport.Transport.matte = real  # type: ignore[method-assign]
    assert threads == {"fbamatte"}


def test_connection_test_tells_that_all_is_well(node: Any, server: Server) -> None:
    from nuke_standin import app, runtime

    app.press(node, "test_connection")
    assert server.addresses[0] in runtime.state.dialogs[-1]
    assert "is ready" in runtime.state.dialogs[-1]
