"""The cache seen from the node: states per frame, size, clearing, moving; plain Reads; upgrading; the hooks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def press(node: Any, button: str) -> None:
    from nuke_standin import driver, runtime

    driver.press(node, button)
    assert not runtime.state.printed


def states(node: Any) -> dict[int, str]:
    from fbamatte_nuke import survey
    from fbamatte_nuke.node import FbaNode

    return {frame: found.state for (_, frame), found in survey.survey(FbaNode(node)).states.items()}


def test_every_frame_has_a_state(node: Any, tmp_path: Path) -> None:
    from nuke_standin import trees

    node["frame_range"].setValue("1001-1004")
    (tmp_path / "shot" / "roto.main.1003.exr").unlink()
    assert states(node) == dict.fromkeys((1001, 1002, 1003, 1004), "missing")
    press(node, "render_range")
    # The plate's Read holds its last frame for 1004, and so does the roto's.
    assert states(node) == {1001: "cached", 1002: "cached", 1003: "failed", 1004: "failed"}
    os.utime(tmp_path / "shot" / "plate.main.1002.exr", ns=(5, 5))
    assert states(node)[1002] == "stale"
    node["trimap_hi"].setValue(0.9)
    assert states(node) == {1001: "stale", 1002: "stale", 1003: "failed", 1004: "failed"}
    trees.write_exr(tmp_path / "shot" / "roto.main.1003.exr", trees.roto_pixels(1003))
    press(node, "render_range")
    assert set(states(node).values()) == {"cached"}
    assert node["status_line"].value() == "4 cached"


def test_status_of_a_fresh_and_of_an_unconnected_node(node: Any) -> None:
    import nuke

    press(node, "refresh_status")
    assert node["status"].value() == "missing 1001-1003"
    assert node["status_line"].value() == "no matte yet"
    node.setSelected(False)
    alone = nuke.createNode("FBA")
    press(alone, "refresh_status")
    assert alone["status"].value() == "no matte yet"


def test_changing_a_setting_says_stale_at_once(node: Any) -> None:
    press(node, "render_range")
    assert node["status_line"].value() == "3 cached"
    node["outside_width"].setValue(7)
    assert node["status_line"].value() == "3 stale"
    assert "press Render range" in node["status"].value()
    node["outside_width"].setValue(6)
    assert node["status_line"].value() == "3 cached"
    node.setInput(2, node.input(1))
    assert node["status_line"].value() == "3 stale"


def test_the_hook_never_raises_and_never_renders(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from nuke_standin import runtime

    from fbamatte_nuke import show

    executed = len(runtime.state.executed)

    def broken(*_: Any) -> None:
        raise ValueError("oops")

    monkeypatch.setattr(show, "refresh", broken)
    node["inside_width"].setValue(9)
    assert runtime.state.printed == ["FBA: oops"]
    assert len(runtime.state.executed) == executed


def test_without_an_interface_the_hook_is_silent(begin: Callable[..., Any], tmp_path: Path) -> None:
    from nuke_standin import trees

    begin(gui=False)
    node = trees.tree(tmp_path / "shot")
    node["inside_width"].setValue(9)
    assert node["status"].value() == "no matte yet"


def test_clear_old_keeps_what_is_shown_here_and_elsewhere(node: Any) -> None:
    from nuke_standin import app

    import nuke

    press(node, "render_range")
    first = Path(node["run_folder"].value())
    copy = nuke.createNode("FBA")
    for name in ("run_folder", "has_result", "cached_first", "cached_last"):
        copy[name].setValue(node[name].value())
    folders = [first]
    for width in (5, 7):
        node["inside_width"].setValue(width)
        press(node, "render_range")
        folders.append(Path(node["run_folder"].value()))
    press(node, "clear_cache")
    assert [folder.is_dir() for folder in folders] == [True, False, True]
    assert "deleted" in node["cache_info"].value()
    assert app.picture(node).channels["fba_fg.red"].any()
    assert node["status"].value() == "cached 1001-1003"


def test_clear_all_leaves_a_node_that_works(node: Any) -> None:
    from nuke_standin import app

    press(node, "render_range")
    folder = Path(node["run_folder"].value())
    press(node, "clear_all")
    assert not folder.exists()
    assert node["status_line"].value() == "no matte yet"
    with pytest.raises(RuntimeError, match="no matte for this frame"):
        app.picture(node)
    press(node, "render_range")
    assert app.picture(node).channels["fba_fg.red"].any()


def test_cache_size_is_told(node: Any) -> None:
    press(node, "render_range")
    press(node, "refresh_status")
    folder = Path(node["run_folder"].value()).parent
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert node["cache_info"].value().startswith(f"{len(files)} files, ")


def test_moving_to_another_folder(node: Any, tmp_path: Path) -> None:
    from nuke_standin import app, runtime

    press(node, "render_range")
    old, before = Path(node["run_folder"].value()), app.picture(node).channels["fba_fg.red"].copy()
    app.press(node, "relocate")
    assert "Choose another cache folder first" in runtime.state.dialogs[-1]
    node["cache_dir"].setValue((tmp_path / "elsewhere").as_posix())
    press(node, "relocate")
    assert not old.exists()
    new = Path(node["run_folder"].value())
    assert new.parent == tmp_path / "elsewhere" / "FBA1"
    assert np.array_equal(app.picture(node).channels["fba_fg.red"], before)
    assert node["status"].value() == "cached 1001-1003"
    press(node, "render_range")
    assert Path(node["run_folder"].value()) == new, "nothing had to be matted again"


@pytest.mark.parametrize("where", ["knob", "environment", "preferences", "script", "temporary"])
def test_where_the_cache_is(
    node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, preferences_file: Path
) -> None:
    import tempfile

    import nuke
    from fbamatte_nuke import preferences
    from fbamatte_nuke.node import FbaNode

    expected = tmp_path / where
    if where == "knob":
        node["cache_dir"].setValue("[file dirname [value root.name]]/mattes")
        expected = tmp_path / "shot" / "mattes"
    elif where == "environment":
        monkeypatch.setenv("FBAMATTE_CACHE", str(expected))
    elif where == "preferences":
        preferences.save(cache_dir=str(expected))
    elif where == "script":
        expected = tmp_path / "shot" / "fbamatte"
    else:
        nuke.root()._path = ""
        expected = next(Path(tempfile.gettempdir()).glob("fbamatte-*"), None) or Path(tempfile.gettempdir())
        assert FbaNode(node).cache_base().parent.name.startswith("fbamatte-")
        return
    assert FbaNode(node).cache_base() == expected / "FBA1"


def test_a_plain_read_of_the_result(node: Any) -> None:
    from nuke_standin import app

    import nuke

    press(node, "render_range")
    press(node, "create_read")
    (read,) = [found for found in nuke.allNodes("Read") if found["label"].value() == "matte of FBA1"]
    for frame in (1001, 1003):
        assert np.array_equal(
            app.picture(read, frame).channels["fba_bg.red"], app.picture(node, frame).channels["fba_bg.red"]
        )
    assert read["raw"].value()
    assert read["on_error"].value() == "error"


def test_upgrade_keeps_knobs_connections_and_frames(node: Any) -> None:
    from nuke_standin import app

    import nuke

    follower = nuke.nodes.Grade(inputs=[node])
    press(node, "render_range")
    before = app.picture(node).channels["fba_fg.red"].copy()
    node["outside_width"].setValueAt(4, 1001)
    node["outside_width"].setValueAt(6, 1003)
    node["fba_version"].setValue("0")
    node.node("Cache").setName("SomebodyHasTakenItApart")
    curve = node["outside_width"].toScript()
    press(node, "upgrade")
    new = nuke.toNode("FBA1")
    assert new is not node
    assert new["fba_version"].value() == "1"
    assert new["outside_width"].toScript() == curve
    assert [new.input(index).name() for index in (0, 1)] == ["plate", "roto"]
    assert follower.input(0) is new
    assert np.array_equal(app.picture(new).channels["fba_fg.red"], before)


def test_a_node_that_was_taken_apart_says_so(node: Any) -> None:
    from nuke_standin import app, runtime

    node.node("PlateOut").setName("Gone")
    app.press(node, "render_current")
    from fbamatte_nuke.jobs import the_queue

    runtime.pump(lambda: not the_queue.active())
    runtime.drain()
    assert "FBA1 has lost its inner node PlateOut" in node["status"].value()
    assert "Press Upgrade this node" in node["status"].value()


def test_nodes_inside_groups_are_found(node: Any) -> None:
    import nuke
    from fbamatte_nuke import node as nodes

    group = nuke.nodes.Group(name="Shot")
    with group:
        nuke.createNode("FBA")
    assert [found.name for found in nodes.find_all()] == ["FBA1", "Shot.FBA1"]
    assert nodes.find("Shot.FBA1").group.parent() is group
    assert not nodes.is_fba(group)


def test_menu_renders_what_is_selected(node: Any) -> None:
    from nuke_standin import runtime

    import nuke
    from fbamatte_nuke import menus
    from fbamatte_nuke.jobs import the_queue

    for other in nuke.allNodes():
        other.setSelected(True)
    menus.render_selected()
    assert [job.name for job in the_queue.active()] == ["FBA1"]
    runtime.pump(lambda: not the_queue.active())
    runtime.drain()
    menus.check_all()
    assert node["status"].value() == "cached 1001-1003"


def test_server_address_from_knob_then_environment_then_preferences(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fbamatte_nuke import preferences
    from fbamatte_nuke.node import FbaNode

    wrapped = FbaNode(node)
    node["server"].setValue("knob:1")
    preferences.save(server="file:3")
    monkeypatch.setenv("FBAMATTE_SERVER", "variable:2")
    assert wrapped.server() == "knob:1"
    node["server"].setValue("")
    assert wrapped.server() == "variable:2"
    monkeypatch.delenv("FBAMATTE_SERVER")
    assert wrapped.server() == "file:3"
    preferences.save(server=preferences.DEFAULT_SERVER)
    assert wrapped.server() == "localhost:50051"


def test_status_and_results_leave_no_trace_in_the_undo_history(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from nuke_standin import knobs, runtime

    recorded = []
    real = knobs.Knob._changed

    def noted(knob: Any) -> None:
        if not runtime.state.undo_disabled:
            recorded.append(knob._name)
        real(knob)

    monkeypatch.setattr(knobs.Knob, "_changed", noted)
    press(node, "render_range")
    assert recorded == []
    assert runtime.state.undo_disabled == 0


@pytest.mark.parametrize("how", ["renamed", "copied"])
def test_a_new_name_or_a_copy_needs_no_new_matte(node: Any, tmp_path: Path, how: str) -> None:
    from nuke_standin import driver

    import nuke

    press(node, "render_range")
    folder = node["run_folder"].value()
    if how == "renamed":
        node.setName("Hair")
        other = node
    else:
        node.setSelected(False)
        other = nuke.createNode("FBA")
        for name, knob in node.knobs().items():
            if name not in {"name", "selected"} and knob.Class() not in {"PyScript_Knob", "Tab_Knob", "Text_Knob"}:
                other[name].fromScript(knob.toScript())
        for index in range(2):
            other.setInput(index, node.input(index))
    job = driver.press(other)
    assert len(job.outcome.kept) == 3
    assert other["run_folder"].value() == folder
