"""The wheels that Nuke's Pythons need: fetched with pip, or taken from a folder, and chosen by their tags.

Used by the installer, outside Nuke. Only the standard library is used.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.9", "3.10", "3.11")
"""Nuke 14; Nuke 15; Nuke 16 and 17."""
REQUIREMENTS = {
    "3.9": ("grpcio==1.80.1", "protobuf==6.33.6", "typing-extensions>=4.12"),
    "3.10": ("grpcio==1.85.1", "protobuf==7.36.2", "typing-extensions>=4.12"),
    "3.11": ("grpcio==1.85.1", "protobuf==7.36.2", "typing-extensions>=4.12"),
}
PLATFORMS = {
    "linux": ("manylinux2014_x86_64", "manylinux_2_17_x86_64"),
    "linux-arm": ("manylinux2014_aarch64", "manylinux_2_17_aarch64"),
    "windows": ("win_amd64",),
    "mac": ("macosx_11_0_universal2", "macosx_11_0_arm64", "macosx_10_9_universal2", "macosx_10_9_x86_64"),
}


class InstallError(Exception):
    """What keeps it from being installed, and what to do."""


@dataclass(frozen=True)
class Wheel:
    """One wheel file; ``rank`` is higher for newer versions."""

    path: Path
    name: str
    version: str

    @property
    def rank(self) -> tuple[int, ...]:
        """Its version as numbers."""
        return tuple(int(part) for part in re.findall(r"\d+", self.version))


def download(python: str, system: str, folder: Path) -> None:
    """Fetch the wheels for one interpreter with pip; nothing is built and nothing of them is run.

    Raises
    ------
    InstallError
        If pip is missing or cannot get them.
    """
    command = ["pip", "download", "-q", "--disable-pip-version-check", "--dest", str(folder), "--only-binary=:all:"]
    command += ["--no-deps", "--implementation", "cp", "--python-version", python]
    for tag in PLATFORMS[system]:
        command += ["--platform", tag]
    for interpreter in (sys.executable, str(_ROOT / ".venv" / "bin" / "python")):
        if subprocess.run([interpreter, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
            break
    else:
        raise InstallError("pip is missing here; install it, or bring the wheels in a folder with --wheels")
    found = subprocess.run(
        [interpreter, "-m", *command, *REQUIREMENTS[python]], capture_output=True, text=True, check=False
    )
    if found.returncode:
        reason = (found.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise InstallError(
            f"no wheels for Python {python} on {system}: {reason}. Without a network, fill a folder elsewhere with "
            "python3 install.py nuke --download DIR, and use it here with --wheels DIR"
        )


def choose(folder: Path, requirement: str, python: str, system: str) -> Wheel:
    """Return the wheel in ``folder`` that fits best.

    Raises
    ------
    InstallError
        If none does.
    """
    name, _, version = re.match(r"([\w.-]+?)(==|>=)(.+)", requirement).groups()  # type: ignore[union-attr]
    exactly = "==" in requirement
    fitting = [
        wheel
        for wheel in available(folder, python, system)
        if wheel.name == name and (wheel.version == version or not exactly)
    ]
    if not fitting:
        raise InstallError(
            f"{folder} has no wheel {requirement} for Python {python} on {system}. Fill it with "
            f"python3 install.py nuke --download {folder} --nuke-python {python} --platform {system}"
        )
    return max(fitting, key=lambda wheel: wheel.rank)


def available(folder: Path, python: str, system: str) -> Iterable[Wheel]:
    """Yield the wheels of ``folder`` that fit an interpreter and a platform."""
    for path in sorted(folder.glob("*.whl")) if folder.is_dir() else []:
        parts = path.stem.split("-")
        if len(parts) >= 5 and fits(parts[-3].split("."), parts[-2].split("."), parts[-1].split("."), python, system):
            yield Wheel(path, parts[0].replace("_", "-").lower(), parts[1])


def fits(tags: list[str], abis: list[str], platforms: list[str], python: str, system: str) -> bool:
    """Whether a wheel of these tags loads there. See PEP 425."""
    if not {"any", *PLATFORMS[system]} & set(platforms):
        return False
    minor = int(python.split(".")[1])
    if "py3" in tags and "none" in abis:
        return True
    if f"cp3{minor}" in tags and f"cp3{minor}" in abis:
        return True
    oldest = [int(tag[3:]) for tag in tags if re.fullmatch(r"cp3\d+", tag)]
    return "abi3" in abis and bool(oldest) and min(oldest) <= minor


def this_platform() -> str:
    """Return the name in `PLATFORMS` of the machine that this runs on."""
    system = {"Windows": "windows", "Darwin": "mac"}.get(platform.system(), "linux")
    return "linux-arm" if system == "linux" and platform.machine() in {"aarch64", "arm64"} else system
