"""The jobs of this Nuke: one thread does them one after the other, so that nodes do not fight over the interface."""

from __future__ import annotations

import queue
import threading
from collections import deque
from typing import Optional

from fbamatte_nuke.job import Job
from fbamatte_nuke.problems import Problem

KEPT = 50
"""How many ended jobs the panel can look back on."""


class Queue:
    """Waiting and running jobs, and the latest that ended."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Job] = queue.Queue()
        self._lock = threading.Lock()
        self._jobs: deque[Job] = deque(maxlen=KEPT)
        self._thread: Optional[threading.Thread] = None

    def submit(self, job: Job) -> None:
        """Add ``job`` at the end.

        Raises
        ------
        Problem
            If the node has a job that has not ended.
        """
        with self._lock:
            if any(other.name == job.name and active(other) for other in self._jobs):
                raise Problem(f"{job.name} is being matted already", "Wait for it or press Cancel")
            self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="fbamatte", daemon=True)
                self._thread.start()
        self._waiting.put(job)

    def jobs(self) -> list[Job]:
        """Return all jobs, the newest first."""
        with self._lock:
            return list(reversed(self._jobs))

    def active(self, name: str = "") -> list[Job]:
        """Return the jobs that wait or run; only those of the node ``name`` where given."""
        return [job for job in self.jobs() if active(job) and name in ("", job.name)]

    def cancel(self, name: str = "") -> int:
        """Cancel what waits or runs; return how many jobs that were."""
        found = self.active(name)
        for job in found:
            job.cancel()
        return len(found)

    def _work(self) -> None:
        while True:
            self._waiting.get().run()


def active(job: Job) -> bool:
    """Whether ``job`` has not ended."""
    return job.outcome.state in {"waiting", "running"}


the_queue = Queue()
"""The one queue of this Nuke."""
