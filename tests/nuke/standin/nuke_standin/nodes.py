"""Nodes, groups and the script they are in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Optional

from nuke_standin import classes, expressions, knobs, runtime
from nuke_standin.images import Box, Format

INPUTS, EXPRESSIONS, LINKINPUTS, HIDDEN_INPUTS = 1, 2, 4, 8


class Node(runtime.Guarded):
    """Any node."""

    def __init__(self, kind: str = "NoOp", parent: Any = None, name: str = "") -> None:
        self._kind = kind
        self._parent = parent
        self._inputs: list[Optional[Node]] = []
        self._knobs: dict[str, knobs.Knob] = {}
        self._user: list[str] = []
        self._loading = True
        self._most_inputs, specs = classes.CLASSES.get(kind, (0, classes.ROOT))
        for knob_name, spec in {**classes.COMMON, **specs}.items():
            self._take_knob(spec.make(knob_name))
        self._knobs["name"]._value = name or kind + "1"
        self._loading = False

    def _take_knob(self, knob: knobs.Knob) -> None:
        knob._node = self
        self._knobs[knob._name] = knob

    def Class(self) -> str:
        return self._kind

    def name(self) -> str:
        return self._knobs["name"]._value

    def fullName(self) -> str:
        names, node = [], self
        while node is not None and not isinstance(node, Root):
            names.append(node._knobs["name"]._value)
            node = node._parent
        return ".".join(reversed(names))

    def setName(self, name: str, uncollide: bool = True, updateExpressions: bool = False) -> None:
        self._knobs["name"]._value = ""
        self._knobs["name"]._value = self._parent._free_name(name) if uncollide else name

    def knob(self, p: Any, follow_link: bool = False) -> Optional[knobs.Knob]:
        return self._knobs.get(p)

    def __getitem__(self, name: str) -> knobs.Knob:
        runtime.check_thread("node[]")
        if name not in self._knobs:
            raise NameError(f"knob {name} does not exist")
        return self._knobs[name]

    def knobs(self) -> dict[str, knobs.Knob]:
        return dict(self._knobs)

    def addKnob(self, knob: knobs.Knob) -> None:
        self._user.append(knob._name)
        self._take_knob(knob)

    def input(self, index: int) -> Optional[Node]:
        return self._inputs[index] if index < len(self._inputs) else None

    def inputs(self) -> int:
        return len(self._inputs)

    def maxInputs(self) -> int:
        return self._most_inputs

    def setInput(self, i: int, node: Optional[Node]) -> bool:
        while len(self._inputs) <= i:
            self._inputs.append(None)
        self._inputs[i] = node
        while self._inputs and self._inputs[-1] is None:
            self._inputs.pop()
        if not self._loading:
            runtime.fire_input_changed(self)
        return True

    def parent(self) -> Any:
        return self._parent

    def rootNode(self) -> Any:
        return self if self._parent is None else self._parent.rootNode()

    def dependencies(self, mask: int = INPUTS | EXPRESSIONS) -> list[Node]:
        found: list[Node] = [node for node in self._inputs if node is not None] if mask & INPUTS else []
        if mask & EXPRESSIONS:
            found += [node for node in self._linked() if node is not self]
        return list(dict.fromkeys(found))

    def _linked(self) -> Iterable[Node]:
        for knob in self._knobs.values():
            texts = [element for element in knob._value if isinstance(element, str)] if knob.numbers else []
            for name in re.findall(r"[A-Za-z_]\w*(?=\.)", " ".join(texts)):
                node = self._sibling(name)
                if node is not None:
                    yield node

    def _sibling(self, name: str) -> Optional[Node]:
        if self._parent is None:
            return None
        return next((node for node in self._parent._nodes if node._knobs["name"]._value == name), None)

    def dependent(self, mask: int = INPUTS, forceEvaluate: bool = False) -> list[Node]:
        return [node for node in self._parent._nodes if self in node._inputs]

    def selected(self) -> bool:
        return bool(self._knobs["selected"].value())

    def isSelected(self) -> bool:
        return bool(self._knobs["selected"].value())

    def setSelected(self, selected: bool) -> None:
        self._knobs["selected"].setValue(selected)

    def xpos(self) -> int:
        return int(self._knobs["xpos"].value())

    def ypos(self) -> int:
        return int(self._knobs["ypos"].value())

    def setXYpos(self, x: int, y: int) -> None:
        self._knobs["xpos"].setValue(x)
        self._knobs["ypos"].setValue(y)

    def _picture(self) -> Any:
        from nuke_standin import render

        return render.look(self, runtime.state.frame, self.rootNode()._views[0])

    def format(self) -> Format:
        return self._picture().format

    def width(self) -> int:
        return self._picture().format.width()

    def height(self) -> int:
        return self._picture().format.height()

    def pixelAspect(self) -> float:
        return self._picture().format.pixelAspect()

    def bbox(self) -> Box:
        return self._picture().bbox

    def channels(self) -> list[str]:
        return sorted(self._picture().channels)

    def metadata(self, *args: Any, **kwargs: Any) -> Any:
        found = self._picture().metadata
        return found.get(args[0]) if args and isinstance(args[0], str) else dict(found)

    def frameRange(self) -> Any:
        from nuke_standin import render

        return render.frame_range(self)

    def firstFrame(self) -> int:
        return self.frameRange().first()

    def lastFrame(self) -> int:
        return self.frameRange().last()

    def opHashes(self) -> list[int]:
        from nuke_standin import render

        return [render.op_hash(self, runtime.state.frame, self.rootNode()._views[0])]

    def fileDependencies(self, start: int, end: int) -> list[Any]:
        from nuke_standin import render

        return render.file_dependencies(self, start, end)

    def error(self) -> bool:
        return self.hasError()

    def hasError(self) -> bool:
        try:
            self._picture()
        except RuntimeError:
            return True
        return False

    def redraw(self) -> None:
        return None

    def _knob_changed(self, knob: knobs.Knob) -> None:
        root = self._root()
        if root is not None:
            root._modified = True
        if not self._loading and runtime.state.gui and not root._quiet:
            # Nuke fires it for what somebody can see; not in terminal mode.
            runtime.fire("knobChanged", self, knob, self._knobs["knobChanged"]._value or "")

    def _root(self) -> Any:
        node = self
        while node._parent is not None:
            node = node._parent
        return node

    def _lookup(self, name: str, frame: float) -> Any:
        """Return what a name in an expression of this node's knobs stands for."""
        if name == "frame":
            return frame
        head, _, rest = name.partition(".")
        if not rest:
            if name in self._knobs:
                return self._number(self._knobs[name], frame)
            raise expressions.ExpressionError(f"{self.fullName()}: nothing named {name!r}")
        owner = {"parent": self._parent, "this": self, "root": self._root()}.get(head) or self._sibling(head)
        if owner is None:
            raise expressions.ExpressionError(f"{self.fullName()}: nothing named {name!r}")
        return owner._lookup(rest, frame)

    def _number(self, knob: knobs.Knob, frame: float) -> Any:
        if not isinstance(knob, knobs.Array_Knob):
            raise expressions.ExpressionError(f"{self.fullName()}.{knob._name} is no number")
        return knob._elements_at(frame)[0]

    def _text(self, name: str, frame: float) -> str:
        """Return what ``[value name]`` stands for."""
        head, _, rest = name.partition(".")
        if head in {"parent", "this", "root"} and rest:
            owner = {"parent": self._parent, "this": self, "root": self._root()}[head]
            return owner._text(rest, frame)
        if name == "name" and isinstance(self, Root):
            return self.name()
        if name not in self._knobs:
            raise RuntimeError(f"{self.fullName()}: nothing named {name}")
        knob = self._knobs[name]
        return knob._evaluated(frame) if isinstance(knob, knobs.EvalString_Knob) else str(knob._at(frame))

    def __repr__(self) -> str:
        return f"<{self._kind} {self._knobs['name']._value}>"


class Group(Node):
    """A node with nodes inside."""

    def __init__(self, kind: str = "Group", parent: Any = None, name: str = "") -> None:
        self._nodes: list[Node] = []
        super().__init__(kind, parent, name)

    def nodes(self) -> list[Node]:
        return list(self._nodes)

    def numNodes(self) -> int:
        return len(self._nodes)

    def node(self, s: str) -> Optional[Node]:
        head, _, rest = s.partition(".")
        found = next((node for node in self._nodes if node._knobs["name"]._value == head), None)
        return found.node(rest) if rest and isinstance(found, Group) else found if not rest else None

    def maxInputs(self) -> int:
        return sum(node._kind == "Input" for node in self._nodes)

    def begin(self) -> Group:
        scopes.append(self)
        return self

    def end(self) -> None:
        scopes.pop()

    def __enter__(self) -> Group:
        return self.begin()

    def __exit__(self, type: Any, value: Any, traceback: Any) -> Any:
        self.end()

    def output(self, *args: Any, **kwargs: Any) -> Any:
        return next((node for node in self._nodes if node._kind == "Output"), None)

    def _free_name(self, name: str) -> str:
        taken = {node._knobs["name"]._value for node in self._nodes}
        if name not in taken:
            return name
        stem = name.rstrip("0123456789")
        number = 1
        while f"{stem}{number}" in taken:
            number += 1
        return f"{stem}{number}"

    def _input_node(self, number: int) -> Optional[Node]:
        found = [node for node in self._nodes if node._kind == "Input"]
        return next((node for node in found if node._knobs["number"]._value[0] == number), None)


class Root(Group):
    """The script."""

    def __init__(self) -> None:
        self._views = ["main"]
        self._modified = False
        self._quiet = False
        self._path = ""
        super().__init__("Root", None, "Root")
        self._modified = False

    def name(self) -> str:
        return self._path or "Root"

    def modified(self) -> bool:
        return self._modified

    def setModified(self, modified: bool) -> None:
        self._modified = modified

    def firstFrame(self) -> int:
        return int(self._knobs["first_frame"].value())

    def lastFrame(self) -> int:
        return int(self._knobs["last_frame"].value())

    def proxy(self, *args: Any, **kwargs: Any) -> Any:
        return self._knobs["proxy"].value()

    def format(self) -> Format:
        return Format.parse(self._knobs["format"]._value)


class Viewer(Node):
    """A viewer."""


class FrameRange(runtime.Guarded):
    """First, last and increment."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._range = tuple(int(value) for value in args[:2])

    def first(self) -> int:
        return self._range[0]

    def last(self) -> int:
        return self._range[1]

    def increment(self) -> int:
        return 1

    def frames(self) -> int:
        return self._range[1] - self._range[0] + 1


scopes: list[Group] = []
"""Whose inside new nodes go into; the last is the current one."""

KINDS: dict[str, type[Node]] = {"Group": Group, "Viewer": Viewer}


def make(kind: str, parent: Group, name: str = "") -> Node:
    """Return a new node in ``parent``; raise as Nuke does for a class that it does not know."""
    if kind not in classes.CLASSES:
        raise RuntimeError(f"{kind}: Unknown command")
    node = KINDS.get(kind, Node)(kind, parent, parent._free_name(name or kind + "1"))
    parent._nodes.append(node)
    return node
