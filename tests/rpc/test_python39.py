"""The client runs on the oldest interpreter that a host still has."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What a host has, and what these tests need beside it.
PACKAGES = ("grpcio==1.80.1", "protobuf==6.33.6", "numpy==2.0.2", "pytest==8.4.2", "pytest-timeout==2.4.0")
HELPERS = ("trustme==1.2.1", "grpcio-health-checking==1.80.1")


def oldest_python() -> str:
    found = os.environ.get("PYTHON39") or shutil.which("python3.9")
    # A version manager's shim may be on the path without the version behind it.
    if found is None or subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip("no python3.9 on the path; PYTHON39 may name one")
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_wire_works_on_python_3_9() -> None:
    folder = ROOT / "build" / "python3.9"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([oldest_python(), "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES, *HELPERS], check=True)
        (folder / "ready").touch()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "server"), str(ROOT / "tests")))}
    options = ["-q", "-p", "no:cacheprovider", "-c", os.devnull, f"--rootdir={ROOT}", "--import-mode=importlib"]
    tests = [str(path) for path in sorted((ROOT / "tests" / "rpc").glob("test_*.py")) if "39" not in path.name]
    command = [str(python), "-m", "pytest", *options, "-o", "markers=slow", *tests]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    # The server does not run there; all else must.
    assert " passed" in done.stdout
