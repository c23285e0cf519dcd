"""What each stock node makes of its inputs. Of colour and filters only as much as the gizmos need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from nuke_standin import expressions
from nuke_standin.images import Box, Format, Picture
from nuke_standin.nodes import Node
from nuke_standin.render import look, upstream
from scipy import ndimage

Operator = Callable[[Node, float, str], Picture]
RGBA = ("rgba.red", "rgba.green", "rgba.blue", "rgba.alpha")


def _through(node: Node, frame: float, view: str) -> Picture:
    return look(node.input(0), frame, view)


def _input(node: Node, frame: float, view: str) -> Picture:
    return look(node._parent.input(int(node._knobs["number"]._value[0])), frame, view)


def _group(node: Node, frame: float, view: str) -> Picture:
    return look(node.output(), frame, view)  # type: ignore[attr-defined]


def _shifted(node: Node, frame: float, view: str) -> Picture:
    above, at = upstream(node, frame)[0]
    return look(above, at, view)


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
