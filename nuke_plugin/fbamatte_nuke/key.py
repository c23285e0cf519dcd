"""What a matte depends on, as one short key: settings, and everything upstream of the node. Main thread only.

Nuke's own op hashes change with the frame and between versions, so the key is made of text: class,
knobs and connections of every node that the inputs lead to, expressions included. Files that are
overwritten under the same name are noticed by `files`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Optional

import nuke
from fbamatte_nuke import cache
from fbamatte_nuke.node import INPUTS, SETTING_KNOBS, FbaNode, is_fba

# Where a node sits and how it looks changes no pixel; nor does what a node says about itself.
_COSMETIC = frozenset(
    {
        "xpos",
        "ypos",
        "selected",
        "name",
        "label",
        "note_font",
        "note_font_size",
        "note_font_color",
        "tile_color",
        "gl_color",
        "hide_input",
        "postage_stamp",
        "postage_stamp_frame",
        "bookmark",
        "icon",
        "help",
        "indicators",
        "dope_sheet",
        "cached",
        "onCreate",
        "onDestroy",
        "knobChanged",
        "updateUI",
        "autolabel",
        "panel",
        "panelDropped",
        "window",
        "version",
        "reload",
        "localizationPolicy",
        "cacheLocal",
        "status",
        "status_line",
        "cache_info",
        "has_result",
        "cached_first",
        "cached_last",
        "frame_range",
        "render_views",
        "server",
        "cache_dir",
        "lifetimeStart",
        "lifetimeEnd",
        "useLifetime",
        "rootNodeUpdated",
    }
)
_SAYS_NOTHING = frozenset({"Text_Knob", "PyScript_Knob", "Tab_Knob", "Help_Knob", "BeginTabGroup_Knob"})
_NO_PIXELS = frozenset({"Viewer", "BackdropNode", "StickyNote"})
_ROOT_KNOBS = ("colorManagement", "OCIO_config", "customOCIOConfigPath", "workingSpaceLUT", "format", "fps")

_remembered: dict[str, tuple[Any, str]] = {}


def run_key(node: FbaNode) -> str:
    """Return the key of what ``node`` would matte now: 16 hexadecimal digits, the same in every session."""
    lines = ["fbamatte node 1"]
    lines += [f"{name} {node.knob(name).toScript()}" for name in SETTING_KNOBS]
    root = nuke.root()
    lines += [f"root {name} {knob.toScript()}" for name in _ROOT_KNOBS for knob in [root.knob(name)] if knob]
    lines += _tree([node.input(name) for name in INPUTS if name != "bg"])
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def quick_key(node: FbaNode) -> str:
    """Return `run_key`, worked out anew only when Nuke's own hashes of the inputs or a setting has changed."""
    settings = tuple(node.knob(name).toScript() for name in SETTING_KNOBS)
    inputs = [node.input(name) for name in INPUTS if name != "bg"]
    hashes = tuple(tuple(found.opHashes()) if found is not None else None for found in inputs)
    now = (nuke.frame(), settings, hashes)
    known = _remembered.get(node.name)
    if known is None or known[0] != now:
        known = _remembered[node.name] = (now, run_key(node))
    return known[1]


def files(node: FbaNode, frame: int) -> dict[str, list[int]]:
    """Return the files that ``frame`` is made of, each with its time of change and size.

    As long as the key stays, so do their names; `fbamatte_nuke.cache.unchanged` tells whether one
    has been written again.
    """
    found: dict[str, list[int]] = {}
    for name in INPUTS:
        upstream = node.input(name) if name != "bg" else None
        if upstream is not None:
            dependencies: Any = upstream.fileDependencies(frame, frame)
            for reader, paths in dependencies:
                # What a Write on the way would write is no input.
                if not (isinstance(reader, nuke.Node) and reader.Class() == "Write"):
                    found.update((str(path), mark) for path in paths for mark in [cache.mark(str(path))] if mark)
    return found


def upstream_of(nodes: Iterable[Optional[nuke.Node]]) -> list[nuke.Node]:
    """Return ``nodes`` and all that they depend on by connection or expression, in a fixed order."""
    ordered: dict[str, nuke.Node] = {}
    waiting = [node for node in nodes if node is not None]
    while waiting:
        node = waiting.pop()
        if node.fullName() in ordered or node.Class() in _NO_PIXELS or isinstance(node, nuke.Root):
            continue
        ordered[node.fullName()] = node
        connected = [node.input(index) for index in range(node.inputs())]
        linked = sorted(node.dependencies(nuke.EXPRESSIONS | nuke.LINKINPUTS), key=lambda other: other.fullName())
        # Of another FBA node only the run folder matters, which is a knob of its own.
        inside = node.nodes() if isinstance(node, nuke.Group) and not is_fba(node) else []
        waiting += [other for other in [*connected, *linked, *inside] if other is not None]
    return list(ordered.values())


def _tree(inputs: list[Optional[nuke.Node]]) -> list[str]:
    nodes = upstream_of(inputs)
    number = {node.fullName(): index for index, node in enumerate(nodes)}
    lines = [f"inputs {[number.get(node.fullName()) if node else None for node in inputs]}"]
    for node in nodes:
        connected = [node.input(index) for index in range(node.inputs())]
        lines.append(f"{node.Class()} {[number.get(other.fullName()) if other else None for other in connected]}")
        lines += _knobs(node)
    return lines


def _knobs(node: nuke.Node) -> list[str]:
    lines = []
    for name, knob in sorted(node.knobs().items()):
        if name not in _COSMETIC and knob.Class() not in _SAYS_NOTHING:
            lines.append(f" {name} {_spelled(knob)}")
    return lines


def _spelled(knob: nuke.Knob) -> str:
    try:
        return knob.toScript()
    except Exception as error:
        # Some plug-in's knob that cannot be saved has no say in the key, and must not keep a matte from being made.
        return type(error).__name__
