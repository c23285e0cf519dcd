"""The house stays straight: imports point down, and the client is light enough for any host."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "server" / "fbamatte"

# From the top floor to the ground. A room imports from lower floors, and from itself.
FLOORS = [
    {"cli"},
    {"farm", "testing"},
    {"serving", "training"},
    {"evaluation"},
    {"engine"},
    {"imaging", "models"},
    {"compositing", "rpc"},
    {"frame", "errors", "settings"},
]
FLOOR = {room: height for height, rooms in enumerate(reversed(FLOORS)) for room in rooms}
# Both raise errors, from the floor they stand on.
SAME_FLOOR = {("frame", "errors"), ("settings", "errors")}
# rpc moves frames and nothing else.
ONLY = {"rpc": {"frame", "errors"}}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path):
    """Rooms that a file imports, wherever in the file it does so."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("fbamatte"):
            names = [node.module] if node.module != "fbamatte" else [f"fbamatte.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names if a.name.startswith("fbamatte.")]
        else:
            continue
        for name in names:
            room = name.split(".")[1]
            if room in FLOOR:
                yield room, node.lineno


SOURCES = sorted(p for p in PACKAGE.rglob("*.py") if room_of(p) not in {"__init__", "__main__"})


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    room = room_of(path)
    assert room in FLOOR, f"{room} has no floor: add it to FLOORS"
    for other, line in imported_rooms(path):
        allowed = other == room or FLOOR[other] < FLOOR[room] or (room, other) in SAME_FLOOR
        if room in ONLY:
            allowed = other == room or other in ONLY[room]
        assert allowed, f"{path}:{line}: {room} imports {other}"


def test_every_room_is_on_a_floor():
    rooms = {p.name.removesuffix(".py") for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert rooms - {"__init__", "__main__"} <= FLOOR.keys()


@pytest.mark.parametrize("folder", ["server", "proto", "nuke_plugin", "gizmos", "tests"])
def test_a_fixed_folder_is_no_package(folder):
    """With an ``__init__.py`` it would shadow an installed package of the same name."""
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("module", ["fbamatte", "fbamatte.errors", "fbamatte.frame", "fbamatte.rpc.client"])
def test_the_client_loads_neither_torch_nor_numpy(module):
    code = f"import sys, {module}; print(sorted({{'torch', 'numpy'}} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert loaded.strip() == "[]"


def test_the_command_line_starts_without_torch():
    code = "import sys, fbamatte.cli; fbamatte.cli.parser(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"
