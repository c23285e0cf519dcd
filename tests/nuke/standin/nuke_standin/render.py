"""What each node makes of its inputs, at a frame and in a view."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

from nuke_standin import exr, knobs, runtime
from nuke_standin.images import Format, Picture, black
from nuke_standin.nodes import FrameRange, Group, Node

_COSMETIC = frozenset(["name", "label", "xpos", "ypos", "selected", "tile_color", "note_font", "hide_input"])


_Asked = Callable[[Optional[Node], float, str], Any]


def _once(function: _Asked) -> _Asked:
    """Ask a node once within one request, however many ways lead to it."""
    known: dict[Any, Any] = {}
    depth = 0

    @functools.wraps(function)
    def asked(node: Optional[Node], frame: float, view: str) -> Any:
        nonlocal depth
        mark = (node, frame, view)
        if mark in known:
            return known[mark]
        depth += 1
        try:
            found = known[mark] = function(node, frame, view)
        finally:
            depth -= 1
            if not depth:
                known.clear()
        return found

    return asked


@_once
def look(node: Optional[Node], frame: float, view: str) -> Picture:
    """Return the picture that ``node`` gives at ``frame`` in ``view``; from memory where its hash is known."""
    if node is None:
        return black(runtime.state.root.format())
    if node._kind == "Read":
        # Nuke keeps pixels by the operator's hash, whatever has become of the file meanwhile.
        mark = op_hash(node, frame, view)
        if mark not in runtime.state.pixels:
            runtime.state.pixels[mark] = _read(node, frame, view)
        return runtime.state.pixels[mark]
    if node._knobs["disable"]._at(frame):
        return look(node.input(0), frame, view)
    return operators.OPERATORS[node._kind](node, frame, view)


@_once
def op_hash(node: Optional[Node], frame: float, view: str) -> int:
    """Return a number that changes with knobs and inputs, and not with what is in a file."""
    if node is None:
        return 0
    values = [
        (name, _hashable(knob, frame))
        for name, knob in sorted(node._knobs.items())
        if name not in _COSMETIC and not isinstance(knob, (knobs.Script_Knob, knobs.Tab_Knob, knobs.Text_Knob))
    ]
    above = upstream(node, frame)
    moving = (frame, view) if node._kind == "Read" else ()
    inside = op_hash(node.output(), frame, view) if isinstance(node, Group) else 0
    return hash((node._kind, tuple(values), moving, inside, tuple(op_hash(other, at, view) for other, at in above)))


def _hashable(knob: knobs.Knob, frame: float) -> Any:
    if isinstance(knob, knobs.Array_Knob):
        try:
            return tuple(knob._elements_at(frame))
        except RuntimeError as error:
            return str(error)
    return str(knob._value)


def upstream(node: Node, frame: float) -> list[tuple[Optional[Node], float]]:
    if node._kind == "TimeOffset":
        return [(node.input(0), frame - node["time_offset"].value())]
    if node._kind == "FrameHold":
        return [(node.input(0), node["firstFrame"].value())]
    if node._kind == "Input":
        return [(node._parent.input(int(node._knobs["number"]._value[0])), frame)]
    return [(other, frame) for other in node._inputs]


def frame_range(node: Node) -> FrameRange:
    """Return first and last frame: of the file, shifted on the way, else of the script."""
    if node._kind == "Read":
        return FrameRange(node["first"].value(), node["last"].value())
    found = [frame_range(other) for other, _ in upstream(node, 0) if other is not None]
    if not found:
        root = node._root()
        return FrameRange(root.firstFrame(), root.lastFrame())
    shift = node["time_offset"].value() if node._kind == "TimeOffset" else 0
    return FrameRange(min(one.first() for one in found) + shift, max(one.last() for one in found) + shift)


def file_dependencies(node: Node, start: int, end: int) -> list[Any]:
    """Return ``[node, [files]]`` of every Read and Write upstream, time shifted on the way."""
    found: dict[Node, set[str]] = {}

    def walk(at: Optional[Node], frame: float) -> None:
        if at is None:
            return
        if at._kind in ("Read", "Write"):
            for view in at._root()._views:
                found.setdefault(at, set()).add(_file_name(at, frame, view))
        for other, there in upstream(at, frame):
            walk(other, there)
        if isinstance(at, Group):
            walk(at.output(), frame)

    for frame in range(start, end + 1):
        walk(node, frame)
    return [[at, sorted(files)] for at, files in found.items()]


def _file_name(node: Node, frame: float, view: str) -> str:
    text = node._knobs["file"]._evaluated(frame).replace("%V", view).replace("%v", view[:1])
    number = round(frame)
    while "#" in text:
        count = len(text) - len(text.replace("#", "", 1).lstrip("#")) if text.startswith("#") else text.count("#")
        text = text.replace("#" * count, f"%0{count}d")
    return text % number if "%" in text else text


def _read(node: Node, frame: float, view: str) -> Picture:
    first, last = node["first"].value(), node["last"].value()
    if not first <= frame <= last:
        rule = node["before" if frame < first else "after"].value()
        if rule == "black":
            return black(runtime.state.root.format())
        frame = first if frame < first else last
    name = _file_name(node, frame, view)
    path = Path(name)
    try:
        if not path.is_file():
            raise RuntimeError(f"{name}: No such file or directory")
        try:
            picture = exr.read(path, tuple(node._root()._views), node["offset_negative_display_window"].value())
        except Exception as error:
            raise RuntimeError(f"{name}: {error}") from error
    except RuntimeError as error:
        if node["on_error"].value() == "black":
            return black(runtime.state.root.format())
        raise RuntimeError(f"{node.fullName()}: {error}") from None
    if not node["raw"].value() and node["colorspace"].value() not in ("default", "linear", "raw"):
        raise RuntimeError(f"{node.fullName()}: the stand-in converts no colour spaces")
    return picture


def execute(node: Node, start: int, end: int, step: int, views: list[str], go_on: bool) -> None:
    """Render a Write; see nuke.execute."""
    if runtime.state.executing or runtime.state.in_callback > _button_depth():
        raise RuntimeError("I'm already executing something else")
    if node._kind != "Write":
        raise RuntimeError(f"{node.fullName()} is not executable")
    if node["disable"].value():
        raise RuntimeError(f"{node.fullName()} is disabled")
    runtime.state.executing = True
    try:
        runtime.fire("beforeRender", node, aborts=True)
        for frame in range(start, end + 1, step):
            for view in views:
                _one(node, frame, view, go_on)
        runtime.fire("afterRender", node, aborts=True)
    finally:
        runtime.state.executing = False


def _button_depth() -> int:
    """Rendering from a button is allowed; from knobChanged or a render's callback it is not."""
    return sum(isinstance(knob, knobs.Script_Knob) for _, knob in runtime.state.context)


def _one(node: Node, frame: int, view: str, go_on: bool) -> None:
    runtime.fire("beforeFrameRender", node, aborts=True)
    try:
        picture = look(node.input(0), frame, view)
        if node._root()["proxy"].value():
            picture = _halved(picture)
        path = Path(_file_name(node, frame, view))
        if node["create_directories"].value():
            path.parent.mkdir(parents=True, exist_ok=True)
        names = {
            "rgb": list(operators.RGBA[:3]),
            "rgba": list(operators.RGBA),
            "alpha": ["rgba.alpha"],
            "all": sorted(picture.channels),
        }
        half = node["datatype"].value() == "16 bit half"
        metadata = node["metadata"].value() == "all metadata"
        exr.write(path, picture, names[node["channels"].value()], half, node["compression"].value(), metadata)
        runtime.state.executed.append((node.fullName(), frame, view))
    except RuntimeError:
        if not go_on:
            raise
    runtime.fire("afterFrameRender", node, aborts=True)


def _halved(picture: Picture) -> Picture:
    """Return what a render in proxy mode writes: a smaller picture."""
    channels = {name: plane[::2, ::2] for name, plane in picture.over(picture.format.box()).channels.items()}
    height, width = next(iter(channels.values())).shape
    format_ = Format(width, height, picture.format.pixelAspect())
    return Picture(format_, format_.box(), channels, picture.metadata)


# It asks back for pictures, so it comes when everything is there.
from nuke_standin import operators  # noqa: E402
