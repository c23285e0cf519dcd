"""From the node through a real server into cached EXRs and back: pixels, windows, metadata, resume, staleness."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuke_standin.driver import press

from fbamatte.serving.server import Server
from fbamatte.testing import serve_in_process
from nuke_session import cached, exr


def test_one_button_and_the_layers_are_in_the_tree(node: Any) -> None:
    from nuke_standin import app, runtime

    job = press(node)
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

    assert press(node, "render_current").outcome.state == "done"
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
    assert press(node, "render_current").outcome.state == "done"
    same_pixels(node, command(node, tmp_path, "--server", server.addresses[0], "--model", "testing-null"))


@pytest.mark.slow
def test_pixels_equal_those_of_the_command_with_a_real_model(node: Any, tmp_path: Path) -> None:
    """The same with the closed-form model, the command on its own engine."""
    with serve_in_process(device=("cpu",), models=("closed-form",)) as server:
        node["server"].setValue(server.addresses[0])
        assert press(node, "render_current").outcome.state == "done"
    same_pixels(node, command(node, tmp_path, "--model", "closed-form", "--device", "cpu"))


def test_views_switch_without_matting_again(node: Any) -> None:
    from nuke_standin import app, runtime

    press(node)
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

    press(node, "render_current")
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
    assert press(node, "render_current").outcome.state == "done"
    plate, shown = app.picture(node.input(0)), app.picture(node)
    assert shown.format == plate.format
    assert shown.format.pixelAspect() == 2.0
    assert shown.bbox == plate.bbox
    assert shown.channels["rgba.alpha"].any()


def test_metadata_and_timecode_pass_through(node: Any) -> None:
    from nuke_standin import app, trees
    from nuke_standin import exr as exr_of_nuke

    press(node, "render_current")
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
    job = press(node)
    assert [(task.frame, task.view) for task in job.outcome.finished] == [(1001, "left"), (1001, "right")]
    assert cached(node, 1001, "left").is_file()
    assert cached(node, 1001, "right").is_file()
    pictures = {view: app.picture(node, view=view).channels["fba_fg.red"] for view in ("left", "right")}
    assert not np.array_equal(pictures["left"], pictures["right"])
    node["render_views"].setValue("right")
    assert not press(node).outcome.finished
