"""A server as numbers: for the status page and for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fbamatte import __version__
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.serving.desk import Desk
from fbamatte.serving.device import memory_of, title_of
from fbamatte.serving.heap import allocated
from fbamatte.serving.observer import Finished
from fbamatte.serving.queue import Priority
from fbamatte.serving.worker import DeviceWorker

# In the order of a frame's way.
STAGES = (
    "receiving", "queued", "decoding", "loading", "preparing", "estimating", "finishing", "encoding", "sending",
)  # fmt: skip


def status(desk: Desk) -> dict[str, Any]:
    """Return all that the page shows."""
    means = desk.watcher.stage_means()
    return {
        "version": __version__,
        "state": pb.ServerState.Name(desk.state).removeprefix("SERVER_STATE_").lower(),
        "uptime": time.monotonic() - desk.started,
        "streams": [len(desk.streams), desk.settings.streams],
        "done": desk.watcher.done,
        "failed": desk.watcher.failed,
        "payload_memory": [desk.memory.payloads.used, desk.memory.payloads.total],
        "work_memory": [desk.memory.work.used, desk.memory.work.total],
        "devices": [_device(worker) for worker in desk.scheduler.workers],
        "models": [_model(desk, name) for name in desk.catalogue.names()],
        "stages": [[name, *means[name]] for name in STAGES if name in means],
        "recent": [_frame(frame) for frame in desk.watcher.recent()],
    }


class LiveNumbers(Collector):
    """Gauges that are read when Prometheus asks."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def describe(self) -> list[GaugeMetricFamily]:
        """Return nothing: it must not be asked before there are devices."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the numbers as they are now."""
        desk = self._desk
        yield _gauge("streams_open", "Streams that are open.", value=len(desk.streams))
        yield _gauge("serving", "1 while frames are taken.", value=int(desk.state == pb.SERVER_STATE_SERVING))
        reserved = _gauge("reserved_bytes", "Memory that frames in flight have reserved.", ["kind"])
        reserved.add_metric(["payloads"], desk.memory.payloads.used)
        reserved.add_metric(["work"], desk.memory.work.used)
        yield reserved
        heap = allocated()
        if heap is not None:
            yield _gauge("heap_bytes", "What malloc has given out and not got back: a leak grows here.", value=heap)
        yield from _device_gauges(desk.scheduler.workers)


def _device_gauges(workers: list[DeviceWorker]) -> Iterator[GaugeMetricFamily]:
    queued = _gauge("queued_frames", "Frames that wait for a device.", ["device", "priority"])
    running = _gauge("running_frames", "Frames that are worked on.", ["device"])
    memory = _gauge("device_memory_bytes", "Memory of a device.", ["device", "kind"])
    models = _gauge("model_bytes", "Memory of the models loaded on a device.", ["device"])
    for worker in workers:
        name = worker.device.name
        for priority in Priority:
            queued.add_metric([name, priority.name.lower()], worker.queue.waiting(priority))
        running.add_metric([name], worker.running)
        used, total = memory_of(name)
        memory.add_metric([name, "used"], used)
        memory.add_metric([name, "total"], total)
        models.add_metric([name], worker.pool.used)
    yield from (queued, running, memory, models)


def _gauge(name: str, text: str, labels: list[str] | None = None, value: float | None = None) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"fbamatte_{name}", text, labels=labels, value=value)


def _device(worker: DeviceWorker) -> dict[str, Any]:
    name = worker.device.name
    return {
        "name": name,
        "title": title_of(name),
        "memory": list(memory_of(name)),
        "running": worker.running,
        "interactive": worker.queue.waiting(Priority.INTERACTIVE),
        "batch": worker.queue.waiting(Priority.BATCH),
        "capacity": worker.queue.capacity,
        "models": [f"{key.model} {key.precision}" for key in worker.pool.loaded()],
    }


def _model(desk: Desk, name: str) -> dict[str, Any]:
    info = desk.catalogue.info(name)
    loaded = [w.device.name for w in desk.scheduler.workers if any(key.model == name for key in w.pool.loaded())]
    return {
        "name": info.name,
        "title": info.title,
        "licence": info.licence,
        "commercial": info.commercial,
        "parameters": info.parameters,
        "loaded": loaded,
        "default": name == desk.catalogue.default,
    }


def _frame(frame: Finished) -> dict[str, Any]:
    return {
        "number": frame.number,
        "label": frame.label,
        "id": frame.frame_id,
        "caller": frame.caller,
        "model": frame.model,
        "device": frame.device,
        "outcome": frame.outcome,
        "message": frame.message,
        "age": max(0.0, time.time() - frame.ended),
        "size": list(frame.size),
        "seconds": frame.seconds,
        "picture": f"/thumbnails/{frame.number}.jpg" if frame.thumbnail else "",
    }
