"""``fbamatte submit``: a job for a farm, from the arguments of ``fbamatte matte``."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

from fbamatte.farm.settings import MatteSettings
from fbamatte.farm.submit.submission import SubmitSettings
from fbamatte.settings import add_flags, from_arguments

FARMS = {
    "openjd": "Open Job Description: a bundle for AWS Deadline Cloud and for `openjd run`",
    "deadline": "Deadline 10: job and plug-in info files (not run on a live farm)",
    "tractor": "Tractor: a job script (not run on a live farm)",
    "opencue": "OpenCue: a job specification (not run on a live farm)",
}

SERVER_FLAGS = ("model", "device", "precision", "idle-timeout")


def add_parser(verbs: Any) -> None:
    """Add the verb to the command."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "submit", help="write a job for a farm", description="Write a job for a farm. Nothing is sent anywhere."
    )
    farms = parser.add_subparsers(dest="farm", required=True, metavar="FARM")
    for name, about in FARMS.items():
        farm = farms.add_parser(name, help=about, description=about)
        add_flags(farm, MatteSettings)
        add_flags(farm, SubmitSettings)
        farm.set_defaults(run=run)
    _add_session(farms)


def run(options: argparse.Namespace) -> int:
    """Write the job and say how to send it."""
    from fbamatte.farm.submit.submission import Submission

    submission = Submission.of(from_arguments(MatteSettings, options), from_arguments(SubmitSettings, options))
    print(importlib.import_module(f"fbamatte.farm.submit.{options.farm}").submit(submission))
    return 0


def _add_session(farms: Any) -> None:
    """Add what the bundle itself calls when a session of the farm begins and ends."""
    # no help: these are not for people
    start = farms.add_parser("session-start", description="Start the server of a session.")
    start.add_argument("--folder", required=True, type=Path)
    for flag in SERVER_FLAGS:
        start.add_argument(f"--{flag}", required=True, help="as of serve")
    start.set_defaults(run=_start)
    stop = farms.add_parser("session-stop", description="Stop the server of a session.")
    stop.add_argument("--folder", required=True, type=Path)
    stop.set_defaults(run=_stop)


def _start(options: argparse.Namespace) -> int:
    from fbamatte.farm import session

    flags = [f"--{flag}={getattr(options, flag.replace('-', '_'))}" for flag in SERVER_FLAGS]
    address = session.start(options.folder, flags, session.runner())
    print(f"openjd_env: FBAMATTE_SERVER={address}", flush=True)
    return 0


def _stop(options: argparse.Namespace) -> int:
    from fbamatte.farm import session

    print("stopped" if session.stop(options.folder) else "there was no server to stop")
    return 0
