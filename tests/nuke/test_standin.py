"""The stand-in itself: its names and signatures against types-nuke, and that it is as unforgiving as Nuke."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest

# Helpers of the stand-in's own on classes that Nuke has too.
OWN = {"Box": {"union", "intersection"}, "Format": {"box", "parse"}, "Node": {"selected"}, "Reload_Knob": set()}


def stubs() -> list[Path]:
    found = importlib.util.find_spec("nuke-stubs")
    if found is None or not found.submodule_search_locations:
        pytest.skip("needs types-nuke")
    return sorted(Path(found.submodule_search_locations[0]).glob("*.pyi"))


class Stubs:
    """Functions by name, classes by name, each with every overload."""

    def __init__(self) -> None:
        self.functions: dict[str, list[ast.arguments]] = {}
        self.classes: dict[str, tuple[list[str], dict[str, list[ast.arguments]]]] = {}
        for path in stubs():
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.FunctionDef):
                    self.functions.setdefault(node.name, []).append(node.args)
                elif isinstance(node, ast.ClassDef):
                    methods: dict[str, list[ast.arguments]] = {}
                    for item in node.body:
                        if isinstance(item, ast.FunctionDef):
                            methods.setdefault(item.name, []).append(item.args)
                    self.classes[node.name] = ([base.id for base in node.bases if isinstance(base, ast.Name)], methods)

    def method(self, owner: str, name: str) -> list[ast.arguments]:
        bases, methods = self.classes[owner]
        if name in methods:
            return methods[name]
        return next(
            (found for base in bases if base in self.classes for found in [self.method(base, name)] if found), []
        )


def agrees(function: Any, stub: ast.arguments, skip_self: bool) -> bool:
    """Whether every call that the stub allows is understood, and by the same names."""
    if stub.vararg is not None:
        return True
    expected = [argument.arg for argument in stub.args][1 if skip_self else 0 :]
    required = len(expected) - len(stub.defaults)
    given = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name not in {"self", "cls"}
    ]
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in given):
        return True
    positional = [parameter for parameter in given if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    names = [parameter.name for parameter in positional]
    needed = sum(parameter.default is inspect.Parameter.empty for parameter in positional)
    return names == expected and needed <= required


def public(thing: Any) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in vars(thing).items() if not name.startswith("_") and callable(value)]


def test_functions_have_the_signatures_of_types_nuke(begin: Callable[..., Any]) -> None:
    import nuke

    known = Stubs()
    checked = 0
    for name, value in public(nuke):
        if not inspect.isfunction(value):
            continue
        assert name in known.functions, f"nuke.{name} does not exist"
        overloads = known.functions[name]
        assert any(agrees(value, stub, skip_self=False) for stub in overloads), f"nuke.{name}"
        checked += 1
    assert checked > 35


def test_methods_have_the_signatures_of_types_nuke(begin: Callable[..., Any]) -> None:
    import nuke

    known = Stubs()
    checked = 0
    for name, kind in public(nuke):
        if not inspect.isclass(kind) or name not in known.classes:
            continue
        for ancestor in kind.__mro__:
            for method, value in vars(ancestor).items():
                if (
                    ancestor in Exception.__mro__
                    or method.startswith("_")
                    or not callable(getattr(value, "__func__", value))
                    or method in OWN.get(ancestor.__name__, ())
                ):
                    continue
                overloads = known.method(name, method)
                assert overloads, f"{name}.{method} does not exist"
                assert any(agrees(getattr(kind, method), stub, skip_self=True) for stub in overloads), (
                    f"{name}.{method}"
                )
                checked += 1
    assert checked > 150


def test_every_class_of_the_stand_in_exists(begin: Callable[..., Any]) -> None:
    from nuke_standin import knobs, nodes

    import nuke

    known = Stubs()
    for module in (nuke, knobs, nodes):
        for name, kind in public(module):
            if inspect.isclass(kind) and kind.__module__ == module.__name__ and name not in {"Reload_Knob"}:
                assert name in known.classes, name


@pytest.fixture(name="session")
def fixture_session(begin: Callable[..., Any]) -> Any:
    return begin()


def in_thread(function: Callable[[], Any]) -> Any:
    """Run ``function`` on another thread while this one is Nuke's event loop; return its value or its error."""
    from nuke_standin import runtime

    found: list[Any] = []

    def run() -> None:
        try:
            found.append(function())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    runtime.pump(lambda: not thread.is_alive())
    return found[0]


def test_nodes_may_be_touched_on_the_main_thread_only(session: Any) -> None:
    from nuke_standin.runtime import OffMainThreadError

    import nuke

    node = nuke.createNode("Grade")
    knob = node["multiply"]
    # A bound method would be looked up here, on the main thread.
    name, value = (lambda: node.name()), (lambda: knob.value())  # noqa: PLW0108
    for touch in (name, value, nuke.root, lambda: node["multiply"], nuke.frame):
        assert isinstance(in_thread(touch), OffMainThreadError)


def test_an_error_on_the_main_thread_is_printed_and_comes_back_as_none(session: Any) -> None:
    import nuke

    assert in_thread(lambda: nuke.executeInMainThreadWithResult(lambda: 1 / 0)) is None
    assert "ZeroDivisionError" in session.printed[-1]
    assert in_thread(lambda: nuke.executeInMainThreadWithResult(nuke.frame)) == 1
    with pytest.raises(RuntimeError, match="main thread"):
        nuke.executeInMainThreadWithResult(nuke.frame)


def test_the_plugins_own_call_carries_value_and_error(session: Any) -> None:
    from fbamatte_nuke import host

    def fail() -> None:
        raise ValueError("from the main thread")

    assert in_thread(lambda: host.call(lambda: threading.current_thread().name)) == "MainThread"
    error = in_thread(lambda: host.call(fail))
    assert isinstance(error, ValueError)
    assert "in fail" in error.main_thread_traceback
    assert host.call(lambda: 3) == 3


def test_a_missing_knob_is_none_or_a_name_error(session: Any) -> None:
    import nuke

    node = nuke.createNode("Grade")
    assert node.knob("nonsense") is None
    with pytest.raises(NameError):
        node["nonsense"]


def test_dialogs_fail_in_batch_and_freeze_in_the_queue(begin: Callable[..., Any]) -> None:
    import nuke

    session = begin()
    nuke.message("hello")
    assert session.dialogs == ["hello"]
    in_thread(lambda: nuke.executeInMainThreadWithResult(nuke.message, ("from a thread",)))
    assert "freezes" in session.printed[-1]
    begin(gui=False)
    with pytest.raises(RuntimeError, match="without an interface"):
        nuke.message("hello")
    with pytest.raises(RuntimeError, match="without an interface"):
        nuke.ProgressTask("busy")


def small(path: Path, value: float = 0.5, **header: Any) -> Path:
    plane = np.full((6, 8), value, np.float32)
    with OpenEXR.File({"type": OpenEXR.scanlineimage, **header}, dict.fromkeys("RGBA", plane)) as file:
        file.write(str(path))
    return path


def read_and_write(tmp_path: Path) -> tuple[Any, Any]:
    import nuke

    read = nuke.nodes.Read(file=small(tmp_path / "in.exr").as_posix())
    write = nuke.nodes.Write(file=f"{tmp_path.as_posix()}/out.%04d.exr", file_type="exr", inputs=[read])
    return read, write


def test_no_render_within_a_render_nor_from_knob_changed(session: Any, tmp_path: Path) -> None:
    import nuke

    _, write = read_and_write(tmp_path)
    errors = []

    def again() -> None:
        try:
            nuke.execute(write, 2, 2)
        except RuntimeError as error:
            errors.append(str(error))

    nuke.addBeforeRender(again, nodeClass="Write")
    nuke.execute(write, 1, 1)
    nuke.removeBeforeRender(again)
    nuke.addKnobChanged(again, nodeClass="Write")
    write["first"].setValue(7)
    assert errors == ["I'm already executing something else"] * 2
    assert session.executed == [(write.fullName(), 1, "main")]


def test_a_callback_that_raises_aborts_the_render(session: Any, tmp_path: Path) -> None:
    import nuke

    _, write = read_and_write(tmp_path)

    def fail() -> None:
        raise ValueError("no")

    nuke.addBeforeFrameRender(fail)
    with pytest.raises(RuntimeError, match="beforeFrameRender: no"):
        nuke.execute(write, 1, 3)
    assert not session.executed
    assert not nuke.executing()


def test_knob_code_runs_before_callbacks(session: Any) -> None:
    import nuke

    node = nuke.createNode("Grade")
    order: list[str] = []
    nuke.order = order  # type: ignore[attr-defined]
    node["knobChanged"].setValue("nuke.order.append('knob')")
    nuke.addKnobChanged(lambda: order.append("callback"), nodeClass="Grade")
    order.clear()
    node["multiply"].setValue(3)
    assert order == ["knob", "callback"]


def test_overwriting_a_file_leaves_stale_pixels(session: Any, tmp_path: Path) -> None:
    from nuke_standin import app

    read, _ = read_and_write(tmp_path)
    before, mark = app.picture(read).channels["rgba.red"][0, 0], read.opHashes()
    small(tmp_path / "in.exr", 0.25)
    assert app.picture(read).channels["rgba.red"][0, 0] == before == 0.5
    assert read.opHashes() == mark
    read["reload"].execute()
    assert read.opHashes() != mark
    assert app.picture(read).channels["rgba.red"][0, 0] == 0.25


def test_a_disabled_write_does_not_execute(session: Any, tmp_path: Path) -> None:
    import nuke

    _, write = read_and_write(tmp_path)
    write["disable"].setValue(True)
    with pytest.raises(RuntimeError, match="disabled"):
        nuke.execute(write, 1, 1)


def test_proxy_mode_writes_a_smaller_picture(session: Any, tmp_path: Path) -> None:
    import nuke

    _, write = read_and_write(tmp_path)
    nuke.root()["proxy"].setValue(True)
    nuke.execute(write, 1, 1)
    with OpenEXR.File(str(tmp_path / "out.0001.exr")) as file:
        assert file.channels()["RGB"].pixels.shape[:2] == (3, 4)


@pytest.mark.parametrize(
    ("written", "called"),
    [
        ("R", "rgba.red"),
        ("A", "rgba.alpha"),
        ("RGBA.R", "RGBA.red"),
        ("fba_fg.R", "fba_fg.red"),
        ("fba_trimap.A", "fba_trimap.alpha"),
        ("left.fba_bg.B", "fba_bg.blue"),
        ("my layer.RED", "my_layer.red"),
        ("1st.G", "st.green"),
        ("Y", "rgba.red"),
        ("mask", "other.mask"),
    ],
)
def test_channels_are_called_as_in_nuke(written: str, called: str) -> None:
    from nuke_standin import exr

    assert exr.channel_name(written, ("left", "right")) == called


def test_a_window_that_is_not_the_format_gets_a_border(session: Any, tmp_path: Path) -> None:
    from nuke_standin import app
    from nuke_standin.images import Box

    import nuke

    window = (np.array([0, 0], np.int32), np.array([7, 5], np.int32))
    larger = (np.array([-2, -1], np.int32), np.array([9, 6], np.int32))
    plane = np.ones((8, 12), np.float32)
    path = tmp_path / "overscan.exr"
    with OpenEXR.File(
        {"type": OpenEXR.scanlineimage, "displayWindow": window, "dataWindow": larger}, {"A": plane}
    ) as file:
        file.write(str(path))
    picture = app.picture(nuke.nodes.Read(file=path.as_posix()))
    assert picture.bbox == Box(-3, -2, 11, 8)
    assert picture.channels["rgba.alpha"][0].max() == 0
    assert picture.channels["rgba.alpha"][1, 1] == 1


def test_scripts_survive_saving_and_opening(session: Any, tmp_path: Path) -> None:
    import nuke

    read, _ = read_and_write(tmp_path)
    nuke.createNode("FBA").setInput(0, read)
    texts = []
    for name in ("a.nk", "b.nk", "c.nk"):
        nuke.scriptSaveAs(str(tmp_path / name))
        texts.append((tmp_path / name).read_text())
        nuke.scriptOpen(str(tmp_path / name))
        assert not nuke.root().modified()
    assert texts[0] == texts[1] == texts[2]
    assert not session.printed


def test_unknown_nodes_and_knobs_are_errors(session: Any, tmp_path: Path) -> None:
    import nuke

    script = tmp_path / "bad.nk"
    for text, words in (("Sausage {\n}\n", "Unknown command"), ("Grade {\n sausage 1\n}\n", "no knob sausage")):
        script.write_text(text)
        with pytest.raises(RuntimeError, match=words):
            nuke.scriptOpen(str(script))
