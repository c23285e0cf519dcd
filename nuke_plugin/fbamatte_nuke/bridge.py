"""The way to the server through another Python, for a Nuke whose own cannot load gRPC.

The other end is ``bridge_worker.py``. Requests and answers are lines of JSON over its pipes; pixels
stay in files on this machine. It ends when Nuke does, for then its standard input does.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO, Any, Optional

from fbamatte_nuke.problems import Problem
from fbamatte_nuke.remote import OnProgress

START_SECONDS = 60.0
_WORKER = Path(__file__).with_name("bridge_worker.py")
# What Nuke sets for its own interpreter breaks another.
_NUKES_OWN = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LD_PRELOAD")


class BridgeError(Exception):
    """What the other end said: ``status`` and the message, as `fbamatte_nuke.remote.failure` puts them."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(told["message"])
        self.status = str(told["status"])


class Bridge:
    """A worker process; started at once, restarted when it has died.

    Parameters
    ----------
    python : str
        The interpreter; has fbamatte installed.
    where : dict
        What `fbamatte_nuke.remote.Remote` is made with. The token goes over the pipe only.

    Raises
    ------
    Problem
        If it does not start or has no fbamatte.
    """

    def __init__(self, python: str, where: dict[str, Any]) -> None:
        self._python = python
        self._where = where
        self._numbers = itertools.count(1)
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._process: Optional[subprocess.Popen[str]] = None
        self._log: Optional[IO[str]] = None
        self._start()

    def matte(self, order: dict[str, Any], on_progress: OnProgress = None) -> dict[str, Any]:
        """As `fbamatte_nuke.remote.Remote.matte`."""
        made: dict[str, Any] = self._ask("matte", order, on_progress)
        return made

    def cancel(self) -> None:
        """End what is under way, from any thread."""
        try:
            self._send({"do": "cancel"})
        except Problem:
            # It has died, which is one way to end what was under way.
            return

    def info(self) -> dict[str, Any]:
        """As `fbamatte_nuke.remote.Remote.info`."""
        found: dict[str, Any] = self._ask("info")
        return found

    def diagnose(self) -> dict[str, Any]:
        """As `fbamatte_nuke.remote.Remote.diagnose`."""
        found: dict[str, Any] = self._ask("diagnose")
        return found

    def close(self) -> None:
        """End the worker."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in _NUKES_OWN}
        # Lives as long as the worker.
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                [self._python, "-u", str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=environment,
                encoding="utf-8",
                # On Windows a console would open.
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise Problem(
                f"the bridge's Python {self._python} does not start: {error.strerror}", "Set bridge_python", fatal=True
            ) from error
        threading.Thread(target=self._read, args=(self._process,), name="fbamatte-bridge", daemon=True).start()
        try:
            self._ask("open", self._where, seconds=START_SECONDS)
        except Exception as error:
            self.close()
            if getattr(error, "status", "") == "IMPORT":
                todo = f"Install fbamatte into that Python: {self._python} -m pip install fbamatte"
                raise Problem(
                    f"the bridge's Python {self._python} cannot load it: {error}", todo, fatal=True
                ) from error
            raise

    def _ask(
        self, verb: str, order: Any = None, on_progress: OnProgress = None, seconds: Optional[float] = None
    ) -> Any:
        if verb != "open" and (self._process is None or self._process.poll() is not None):
            self._start()
        number = next(self._numbers)
        mailbox: queue.Queue[dict[str, Any]] = queue.Queue()
        self._answers[number] = mailbox
        try:
            self._send({"do": verb, "id": number, "order": order, "progress": on_progress is not None})
            while True:
                answer = mailbox.get(timeout=seconds)
                if "progress" not in answer:
                    return _result(answer)
                if on_progress is not None:
                    on_progress(*answer["progress"])
        except queue.Empty:
            raise self._dead(f"did not answer within {seconds:g} s") from None
        finally:
            self._answers.pop(number, None)

    def _send(self, message: dict[str, Any]) -> None:
        process = self._process
        try:
            if process is None or process.stdin is None:
                raise BrokenPipeError
            with self._lock:
                process.stdin.write(json.dumps(message) + "\n")
                process.stdin.flush()
        except (OSError, ValueError):
            raise self._dead("has ended") from None

    def _read(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            try:
                answer = json.loads(line)
                mailbox = self._answers.get(answer["id"])
            except (ValueError, KeyError, TypeError):
                # Something that a library printed.
                continue
            if mailbox is not None:
                mailbox.put(answer)
        process.wait()
        for mailbox in list(self._answers.values()):
            mailbox.put({"error": {"status": "BRIDGE", "message": str(self._dead("has ended"))}})

    def _dead(self, what: str) -> Problem:
        return Problem(f"the bridge ({self._python}) {what}{self._last_words()}", "Render again", fatal=True)

    def _last_words(self) -> str:
        if self._log is None:
            return ""
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        return f": {lines[-1]}" if lines else ""


def _result(answer: dict[str, Any]) -> Any:
    error = answer.get("error")
    if error is None:
        return answer.get("result")
    if error["status"] == "OS":
        raise OSError(error["errno"], error["message"])
    if error["status"] == "BRIDGE":
        raise Problem(error["message"], "Install fbamatte into that Python, or render again", fatal=True)
    raise BridgeError(error)
