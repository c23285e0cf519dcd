#!/usr/bin/env python3
"""Install fbamatte and do one thing with it; needs Python 3.10 or newer and nothing else.

::

    python3 install.py demo      matte the example plates and say where the pictures are
    python3 install.py test      check style and types, then run the tests
    python3 install.py install   only install, into .venv beside this file
    python3 install.py nuke      put the node into a Nuke home

Everything goes into ``.venv``; run again, it does only what is not done yet.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "installed-from"
OLDEST = (3, 10)
# What the tests of the status page, the gizmos, the panel and the load balancers start, by Debian's names.
DEBIAN_PACKAGES = ("chromium", "tcl", "nodejs", "xvfb", "nginx-light", "haproxy", "python3-pyside2.qtwidgets")
DEBIAN_PROGRAMS = ("chromium", "tclsh", "node", "Xvfb", "nginx", "haproxy")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("install", help="only install, into .venv").set_defaults(run=lambda _: install("server"))
    verbs.add_parser("demo", help="matte the example plates").set_defaults(run=demo)
    test_parser = verbs.add_parser("test", help="style, types, tests; further arguments go to pytest")
    test_parser.add_argument("--slow", action="store_true", help="run the tests marked slow as well")
    test_parser.set_defaults(run=test)
    add_nuke_verb(verbs)
    arguments, rest = parser.parse_known_args()
    if rest and arguments.verb != "test":
        parser.error(f"unrecognised arguments: {' '.join(rest)}")
    arguments.rest = rest
    return arguments.run(arguments)


def demo(_: argparse.Namespace) -> int:
    return install("server") or run(PYTHON, ROOT / "examples" / "demo.py")


def test(arguments: argparse.Namespace) -> int:
    code = install("dev")
    install_test_programs()
    marks = [] if arguments.slow else ["-m", "not slow"]
    steps = (
        ("style", ["-m", "ruff", "check", "."]),
        ("format", ["-m", "ruff", "format", "--check", "."]),
        ("types", ["-m", "mypy"]),
        ("tests", ["-m", "pytest", *marks, *arguments.rest]),
    )
    for name, command in steps:
        if code:
            break
        say(name)
        code = run(PYTHON, *command)
    return code


def install(extra: str) -> int:
    """Make .venv hold what constraints.txt says, unless it already does."""
    if sys.version_info < OLDEST:
        say(f"Python {'.'.join(map(str, OLDEST))} or newer is needed; this is {sys.version.split()[0]}")
        return 2
    if not PYTHON.exists():
        say(f"making {VENV.relative_to(ROOT)} with Python {sys.version.split()[0]}")
        venv.create(VENV, with_pip=True)
    wanted = fingerprint(extra)
    if STAMP.exists() and wanted in STAMP.read_text().split():
        say("everything is installed already")
        return 0
    say(f"installing fbamatte[{extra}] and what it needs, at the versions of constraints.txt")
    command = ["-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", "-q"]
    code = run(PYTHON, *command, "-c", ROOT / "constraints.txt", "-e", f"{ROOT}[{extra}]")
    if code:
        say("pip failed; its last lines above say why. Without a network, point PIP_FIND_LINKS at a folder of wheels")
        return code
    # the larger extra holds the smaller one
    STAMP.write_text("\n".join([fingerprint("server"), wanted]) + "\n")
    return 0


def fingerprint(extra: str) -> str:
    """Changes with anything that an installation depends on, and with nothing else."""
    content = b"".join((ROOT / name).read_bytes() for name in ("constraints.txt", "pyproject.toml"))
    return hashlib.sha256(f"{extra} {ROOT} {sys.version_info[:2]}".encode() + content).hexdigest()


def install_test_programs() -> None:
    """Install what some tests start, where this is a Debian machine that exists for testing; else name it."""
    missing = [program for program in DEBIAN_PROGRAMS if shutil.which(program) is None]
    if not missing:
        return
    apt = shutil.which("apt-get")
    if os.environ.get("CI") and apt and os.geteuid() == 0:
        say(f"installing {' '.join(DEBIAN_PACKAGES)}")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run([apt, "-q", "update"], check=False, stdout=subprocess.DEVNULL, env=environment)
        for package in DEBIAN_PACKAGES:  # one by one: a missing one must not keep the others away
            command = [apt, "-qq", "install", "-y", "--no-install-recommends", package]
            if subprocess.run(command, check=False, stdout=subprocess.DEVNULL, env=environment).returncode:
                say(f"{package} could not be installed; tests that need it say so")
        return
    say(f"tests that need {', '.join(missing)} will be skipped: install them to run these tests too")


def add_nuke_verb(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The Nuke part keeps its own arguments; it needs neither .venv nor torch."""
    source = ROOT / "nuke_plugin" / "installer.py"
    spec = importlib.util.spec_from_file_location("fbamatte_nuke_installer", source)
    assert spec is not None
    assert spec.loader is not None
    installer = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = installer  # dataclasses look their module up by name
    spec.loader.exec_module(installer)
    parser = verbs.add_parser("nuke", help="put the node into a Nuke home")
    installer.add_arguments(parser)
    parser.set_defaults(run=installer.run)


def run(*command: object) -> int:
    environment = {**os.environ, "PYTHONUTF8": "1"}
    return subprocess.run([str(part) for part in command], check=False, cwd=ROOT, env=environment).returncode


def say(text: str) -> None:
    print(f"[fbamatte] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
