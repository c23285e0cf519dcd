"""The gizmos as Tcl: what a real tclsh reads, wiring, links, embedded Python, and that both trimaps are one."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

GIZMOS = Path(__file__).resolve().parents[2] / "gizmos"
TCLSH = shutil.which("tclsh")

# Reads a gizmo as Nuke does: every unknown command is a node. Prints one JSON line per command.
HARNESS = r"""
proc json_string {text} {
    return "\"[string map [list \\ \\\\ \" \\\" \n \\n \t \\t] $text]\""
}
proc emit {kind args} {
    set parts [list [json_string $kind]]
    foreach part $args { lappend parts [json_string $part] }
    puts "\[[join $parts ", "]\]"
}
proc node {class args} {
    if {[llength $args] != 1} { error "$class: [llength $args] words after the class" }
    set body [lindex $args 0]
    if {[llength $body] % 2} { error "$class: odd number of words in its body" }
    emit node $class {*}$body
}
proc remember {name value} {
    emit set $name
    interp invokehidden script set $name "reference $name"
}
interp create script
interp hide script set
interp alias script set {} remember
interp alias script unknown {} node
interp alias script stack {} apply {{index} { return top }}
interp alias script push {} emit push
interp alias script end_group {} emit end_group
interp alias script add_layer {} emit add_layer
interp eval script [list source -encoding utf-8 [lindex $argv 0]]
"""


def tcl(path: Path, tmp_path: Path) -> list[list[str]]:
    harness = tmp_path / "harness.tcl"
    harness.write_text(HARNESS)
    assert TCLSH is not None
    found = subprocess.run([TCLSH, str(harness), str(path)], capture_output=True, text=True, check=False, timeout=30)
    assert found.returncode == 0, found.stderr
    return [json.loads(line) for line in found.stdout.splitlines()]


def tcl_list(text: str) -> list[str]:
    """Split a Tcl list with tclsh itself."""
    script = "foreach part [lindex $argv 0] { puts [string length $part]; puts $part }"
    assert TCLSH is not None
    found = subprocess.run(
        [TCLSH, "/dev/stdin", text], input=script, capture_output=True, text=True, check=True, timeout=30
    )
    parts, rest = [], found.stdout
    while rest:
        length, _, rest = rest.partition("\n")
        parts.append(rest[: int(length)])
        rest = rest[int(length) + 1 :]
    return parts


class Node:
    def __init__(self, words: list[str], group: str) -> None:
        self.kind, body = words[0], words[1:]
        self.group = group
        pairs = list(zip(body[::2], body[1::2]))
        self.user = [tcl_list(value) for name, value in pairs if name == "addUserKnob"]
        self.knobs = {name: value for name, value in pairs if name != "addUserKnob"}
        self.repeated = [name for name, value in pairs if name != "addUserKnob"]
        self.name = self.knobs.get("name", "")


def nodes(commands: list[list[str]]) -> list[Node]:
    found, groups = [], [""]
    for command in commands:
        if command[0] == "node":
            node = Node(command[1:], groups[-1])
            found.append(node)
            if node.kind == "Group":
                groups.append(f"{groups[-1]}.{node.name}")
        elif command[0] == "end_group":
            groups.pop()
    assert groups == [""], "a group is not ended"
    return found


pytestmark = pytest.mark.skipif(TCLSH is None, reason="needs tclsh")
BOTH = pytest.mark.parametrize("name", ["FBA", "FBATrimap"])


@pytest.fixture(name="parsed", scope="module")
def fixture_parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[str]]]:
    folder = tmp_path_factory.mktemp("tcl")
    return {name: tcl(GIZMOS / f"{name}.gizmo", folder) for name in ("FBA", "FBATrimap")}


@BOTH
def test_is_one_group_that_embeds_everything(parsed: dict[str, list[list[str]]], name: str) -> None:
    commands = parsed[name]
    assert commands[0][:2] == ["node", "Group"]
    assert commands[-1] == ["end_group"]
    assert nodes(commands)[0].name == name
    assert "Gizmo {" not in (GIZMOS / f"{name}.gizmo").read_text()


@BOTH
def test_every_push_names_something_that_was_set(parsed: dict[str, list[list[str]]], name: str) -> None:
    known: set[str] = set()
    for command in parsed[name]:
        if command[0] == "set":
            known.add(f"reference {command[1]}")
        if command[0] == "push":
            assert command[1] in known


@BOTH
def test_knobs_are_unique_and_snake_case_with_label_and_tooltip(parsed: dict[str, list[list[str]]], name: str) -> None:
    group = nodes(parsed[name])[0]
    own = [words[1] for words in group.user]
    assert len(own) == len(set(own))
    assert len(group.repeated) == len(set(group.repeated))
    builtin = {"name", "label", "disable", "cached", "selected", "xpos", "ypos", "help", "icon", "note_font"}
    for words in group.user:
        kind, knob, options = int(words[0]), words[1], words[2:]
        assert re.fullmatch(r"[a-z][a-z0-9_]*", knob)
        assert knob not in builtin
        assert "l" in options
        if kind not in (20, 26) and "+INVISIBLE" not in options:
            assert len(options[options.index("t") + 1]) > 20, f"{knob} has no tooltip"


def _expressions(node: Node) -> list[str]:
    found = [value for name, value in node.knobs.items() if re.fullmatch(r"(temp_)?expr\d", name)]
    for name, value in node.knobs.items():
        if value.startswith("{") and name not in {"color"}:
            found += [part.strip('{}"') for part in tcl_list(value)]
    return found


@BOTH
def test_every_link_leads_to_a_knob(parsed: dict[str, list[list[str]]], name: str) -> None:
    found = nodes(parsed[name])
    knobs = {
        f"{group.group}.{group.name}": {words[1] for words in group.user} for group in found if group.kind == "Group"
    }
    seen = 0
    for node in found:
        texts = [*_expressions(node), *re.findall(r"\[value ([\w.]+)\]", " ".join(node.knobs.values()))]
        for link in re.findall(r"parent\.(\w+)", " ".join(texts)):
            assert link in knobs[node.group], f"{node.name} asks for parent.{link}"
            seen += 1
    assert seen >= 8


@BOTH
def test_embedded_python_compiles_and_is_guarded(parsed: dict[str, list[list[str]]], name: str) -> None:
    group = nodes(parsed[name])[0]
    codes = [words[words.index("T") + 1] for words in group.user if words[0] == "22"]
    codes += [group.knobs[hook] for hook in ("knobChanged", "onCreate") if hook in group.knobs]
    assert len(codes) >= (10 if name == "FBA" else 0)
    for code in codes:
        tree = ast.parse(code)
        assert isinstance(tree.body[0], ast.Try), "the plug-in may not be installed where the script is opened"
        assert any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))


def test_buttons_call_actions_that_exist(parsed: dict[str, list[list[str]]]) -> None:
    source = (GIZMOS.parent / "nuke_plugin" / "fbamatte_nuke" / "actions.py").read_text()
    there = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    called = set(re.findall(r"actions\.(\w+)\(", (GIZMOS / "FBA.gizmo").read_text()))
    assert called == called & there
    assert len(called) == 10


def test_nothing_runs_when_a_script_opens(parsed: dict[str, list[list[str]]]) -> None:
    assert all("onCreate" not in node.knobs for node in nodes(parsed["FBA"]))


def test_writes_are_off_and_reads_are_raw_and_local(parsed: dict[str, list[list[str]]]) -> None:
    found = {node.name: node.knobs for node in nodes(parsed["FBA"])}
    for name in ("PlateOut", "TrimapOut"):
        assert found[name]["disable"] == "true"
        assert found[name]["raw"] == "true"
        assert found[name]["file"] == "fba-export.exr"
    assert found["PlateOut"]["metadata"] == "all metadata"
    read = found["Cache"]
    expected = {"raw": "true", "localizationPolicy": "off", "on_error": "error", "before": "black", "after": "black"}
    assert {name: read[name] for name in expected} == expected
    assert "proxy" not in read


def test_inputs_have_their_numbers(parsed: dict[str, list[list[str]]]) -> None:
    expected: dict[str, dict[str, int]] = {
        "FBA": {"plate": 0, "roto": 1, "inside": 2, "outside": 3, "edge": 4, "bg": 5},
        "FBATrimap": {"plate": 0, "roto": 1, "inside": 2, "outside": 3, "edge": 4},
    }
    for name, numbers in expected.items():
        inputs = [node for node in nodes(parsed[name]) if node.kind == "Input" and node.group == f".{name}"]
        assert {node.name: int(node.knobs.get("number", "0")) for node in inputs} == numbers


def test_the_trimap_inside_fba_is_fbatrimap(parsed: dict[str, list[list[str]]]) -> None:
    def inside(commands: list[list[str]], group: str) -> list[Any]:
        start = next(i for i, command in enumerate(commands) if command[:2] == ["node", "Group"] and group in command)
        end = next(i for i in range(start, len(commands)) if commands[i] == ["end_group"])
        return commands[start + 1 : end]

    assert inside(parsed["FBA"], "Trimap") == inside(parsed["FBATrimap"], "FBATrimap")


def test_only_stock_nodes(parsed: dict[str, list[list[str]]]) -> None:
    stock = {
        "Group",
        "Input",
        "Output",
        "Copy",
        "Expression",
        "MergeExpression",
        "FilterErode",
        "Merge2",
        "Switch",
        "Write",
        "Read",
        "Assert",
        "CheckerBoard2",
        "Constant",
        "Text2",
    }
    for commands in parsed.values():
        assert {node.kind for node in nodes(commands)} <= stock


def test_version_is_the_plugins(parsed: dict[str, list[list[str]]]) -> None:
    source = (GIZMOS.parent / "nuke_plugin" / "fbamatte_nuke" / "__init__.py").read_text()
    version = re.search(r'NODE_VERSION = "(\w+)"', source)
    assert version is not None
    assert nodes(parsed["FBA"])[0].knobs["fba_version"] == version[1]
