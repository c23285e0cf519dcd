"""The command ``fbamatte``: one small module a verb, heavy imports inside the verb."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn, Optional

from fbamatte import __version__
from fbamatte.errors import CancelledError, FbaMatteError

# How long a stage may take to notice that the command is over.
PATIENCE_S = 0.3
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


def program() -> NoReturn:
    """Run the command as a process of its own, and end it.

    Where a stage is still at work on a frame that nobody wants any more, the process ends at once: libraries in the
    middle of something make the interpreter's own end fail, and its exit code with it.
    """
    code = main()
    deadline = time.monotonic() + PATIENCE_S
    stages = [thread for thread in threading.enumerate() if thread.name.startswith("stage-")]
    for thread in stages:
        thread.join(max(0.0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in stages):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _interrupt(_signal: int, _frame: Optional[FrameType]) -> NoReturn:
    """SIGTERM ends a verb as Ctrl-C does; the server installs handlers of its own."""
    raise KeyboardInterrupt
