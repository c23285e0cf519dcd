"""The node without a server: live trimap, forced mattes, views, windows, and scripts that open anywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture(name="node")
def fixture_node(begin: Callable[..., Any], tmp_path: Path) -> Any:
    from nuke_standin import trees

    begin()
    return trees.tree(tmp_path / "shot")


def alpha(node: Any, **when: Any) -> np.ndarray:
    from nuke_standin import app

    return app.picture(node, **when).channels["rgba.alpha"]


def middle_row(trimap: np.ndarray) -> list[tuple[float, int]]:
    """Run lengths of the middle row: value and how many pixels."""
    row = trimap[trimap.shape[0] // 2]
    edges = np.flatnonzero(np.diff(row)) + 1
    return [(float(part[0]), len(part)) for part in np.split(row, edges)]


def test_the_trimap_is_live_with_no_server_anywhere(node: Any) -> None:
    from nuke_standin import app

    node["server"].setValue("127.0.0.1:1")
    node["view_mode"].setValue("Trimap")
    assert middle_row(alpha(node)) == [(0, 22), (0.5, 10), (1, 32), (0.5, 10), (0, 22)]
    node["inside_width"].setValue(8)
    assert middle_row(alpha(node)) == [(0, 22), (0.5, 14), (1, 24), (0.5, 14), (0, 22)]
    node["view_mode"].setValue("Trimap overlay")
    assert app.picture(node).channels["rgba.red"].shape == (64, 96)


def test_a_fresh_node_shows_its_trimap(node: Any) -> None:
    assert node["view_mode"].value() == "Trimap overlay"
    assert set(np.unique(alpha(node))) == {0.0, 0.5, 1.0}


def test_widths_may_be_animated_in_fractions(node: Any) -> None:
    node["view_mode"].setValue("Trimap")
    node["outside_width"].setValueAt(4, 1001)
    node["outside_width"].setValueAt(6, 1003)
    unknown = [int((alpha(node, frame=frame) == 0.5).sum()) for frame in (1001, 1002, 1003)]
    assert unknown[0] < unknown[1] < unknown[2]
    sizes = []
    for width in (4.0, 4.7, 5.2):
        node["outside_width"].fromScript(str(width))
        sizes.append(int((alpha(node, frame=1001) == 0.5).sum()))
    assert sizes[0] < sizes[1] < sizes[2], "a fraction of a pixel is not lost"


def test_soft_roto_becomes_unknown_by_itself(begin: Callable[..., Any], tmp_path: Path) -> None:
    from nuke_standin import trees

    begin()
    node = trees.tree(tmp_path / "shot")
    soft = np.tile(np.linspace(0, 1, trees.WIDTH, dtype=np.float32), (trees.HEIGHT, 1))
    trees.write_exr(tmp_path / "soft.exr", {"A": soft})
    import nuke

    node.setInput(1, nuke.nodes.Read(file=(tmp_path / "soft.exr").as_posix(), last=2000))
    for name in ("inside_width", "outside_width"):
        node[name].setValue(0)
    node["view_mode"].setValue("Trimap")
    trimap = alpha(node)
    assert (trimap[soft <= 0.01] == 0).all()
    assert (trimap[soft >= 0.99] == 1).all()
    assert (trimap[(soft > 0.01) & (soft < 0.99)] == 0.5).all()


def test_the_band_is_as_wide_as_high_on_anamorphic_plates(begin: Callable[..., Any], tmp_path: Path) -> None:
    from nuke_standin import trees

    begin()
    node = trees.tree(tmp_path / "shot", aspect=2.0)
    assert node["pixel_aspect"].value() == 2.0, "connecting the plate has set it"
    node["outside_width"].setValue(12)
    node["view_mode"].setValue("Trimap")
    trimap = alpha(node)
    row, column = trimap[32], trimap[:, 48]
    beyond = {"across": int((row[:28] == 0.5).sum()), "down": int((column[:12] == 0.5).sum())}
    # The roto begins at column 28 and row 12; a pixel is twice as wide as high.
    assert beyond["across"] == pytest.approx(6, abs=1)
    assert beyond["down"] == pytest.approx(12, abs=1)


@pytest.mark.parametrize(("matte", "value"), [("inside", 1.0), ("outside", 0.0), ("edge", 0.5)])
def test_mattes_force_their_value(node: Any, tmp_path: Path, matte: str, value: float) -> None:
    from nuke_standin import trees

    import nuke

    patch = np.zeros((trees.HEIGHT, trees.WIDTH), np.float32)
    patch[25:35, 20:60] = 1
    trees.write_exr(tmp_path / "patch.exr", {"A": patch})
    node["view_mode"].setValue("Trimap")
    before = alpha(node).copy()
    read = nuke.nodes.Read(file=(tmp_path / "patch.exr").as_posix(), last=2000)
    node.setInput({"inside": 2, "outside": 3, "edge": 4}[matte], read)
    after = alpha(node)
    assert (after[patch > 0] == value).all()
    assert (after[patch == 0] == before[patch == 0]).all()
    assert (before[patch > 0] != value).any()


def test_outside_wins_over_inside_and_both_over_edge(node: Any, tmp_path: Path) -> None:
    from nuke_standin import trees

    import nuke

    everywhere = np.ones((trees.HEIGHT, trees.WIDTH), np.float32)
    trees.write_exr(tmp_path / "all.exr", {"A": everywhere})
    read = nuke.nodes.Read(file=(tmp_path / "all.exr").as_posix(), last=2000)
    node["view_mode"].setValue("Trimap")
    node.setInput(4, read)
    assert (alpha(node) == 0.5).all()
    node.setInput(2, read)
    assert (alpha(node) == 1).all()
    node.setInput(3, read)
    assert (alpha(node) == 0).all()


def test_windows_of_the_trimap_are_the_plates(begin: Callable[..., Any], tmp_path: Path) -> None:
    from nuke_standin import app, trees

    import nuke

    begin()
    node = trees.tree(tmp_path / "shot", window=((-4, -6), (91, 57)), display=((0, 0), (87, 51)))
    wide = nuke.nodes.Crop(box=[-30, -30, 200, 200], crop=False, inputs=[node.input(1)])
    node.setInput(1, wide)
    for mode in ("Trimap", "Trimap overlay"):
        node["view_mode"].setValue(mode)
        shown, plate = app.picture(node), app.picture(node.input(0))
        assert shown.bbox == plate.bbox
        assert shown.format == plate.format


def test_result_without_a_matte_is_an_error_that_says_what_to_do(node: Any) -> None:
    from nuke_standin import app

    for mode in ("Result", "Alpha", "Foreground", "Background", "Comp"):
        node["view_mode"].setValue(mode)
        with pytest.raises(RuntimeError, match=r"HasMatte: .*press Render frame"):
            app.picture(node)


def test_status_shows_the_words(node: Any) -> None:
    from nuke_standin import app

    node["status_line"].setValue("3 cached")
    node["view_mode"].setValue("Status")
    assert app.picture(node).notes == ("3 cached",)


def test_fbatrimap_alone_gives_the_same_trimap(node: Any) -> None:
    from nuke_standin import app

    import nuke

    alone = nuke.createNode("FBATrimap")
    for index in range(2):
        alone.setInput(index, node.input(index))
    for name in ("inside_width", "outside_width"):
        alone[name].setValue(node[name].value())
    node["view_mode"].setValue("Trimap")
    for mode in ("Layer", "Trimap"):
        alone["view_mode"].setValue(mode)
        picture = app.picture(alone)
        assert (picture.channels["rgba.alpha"] == alpha(node)).all()
        assert (picture.channels["fba_trimap.alpha"] == alpha(node)).all()
    alone["view_mode"].setValue("Layer")
    plate = app.picture(node.input(0))
    assert (app.picture(alone).channels["rgba.red"] == plate.channels["rgba.red"]).all()


def test_buttons_without_the_plugin_say_so_and_do_no_harm(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    from nuke_standin import app, runtime

    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("fbamatte_nuke"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    app.press(node, "render_range")
    assert "not installed" in runtime.state.dialogs[-1]
    node["inside_width"].setValue(9)
    assert not runtime.state.printed


def test_opening_a_script_touches_nothing(node: Any, tmp_path: Path) -> None:
    import nuke

    nuke.scriptSaveAs(str(tmp_path / "again.nk"))
    text = (tmp_path / "again.nk").read_text()
    for _ in range(20):
        nuke.scriptOpen(str(tmp_path / "again.nk"))
        assert not nuke.root().modified()
        nuke.scriptSaveAs(str(tmp_path / "again.nk"), 1)
    assert (tmp_path / "again.nk").read_text() == text


def test_menu_and_panel_are_registered(begin: Callable[..., Any]) -> None:
    import nukescripts

    import nuke

    begin()
    assert set(nuke.menu("Nodes").findItem("FBA").children) == {"FBA", "FBATrimap"}
    assert nukescripts.registered["com.fbamatte.panel"][1] == "FBA"
    assert callable(eval(nukescripts.registered["com.fbamatte.panel"][0]))
