"""Scripts read and written: the stack, groups, names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from nuke_standin import classes, knobs, nodes, runtime, tcl


def read(text: str, parent: nodes.Group, selected: Optional[nodes.Node] = None) -> list[nodes.Node]:
    """Make the nodes of a script in ``parent``; ``selected`` is what the first one is connected to."""
    return _Reader(parent, selected).run(text)


class _Reader:
    def __init__(self, parent: nodes.Group, selected: Optional[nodes.Node]) -> None:
        self.stacks: list[list[Optional[nodes.Node]]] = [[selected] if selected else []]
        self.parents = [parent]
        self.names: dict[str, Optional[nodes.Node]] = {}
        self.made: list[nodes.Node] = []

    @property
    def stack(self) -> list[Optional[nodes.Node]]:
        return self.stacks[-1]

    def run(self, text: str) -> list[nodes.Node]:
        for command in tcl.commands(text):
            self.command(command)
        if len(self.parents) != 1:
            raise tcl.ScriptError("a Group without end_group")
        for node in self.made:
            node._loading = False
        for node in self.made:
            runtime.fire("onCreate", node, None, node._knobs["onCreate"]._value or "")
        return self.made

    def command(self, command: list[tcl.Word]) -> None:
        verb = command[0].text
        if verb in {"version", "define_window_layout_xml", "add_layer"}:
            return
        if verb == "set":
            self.names[command[1].text] = self.stack[-1] if self.stack else None
        elif verb == "push":
            what = command[1].text
            if what.startswith("$") and what[1:] not in self.names:
                raise tcl.ScriptError(f'can\'t read "{what[1:]}": no such variable')
            self.stack.append(self.names[what[1:]] if what.startswith("$") else None)
        elif verb == "end_group":
            self.end_group()
        elif verb == "Root":
            _fill(self.parents[0], tcl.pairs(command[1].text))
        else:
            self.node(verb, tcl.pairs(command[1].text))

    def node(self, kind: str, pairs: list[tuple[str, tcl.Word]]) -> None:
        given = dict(pairs)
        node = nodes.make(kind, self.parents[-1], given["name"].text if "name" in given else "")
        node._loading = True
        self.made.append(node)
        default = "0" if not node._most_inputs else "1"
        count = sum(int(part) for part in given.get("inputs", tcl.Word(default, "bare")).text.split("+"))
        for index in range(count):
            node.setInput(index, self.stack.pop() if self.stack else None)
        _fill(node, [(name, word) for name, word in pairs if name not in {"inputs", "name"}])
        self.stack.append(node)
        if isinstance(node, nodes.Group):
            self.parents.append(node)
            self.stacks.append([])

    def end_group(self) -> None:
        if len(self.parents) == 1:
            raise tcl.ScriptError("end_group without a Group")
        self.parents.pop()
        self.stacks.pop()


def _fill(node: nodes.Node, pairs: list[tuple[str, tcl.Word]]) -> None:
    for name, word in pairs:
        if name == "addUserKnob":
            node.addKnob(knobs.user_knob(word))
        elif isinstance(node, nodes.Root) and name == "views":
            node._views = [entry.split()[0] for entry in word.text.splitlines() if entry.strip()]
        elif isinstance(node, nodes.Root) and name == "inputs":
            continue
        elif name in node._knobs:
            node._knobs[name]._read(word)
        else:
            raise tcl.ScriptError(f"{node.fullName()}: no knob {name}")


def write(root: nodes.Root) -> str:
    """Return the script as text."""
    lines = ["#! stand-in", "version 15.1 v3", "Root {", " inputs 0"]
    lines += [
        f" {name} {knob.toScript()}"
        for name, knob in root._knobs.items()
        if name in classes.ROOT and not knob._is_default()
    ]
    lines += [" views " + tcl.quote("\n".join(root._views)), "}"]
    return "\n".join([*lines, *_nodes(root, "", {})]) + "\n"


def _nodes(group: nodes.Group, indent: str, written: dict[nodes.Node, str]) -> list[str]:
    lines: list[str] = []

    def put(node: Any) -> None:
        if node in written:
            return
        for other in node._inputs:
            if other is not None:
                put(other)
        lines.extend(f"push ${written[other]}" if other is not None else "push 0" for other in reversed(node._inputs))
        written[node] = f"N{len(written)}"
        lines.extend(_node(node, indent, written))
        lines.append(f"set {written[node]} [stack 0]")

    for node in group._nodes:
        put(node)
    return lines


def _node(node: nodes.Node, indent: str, written: dict[nodes.Node, str]) -> list[str]:
    lines = [f"{indent}{node._kind} {{", f"{indent} inputs {len(node._inputs)}"]
    user = set(node._user)
    for name, knob in node._knobs.items():
        if name in user:
            lines.append(f"{indent} addUserKnob {_definition(knob)}")
        if isinstance(knob, (knobs.Tab_Knob, knobs.Text_Knob)) or (
            name in user and isinstance(knob, knobs.Script_Knob)
        ):
            continue
        if not knob._is_default() or name == "name":
            lines.append(f"{indent} {name} {knob.toScript()}")
    lines.append(f"{indent}}}")
    if isinstance(node, nodes.Group):
        lines += [*_nodes(node, indent + " ", written), f"{indent}end_group"]
    return lines


def _definition(knob: knobs.Knob) -> str:
    parts = []
    text_follows = False
    for word in knob._definition:
        if text_follows and isinstance(knob, knobs.Text_Knob):
            # What a line of text shows is saved with its definition.
            parts.append(tcl.quote(knob._value))
        else:
            parts.append(
                f"{{{word.text}}}"
                if word.kind == "braced"
                else tcl.quote(word.text)
                if word.kind == "quoted"
                else word.text
            )
        text_follows = word.text == "T" and word.kind == "bare"
    return "{" + " ".join(parts) + "}"


def gizmo(name: str) -> Optional[str]:
    """Return the text of a gizmo on the plug-in path."""
    for folder in runtime.state.plugin_path:
        path = Path(folder) / f"{name}.gizmo"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    return None
