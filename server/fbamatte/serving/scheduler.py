"""All devices together: which one a frame goes to, and waiting until they are done."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from fbamatte.errors import CancelledError, DeadlineError
from fbamatte.serving.job import Job
from fbamatte.serving.worker import DeviceWorker


class Scheduler:
    """Hands jobs to devices.

    Parameters
    ----------
    workers : sequence of DeviceWorker
        At least one.
    """

    def __init__(self, workers: Sequence[DeviceWorker]) -> None:
        self.workers = list(workers)
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start all devices."""
        for worker in self.workers:
            worker.start()

    def check_room(self) -> None:
        """Refuse early what `submit` would refuse later.

        Raises
        ------
        ResourceError
            If every queue is full.
        """
        self._quietest(None).queue.check_room()

    def submit(self, job: Job) -> None:
        """Queue a job at the device that has the least to do; ties go to one that holds its model.

        Raises
        ------
        ResourceError
            If every queue is full.
        """
        with self._lock:
            worker = self._quietest(job)
            job.place = worker  # before a lane can take it
            worker.queue.put(job)

    def cancel(self, job: Job) -> None:
        """Say that nobody wants a job any more; one that still waits ends at once."""
        job.cancel()
        if job.place is not None and job.place.queue.remove(job):
            job.fail(CancelledError(f"{job.label}: cancelled"))

    def expire(self, job: Job) -> None:
        """End a job that still waits though its deadline has passed."""
        try:
            job.check()
        except DeadlineError as error:
            if job.place is not None and job.place.queue.remove(job):
                job.fail(error)

    def position(self, job: Job) -> int:
        """Return how many jobs are expected to go before this one."""
        return job.place.queue.position(job) if job.place is not None else 0

    def close(self, timeout: float) -> None:
        """Stop all devices; jobs that still wait are told so."""
        deadline = time.monotonic() + timeout
        for worker in self.workers:
            worker.close(max(0.0, deadline - time.monotonic()))

    def _quietest(self, job: Job | None) -> DeviceWorker:
        return min(self.workers, key=lambda worker: (worker.load, job is not None and not _has_model_of(worker, job)))


def _has_model_of(worker: DeviceWorker, job: Job) -> bool:
    return worker.pool.key(job.model, job.precision) in worker.pool.loaded()
