"""What each node makes of its inputs, at a frame and in a view."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

import numpy as np
from nuke_standin import expressions, exr, knobs, runtime
from nuke_standin.images import Box, Format, Picture, black
from nuke_standin.nodes import FrameRange, Group, Node
from scipy import ndimage

Operator = Callable[[Node, float, str], Picture]
RGBA = ("rgba.red", "rgba.green", "rgba.blue", "rgba.alpha")
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
    return OPERATORS[node._kind](node, frame, view)


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
    upstream = _upstream(node, frame)
    moving = (frame, view) if node._kind == "Read" else ()
    inside = op_hash(node.output(), frame, view) if isinstance(node, Group) else 0
    return hash((node._kind, tuple(values), moving, inside, tuple(op_hash(other, at, view) for other, at in upstream)))


def _hashable(knob: knobs.Knob, frame: float) -> Any:
    if isinstance(knob, knobs.Array_Knob):
        try:
            return tuple(knob._elements_at(frame))
        except RuntimeError as error:
            return str(error)
    return str(knob._value)


def _upstream(node: Node, frame: float) -> list[tuple[Optional[Node], float]]:
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
    found = [frame_range(other) for other, _ in _upstream(node, 0) if other is not None]
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
        for other, there in _upstream(at, frame):
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


def _through(node: Node, frame: float, view: str) -> Picture:
    return look(node.input(0), frame, view)


def _input(node: Node, frame: float, view: str) -> Picture:
    return look(node._parent.input(int(node._knobs["number"]._value[0])), frame, view)


def _group(node: Node, frame: float, view: str) -> Picture:
    return look(node.output(), frame, view)  # type: ignore[attr-defined]


def _shifted(node: Node, frame: float, view: str) -> Picture:
    upstream, at = _upstream(node, frame)[0]
    return look(upstream, at, view)


def _switch(node: Node, frame: float, view: str) -> Picture:
    # Only the chosen input is asked: an error in another is nobody's business.
    return look(node.input(int(node._knobs["which"]._at(frame))), frame, view)


def _assert(node: Node, frame: float, view: str) -> Picture:
    if not node._knobs["expression"]._at(frame):
        raise RuntimeError(f"{node.fullName()}: {node._knobs['message']._evaluated(frame)}")
    return look(node.input(0), frame, view)


def _copy(node: Node, frame: float, view: str) -> Picture:
    b, a = look(node.input(0), frame, view), look(node.input(1), frame, view)
    box = b.bbox.union(a.bbox)
    found = b.over(box)
    channels = dict(found.channels)
    for row in range(4):
        source, goal = node[f"from{row}"].value(), node[f"to{row}"].value()
        if "none" not in (source, goal):
            channels[goal] = a.channel(source, box)
    return Picture(b.format, box, channels, b.metadata, b.notes)


def _merge(node: Node, frame: float, view: str) -> Picture:
    b, a = look(node.input(0), frame, view), look(node.input(1), frame, view)
    rule = node["bbox"].value()
    box = {"union": b.bbox.union(a.bbox), "intersection": b.bbox.intersection(a.bbox), "A": a.bbox, "B": b.bbox}[rule]
    names = {*b.channels, *a.channels} if node["also_merge"].value() == "all" else set(RGBA)
    channels = dict(b.over(box).channels)
    over_a, over_b = a.channel("rgba.alpha", box), b.channel("rgba.alpha", box)
    formulas: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "copy": lambda top, bottom: top,
        "over": lambda top, bottom: top + bottom * (1 - over_a),
        "under": lambda top, bottom: top * (1 - over_b) + bottom,
        "plus": lambda top, bottom: top + bottom,
        "multiply": lambda top, bottom: top * bottom,
    }
    operation = formulas[node["operation"].value()]
    for name in names:
        channels[name] = operation(a.channel(name, box), b.channel(name, box)).astype(np.float32)
    return Picture(b.format, box, channels, b.metadata, b.notes)


def _expression(node: Node, frame: float, view: str) -> Picture:
    b = look(node.input(0), frame, view)
    a = look(node.input(1), frame, view) if node._kind == "MergeExpression" else None
    box = b.bbox.union(a.bbox) if a is not None else b.bbox
    short = {name.split(".")[1][0]: name for name in RGBA}
    values: dict[str, Any] = {}
    for letter, name in short.items():
        if a is None:
            values[letter] = b.channel(name, box)
        else:
            values[f"A{letter}"], values[f"B{letter}"] = a.channel(name, box), b.channel(name, box)

    def lookup(name: str) -> Any:
        return values[name] if name in values else node._lookup(name, frame)

    channels = dict(b.over(box).channels)
    for row, name in enumerate(RGBA):
        text = node[f"expr{row}"].value()
        if text:
            result = expressions.evaluate(text, lookup)
            channels[name] = np.broadcast_to(np.asarray(result, np.float32), (box.h(), box.w())).copy()
    return Picture(b.format, box, channels, b.metadata, b.notes)


def _filter_erode(node: Node, frame: float, view: str) -> Picture:
    """Grow by a disc where the size is negative, shrink where positive; fractions cover part of the last pixel."""
    source = look(node.input(0), frame, view)
    sizes = node._knobs["size"]._elements_at(frame)
    width, height = sizes[0], sizes[-1]
    scale = node._root()["proxy_scale"].value() if node._root()["proxy"].value() else 1.0
    channels = dict(source.channels)
    wanted = {"alpha": ["rgba.alpha"], "all": list(channels)}[node["channels"].value()]
    for name in wanted:
        channels[name] = _grown(channels[name], width * scale, height * scale)
    return Picture(source.format, source.bbox, channels, source.metadata, source.notes)


def _grown(plane: np.ndarray, width: float, height: float) -> np.ndarray:
    if not width or not height:
        return plane
    if height > 0:
        return (1 - _grown(1 - plane, -width, -height)).astype(np.float32)
    # Distance in units of the height, so that an anamorphic pixel counts for what it covers.
    distance = ndimage.distance_transform_edt(plane <= 0, sampling=(1.0, height / width))
    ramp = np.clip(-height + 0.5 - distance, 0, 1) if plane.any() else np.zeros_like(plane)
    return np.maximum(plane, ramp).astype(np.float32)


def _constant(node: Node, frame: float, view: str) -> Picture:
    format_ = Format.parse(node["format"].value()) if node["format"].value() else node._root().format()
    colors = node._knobs["color"]._elements_at(frame)
    shape = (format_.height(), format_.width())
    channels = {name: np.full(shape, value, np.float32) for name, value in zip(RGBA, (colors * 4)[:4])}
    return Picture(format_, format_.box(), channels)


def _checkerboard(node: Node, frame: float, view: str) -> Picture:
    format_ = node._root().format()
    rows, columns = np.indices((format_.height(), format_.width())) // 8
    board = np.where((rows + columns) % 2, 0.4, 0.1).astype(np.float32)
    return Picture(format_, format_.box(), dict.fromkeys(RGBA[:3], board) | {RGBA[3]: np.ones_like(board)})


def _text(node: Node, frame: float, view: str) -> Picture:
    source = look(node.input(0), frame, view)
    message = node._knobs["message"]._evaluated(frame)
    return Picture(source.format, source.bbox, source.channels, source.metadata, (*source.notes, message))


def _crop(node: Node, frame: float, view: str) -> Picture:
    source = look(node.input(0), frame, view)
    box = Box(*(round(side) for side in node._knobs["box"]._elements_at(frame)))
    return source.over(box if not node["crop"].value() else box.intersection(source.bbox))


def _grade(node: Node, frame: float, view: str) -> Picture:
    source = look(node.input(0), frame, view)
    gain, lift = node._knobs["multiply"]._at(frame), node._knobs["add"]._at(frame)
    names = RGBA if node["channels"].value() == "rgba" else RGBA[:3]
    changed = {name: (source.channel(name) * gain + lift).astype(np.float32) for name in names}
    return Picture(source.format, source.bbox, {**source.channels, **changed}, source.metadata, source.notes)


OPERATORS: dict[str, Operator] = {
    "Input": _input,
    "Group": _group,
    "TimeOffset": _shifted,
    "FrameHold": _shifted,
    "Switch": _switch,
    "Assert": _assert,
    "Copy": _copy,
    "Merge2": _merge,
    "Expression": _expression,
    "MergeExpression": _expression,
    "FilterErode": _filter_erode,
    "Constant": _constant,
    "CheckerBoard2": _checkerboard,
    "Text2": _text,
    "Crop": _crop,
    "Grade": _grade,
    **dict.fromkeys(("Output", "Dot", "NoOp", "Write", "Viewer"), _through),
}


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
        names = {"rgb": list(RGBA[:3]), "rgba": list(RGBA), "alpha": ["rgba.alpha"], "all": sorted(picture.channels)}
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
