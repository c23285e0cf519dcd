"""A stand-in for Nuke's own module: what the plug-in uses of it, behaving as Nuke is known to behave.

It is strict where Nuke is unforgiving: a node touched off the main thread, a dialog without an
interface, a render within a render, an unknown knob. Names and signatures are compared with
types-nuke by test_standin.py; what is assumption about Nuke is marked in docs/nuke.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from nuke_standin import nodes as _nodes
from nuke_standin import render as _render
from nuke_standin import runtime as _runtime
from nuke_standin import script as _script
from nuke_standin.images import Box, Format
from nuke_standin.knobs import (
    INVISIBLE,
    Array_Knob,
    Boolean_Knob,
    Double_Knob,
    Enumeration_Knob,
    EvalString_Knob,
    File_Knob,
    Int_Knob,
    Knob,
    PyScript_Knob,
    Script_Knob,
    String_Knob,
    Tab_Knob,
    Text_Knob,
)
from nuke_standin.nodes import EXPRESSIONS, HIDDEN_INPUTS, INPUTS, LINKINPUTS, FrameRange, Group, Node, Root, Viewer

__all__ = [
    "EXPRESSIONS", "HIDDEN_INPUTS", "INPUTS", "INVISIBLE", "LINKINPUTS", "Array_Knob", "Boolean_Knob", "Box",
    "Double_Knob", "Enumeration_Knob", "EvalString_Knob", "File_Knob", "Format", "FrameRange", "Group", "Int_Knob",
    "Knob", "Node", "PyScript_Knob", "Root", "Script_Knob", "String_Knob", "Tab_Knob", "Text_Knob", "Viewer",
]  # fmt: skip

GUI = True
NUKE_VERSION_MAJOR = 15
NUKE_VERSION_MINOR = 1
NUKE_VERSION_STRING = "15.1v3"
env: dict[str, Any] = {"nc": False, "NukeVersionMajor": NUKE_VERSION_MAJOR}
rawArgs: list[str] = []


class CancelledError(Exception):
    """The user has cancelled."""


class Undo(_runtime.Guarded):
    """The undo history; only whether it is on is kept."""

    @classmethod
    def disable(cls, *args: Any, **kwargs: Any) -> Any:
        _runtime.check_thread("Undo.disable")
        _runtime.state.undo_disabled += 1

    @classmethod
    def enable(cls, *args: Any, **kwargs: Any) -> Any:
        _runtime.check_thread("Undo.enable")
        _runtime.state.undo_disabled -= 1


class ProgressTask(_runtime.Guarded):
    """A progress bar; `_runtime.state.press_cancel_at` says when the user presses its button."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _runtime.check_thread("ProgressTask")
        if not _runtime.state.gui:
            raise RuntimeError("a progress bar without an interface")
        self._title, self._percent, self._messages = args[0], 0, []
        _runtime.state.progress.append(self)

    def setMessage(self, *args: Any, **kwargs: Any) -> Any:
        self._messages.append(args[0])

    def setProgress(self, *args: Any, **kwargs: Any) -> Any:
        self._percent = int(args[0])

    def isCancelled(self, *args: Any, **kwargs: Any) -> Any:
        return self._percent >= _runtime.state.press_cancel_at

    def __del__(self) -> None:
        # Modules may be gone by then.
        if sys is not None and not sys.is_finalizing():
            _runtime.check_thread("deleting a ProgressTask")


class _Menu:
    def __init__(self, name: str) -> None:
        self._name = name
        self.children: dict[str, Any] = {}

    def addMenu(self, *args: Any, **kwargs: Any) -> Any:
        return self.children.setdefault(args[0], _Menu(args[0]))

    def addCommand(self, *args: Any, **kwargs: Any) -> Any:
        self.children[args[0]] = args[1]

    def findItem(self, name: str) -> Any:
        return self.children.get(name)

    def name(self) -> str:
        return self._name


class _Constructors:
    def __getattr__(self, item: str) -> Any:
        return lambda **kwargs: _constructed(item, kwargs)


def _constructed(kind: str, values: dict[str, Any]) -> Node:
    _runtime.check_thread("nuke.nodes")
    node = _nodes.make(kind, _current(), str(values.pop("name", "")))
    for index, other in enumerate(values.pop("inputs", [])):
        node.setInput(index, other)
    for name, value in values.items():
        node[name].setValue(value)
    node._loading = False
    return node


nodes = _Constructors()


def _current() -> Group:
    return _nodes.scopes[-1] if _nodes.scopes else _runtime.state.root


# Nodes


def root() -> Root:
    _runtime.check_thread("nuke.root")
    return _runtime.state.root


def thisRoot() -> Root:
    return root()


def toNode(s: str) -> Any:
    _runtime.check_thread("nuke.toNode")
    if s.startswith("root."):
        return _runtime.state.root.node(s[5:])
    return _current().node(s)


def allNodes(*args: Any, **kwargs: Any) -> list[Node]:
    _runtime.check_thread("nuke.allNodes")
    kind = args[0] if args else kwargs.get("filter")
    return [node for node in _current().nodes() if kind in (None, node.Class())]


def selectedNodes(filter: str = "") -> list[Node]:
    _runtime.check_thread("nuke.selectedNodes")
    return [node for node in _current().nodes() if node.isSelected() and filter in ("", node.Class())]


def selectedNode() -> Node:
    found = selectedNodes()
    if not found:
        raise ValueError("no node selected")
    return found[0]


def createNode(typ: str, knobs: str = "", inpanel: bool = True) -> Node:
    _runtime.check_thread("nuke.createNode")
    text = _script.gizmo(typ)
    chosen = selectedNodes()
    if text is None:
        made = [_nodes.make(typ, _current())]
        made[0]._loading = False
    else:
        made = _script.read(text, _current(), chosen[0] if chosen else None)
        made[0].setName(typ + "1")
    for node in chosen:
        node.setSelected(False)
    made[0].setSelected(True)
    return made[0]


def nodePaste(s: str) -> Any:
    _runtime.check_thread("nuke.nodePaste")
    chosen = selectedNodes()
    return _script.read(Path(s).read_text(encoding="utf-8"), _current(), chosen[0] if chosen else None)[0]


def delete(n: Any) -> None:
    _runtime.check_thread("nuke.delete")
    siblings = n.parent()._nodes
    siblings.remove(n)
    n._deleted = True
    for node in siblings:
        node._inputs = [None if other is n else other for other in node._inputs]


def thisNode() -> Node:
    _runtime.check_thread("nuke.thisNode")
    if not _runtime.state.context:
        raise ValueError("no node context")
    return _runtime.state.context[-1][0]


def thisKnob() -> Any:
    _runtime.check_thread("nuke.thisKnob")
    return _runtime.state.context[-1][1]


def activeViewer() -> Any:
    _runtime.check_thread("nuke.activeViewer")
    viewers = [node for node in _runtime.state.root.nodes() if node.Class() == "Viewer"]
    return _ViewerWindow(viewers[0]) if viewers and _runtime.state.gui else None


class _ViewerWindow:
    def __init__(self, node: Node) -> None:
        self._node = node

    def node(self) -> Node:
        return self._node

    def activeInput(self, *args: Any, **kwargs: Any) -> Any:
        return 0


# Scripts


def scriptOpen(filename: Any = None) -> None:
    _runtime.check_thread("nuke.scriptOpen")
    path = Path(filename)
    if not path.is_file():
        raise RuntimeError(f"{filename}: No such file or directory")
    scriptClear()
    _runtime.state.root._path = path.as_posix()
    _runtime.state.root._quiet = True
    try:
        _script.read(path.read_text(encoding="utf-8"), _runtime.state.root)
    finally:
        _runtime.state.root._quiet = False
    _runtime.state.root._modified = False


def scriptSaveAs(filename: Any = None, overwrite: Any = -1) -> None:
    _runtime.check_thread("nuke.scriptSaveAs")
    if Path(filename).exists() and not overwrite:
        raise RuntimeError(f"{filename} exists")
    try:
        Path(filename).write_text(_script.write(_runtime.state.root), encoding="utf-8")
    except OSError as error:
        raise RuntimeError(f"{filename}: {error.strerror}") from error
    _runtime.state.root._path = Path(filename).as_posix()
    _runtime.state.root._modified = False


def scriptClear(*args: Any, **kwargs: Any) -> Any:
    _runtime.check_thread("nuke.scriptClear")
    _nodes.scopes.clear()
    for node in _runtime.state.root._nodes if _runtime.state.root else ():
        node._deleted = True
    _runtime.state.root = Root()


def views() -> list[str]:
    _runtime.check_thread("nuke.views")
    return list(_runtime.state.root._views)


def addView(s: str) -> None:
    _runtime.check_thread("nuke.addView")
    _runtime.state.root._views.append(s)


def frame(f: Any = None) -> int:
    _runtime.check_thread("nuke.frame")
    if f is not None:
        _runtime.state.frame = int(f)
    return _runtime.state.frame


# Rendering


def execute(
    nameOrNode: Any, start: int, end: int, incr: int = 1, views: Any = None, continueOnError: bool = False
) -> None:
    _runtime.check_thread("nuke.execute")
    node = toNode(nameOrNode) if isinstance(nameOrNode, str) else nameOrNode
    _render.execute(node, start, end, incr, views or globals()["views"](), continueOnError)


def executing(f: Any = None) -> bool:
    return _runtime.state.executing


def clearRAMCache() -> None:
    _runtime.state.pixels.clear()


# Threads, dialogs, output


def executeInMainThreadWithResult(call: Any, args: Any = (), kwargs: Any = {}) -> Any:
    return _runtime.execute_with_result(call, args, kwargs)


def executeInMainThread(call: Any, args: Any = (), kwargs: Any = {}) -> None:
    _runtime.execute_later(call, args, kwargs)


def message(prompt: str) -> None:
    _runtime.dialog(prompt)


def ask(prompt: str) -> bool:
    _runtime.dialog(prompt)
    return bool(_runtime.state.answers.pop(0))


def tprint(*args: Any, sep: str = " ", end: str = "\n", file: Any = None) -> None:
    _runtime.say(sep.join(str(arg) for arg in args))


# Plug-ins and menus


def pluginAddPath(args: Any, addToSysPath: bool = True) -> None:
    base = Path(sys._getframe(1).f_globals.get("__file__", ".")).parent
    folder = str((base / args).resolve())
    if folder not in _runtime.state.plugin_path:
        _runtime.state.plugin_path.append(folder)
    if addToSysPath and folder not in sys.path:
        sys.path.insert(0, folder)


def pluginPath() -> list[str]:
    return list(_runtime.state.plugin_path)


def menu(name: str) -> Any:
    return _runtime.state.menus.setdefault(name, _Menu(name))


# Callbacks


def addKnobChanged(call: Any, args: Any = (), kwargs: Any = {}, nodeClass: str = "*", node: Any = None) -> None:
    _runtime.register("knobChanged", call, args, kwargs, nodeClass)


def addOnCreate(call: Any, args: Any = (), kwargs: Any = {}, nodeClass: str = "*") -> None:
    _runtime.register("onCreate", call, args, kwargs, nodeClass)


def addBeforeRender(call: Any, args: Any = (), kwargs: Any = {}, nodeClass: str = "*") -> None:
    _runtime.register("beforeRender", call, args, kwargs, nodeClass)


def addAfterRender(call: Any, args: Any = (), kwargs: Any = {}, nodeClass: str = "*") -> None:
    _runtime.register("afterRender", call, args, kwargs, nodeClass)


def addBeforeFrameRender(call: Any, args: Any = (), kwargs: Any = {}, nodeClass: str = "*") -> None:
    _runtime.register("beforeFrameRender", call, args, kwargs, nodeClass)


def addAfterFrameRender(call: Any, args: Any = (), kwargs: Any = {}, nodeClass: str = "*") -> None:
    _runtime.register("afterFrameRender", call, args, kwargs, nodeClass)


def removeBeforeRender(call: Any, args: Any = (), kwargs: Any = {}, nodeClass: str = "*") -> None:
    _runtime.unregister("beforeRender", call)


def removeBeforeFrameRender(call: Any, args: Any = (), kwargs: Any = {}, nodeClass: str = "*") -> None:
    _runtime.unregister("beforeFrameRender", call)


_runtime.state.root = Root()
