#!/usr/bin/env python3
"""Write the Python stubs of the wire contract, or check that they are current.

    python3 proto/generate.py           # write server/fbamatte/rpc/v1/
    python3 proto/generate.py --check   # compare only; exit 1 where they differ

The stubs come from grpcio-tools 1.51.3, whose output loads on protobuf 3.20 to 7.x; the output of
1.85 loads on 7 only. That version has wheels for Python 3.9 to 3.11, so it gets a virtual environment
of its own under build/, made once, with the first such Python that is found.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = Path("fbamatte/rpc/v1/matting.proto")
STUBS = ROOT / "server" / PROTO.parent
# All three are pinned: what is committed must come out the same everywhere.
TOOLS = ("grpcio-tools==1.51.3", "grpcio==1.51.3", "protobuf==4.25.9", "setuptools==80.9.0")
VENV = ROOT / "build" / "grpcio-tools-1.51.3"
PYTHONS = ((3, 11), (3, 10), (3, 9))


def find_python() -> str:
    """Return an interpreter that grpcio-tools 1.51.3 has a wheel for."""
    if sys.version_info[:2] in PYTHONS:
        return sys.executable
    for major, minor in PYTHONS:
        found = shutil.which(f"python{major}.{minor}")
        # A version manager's shim may be on the path without the version behind it.
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    raise SystemExit("proto/generate.py: needs Python 3.9 to 3.11: grpcio-tools 1.51.3 has wheels for no other")


def tools() -> str:
    """Return the Python of the virtual environment with the tools, made if need be."""
    python = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    ready = VENV / "ready"
    if not ready.exists() or ready.read_text() != " ".join(TOOLS):
        subprocess.run([find_python(), "-m", "venv", "--clear", str(VENV)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *TOOLS], check=True)
        ready.write_text(" ".join(TOOLS))
    return str(python)


def generate(target: Path) -> list[Path]:
    """Write the stubs under ``target`` and return their paths, relative to it."""
    outputs = [f"--{kind}_out={target}" for kind in ("python", "pyi", "grpc_python")]
    command = [
        tools(),
        "-W",
        "ignore",
        "-m",
        "grpc_tools.protoc",
        f"--proto_path={ROOT / 'proto'}",
        *outputs,
        str(PROTO),
    ]
    subprocess.run(command, check=True)
    return sorted(path.relative_to(target) for path in target.rglob("*.py*") if path.is_file())


def main() -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stale = []
        for path in generate(Path(folder)):
            committed = ROOT / "server" / path
            fresh = (Path(folder) / path).read_bytes()
            if not committed.exists() or committed.read_bytes() != fresh:
                stale.append(path)
                if not arguments.check:
                    committed.parent.mkdir(parents=True, exist_ok=True)
                    committed.write_bytes(fresh)
    for path in stale:
        print(f"{'stale' if arguments.check else 'written'}: server/{path.as_posix()}")
    return 1 if stale and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
