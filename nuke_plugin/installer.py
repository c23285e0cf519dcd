"""Puts the plug-in into a Nuke home, with the wheels for Nuke's own Python: ``python3 install.py nuke``.

What it leaves there::

    ~/.nuke/init.py                     one line more, a copy of the file before
    ~/.nuke/fbamatte/                   a NUKE_PATH folder: init.py, menu.py, fbamatte_nuke/, gizmos/
                     vendor/py310/      grpcio, protobuf and fbamatte's client, appended to sys.path there
                     install.json       every file with its digest, so that only these are ever removed

Running it again changes nothing that is right already. Only the standard library is used.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Optional

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "nuke_plugin"))

from fbamatte_nuke.wheels import (  # noqa: E402 - the path has to be there first
    PLATFORMS,
    PYTHONS,
    REQUIREMENTS,
    InstallError,
    choose,
    download,
    this_platform,
)

FOLDER = "fbamatte"
LINE = 'import nuke; nuke.pluginAddPath("./fbamatte")  # fbamatte: written and removed by install.py nuke'
BACKUP = "init.py.before-fbamatte"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.add_argument("--nuke-home", type=Path, default=Path("~/.nuke"), metavar="DIR", help="default: ~/.nuke")
    parser.add_argument(
        "--nuke-python",
        action="append",
        choices=PYTHONS,
        help="Python of the Nuke: 3.9 for Nuke 14, 3.10 for 15, 3.11 for 16 and 17; may be repeated; default: all",
    )
    parser.add_argument(
        "--platform", choices=sorted(PLATFORMS), default=this_platform(), help="default: this machine's"
    )
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="take wheels from this folder, use no network")
    parser.add_argument("--download", type=Path, metavar="DIR", help="only fill a folder for --wheels, install nothing")
    parser.add_argument(
        "--bridge-python", default="", metavar="FILE", help="a Python with fbamatte, for the bridge mode"
    )
    parser.add_argument("--server", default="", metavar="ADDRESS", help="write this address into the preferences")
    parser.add_argument("--check", action="store_true", help="only say whether the installation is whole")
    parser.add_argument("--uninstall", action="store_true", help="remove what was installed")


def run(arguments: argparse.Namespace) -> int:
    """Do it; return 0 where all is well, 1 where ``--check`` found something, 2 where it cannot be done."""
    home = arguments.nuke_home.expanduser().resolve()
    pythons = tuple(arguments.nuke_python or PYTHONS)
    try:
        if arguments.download:
            for python in pythons:
                download(python, arguments.platform, arguments.download)
            say(f"wheels for Python {', '.join(pythons)} on {arguments.platform} are in {arguments.download}")
        elif arguments.check:
            return check(home)
        elif arguments.uninstall:
            uninstall(home)
        else:
            install(home, pythons, arguments.platform, arguments.wheels)
            remember(home, server=arguments.server, bridge_python=arguments.bridge_python)
    except (InstallError, OSError) as error:
        say(str(error))
        return 2
    return 0


def install(home: Path, pythons: tuple[str, ...], system: str, wheels: Optional[Path] = None) -> None:
    """Bring ``home`` to where it has everything; touch nothing that is right already.

    Raises
    ------
    InstallError
        If wheels are missing or the home cannot be one.
    """
    if home.exists() and not home.is_dir():
        raise InstallError(f"{home} is no folder; give the Nuke home with --nuke-home")
    wanted = {"plugin": source_digest(), "pythons": list(pythons), "platform": system, "wheels": REQUIREMENTS}
    target = home / FOLDER
    there = manifest(target)
    if there.get("made_of") == json.loads(json.dumps(wanted)) and not damaged(target, there):
        say(f"{target} is whole already")
    else:
        if target.exists() and not there:
            raise InstallError(f"{target} was not made by this installer; move it away first")
        home.mkdir(parents=True, exist_ok=True)
        build(home, target, wanted, wheels)
        say(f"{target} has the plug-in, and wheels for Python {', '.join(pythons)} on {system}")
    say(add_line(home / "init.py"))


def build(home: Path, target: Path, wanted: dict[str, Any], wheels: Optional[Path]) -> None:
    """Make the plug-in folder beside its place and then put it there in one step."""
    stage = Path(tempfile.mkdtemp(prefix=".fbamatte-", dir=home))
    try:
        copy_plugin(stage)
        used: list[str] = []
        for python in wanted["pythons"]:
            used += vendor(stage / "vendor" / f"py{python.replace('.', '')}", python, wanted["platform"], wheels)
        digests = {path.relative_to(stage).as_posix(): digest(path) for path in files(stage)}
        described = {"made_of": wanted, "wheels": sorted(set(used)), "files": digests}
        (stage / "install.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
        stage.chmod(0o755)
        replace(stage, target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def replace(stage: Path, target: Path) -> None:
    """Put ``stage`` in the place of ``target``, which stays as it was if that fails."""
    old = target.with_name(f".{target.name}-old-{os.getpid()}")
    if target.exists():
        try:
            target.rename(old)
        except OSError as error:
            raise InstallError(f"{target} is in use ({error.strerror}); close Nuke and try again") from error
    try:
        stage.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def plugin_sources() -> dict[str, Path]:
    """Return what goes into the plug-in folder: relative name → file here."""
    here = ROOT / "nuke_plugin"
    found = {name: here / name for name in ("init.py", "menu.py", "fbamatte_render.py")}
    found.update({path.relative_to(here).as_posix(): path for path in files(here / "fbamatte_nuke")})
    found.update({f"gizmos/{path.name}": path for path in files(ROOT / "gizmos") if path.suffix in {".gizmo", ".png"}})
    return found


def client_sources() -> dict[str, Path]:
    """Return fbamatte's client, which needs neither numpy nor torch: relative name → file here."""
    server = ROOT / "server"
    names = [server / "fbamatte" / name for name in ("__init__.py", "errors.py", "frame.py", "py.typed")]
    return {path.relative_to(server).as_posix(): path for path in [*names, *files(server / "fbamatte" / "rpc")]}


def source_digest() -> str:
    """Return a digest of all sources that are copied."""
    total = hashlib.sha256()
    for name, path in sorted({**plugin_sources(), **client_sources()}.items()):
        total.update(f"{name} {digest(path)}\n".encode())
    return total.hexdigest()


def copy_plugin(stage: Path) -> None:
    """Copy the plug-in."""
    for name, path in plugin_sources().items():
        goal = stage / name
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, goal)


def vendor(folder: Path, python: str, system: str, wheels: Optional[Path]) -> list[str]:
    """Unpack the wheels for one interpreter and the client into ``folder``; return the wheels' names.

    Raises
    ------
    InstallError
        If there is none for that interpreter and platform.
    """
    with tempfile.TemporaryDirectory(prefix="fbamatte-wheels-") as scratch:
        source = wheels or Path(scratch)
        if wheels is None:
            download(python, system, source)
        chosen = [choose(source, requirement, python, system) for requirement in REQUIREMENTS[python]]
        for wheel in chosen:
            with zipfile.ZipFile(wheel.path) as archive:
                archive.extractall(folder)
        for name, path in client_sources().items():
            goal = folder / name
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, goal)
        return [f"{wheel.path.name} {digest(wheel.path)}" for wheel in chosen]


def add_line(init: Path) -> str:
    """Append the one line to ``init.py``, keeping a copy of the file as it was; say what was done."""
    before = init.read_bytes() if init.exists() else b""
    if LINE.encode() in before.splitlines():
        return f"{init} has the line already"
    if init.exists():
        backup = init.with_name(BACKUP)
        if not backup.exists():
            backup.write_bytes(before)
    newline = b"\r\n" if b"\r\n" in before else b"\n"
    gap = b"" if not before or before.endswith(b"\n") else newline
    write_whole(init, before + gap + LINE.encode() + newline)
    return f"{init} has one line more" + (f"; as it was: {BACKUP}" if before else "")


def remove_line(init: Path) -> str:
    """Take the line out again, and the copy where nothing else has changed; say what was done."""
    if not init.exists():
        return f"{init} is not there"
    lines = init.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if line.strip() != LINE.encode()]
    backup = init.with_name(BACKUP)
    rest = b"".join(kept)
    if len(kept) == len(lines):
        return f"{init} does not have the line"
    if backup.exists() and rest.rstrip(b"\r\n") == backup.read_bytes().rstrip(b"\r\n"):
        # As if nothing had been: also a last line without an end.
        write_whole(init, backup.read_bytes())
        backup.unlink()
    elif rest or backup.exists():
        write_whole(init, rest)
    else:
        init.unlink()
    return f"{init} is without the line again"


def uninstall(home: Path) -> None:
    """Remove what was installed and nothing else; preferences and cached frames stay."""
    say(remove_line(home / "init.py"))
    target = home / FOLDER
    there = manifest(target)
    if not target.exists():
        say(f"{target} is not there")
        return
    if not there:
        raise InstallError(f"{target} was not made by this installer; nothing in it is touched")
    for name in there["files"]:
        (target / name).unlink(missing_ok=True)
    (target / "install.json").unlink()
    for cached in list(target.rglob("__pycache__")):
        shutil.rmtree(cached, ignore_errors=True)
    for folder in sorted((path for path in target.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    if any(target.iterdir()):
        say(f"{target} keeps what somebody else has put there")
    else:
        target.rmdir()
        say(f"{target} is removed; the preferences {home / 'fbamatte.json'} and cached frames stay")


def check(home: Path) -> int:
    """Say whether the installation is whole; return 0 or 1."""
    target, found = home / FOLDER, []
    there = manifest(target)
    if not there:
        found.append(f"{target} has no installation; run python3 install.py nuke")
    else:
        bad = damaged(target, there)
        found += [f"{target / name} is missing or has been changed; run python3 install.py nuke" for name in bad[:5]]
        if there["made_of"]["plugin"] != source_digest():
            found.append(f"{target} is of another version than this folder; run python3 install.py nuke")
    init = home / "init.py"
    if LINE.encode() not in (init.read_bytes().splitlines() if init.exists() else []):
        found.append(f"{init} does not load it; run python3 install.py nuke")
    for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        if folder and any((Path(folder) / name).exists() for name in ("grpc", "google/protobuf")):
            found.append(f"PYTHONPATH leads to {folder}, whose gRPC or protobuf Nuke would load first")
    for line in found:
        say(line)
    if not found:
        pythons = there["made_of"]["pythons"]
        say(f"{target} is whole, for Python {', '.join(pythons)} on {there['made_of']['platform']}")
    return 1 if found else 0


def remember(home: Path, **settings: str) -> None:
    """Write settings into the plug-in's preferences in that home."""
    given = {name: value for name, value in settings.items() if value}
    if not given:
        return
    target = home / "fbamatte.json"
    stored = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
    write_whole(target, (json.dumps({**stored, **given}, indent=1) + "\n").encode())
    say(f"{target} has {', '.join(given)}")


def manifest(target: Path) -> dict[str, Any]:
    """Return what an earlier installation says it put there; empty where there was none."""
    try:
        found = json.loads((target / "install.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and {"made_of", "files"} <= set(found) else {}


def damaged(target: Path, there: dict[str, Any]) -> list[str]:
    """Return the files that are missing or not as they were installed."""
    return [
        name
        for name, known in there["files"].items()
        if not (target / name).is_file() or digest(target / name) != known
    ]


def files(folder: Path) -> list[Path]:
    """Return the files below ``folder``, without compiled ones."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is never half there; through a link, if it is one."""
    goal = path.resolve()
    part = goal.with_name(f".{goal.name}.part")
    part.write_bytes(data)
    if goal.exists():
        shutil.copymode(goal, part)
    part.replace(goal)


def say(text: str) -> None:
    """Print a line."""
    print(f"[fbamatte] {text}", flush=True)
