"""``install.py nuke``: into a home and out again, twice, without a network, over other people's files."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
# Runs the verb as the top-level install.py does, with any Python and nothing else.
HARNESS = """
import argparse, importlib.util, sys
spec = importlib.util.spec_from_file_location("installer", {path!r})
installer = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = installer
spec.loader.exec_module(installer)
parser = argparse.ArgumentParser()
installer.add_arguments(parser)
sys.exit(installer.run(parser.parse_args()))
"""


@pytest.fixture(name="home")
def fixture_home(tmp_path: Path) -> Path:
    return tmp_path / ".nuke"


@pytest.fixture(name="wheels")
def fixture_wheels(tmp_path: Path) -> Path:
    """Wheels of the right names and next to nothing in them."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in (
        "grpcio-1.80.1-cp39-cp39-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        "grpcio-1.85.1-cp310-cp310-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        "grpcio-1.85.1-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        "protobuf-6.33.6-cp39-abi3-manylinux2014_x86_64.whl",
        "protobuf-7.36.2-cp310-abi3-manylinux2014_x86_64.whl",
        "typing_extensions-4.12.2-py3-none-any.whl",
        "typing_extensions-4.16.0-py3-none-any.whl",
        "typing_extensions-4.9.0-py3-none-any.whl",
    ):
        package = name.split("-")[0]
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(f"{package}/__init__.py", f"wheel = {name!r}\n")
    return folder


def install(
    home: Path, *arguments: object, python: str = sys.executable, **more: str
) -> subprocess.CompletedProcess[str]:
    code = HARNESS.format(path=str(ROOT / "nuke_plugin" / "installer.py"))
    command = [sys.executable, "-I", "-c", code, "--nuke-home", home, "--platform", "linux", *arguments]
    environment = {**os.environ, **more}
    return subprocess.run(
        [str(part) for part in command], env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def times(folder: Path) -> dict[str, int]:
    return {path.as_posix(): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_everything_is_there_for_every_interpreter(home: Path, wheels: Path) -> None:
    found = install(home, "--wheels", wheels)
    assert found.returncode == 0, found.stderr + found.stdout
    target = home / "fbamatte"
    for name in ("init.py", "menu.py", "fbamatte_render.py", "gizmos/FBA.gizmo", "gizmos/FBATrimap.gizmo"):
        assert (target / name).is_file(), name
    for python, grpcio in (("py39", "1.80.1-cp39"), ("py310", "1.85.1-cp310"), ("py311", "1.85.1-cp311")):
        vendor = target / "vendor" / python
        assert grpcio in (vendor / "grpcio" / "__init__.py").read_text()
        assert "4.16.0" in (vendor / "typing_extensions" / "__init__.py").read_text()
        assert (vendor / "fbamatte" / "rpc" / "client.py").is_file()
        assert not (vendor / "fbamatte" / "engine").exists()
    assert install(home, "--check").returncode == 0


def test_a_second_time_changes_nothing(home: Path, wheels: Path) -> None:
    install(home, "--wheels", wheels)
    before = times(home)
    shutil.rmtree(wheels)
    found = install(home, "--wheels", wheels)
    assert found.returncode == 0
    assert "is whole already" in found.stdout
    assert "has the line already" in found.stdout
    assert times(home) == before


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"import nuke\n",
        b"import nuke\nnuke.pluginAddPath('./other')",
        b"import nuke\r\nprint('hello')\r\n",
        "# Größe 猫\nimport nuke\n".encode(),
        b"\n\n",
    ],
)
def test_the_line_comes_and_goes_without_a_trace(home: Path, wheels: Path, text: bytes) -> None:
    home.mkdir()
    (home / "init.py").write_bytes(text)
    (home / "init.py").chmod(0o640)
    (home / "menu.py").write_text("mine")
    before = content(home)
    install(home, "--wheels", wheels)
    lines = (home / "init.py").read_bytes().splitlines()
    assert sum(b'pluginAddPath("./fbamatte")' in line for line in lines) == 1
    assert (home / "init.py").read_bytes().startswith(text)
    assert (home / "init.py").stat().st_mode & 0o777 == 0o640
    assert (home / "init.py.before-fbamatte").read_bytes() == text
    compile((home / "init.py").read_bytes(), "init.py", "exec")
    found = install(home, "--uninstall")
    assert found.returncode == 0, found.stdout
    assert content(home) == before


def test_a_home_without_init_is_empty_again(home: Path, wheels: Path) -> None:
    install(home, "--wheels", wheels)
    install(home, "--uninstall")
    assert list(home.iterdir()) == []
    assert install(home, "--uninstall").returncode == 0


def test_what_was_written_into_init_since_stays(home: Path, wheels: Path) -> None:
    home.mkdir()
    (home / "init.py").write_text("import nuke\n")
    install(home, "--wheels", wheels)
    with (home / "init.py").open("a") as stream:
        stream.write("print('added later')\n")
    install(home, "--uninstall")
    assert (home / "init.py").read_text() == "import nuke\nprint('added later')\n"
    assert (home / "init.py.before-fbamatte").read_text() == "import nuke\n"


def test_uninstall_leaves_what_others_put_there(home: Path, wheels: Path) -> None:
    install(home, "--wheels", wheels, "--server", "studio:50051")
    (home / "fbamatte" / "gizmos" / "mine.gizmo").write_text("")
    found = install(home, "--uninstall")
    assert "keeps what somebody else has put there" in found.stdout
    assert content(home / "fbamatte") == {"gizmos/mine.gizmo": hashlib.sha256(b"").hexdigest()}
    assert '"server": "studio:50051"' in (home / "fbamatte.json").read_text()


def test_check_says_what_is_damaged_and_install_repairs_it(home: Path, wheels: Path) -> None:
    install(home, "--wheels", wheels)
    victim = home / "fbamatte" / "fbamatte_nuke" / "job.py"
    victim.write_text("oops")
    (home / "init.py").write_text("import nuke\n")
    found = install(home, "--check", PYTHONPATH="/nowhere")
    assert found.returncode == 1
    assert f"{victim} is missing or has been changed" in found.stdout
    assert "init.py does not load it" in found.stdout
    assert install(home, "--wheels", wheels).returncode == 0
    assert install(home, "--check").returncode == 0
    assert victim.read_text() != "oops"


def test_check_warns_of_leaked_packages(home: Path, wheels: Path, tmp_path: Path) -> None:
    install(home, "--wheels", wheels)
    (tmp_path / "leak" / "google" / "protobuf").mkdir(parents=True)
    found = install(home, "--check", PYTHONPATH=str(tmp_path / "leak"))
    assert found.returncode == 1
    assert "whose gRPC or protobuf Nuke would load first" in found.stdout


def test_a_folder_of_somebody_else_is_not_touched(home: Path, wheels: Path) -> None:
    (home / "fbamatte").mkdir(parents=True)
    (home / "fbamatte" / "treasure").write_text("gold")
    for arguments in (["--wheels", wheels], ["--uninstall"]):
        found = install(home, *arguments)
        assert found.returncode == 2
        assert "was not made by this installer" in found.stdout
    assert content(home) == {"fbamatte/treasure": hashlib.sha256(b"gold").hexdigest()}


def test_missing_wheels_leave_the_earlier_installation(home: Path, wheels: Path) -> None:
    install(home, "--wheels", wheels, "--nuke-python", "3.11")
    before = content(home)
    (wheels / "protobuf-6.33.6-cp39-abi3-manylinux2014_x86_64.whl").unlink()
    found = install(home, "--wheels", wheels)
    assert found.returncode == 2
    assert "has no wheel protobuf==6.33.6 for Python 3.9 on linux" in found.stdout
    assert "install.py nuke --download" in found.stdout
    assert content(home) == before


def test_wheels_of_another_platform_do_not_fit(home: Path, wheels: Path) -> None:
    found = install(home, "--wheels", wheels, "--platform", "windows")
    assert found.returncode == 2
    assert "on windows" in found.stdout
    assert not home.exists() or not any(home.iterdir())


def test_no_network_names_the_way_without(home: Path) -> None:
    code = HARNESS.format(path=str(ROOT / "nuke_plugin" / "installer.py"))
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_RETRIES": "0"}
    found = subprocess.run(
        [sys.executable, "-c", code, "--nuke-home", str(home)],
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert found.returncode == 2, found.stdout
    assert "--wheels DIR" in found.stdout
    assert not home.exists() or not any(home.iterdir())


def test_a_home_that_is_a_file(home: Path, wheels: Path) -> None:
    home.write_text("")
    found = install(home, "--wheels", wheels)
    assert found.returncode == 2
    assert "is no folder" in found.stdout


def pythons() -> dict[str, str]:
    """Other interpreters of this machine."""
    found = {}
    for version in ("3.9", "3.10", "3.11"):
        places = [
            shutil.which(f"python{version}"),
            *map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python")),
        ]
        for place in filter(None, places):
            code = f"import sys; sys.exit(sys.version_info[:2] != {tuple(map(int, version.split('.')))})"
            if subprocess.run([place, "-c", code], capture_output=True, check=False).returncode == 0:
                found[version] = place
    return found


def test_the_installed_plugin_starts_in_a_session(home: Path, wheels: Path, tmp_path: Path) -> None:
    """The home's own init.py, run by the stand-in as Nuke runs it."""
    install(home, "--wheels", wheels)
    script = tmp_path / "script.py"
    script.write_text("import sys, nuke\nprint(nuke.createNode('FBA').name())\nprint(sys.path[-1])\n")
    standin = Path(__file__).with_name("standin")
    found = subprocess.run(
        [sys.executable, str(standin / "nuke_standin" / "app.py"), "-p", str(home), str(script)],
        env={**os.environ, "PYTHONPATH": str(standin)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert found.returncode == 0, found.stderr
    name, last = found.stdout.splitlines()[-2:]
    assert name == "FBA1"
    assert last == str(home / "fbamatte" / "vendor" / f"py{sys.version_info[0]}{sys.version_info[1]}"), "appended"


MATTE = """
import sys, pathlib
sys.path.append({plugin!r})
from fbamatte_nuke import paths, preferences, transport
assert paths.append_wheels()
line = transport.connect({address!r}, preferences.Preferences(mode="in-process"))
assert line.kind == "in-process"
files = (pathlib.Path({folder!r}, name) for name in ("plate.exr", "trimap.exr", "out.exr"))
print(line.matte(transport.Request(*files, 1001, "", "FBA1", "FBA1, frame 1001", {{}}), lambda: False)["model"])
assert not {{"numpy", "torch"}} & set(sys.modules)
transport.disconnect()
"""


@pytest.mark.slow
def test_real_wheels_in_nukes_pythons_against_a_real_server(home: Path, tmp_path: Path) -> None:
    """Needs a package index, or PIP_FIND_LINKS, and at least one of Python 3.9, 3.10 and 3.11."""
    from nuke_standin import trees

    from fbamatte.testing import serve_in_process
    from fbamatte_nuke import exrfile

    found = install(home)
    if found.returncode:
        pytest.skip(f"no wheels to be had: {found.stdout}")
    there = pythons()
    assert there
    trees.write_exr(tmp_path / "plate.exr", trees.plate_pixels(1))
    trimap = np.repeat(np.linspace(0, 1, 3, dtype=np.float32), trees.WIDTH // 3)
    trees.write_exr(tmp_path / "trimap.exr", {"A": np.tile(trimap, (trees.HEIGHT, 1))})
    with serve_in_process() as server:
        code = MATTE.format(plugin=str(home / "fbamatte"), address=server.addresses[0], folder=str(tmp_path))
        for version, python in there.items():
            done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=False, timeout=60)
            assert done.returncode == 0, (version, done.stderr)
            assert done.stdout.strip() == "testing-null"
            exrfile.check(tmp_path / "out.exr")
            (tmp_path / "out.exr").unlink()
