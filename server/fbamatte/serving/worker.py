"""A device at work: some lanes, each taking one frame through all stages.

While one lane waits for the device, another decodes the next frame and a third encodes the last one, so
a stream runs at the speed of its slowest stage. The number of lanes bounds the frames that are expanded
in memory.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import TYPE_CHECKING, Any

from fbamatte.errors import CancelledError, FbaMatteError, InternalError, ResourceError
from fbamatte.models.interruption import interruptible
from fbamatte.serving.device import DeviceThread
from fbamatte.serving.failures import as_our_error, is_out_of_memory
from fbamatte.serving.job import Job
from fbamatte.serving.pool import ModelPool
from fbamatte.serving.queue import FairQueue, Priority

if TYPE_CHECKING:
    from fbamatte.engine import Engine


class DeviceWorker:
    """One device with its queue, its models and its lanes.

    Parameters
    ----------
    device : DeviceThread
        The one thread that touches the device.
    pool : ModelPool
        Its loaded models.
    capacity : int
        Frames that may wait for it.
    lanes : int
        Frames that are worked on at the same time, each in another stage.
    on_crash : callable, optional
        Told about errors that are our own mistakes, for the log.
    """

    def __init__(
        self,
        device: DeviceThread,
        pool: ModelPool,
        *,
        capacity: int,
        lanes: int,
        on_crash: Callable[[Job, BaseException], None] = lambda _job, _error: None,
    ) -> None:
        self.device = device
        self.pool = pool
        self.queue: FairQueue[Job] = FairQueue(capacity, device.name)
        self.running = 0
        self._on_crash = on_crash
        self._count = threading.Lock()
        self._lanes = [
            threading.Thread(target=self._lane, name=f"lane-{device.name}-{n}", daemon=True) for n in range(lanes)
        ]

    @property
    def load(self) -> int:
        """Frames that wait or are worked on."""
        return len(self.queue) + self.running

    def start(self) -> None:
        """Start taking frames."""
        for lane in self._lanes:
            lane.start()

    def close(self, timeout: float) -> None:
        """Stop taking frames; those that still wait are told so. Frees the models."""
        self.queue.close(lambda job: job.fail(CancelledError(f"{job.label}: the server stops")))
        deadline = time.monotonic() + timeout
        for lane in self._lanes:
            if lane.is_alive():
                lane.join(max(0.0, deadline - time.monotonic()))
        self.pool.close()
        self.device.close(max(0.0, deadline - time.monotonic()))

    def _lane(self) -> None:
        while (job := self.queue.get()) is not None:
            with self._count:
                self.running += 1
            try:
                self._run(job)
            finally:
                with self._count:
                    self.running -= 1
                del job  # else its pixels would live until the next one

    def _run(self, job: Job) -> None:
        job.device = self.device.name
        job.spent("queued", job.started)
        try:
            answer = self._matte(job)
        except Exception as error:  # one frame's trouble is not the server's
            job.fail(self._told(job, error))
        else:
            job.succeed(answer)

    def _told(self, job: Job, error: Exception) -> FbaMatteError:
        if job.cancelled:
            # What it worked on may have been taken away under it.
            return CancelledError(f"{job.label}: cancelled")
        told = as_our_error(error, job.label)
        if isinstance(told, InternalError):
            self._on_crash(job, error)
        return told

    def _matte(self, job: Job) -> Any:
        with job.stage("decoding"):
            frame = job.work.decode()
        begin = time.monotonic()
        with self.pool.lease(self.pool.key(job.model, job.precision), job.check) as engine:
            job.spent("loading", begin)
            with job.stage("preparing"):
                prepared = engine.prepare(frame)
            del frame
            with job.stage("estimating"):
                estimated = self._estimate(job, engine, prepared)
            del prepared
            with job.stage("finishing"):
                job.matte = engine.finish(estimated)
            del estimated
        with job.stage("encoding"):
            return job.work.encode(job.matte)

    def _estimate(self, job: Job, engine: Engine, prepared: Any) -> Any:
        try:
            return self._on_device(job, watched_estimate, engine, prepared, job.check)
        except Exception as error:
            if not (is_out_of_memory(error) or isinstance(error, ResourceError)):
                raise
            told = as_our_error(error, job.label)
        # Outside the handler: its traceback would hold what just did not fit.
        if not self._on_device(job, use_less_memory, engine):
            raise told
        return self._on_device(job, watched_estimate, engine, prepared, job.check)

    def _on_device(self, job: Job, function: Callable[..., Any], *args: Any) -> Any:
        """Call on the device's thread; a job that is cancelled or late leaves the line."""
        future = self.device.submit(function, *args, urgent=job.priority is Priority.INTERACTIVE)
        job.when_cancelled(future.cancel)
        try:
            remaining = job.remaining()
            return future.result(None if remaining == float("inf") else remaining)
        except (futures.CancelledError, futures.TimeoutError):
            future.cancel()
            job.check()
            raise
        finally:
            job.when_cancelled(None)


def watched_estimate(engine: Engine, prepared: Any, check: Callable[[], None]) -> Any:
    """Estimate on the device's thread until nobody waits any more, which the estimator asks where it can stop."""
    with interruptible(check):
        check()
        return engine.estimate(prepared)


def use_less_memory(engine: Engine) -> bool:
    """Ask an engine to work in smaller pieces; return whether it can. On the device's thread."""
    reduce = getattr(engine, "reduce_memory", None)
    return bool(reduce and reduce())
