"""The way to the server: in Nuke's own interpreter where gRPC loads there, else through the bridge."""

from __future__ import annotations

import platform
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional

from fbamatte_nuke import problems, remote
from fbamatte_nuke.bridge import Bridge
from fbamatte_nuke.preferences import Preferences
from fbamatte_nuke.problems import Problem

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Request:
    """One frame to be matted.

    Parameters
    ----------
    plate, trimap : Path
        EXR files.
    target : Path
        Where the answer is to be written.
    frame, view
        Its number and view; the view empty where the script has only one.
    name : str
        The node.
    label : str
        How messages name it.
    settings : dict
        model, input_space, pixel_type, priority.
    """

    plate: Path
    trimap: Path
    target: Path
    frame: int
    view: str
    name: str
    label: str
    settings: dict[str, str] = field(default_factory=dict)

    def order(self) -> dict[str, Any]:
        """Return it as `remote.Remote.matte` takes it."""
        settings = {name: value for name, value in self.settings.items() if value}
        files = {"plate": str(self.plate), "trimap": str(self.trimap), "target": str(self.target)}
        return {**settings, **files, "frame": self.frame, "view": self.view, "name": self.name}


class Transport:
    """A server as the job sees it.

    Parameters
    ----------
    line : remote.Remote or bridge.Bridge
        Both have matte, cancel, info, diagnose and close.
    server : str
        The address, for messages.
    """

    def __init__(self, line: Any, server: str) -> None:
        self._line = line
        self.server = server
        self.kind = "bridge" if isinstance(line, Bridge) else "in-process"

    def matte(
        self, request: Request, stopped: Callable[[], bool], on_progress: remote.OnProgress = None
    ) -> dict[str, Any]:
        """Have one frame matted; its answer is in ``request.target`` afterwards.

        Parameters
        ----------
        stopped : callable
            Asked a few times a second, on a thread of its own; true ends the frame.

        Raises
        ------
        Problem
            Whatever went wrong, with frame and advice. `Cancelled` after ``stopped()``.
        """
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(stopped, over), name="fbamatte-cancel", daemon=True)
        watch.start()
        try:
            made: dict[str, Any] = self._line.matte(request.order(), on_progress)
        except Exception as error:  # every error becomes a Problem that names the frame
            raise self._problem(error, request) from error
        finally:
            over.set()
            # Otherwise it might still cancel the next frame.
            watch.join()
        return made

    def _watch(self, stopped: Callable[[], bool], over: threading.Event) -> None:
        while not over.wait(_POLL_SECONDS):
            if stopped():
                self._line.cancel()
                return

    def _problem(self, error: Exception, request: Request) -> Problem:
        if isinstance(error, Problem):
            return error
        told = remote.failure(error)
        if told["status"] == "OS":
            return problems.from_os(
                OSError(told["errno"], told["message"]), f"{request.label}: writing {request.target}"
            )
        return problems.from_server(told["status"], told["message"], request.label)

    def info(self) -> dict[str, Any]:
        """Return what the server is and has.

        Raises
        ------
        Problem
            If it does not answer.
        """
        try:
            found: dict[str, Any] = self._line.info()
        except Exception as error:
            told = remote.failure(error)
            raise problems.from_server(told["status"], told["message"], self.server) from error
        return found

    def diagnose(self) -> dict[str, Any]:
        """Return whether and why not the server can be reached: ok, cause, message, advice."""
        found: dict[str, Any] = self._line.diagnose()
        return found

    def close(self) -> None:
        """Close the connection, and end the bridge."""
        self._line.close()


def why_not_here() -> str:
    """Return why gRPC does not load in this interpreter; empty where it does."""
    try:
        remote.versions()
    except Exception as error:  # a clash of protobuf versions raises TypeError, and worse
        return f"{type(error).__name__}: {error}"
    return ""


_open: dict[Any, Transport] = {}
_lock = threading.Lock()


def connect(server: str, preferences: Preferences) -> Transport:
    """Return the connection to ``server``, the same one as long as settings stay the same.

    Raises
    ------
    Problem
        If gRPC loads neither here nor through the bridge, or the address or token cannot be right.
    """
    token = preferences.token()
    wanted = (server, token, preferences)
    with _lock:
        if wanted not in _open:
            for other in [key for key in _open if key[0] == server]:
                _open.pop(other).close()
            _open[wanted] = Transport(_line(server, token, preferences), server)
        return _open[wanted]


def disconnect() -> None:
    """Close all connections."""
    with _lock:
        while _open:
            _open.popitem()[1].close()


def _line(server: str, token: str, preferences: Preferences) -> Any:
    tls = {"ca": preferences.tls_ca, "certificate": preferences.tls_cert, "key": preferences.tls_key}
    where: dict[str, Any] = {"server": server, "token": token, "tls": tls, "timeout": preferences.timeout}
    where["patience"] = preferences.patience
    reason = "" if preferences.mode == "bridge" else why_not_here()
    try:
        if preferences.mode != "bridge" and not reason:
            return remote.Remote(**where)
        if preferences.mode == "in-process" or not preferences.bridge_python:
            raise _no_way(reason)
        return Bridge(preferences.bridge_python, where)
    except Problem:
        raise
    except Exception as error:
        told = remote.failure(error)
        todo = "Correct the server's address or the FBA preferences"
        raise Problem(f"{server}: {told['message']}", todo, fatal=True) from error


def _no_way(reason: str) -> Problem:
    if not reason:
        return Problem("the bridge has no interpreter", "Set FBAMATTE_PYTHON or bridge_python", fatal=True)
    version = platform.python_version_tuple()
    return Problem(
        f"gRPC does not load in this Nuke's Python {'.'.join(version)} ({reason})",
        f"Run python3 install.py nuke --nuke-python {version[0]}.{version[1]}, or set bridge_python in the FBA "
        "preferences to a Python that has fbamatte",
        fatal=True,
    )


def describe() -> dict[str, Optional[str]]:
    """Return which gRPC this interpreter has, or ``problem``: why it has none."""
    reason = why_not_here()
    return {"python": sys.version.split()[0], "problem": reason} if reason else dict(remote.versions())
