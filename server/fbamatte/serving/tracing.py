"""OpenTelemetry spans, where the environment asks for them.

A job's stages are timed anyway; its spans are made from those times once it is over, so tracing costs
the frame nothing on its way.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from fbamatte.serving.job import Job

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class SpanTracer:
    """Records one span a frame with one child a stage, under the caller's own trace."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("fbamatte.serving")

    def record(self, job: Job) -> None:
        """Record a job that is over."""
        clock = time.time_ns() - time.monotonic_ns()
        parent = TraceContextTextMapPropagator().extract({"traceparent": job.traceparent})
        facts = {
            "fbamatte.frame_id": job.frame_id,
            "fbamatte.frame": job.label,
            "fbamatte.model": job.model,
            "fbamatte.device": job.device,
            "rpc.grpc.status": job.error.status if job.error else "OK",
        }
        span = self._tracer.start_span(
            "matte", parent, kind=trace.SpanKind.SERVER, attributes=facts, start_time=_nanoseconds(job.started) + clock
        )
        if job.error:
            span.set_status(trace.StatusCode.ERROR, str(job.error))
        inside = trace.set_span_in_context(span)
        for stage in job.stages:
            child = self._tracer.start_span(stage.name, inside, start_time=_nanoseconds(stage.begin) + clock)
            child.end(_nanoseconds(stage.end) + clock)
        span.end(time.time_ns())

    def close(self) -> None:
        """Send what is still here."""
        self._provider.shutdown()


def from_environment(environment: Mapping[str, str] = os.environ) -> SpanTracer | None:
    """Return a tracer where the ``OTEL_*`` variables name a collector, else None."""
    wanted = any(environment.get(name) for name in _ENDPOINTS)
    off = (
        environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") == "none"
    )
    if not wanted or off:
        return None
    defaults = {} if environment.get("OTEL_SERVICE_NAME") else {"service.name": "fbamatte"}
    provider = TracerProvider(resource=Resource.create(defaults))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return SpanTracer(provider)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
