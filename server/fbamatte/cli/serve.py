"""``fbamatte serve``: the persistent server."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NoReturn

from fbamatte.errors import UsageError
from fbamatte.farm.settings import RaySettings
from fbamatte.serving.settings import ServerSettings
from fbamatte.settings import add_flags, from_arguments

# A model is loaded and warmed up in this time, also from a slow disk.
_START_SECONDS = 300.0
# What a server may take beyond its drain to end.
_STOP_MARGIN_SECONDS = 15.0


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "serve",
        help="keep models warm and matte frames for others",
        description="Keep models warm on their devices and matte the frames that come over gRPC. "
        "Listens on this machine alone unless it has certificates and tokens.",
    )
    add_flags(parser, ServerSettings)
    add_flags(parser, RaySettings)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop; or start a server in the background; or stop one."""
    settings = from_arguments(ServerSettings, arguments)
    spread = from_arguments(RaySettings, arguments)
    if spread.engine == "ray":
        from fbamatte.farm import ray_serve

        return ray_serve.run(settings, spread)
    if settings.stop:
        return _stop(settings)
    if settings.detach:
        return _detach(settings)
    return _serve(settings)


def _serve(settings: ServerSettings) -> NoReturn:
    from fbamatte.serving import log
    from fbamatte.serving.catalogue import Catalogue
    from fbamatte.serving.server import Server

    stream = Path(settings.log).open("a", buffering=1) if settings.log else None  # noqa: SIM115 - open to the end
    log.configure(settings.log_format, settings.log_level, stream)
    extra = None
    if settings.testing:
        from fbamatte.testing import Sources

        extra = Sources()
    server = Server(settings, Catalogue.of_registry(settings.model, extra))
    server.handle_signals()
    _exit(server.run())


def _exit(code: int) -> NoReturn:
    """End the process now that all is closed.

    The interpreter would take seconds to unload torch, and tear apart a computation that cannot be interrupted.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _detach(settings: ServerSettings) -> int:
    from fbamatte.serving.process import detach

    log = Path(settings.log) if settings.log else None
    command = ["-m", "fbamatte", "serve", *to_flags(replace(settings, detach=False, log=""))]
    ready = detach(command, _ready_file(settings, "--detach"), log, _START_SECONDS)
    print(f"serving on {', '.join(ready.addresses)} as process {ready.pid}")
    return 0


def _stop(settings: ServerSettings) -> int:
    from fbamatte.serving.process import stop

    was_there = stop(_ready_file(settings, "--stop"), settings.drain_timeout + _STOP_MARGIN_SECONDS)
    print("stopped" if was_there else "there was no server to stop")
    return 0


def _ready_file(settings: ServerSettings, option: str) -> Path:
    if not settings.ready_file:
        raise UsageError(f"{option} needs --ready-file FILE: it is how the server is found again")
    return Path(settings.ready_file)


def to_flags(settings: ServerSettings) -> list[str]:
    """Return the flags that give these settings, whatever the environment says."""
    flags: list[str] = []
    for item in fields(settings):
        value = getattr(settings, item.name)
        flag = "--" + item.name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, tuple):
            flags += [f"{flag}={part}" for part in value]
        else:
            flags.append(f"{flag}={value}")
    return flags
