"""What a server tells about itself: numbers for Prometheus, lines in a log, spans, and its last frames."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from fbamatte.serving.job import Job
from fbamatte.serving.pool import ModelKey
from fbamatte.serving.thumbnails import thumbnail

_log = structlog.get_logger(__name__)
# Between two thumbnails: one costs up to some 40 ms.
PICTURE_SECONDS = 0.25
_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Tracer(Protocol):
    """Makes spans of a job that is over."""

    def record(self, job: Job) -> None:
        """Record a job and its stages."""


@dataclass(frozen=True)
class Finished:
    """A frame that is over, for the status page."""

    number: int
    label: str
    frame_id: str
    caller: str
    model: str
    device: str
    outcome: str
    message: str
    ended: float
    size: tuple[int, int]
    seconds: dict[str, float]
    thumbnail: bytes


class Observer:
    """Watches every job.

    Parameters
    ----------
    keep : int
        Finished frames to remember, with thumbnails; 0: none.
    tracer : Tracer, optional
        Makes spans.
    """

    def __init__(self, keep: int = 24, tracer: Tracer | None = None) -> None:
        self.registry = CollectorRegistry()
        self._tracer = tracer
        self._recent: deque[Finished] = deque(maxlen=keep)
        self._keep = keep
        self._numbers = 0
        self._pictured = 0.0
        self._lock = threading.Lock()
        self.done = self.failed = 0
        self._stages = Histogram(
            "fbamatte_stage_seconds", "Seconds that a stage took.", ["stage"], buckets=_SECONDS, registry=self.registry
        )
        self._outcomes = Counter(
            "fbamatte_frames", "Frames answered, by gRPC status.", ["status"], registry=self.registry
        )
        self._models = Counter(
            "fbamatte_model_events", "Models loaded, evicted, failed.", ["event", "model"], registry=self.registry
        )
        self._cuts = Counter("fbamatte_callers_cut", "Callers cut off for standing still.", registry=self.registry)

    def stage_ended(self, stage: str, seconds: float) -> None:
        """Count the seconds of a stage."""
        self._stages.labels(stage).observe(seconds)

    def job_ended(self, job: Job) -> None:
        """Count, log, trace and remember a job that has its outcome."""
        outcome = job.error.status if job.error else "OK"
        self._count(outcome)
        log = _log.info if not job.error else _log.warning
        log(
            "frame",
            frame_id=job.frame_id,
            frame=job.label,
            caller=job.caller[0] or job.caller[1],
            model=job.model,
            device=job.device,
            code=outcome,
            **({"reason": str(job.error)} if job.error else {}),
            **{f"{stage}_s": seconds for stage, seconds in job.seconds().items()},
        )
        if self._tracer:
            self._tracer.record(job)

    def job_answered(self, job: Job) -> None:
        """Remember a job for the status page."""
        if self._keep:
            self._remember(job, job.error.status if job.error else "OK")

    def refused(self, status: str) -> None:
        """Count a frame that never became a job."""
        self._count(status)

    def cut(self) -> None:
        """Count a caller that was cut off."""
        self._cuts.inc()

    def model_event(self, event: str, key: ModelKey) -> None:
        """Count and log what happens to a model."""
        self._models.labels(event, key.model).inc()
        _log.info("model", event_kind=event, model=key.model, precision=key.precision)

    def recent(self) -> list[Finished]:
        """Return the last frames, the newest first."""
        with self._lock:
            return list(reversed(self._recent))

    def stage_means(self) -> dict[str, tuple[int, float]]:
        """Return how often each stage ran and its mean seconds."""
        found: dict[str, dict[str, float]] = {}
        for metric in self._stages.collect():
            for sample in metric.samples:
                if sample.name.endswith(("_sum", "_count")):
                    found.setdefault(sample.labels["stage"], {})[sample.name.rsplit("_", 1)[1]] = sample.value
        return {
            stage: (int(values["count"]), values["sum"] / values["count"])
            for stage, values in found.items()
            if values["count"]
        }

    def _has_time(self) -> bool:
        """Return whether a thumbnail may be made: a frame must not wait for the pictures of those before it."""
        with self._lock:
            now = time.monotonic()
            if now - self._pictured < PICTURE_SECONDS:
                return False
            self._pictured = now
            return True

    def _count(self, status: str) -> None:
        self._outcomes.labels(status).inc()
        with self._lock:
            if status == "OK":
                self.done += 1
            else:
                self.failed += 1

    def _remember(self, job: Job, outcome: str) -> None:
        matte = job.matte
        picture = thumbnail(matte) if matte is not None and outcome == "OK" and self._has_time() else b""
        size: Any = (matte.data_window.width, matte.data_window.height) if matte is not None else (0, 0)
        with self._lock:
            self._numbers += 1
            self._recent.append(
                Finished(
                    number=self._numbers,
                    label=job.label,
                    frame_id=job.frame_id,
                    caller=job.caller[0] or job.caller[1],
                    model=job.model,
                    device=job.device,
                    outcome=outcome,
                    message=str(job.error or ""),
                    ended=time.time(),
                    size=size,
                    seconds=job.seconds(),
                    thumbnail=picture,
                )
            )
