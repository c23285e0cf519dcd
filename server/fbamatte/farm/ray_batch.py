"""A batch over the machines of a Ray cluster: one estimator for each GPU, frames by path, lost machines survived.

Pixels do not travel: every worker reads and writes the files itself, so all machines need the same paths. A worker that
dies gives its frames back; those that it had finished are there and stay.
"""

from __future__ import annotations

import contextlib
import importlib
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from fbamatte.errors import InternalError, UnavailableError, UsageError
from fbamatte.farm.batch import PAUSES_S
from fbamatte.farm.job import Job, Key, exit_code, left_over
from fbamatte.farm.plan import fingerprint
from fbamatte.farm.progress import FrameReport, Progress
from fbamatte.farm.ray_worker import STAGES_AT_ONCE, Worker
from fbamatte.farm.settings import MatteSettings
from fbamatte.models import registry

# A frame whose worker has died so often is what kills them.
MOST_DEATHS = 3
# Workers that die before they were ever ready: the machines lack something, and more will not help.
MOST_STILLBIRTHS = 6
_TICK_S = 0.5


@dataclass(eq=False)
class _Hand:
    """A worker as the driver sees it."""

    actor: Any
    is_ready: bool = False


class RayBatch:
    """Runs a job on a cluster; otherwise as `fbamatte.farm.batch.Batch`. A context manager.

    Parameters
    ----------
    job : Job
    settings : MatteSettings
        Its ``address`` is that of the cluster, its ``workers`` how many estimators there are to be.
    progress : Progress

    Raises
    ------
    UsageError
        If Ray is not installed.
    UnavailableError
        If there is no such cluster.
    """

    def __init__(self, job: Job, settings: MatteSettings, progress: Progress) -> None:
        self._ray = _import_ray()
        info = registry.describe(settings.model or registry.DEFAULT)
        self.model = info.sha256 or info.name + ("+tta" if settings.tta else "")
        self.job = replace(job, settings=fingerprint(settings, self.model))
        self.reports: list[FrameReport] = []
        self._settings = settings
        self._progress = progress
        self._retries_left = job.retries
        self._hands: list[_Hand] = []
        # What every reference that we wait for stands for; no frame means the worker's own start.
        self._flying: dict[Any, tuple[_Hand, Key | None]] = {}
        self._deaths: Counter[Key] = Counter()
        self._stillbirths = 0

    def __enter__(self) -> RayBatch:
        handler = signal.getsignal(signal.SIGTERM)
        try:
            # Logs of the workers are Ray's own; standard output may belong to a farm.
            self._ray.init(
                address=self._settings.address or None,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
            )
        except ConnectionError as error:
            raise UnavailableError(f"no Ray cluster at {self._settings.address or 'this machine'}: {error}") from error
        finally:
            # Ray puts one of its own in as it starts; ours ends the command as Ctrl-C does
            signal.signal(signal.SIGTERM, handler)
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def run(self) -> list[FrameReport]:
        """Matte every frame of the job that is not there already.

        Raises
        ------
        OutputError
            If the output folder cannot be made, or holds frames that must not be there.
        UnavailableError
            If no machine of the cluster can run a worker.
        """
        # Ray prints about machines that die; standard output belongs to whoever reads our progress
        with contextlib.redirect_stdout(sys.stderr):
            return self._run()

    def _run(self) -> list[FrameReport]:
        self.job.make_folders()
        self._progress.start(len(self.job.frames))
        try:
            for _ in range(self._wanted_workers()):
                self._hire()
            while not self._round(deque(left_over(self.job.frames, self.reports))):
                pause = PAUSES_S[min(self.job.retries - self._retries_left, len(PAUSES_S) - 1)]
                self._retries_left -= 1
                time.sleep(pause)
        finally:
            self._progress.close()
        return self.reports

    def _wanted_workers(self) -> int:
        gpus = int(self._ray.cluster_resources().get("GPU", 0))
        machines = sum(node["Alive"] and node["Resources"].get("CPU", 0) > 0 for node in self._ray.nodes())
        return min(self._settings.workers or gpus or machines or 1, len(self.job.frames))

    def _hire(self) -> None:
        """Ask for a worker; it may start at once, or when a machine comes back."""
        has_gpus = self._ray.cluster_resources().get("GPU", 0) > 0
        options = {"num_gpus": 1} if has_gpus else {"num_cpus": 1}
        remote = self._ray.remote(Worker).options(
            **options, max_concurrency=STAGES_AT_ONCE, max_restarts=0, scheduling_strategy="SPREAD"
        )
        hand = _Hand(remote.remote(self.job, self._settings))
        self._hands.append(hand)
        self._flying[hand.actor.ready.remote()] = hand, None

    def _round(self, waiting: deque[Key]) -> bool:
        """Matte what waits; return whether nothing is left to be tried again."""
        while waiting or any(key is not None for _, key in self._flying.values()):
            self._hand_out(waiting)
            done, _ = self._ray.wait(list(self._flying), num_returns=1, timeout=_TICK_S)
            for reference in done:
                self._take(reference, waiting)
            if self._is_to_stop():
                return True
        left = left_over(self.job.frames, self.reports)
        if left and not self._retries_left:
            raise InternalError(f"{len(left)} frames got lost on the way")
        return not left

    def _hand_out(self, waiting: deque[Key]) -> None:
        """Give frames to workers that are ready and have room, the least busy first."""
        load = Counter(id(hand) for hand, key in self._flying.values() if key is not None)
        for hand in self._places(load):
            if not waiting:
                return
            key = waiting.popleft()
            self._flying[hand.actor.matte.remote(key)] = hand, key

    def _places(self, load: Counter[int]) -> Iterator[_Hand]:
        ready = [hand for hand in self._hands if hand.is_ready]
        for depth in range(STAGES_AT_ONCE):
            yield from (hand for hand in ready if load[id(hand)] <= depth)

    def _take(self, reference: Any, waiting: deque[Key]) -> None:
        """Take in what became of one reference: a report, a worker that is ready, a worker that died."""
        hand, key = self._flying.pop(reference)
        try:
            report = self._ray.get(reference)
        except (self._ray.exceptions.RayActorError, self._ray.exceptions.RaySystemError) as error:
            self._mourn(hand, error)
            if key is not None:
                self._lost(key, waiting, error)
            return
        if key is None:
            hand.is_ready, self._stillbirths = True, 0
        else:
            self._report(report)

    def _mourn(self, hand: _Hand, error: Exception) -> None:
        """Replace a worker that died, once."""
        if hand not in self._hands:
            return
        self._hands.remove(hand)
        self._stillbirths += not hand.is_ready
        if self._stillbirths >= MOST_STILLBIRTHS:
            raise UnavailableError(f"workers cannot start on this cluster: {_cause(error)}") from error
        self._hire()

    def _lost(self, key: Key, waiting: deque[Key], error: Exception) -> None:
        """Put back a frame whose worker died; unless it may be the reason."""
        self._deaths[key] += 1
        reason = f"its worker died: {_cause(error)}"
        if self._deaths[key] >= MOST_DEATHS:
            self._report(FrameReport(*key, state="failed", error=f"{reason}, {MOST_DEATHS} times", retryable=True))
            return
        waiting.appendleft(key)
        again = f"{reason} (will be tried again)"
        self._progress.frame(FrameReport(*key, state="retrying", error=again, retryable=True))

    def _report(self, report: FrameReport) -> None:
        if report.state == "failed" and report.retryable and self._retries_left:
            report = replace(report, state="retrying", error=f"{report.error} (will be tried again)")
        else:
            self.reports.append(report)
        self._progress.frame(report)

    def _is_to_stop(self) -> bool:
        return not self.job.continue_on_error and exit_code(self.reports) != 0


def _cause(error: Exception) -> str:
    """Return the first line of what Ray says at length."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _import_ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise UsageError("--engine ray needs Ray: pip install 'fbamatte[ray]'") from None
