"""The command ``fbamatte``: one small module a verb, heavy imports inside the verb."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn, Optional

from fbamatte import __version__
from fbamatte.errors import CancelledError, FbaMatteError

VERBS = ("matte", "serve", "models", "submit", "evaluate", "train", "doctor")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    top = argparse.ArgumentParser(
        prog="fbamatte", description="Alpha, foreground and clean plate, in scene-linear light."
    )
    top.add_argument("--version", action="version", version=f"fbamatte {__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in VERBS:
        importlib.import_module(f"fbamatte.cli.{verb}").add_parser(verbs)
    return top


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command and return its exit code.

    0 all done, 1 some frame failed for good, 2 wrong usage, 75 worth retrying, 130 interrupted.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    options = parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except FbaMatteError as error:
        print(f"fbamatte: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("fbamatte: interrupted", file=sys.stderr)
        return CancelledError.exit_code
    except BrokenPipeError:
        # the reader of our output has gone, as after `| head`; nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CancelledError.exit_code
    return code


def _interrupt(_signal: int, _frame: Optional[FrameType]) -> NoReturn:
    """SIGTERM ends a verb as Ctrl-C does; the server installs handlers of its own."""
    raise KeyboardInterrupt
