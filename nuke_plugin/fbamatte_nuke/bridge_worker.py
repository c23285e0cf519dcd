"""The bridge's other end: run as a script by a Python that has fbamatte. Lines of JSON in, lines of JSON out.

In:  {"do": "open"|"matte"|"info"|"diagnose", "id": 1, "order": …}  or  {"do": "cancel"}
Out: {"id": 1, "result": …}  or  {"id": 1, "error": {"status", "message"}}  or  {"id": 1, "progress": [stage, fraction]}
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any, Optional

# As a script its own folder comes first, whose modules are none of anybody else's business.
sys.path[0:1] = []
sys.path.append(str(Path(__file__).resolve().parents[1]))


class Worker:
    """Answers lines until standard input ends."""

    def __init__(self, answers: Any) -> None:
        self._answers = answers
        self._lock = threading.Lock()
        self._remote: Optional[Any] = None

    def serve(self, lines: Any) -> None:
        """Do what ``lines`` ask; each in a thread of its own, so that a cancel is heard meanwhile."""
        for line in lines:
            message = json.loads(line)
            if message["do"] == "cancel":
                if self._remote is not None:
                    self._remote.cancel()
            else:
                threading.Thread(target=self._do, args=(message,), daemon=True).start()
        if self._remote is not None:
            self._remote.close()

    def _do(self, message: dict[str, Any]) -> None:
        try:
            self._say({"id": message["id"], "result": self._result(message)})
        except Exception as error:  # it travels to Nuke and is raised there
            from fbamatte_nuke.remote import failure

            self._say({"id": message["id"], "error": failure(error)})

    def _result(self, message: dict[str, Any]) -> Any:
        if message["do"] == "open":
            return self._open(message["order"])
        if self._remote is None:
            raise RuntimeError("asked before it was opened")
        if message["do"] == "matte":
            return self._remote.matte(message["order"], self._reporter(message) if message["progress"] else None)
        return getattr(self._remote, {"info": "info", "diagnose": "diagnose"}[message["do"]])()

    def _open(self, where: dict[str, Any]) -> dict[str, str]:
        from fbamatte_nuke import remote

        try:
            found = remote.versions()
        except Exception as error:
            # A clash of versions raises other things than ImportError.
            raise ImportError(f"{type(error).__name__}: {error}") from error
        self._remote = remote.Remote(**where)
        return found

    def _reporter(self, message: dict[str, Any]) -> Any:
        return lambda stage, fraction: self._say({"id": message["id"], "progress": [stage, fraction]})

    def _say(self, answer: dict[str, Any]) -> None:
        with self._lock:
            self._answers.write(json.dumps(answer) + "\n")
            self._answers.flush()


def main() -> None:
    """Answer on what was standard output; whatever libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    Worker(answers).serve(sys.stdin)


if __name__ == "__main__":
    main()
