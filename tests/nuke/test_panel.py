"""The panel: what it shows and what its buttons do, with PySide6 here and with PySide2 in Debian's Python."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", reason="needs PySide6-Essentials", exc_type=ImportError)

from fbamatte.serving.server import Server
from fbamatte.testing import serve_in_process

SHOTS = Path(__file__).with_name("standin") / "nuke_standin" / "shots.py"
PYTHONS = {"PySide6": sys.executable, "PySide2": "/usr/bin/python3"}


@pytest.fixture(name="app", scope="module")
def fixture_app() -> Any:
    from nuke_standin import shots

    return shots.application()


@pytest.fixture(name="server", scope="module")
def fixture_server() -> Iterator[Server]:
    with serve_in_process(models=("testing-null", "testing-sleep-0.3")) as server:
        yield server


@pytest.fixture(name="window")
def fixture_window(app: Any) -> Iterator[Any]:
    from nuke_standin import shots

    from fbamatte_nuke.panel.window import Window

    window = Window(shots.Canned(shots.WORKING))
    window.resize(460, 900)
    window.show()
    app.processEvents()
    yield window
    put_away(app, window)


def put_away(app: Any, window: Any) -> None:
    """Delete a window on this thread; collected later, on some other, it would take the process with it."""
    from fbamatte_nuke.panel.qt import QtCore

    window.close()
    window.deleteLater()
    app.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
    app.processEvents()
    gc.collect()


def test_health_models_licences_queue_cache_and_errors_are_on_it(window: Any) -> None:
    from nuke_standin import shots

    from fbamatte_nuke.panel import style

    assert window.address.full_text() == "render-07:50051"
    assert "3 waiting" in window.words.text()
    names = [row.name.text() for row in window.nodes.rows()]
    assert names == ["FBA1", "FBA2", "Hair.FBA1"]
    licences = [row.licence.full_text() for row in window.models.rows()]
    assert licences == ["MIT", "MIT", "CC-BY-NC-4.0 · not for commercial work"]
    assert style.STATES["stale"] in window.models.rows()[2].licence.styleSheet()
    assert window.jobs.rows()[0].words.full_text() == "1001-1100  63 of 100, frame 1064"
    assert window.cache.full_text() == "209 files, 8.4 GB in the cache"
    assert window.errors.rows()[0].text.text() == shots.REASON


@pytest.mark.parametrize("width", [300, 320, 460, 900])
def test_nothing_is_cut_off_at_any_width(app: Any, window: Any, width: int) -> None:
    from fbamatte_nuke.panel.qt import QtCore, QtWidgets

    window.resize(width, 900)
    app.processEvents()
    assert window.width() == width
    for kind in (QtWidgets.QPushButton, QtWidgets.QLabel):
        for child in window.findChildren(kind):
            if child.isVisible():
                right = child.mapTo(window, QtCore.QPoint(child.width(), 0)).x()
                assert right <= width, child.text()


def test_the_bar_shows_trouble_where_frames_share_a_pixel(app: Any) -> None:
    from fbamatte_nuke.panel.widgets import RangeBar

    bar = RangeBar()
    frames = dict.fromkeys(range(1, 10_001), "cached")
    frames[5000] = "failed"
    frames[7500] = "stale"
    bar.show_frames(frames, 1, {})
    columns = bar.pixel_states(100)
    assert columns.count("failed") == 1
    assert columns.count("stale") == 1
    assert columns[49] == "failed"
    assert columns.count("cached") == 98
    few = dict(zip((1001, 1002, 1003, 1004), ("cached", "missing", "failed", "stale")))
    bar.show_frames(few, 1, {})
    assert bar.pixel_states(8) == [state for state in few.values() for _ in range(2)]


def test_the_bar_is_drawn_in_the_colours_of_the_states(app: Any) -> None:
    from fbamatte_nuke.panel import style
    from fbamatte_nuke.panel.widgets import RangeBar

    bar = RangeBar()
    bar.resize(400, 26)
    states = ("cached", "missing", "failed", "stale")
    bar.show_frames(dict(zip((1, 2, 3, 4), states)), 9, {})
    picture = bar.grab().toImage()
    scale = picture.width() / 400
    for index, state in enumerate(states):
        assert picture.pixelColor(int((50 + 100 * index) * scale), int(4 * scale)).name() == style.STATES[state]


def test_a_click_on_the_bar_goes_to_that_frame(app: Any, window: Any) -> None:
    from PySide6 import QtCore, QtTest

    bar = window.nodes.rows()[0].bar
    QtTest.QTest.mouseClick(
        bar, QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier, QtCore.QPoint(bar.width() // 2, 4)
    )
    assert window.source.pressed == [("jump", 1051)]


def test_buttons_say_what_they_do(window: Any) -> None:
    from fbamatte_nuke.panel.qt import QtWidgets

    first, second, _ = window.nodes.rows()
    assert first.cancel_button.isVisible()
    assert not first.render_button.isVisible()
    first.cancel_button.click()
    second.render_button.click()
    second.show_button.click()
    for button in window.findChildren(QtWidgets.QPushButton):
        assert button.toolTip()
        if button.text() in {"Test", "Check all", "Clear old", "Copy"}:
            button.click()
    pressed = [entry[0] for entry in window.source.pressed]
    assert pressed[:3] == ["cancel", "render", "select"]
    assert sorted(pressed[3:]) == ["clear_old", "copy", "refresh", "test"]


def test_rows_stay_while_only_their_state_changes(window: Any) -> None:
    import dataclasses

    from nuke_standin import shots

    before = window.nodes.rows()
    changed = dataclasses.replace(shots.WORKING.nodes[0], line="64 cached, 36 missing")
    window.show_state(dataclasses.replace(shots.WORKING, nodes=(changed, *shots.WORKING.nodes[1:])))
    assert window.nodes.rows() == before
    assert before[0].words.full_text() == "64 cached, 36 missing"
    window.show_state(shots.EMPTY)
    assert window.nodes.rows() == []
    assert not window.errors_title.isVisible()


def test_a_window_is_gone_as_soon_as_nobody_holds_it(app: Any) -> None:
    """Without the collector, which runs on any thread."""
    import weakref

    from nuke_standin import shots

    from fbamatte_nuke.panel.window import Window

    gc.collect()
    gc.disable()
    try:
        window = Window(shots.Canned(shots.WORKING))
        window.show()
        app.processEvents()
        window.show_state(shots.EMPTY)
        window.close()
        gone = weakref.ref(window)
        del window
        assert gone() is None
    finally:
        gc.enable()


@pytest.fixture(name="session")
def fixture_session(
    begin: Callable[..., Any], app: Any, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Any, Any]]:
    from nuke_standin import trees

    import fbamatte_nuke.panel

    monkeypatch.setenv("FBAMATTE_SERVER", server.addresses[0])
    begin()
    node = trees.tree(tmp_path / "shot")
    panel = fbamatte_nuke.panel.Panel()
    panel.show()
    yield node, panel
    put_away(app, panel)


def until(app: Any, panel: Any, condition: Callable[[], bool], seconds: float = 15.0) -> None:
    """Be both event loops: Qt's, which is Nuke's, and the queue of the main thread."""
    from nuke_standin import runtime

    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, (panel.source.state(), runtime.state.printed)
        panel.source._looked = 0.0
        panel.tick()
        runtime.drain()
        app.processEvents()
        time.sleep(0.02)


def newest_job(panel: Any) -> str:
    rows = panel.jobs.rows()
    return str(rows[0].words.full_text()) if rows else ""


def test_a_whole_job_from_the_panel(app: Any, session: tuple[Any, Any], server: Server) -> None:
    node, panel = session
    node["model"].setValue("testing-sleep-0.3")
    until(app, panel, lambda: len(panel.models.rows()) == 2)
    assert "ready" in panel.words.text()
    row = panel.nodes.rows()[0]
    assert row.words.full_text() == "no matte yet"
    row.render_button.click()
    until(app, panel, lambda: "1 of 3, frame 1002" in newest_job(panel))
    assert row.cancel_button.isVisible()
    until(app, panel, lambda: row.words.full_text() == "3 cached")
    until(app, panel, row.render_button.isVisible)
    assert newest_job(panel) == "1001-1003  3 matted, 0 kept"
    panel.source._asked = 0.0
    until(app, panel, lambda: panel.cache.full_text().startswith("5 files, "))


def test_failures_come_up_with_their_reason(app: Any, session: tuple[Any, Any], tmp_path: Path) -> None:
    _, panel = session
    (tmp_path / "shot" / "roto.main.1002.exr").unlink()
    until(app, panel, lambda: bool(panel.nodes.rows()))
    panel.nodes.rows()[0].render_button.click()
    until(app, panel, lambda: panel.nodes.rows()[0].words.full_text() == "2 cached, 1 failed")
    assert "FBA1, frame 1002" in panel.errors.rows()[0].text.text()
    assert panel.source.state().nodes[0].frames == {1001: "cached", 1002: "failed", 1003: "cached"}


def test_a_server_that_is_away_is_named_with_its_cause(
    app: Any, session: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, panel = session
    monkeypatch.setenv("FBAMATTE_SERVER", "127.0.0.1:1")
    panel.source.test()
    until(app, panel, lambda: panel.source.state().server.health == "away")
    panel.tick()
    assert panel.words.text() == "127.0.0.1 is there, but nothing listens on port 1."
    assert panel.advice.text() == "Start the server, or check the port."
    monkeypatch.setenv("FBAMATTE_NUKE_MODE", "sideways")
    panel.source.test()
    until(app, panel, lambda: "mode 'sideways' is not known" in panel.source.state().server.words)


def test_nobody_is_asked_while_it_is_hidden(app: Any, session: tuple[Any, Any]) -> None:
    _, panel = session
    assert panel._timer.isActive()
    panel.hide()
    assert not panel._timer.isActive()


def test_it_leaves_nuke_alone_while_it_renders(app: Any, session: tuple[Any, Any]) -> None:
    from nuke_standin import runtime

    _, panel = session
    panel.tick()
    before = panel.source._looked
    runtime.state.executing = True
    panel.source._looked = 0.0
    panel.tick()
    assert panel.source._looked == 0.0
    runtime.state.executing = False
    panel.tick()
    assert panel.source._looked >= before


@pytest.mark.parametrize("binding", PYTHONS)
def test_it_is_drawn_by_both_generations_of_qt(binding: str, tmp_path: Path) -> None:
    python = PYTHONS[binding]
    has = subprocess.run([python, "-c", f"import {binding}.QtWidgets"], capture_output=True, check=False)
    if has.returncode:
        pytest.skip(f"needs {binding} in {python}")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(
        [python, str(SHOTS), str(tmp_path)],
        env={**environment, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert found.returncode == 0, found.stderr
    from PIL import Image

    from fbamatte_nuke.panel import style

    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"{binding}-{name}.png" for name in ("working-460", "away-460", "empty-460", "working-320")}
    with Image.open(tmp_path / f"{binding}-working-460.png") as picture:
        colors = {"#{:02x}{:02x}{:02x}".format(*color[:3]) for _, color in picture.convert("RGB").getcolors(1 << 20)}
    assert set(style.STATES.values()) | {style.GROUND, style.RAISED} <= colors
