"""The server as a process: the file that says it is ready, its owner, going to the background, stopping it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

if sys.platform != "win32":
    import resource

from fbamatte.errors import UnavailableError, UsageError

_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Ready:
    """What the ready file holds.

    Parameters
    ----------
    pid : int
        Of the serving process.
    started : float
        When that process was created, as the system says: a process id may be used again.
    addresses : list of str
        As a client takes them, with the ports that were taken.
    metrics : str
        Address of metrics and status page; empty where there is none.
    version : str
        Of fbamatte.
    """

    pid: int
    started: float
    addresses: list[str]
    metrics: str
    version: str

    def write(self, path: Path) -> None:
        """Write the file so that a reader sees all of it or nothing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        with temporary.open("w") as file:
            json.dump(asdict(self), file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path) -> Ready | None:
        """Return what a ready file says; None where there is none.

        Raises
        ------
        UsageError
            If the file is something else.
        """
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(f"{path}: not a ready file of fbamatte: {error}") from None

    def process(self) -> psutil.Process | None:
        """Return the serving process; None where it is gone or the id is somebody else's by now."""
        return _process(self.pid, self.started)


def own_start() -> float:
    """Return when this process was created."""
    return float(psutil.Process().create_time())


def raise_file_limit() -> None:
    """Let this process open as many files as it may: every connection is one."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def check_no_other(path: Path) -> None:
    """Refuse to take over the ready file of a server that lives.

    Raises
    ------
    UsageError
        If there is one.
    """
    ready = Ready.read(path)
    if ready and ready.pid != os.getpid() and ready.process():
        raise UsageError(f"{path}: belongs to a server that runs as process {ready.pid}; stop it first")


def remove_own(path: Path) -> None:
    """Remove a ready file that this process wrote."""
    ready = Ready.read(path)
    if ready and ready.pid == os.getpid():
        path.unlink(missing_ok=True)


class Owner:
    """A process whose end is also the server's: a farm's runner, a host application.

    Parameters
    ----------
    pid : int
        Its id; 0 means no owner.

    Raises
    ------
    UsageError
        If there is no such process.
    """

    def __init__(self, pid: int) -> None:
        self._process = None
        if pid:
            try:
                self._process = psutil.Process(pid)
            except psutil.NoSuchProcess:
                raise UsageError(f"--owner {pid}: there is no such process") from None

    @property
    def gone(self) -> bool:
        """Whether there was an owner and it has ended."""
        process = self._process
        return process is not None and not _alive(process)


def stop(path: Path, timeout: float) -> bool:
    """Ask the server of a ready file to drain and wait for its end; kill it when it does not come.

    Returns
    -------
    bool
        Whether there was a server. Stopping twice is no error.
    """
    ready = Ready.read(path)
    process = ready.process() if ready else None
    if process is None:
        path.unlink(missing_ok=True)
        return False
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(timeout)
    path.unlink(missing_ok=True)
    return True


def detach(command: list[str], ready_file: Path, log: Path | None, timeout: float) -> Ready:
    """Start a server in a session of its own and wait until it serves.

    None of this process's streams are inherited: a farm waits for the last holder of a pipe.

    Raises
    ------
    UsageError
        If it refuses to start; this message and the next have the end of its log.
    UnavailableError
        If it ends otherwise before it serves, or takes too long.
    """
    check_no_other(ready_file)
    ready_file.unlink(missing_ok=True)
    target = log or Path(os.devnull)
    with target.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        ready = Ready.read(ready_file)
        if ready:
            return ready
        if child.poll() is not None:
            kind = UsageError if child.returncode == UsageError.exit_code else UnavailableError
            raise kind(f"the server ended with code {child.returncode} before it served{_tail(log)}")
        time.sleep(_POLL_SECONDS)
    child.terminate()
    raise UnavailableError(f"the server was not ready after {timeout:.0f} s{_tail(log)}")


def _process(pid: int, started: float) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        # One clock tick of tolerance.
        return process if abs(process.create_time() - started) < 0.1 and _alive(process) else None
    except psutil.NoSuchProcess:
        return None


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _tail(log: Path | None) -> str:
    if log is None or not log.exists():
        return "; give --log FILE to see why"
    lines = log.read_text(errors="replace").splitlines()[-5:]
    return ":\n" + "\n".join(lines)
