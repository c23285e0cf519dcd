"""``fbamatte doctor``: what is installed, what works, and what to do about the rest."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

OLDEST_OPENEXR = (3, 4, 18)
PACKAGES = (
    "numpy",
    "scipy",
    "torch",
    "OpenEXR",
    "OpenImageIO",
    "opencolorio",
    "Fileseq",
    "PyMatting",
    "grpcio",
    "protobuf",
)
ROOMY_GB = 4


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``advice`` says what to do where it is not ``ok``."""

    name: str
    ok: bool
    value: str
    advice: str = ""


def add_parser(verbs: Any) -> None:
    """Add the verb to the command."""
    parser: argparse.ArgumentParser = verbs.add_parser("doctor", help="what is installed, what works, what to do")
    parser.add_argument("--server", help="also try this server, HOST:PORT or unix:PATH (default $FBAMATTE_SERVER)")
    parser.add_argument("--json", action="store_true", help="findings as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the findings; 1 if something needs attention."""
    server = options.server or os.environ.get("FBAMATTE_SERVER")
    looks: list[Callable[[], Finding]] = [_python, *(lambda name=name: _package(name) for name in PACKAGES)]
    looks += [_openexr, _processor, _gpu, _colour, _models, _disk]
    findings = [_safely(look) for look in looks]
    if server:
        findings.append(_safely(lambda: _server(server)))
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=2))
    else:
        _print(findings)
    return 0 if all(finding.ok for finding in findings) else 1


def _print(findings: list[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{'ok ' if finding.ok else '!! '} {finding.name:<{width}}  {finding.value}")
        if not finding.ok and finding.advice:
            print(f"    {'':<{width}} → {finding.advice}")


def _safely(look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except Exception as error:  # a doctor reports what breaks instead of breaking
        name = getattr(look, "__name__", "check").strip("_")
        return Finding(name, False, f"{type(error).__name__}: {error}", "run `python3 install.py install` again")


def _python() -> Finding:
    version = platform.python_version()
    return Finding(
        "python", sys.version_info >= (3, 10), f"{version}, {platform.platform()}", "Python 3.10 or newer is needed"
    )


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding(
            name, False, "not installed", "run `python3 install.py install`, or `pip install fbamatte[server]`"
        )


def _openexr() -> Finding:
    version = metadata.version("OpenEXR")
    recent = tuple(int(part) for part in version.split(".")[:3]) >= OLDEST_OPENEXR
    return Finding("openexr security", recent, version, "older than 3.4.18: known memory errors; upgrade OpenEXR")


def _processor() -> Finding:
    import torch

    from fbamatte.models.devices import computes_bf16, multiplies_bf16

    capability = torch.backends.cpu.get_cpu_capability()
    low = "no bf16" if not computes_bf16() else "multiplies bf16" if multiplies_bf16() else "emulates bf16"
    return Finding("processor", True, f"{os.cpu_count()} cores, {capability}, {torch.get_num_threads()} threads, {low}")


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
        return Finding("gpu", True, ", ".join(names))
    if torch.backends.mps.is_available():
        return Finding("gpu", True, "Apple MPS")
    visible = shutil.which("nvidia-smi") is not None
    advice = "an NVIDIA driver is here but torch cannot use it: install the CUDA build of torch"
    return Finding("gpu", not visible, "none; the processor does the work", advice)


def _colour() -> Finding:
    from fbamatte.imaging import spaces

    source = "$OCIO" if os.environ.get("OCIO") else "built in"
    return Finding("colour", True, f"{spaces.config().getName()} ({source})")


def _models() -> Finding:
    from fbamatte.models import registry

    return Finding("models", True, ", ".join(registry.names()))


def _disk() -> Finding:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free / 2**30
    return Finding(
        "disk", free > ROOMY_GB, f"{free:.0f} GiB free in {folder}", "make room: mattes of one UHD frame take 100 MB"
    )


def _server(target: str) -> Finding:
    from fbamatte.rpc.diagnose import diagnose

    diagnosis = diagnose(target)
    return Finding("server", diagnosis.ok, f"{target}: {diagnosis.message}", diagnosis.advice)
