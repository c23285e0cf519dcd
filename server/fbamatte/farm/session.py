"""The server of one farm session: started when the session begins, stopped when it ends, gone with its runner."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from fbamatte.serving import process

READY, LOG = "fbamatte-server.json", "fbamatte-server.log"
# A model may come from slow storage.
START_S, DRAIN_S = 580.0, 60.0
# What stands between a farm's runner and the command that it runs.
LAUNCHERS = frozenset({"sudo", "su", "setsid", "sh", "bash", "dash", "zsh", "ksh", "csh", "tcsh", "env", "timeout"})
_PREFIX = "fbamatte-session-"


def start(folder: Path, flags: Sequence[str], owner: int) -> str:
    """Start a server for the session that has ``folder``, wait until it serves, and return its address.

    Parameters
    ----------
    folder : Path
        The session's own; keeps the ready file and the log.
    flags : sequence of str
        Of ``fbamatte serve``: model, device and so on.
    owner : int
        Process whose end is the server's as well; 0: none.

    Raises
    ------
    UnavailableError
        If it ends before it serves; says why.
    """
    ready_file, log = folder / READY, folder / LOG
    ready = process.Ready.read(ready_file)
    if ready and ready.process():
        return ready.addresses[0]
    # The path of a socket is short on every system; a session's folder may not be.
    socket = Path(tempfile.mkdtemp(prefix=_PREFIX)) / "socket"
    own = [f"--listen=unix:{socket}", f"--ready-file={ready_file}", f"--owner={owner}"]
    try:
        return process.detach(["-m", "fbamatte", "serve", *own, *flags], ready_file, log, START_S).addresses[0]
    except BaseException:
        shutil.rmtree(socket.parent, ignore_errors=True)
        raise


def stop(folder: Path) -> bool:
    """Stop the server of the session that has ``folder``; return whether there was one. Twice is no error."""
    ready_file = folder / READY
    ready = process.Ready.read(ready_file)
    was_there = process.stop(ready_file, DRAIN_S)
    for address in ready.addresses if ready else []:
        socket = Path(address.removeprefix("unix:"))
        if socket.parent.name.startswith(_PREFIX):
            shutil.rmtree(socket.parent, ignore_errors=True)
    return was_there


def runner(pid: int | None = None) -> int:
    """Return the process that runs this session: the nearest ancestor that does more than launch; 0 if unknown.

    A shell or ``sudo`` in between ends with this very action, the runner with the session or after it.
    """
    for parent in psutil.Process(pid or os.getpid()).parents():
        with suppress(psutil.Error):
            if Path(parent.name()).stem.lower() not in LAUNCHERS:
                return int(parent.pid)
    return 0
