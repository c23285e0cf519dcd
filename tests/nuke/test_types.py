"""The Nuke side against types-nuke, against Python 3.9, and against what must not be imported into Nuke."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "nuke_plugin"
SOURCES = sorted(path for path in PLUGIN.rglob("*.py") if "__pycache__" not in path.parts)
CLIENT = sorted((ROOT / "server" / "fbamatte" / "rpc").rglob("*.py")) + [
    ROOT / "server" / "fbamatte" / name for name in ("__init__.py", "errors.py", "frame.py")
]
SETTINGS = """
[mypy]
strict = true
explicit_package_bases = true
mypy_path = {root}/server:{root}/nuke_plugin
cache_dir = {root}/.mypy_cache/nuke
[mypy-grpc.*,google.*]
ignore_missing_imports = true
[mypy-fbamatte.*]
follow_imports = silent
"""


def test_mypy_against_types_nuke(tmp_path: Path) -> None:
    settings = tmp_path / "mypy.ini"
    settings.write_text(SETTINGS.format(root=ROOT))
    command = [sys.executable, "-m", "mypy", "--config-file", str(settings), str(PLUGIN / "fbamatte_nuke")]
    found = subprocess.run(
        [*command, str(PLUGIN / "installer.py")], capture_output=True, text=True, check=False, timeout=280, cwd=tmp_path
    )
    assert found.returncode == 0, found.stdout
    assert "Success" in found.stdout


def test_mypy_would_notice_a_wrong_call(tmp_path: Path) -> None:
    """The stand-in must not be on mypy's path: it would shadow the stubs."""
    settings = tmp_path / "mypy.ini"
    settings.write_text(SETTINGS.format(root=ROOT))
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import nuke\nnuke.toNode(3)\nnuke.nonsense()\nnuke.createNode('FBA').sausage()\n")
    command = [sys.executable, "-m", "mypy", "--config-file", str(settings), str(wrong)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)
    assert "Found 3 errors" in found.stdout, found.stdout


@pytest.mark.parametrize("path", [*SOURCES, *CLIENT], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_is_python_3_9(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    # Without it an annotation such as `str | None` is evaluated when the module is imported.
    unions = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)]
    futures = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert futures or not any(ast.unparse(union).endswith("None") for union in unions)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_neither_numpy_nor_torch_nor_a_qt_by_name(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    found |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not found & {"numpy", "torch", "OpenEXR", "PySide2", "PySide6", "scipy", "PIL"}


IMPORT_ALL = """
import importlib, sys, types
assert sys.version_info[:2] == (3, 9)
sys.path.append({plugin!r})

class Anything(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {{}})

sys.modules["nuke"] = Anything("nuke")
for name in {names!r}:
    importlib.import_module(name)
print(len({names!r}))
"""


def _runs(python: str) -> bool:
    # A shim may be there without what it stands for.
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def test_every_module_imports_in_python_3_9() -> None:
    own = Path.home().glob(".pyenv/versions/3.9.*/bin/python")
    places = filter(None, (shutil.which("python3.9"), *map(str, own)))
    python = next((place for place in places if _runs(place)), None)
    if python is None:
        pytest.skip("needs Python 3.9")
    names = [
        path.relative_to(PLUGIN).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for path in SOURCES
        if path.parent.name == "fbamatte_nuke" and path.stem != "bridge_worker"
    ]
    code = IMPORT_ALL.format(plugin=str(PLUGIN), names=names)
    found = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) == len(names) > 20


def test_every_proof_named_in_the_documentation_exists() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "nuke.md").read_text(encoding="utf-8")))
    assert len(named) > 30
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_icons_are_as_the_script_draws_them(tmp_path: Path) -> None:
    from PIL import Image, ImageChops

    subprocess.run([sys.executable, str(ROOT / "gizmos" / "draw_icons.py"), str(tmp_path)], check=True, timeout=60)
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == ["FBA.png", "FBA@2x.png", "FBATrimap.png", "FBATrimap@2x.png"]
    for name in drawn:
        with Image.open(tmp_path / name) as new, Image.open(ROOT / "gizmos" / name) as kept:
            assert new.size == kept.size == ((48, 48) if "@2x" in name else (24, 24))
            # Another version of Pillow may round otherwise.
            assert max(high for _, high in ImageChops.difference(new, kept).getextrema()) <= 2
