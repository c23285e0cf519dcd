"""The life of a server: start, serve, drain with a deadline, stop."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import structlog
import torch

from fbamatte import __version__
from fbamatte.engine import Engine
from fbamatte.errors import CancelledError, UsageError
from fbamatte.frame import Frame
from fbamatte.models.devices import resolve_precision
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.serving import leases, process, tracing
from fbamatte.serving.budget import MemoryBudget
from fbamatte.serving.catalogue import Catalogue
from fbamatte.serving.desk import Desk
from fbamatte.serving.device import DeviceThread, memory_of
from fbamatte.serving.heap import Heap
from fbamatte.serving.inflight import Memory
from fbamatte.serving.job import Job
from fbamatte.serving.listeners import Listeners
from fbamatte.serving.observer import Observer
from fbamatte.serving.pool import ModelKey, ModelPool
from fbamatte.serving.scheduler import Scheduler
from fbamatte.serving.service import MattingService
from fbamatte.serving.settings import ServerSettings
from fbamatte.serving.slabs import Slabs
from fbamatte.serving.status import StatusServer
from fbamatte.serving.tokens import TokenFile
from fbamatte.serving.worker import DeviceWorker

# How often the server looks after its callers, its owner and its idle time.
TICK_SECONDS = 0.25
_log = structlog.get_logger(__name__)


class Server:
    """A matting server.

    Parameters
    ----------
    settings : ServerSettings
    catalogue : Catalogue
        The models it offers.

    Raises
    ------
    UsageError
        If the settings cannot work: an unprotected address, an unreadable file.
    """

    def __init__(self, settings: ServerSettings, catalogue: Catalogue) -> None:
        self.settings = settings
        self._owner = process.Owner(settings.owner)
        self._heap = Heap()
        self._tokens = TokenFile(Path(settings.token_file)) if settings.token_file else None
        self._tracer = tracing.from_environment()
        self._observer = Observer(settings.thumbnails, self._tracer)
        self._catalogue = catalogue
        self.listeners = Listeners(settings, self._tokens)
        self.scheduler = Scheduler([self._worker(name) for name in device_names(settings.device)])
        self.desk = Desk(settings, catalogue, self.scheduler, memory_for(settings), self._observer)
        self._status = StatusServer(self.desk, self._tokens) if settings.metrics else None
        self.ready = threading.Event()
        self.stopped = threading.Event()
        self._told = threading.Event()
        self._at_once = threading.Event()

    def run(self) -> int:
        """Live: return 0 after an orderly end, 130 where a second signal cut it short."""
        try:
            self._start()
            self._serve()
            self._drain()
        finally:
            self._stop()
            self.stopped.set()
        return CancelledError.exit_code if self._at_once.is_set() else 0

    def stop(self) -> None:
        """Ask for the end: once to finish what is in flight, twice to drop it. Any thread or signal."""
        if self._told.is_set():
            self._at_once.set()
        self._told.set()

    def handle_signals(self) -> None:
        """Let SIGTERM and Ctrl-C stop the server, and SIGHUP read the tokens again; main thread only."""

        def told(_number: int, _frame: object) -> None:
            self.stop()
            if self._at_once.is_set() and not self.ready.is_set():
                # A model that is being loaded cannot be interrupted in any other way.
                os._exit(CancelledError.exit_code)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, told)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, lambda *_: self._tokens.reload() if self._tokens else None)

    def _start(self) -> None:
        if self.settings.ready_file:
            process.check_no_other(Path(self.settings.ready_file))
        process.raise_file_limit()
        leases.sweep(time.time())
        self.listeners.start(MattingService(self.desk, self._tokens))
        if self._status:
            self._status.start()
        self._warm_up()
        self._heap.settle()
        self.scheduler.start()

    def _serve(self) -> None:
        if self._told.is_set():
            return
        self.desk.state = pb.SERVER_STATE_SERVING
        self.listeners.set_serving(True)
        self._write_ready_file()
        _log.info("serving", addresses=self.addresses, metrics=self.metrics, model=self._catalogue.default)
        self.ready.set()
        while not self._told.wait(TICK_SECONDS):
            self.desk.check_pace()
            self._heap.tidy()
            self.desk.memory.slabs.tidy(time.monotonic())
            reason = self._reason_to_stop()
            if reason:
                _log.info("stopping", reason=reason)
                return

    def _drain(self) -> None:
        self.listeners.set_serving(False)
        _log.info("draining", streams=len(self.desk.streams), seconds=self.settings.drain_timeout)
        deadline = time.monotonic() + self.settings.drain_timeout
        while not self.desk.drain(TICK_SECONDS):
            self.desk.check_pace()
            if self._at_once.is_set() or time.monotonic() > deadline:
                _log.warning("frames in flight are dropped", streams=len(self.desk.streams))
                return

    def _stop(self) -> None:
        self.desk.state = pb.SERVER_STATE_DRAINING
        self.listeners.stop(0)
        self.scheduler.close(timeout=0.0 if self._at_once.is_set() else 1.0)
        if self._status:
            self._status.stop()
        if self._tracer and not self._at_once.is_set():
            self._tracer.close()
        self._heap.close()
        if self.settings.ready_file:
            process.remove_own(Path(self.settings.ready_file))
        _log.info("stopped")

    @property
    def addresses(self) -> list[str]:
        """Where it listens, with the ports that were taken."""
        return [str(address) for address in self.listeners.addresses]

    @property
    def metrics(self) -> str:
        """Where metrics and status page are; empty where they are not."""
        return str(self._status.address) if self._status else ""

    def _reason_to_stop(self) -> str:
        idle = self.settings.idle_timeout
        if idle and self.desk.idle_seconds > idle:
            return f"nothing to do for {idle:g} s"
        return f"process {self.settings.owner}, the owner, is gone" if self._owner.gone else ""

    def _write_ready_file(self) -> None:
        if self.settings.ready_file:
            ready = process.Ready(os.getpid(), process.own_start(), self.addresses, self.metrics, __version__)
            ready.write(Path(self.settings.ready_file))

    def _worker(self, name: str) -> DeviceWorker:
        device = DeviceThread(name)
        pool = ModelPool(
            device,
            self._load,
            lambda key: self._catalogue.bytes_of(key.model),
            self._model_budget(name),
            self._event,
            lambda wish: precision_on(name, wish),
            self._catalogue.version,
        )
        settings = self.settings
        return DeviceWorker(device, pool, capacity=settings.queue_size, lanes=settings.lanes, on_crash=self._crashed)

    def _load(self, key: ModelKey, device: str) -> Engine:
        return self._catalogue.load(key.model, device, key.precision)

    def _event(self, event: str, key: ModelKey) -> None:
        self._observer.model_event(event, key)

    def _crashed(self, job: Job, error: BaseException) -> None:
        _log.error("unexpected error", frame_id=job.frame_id, frame=job.label, exc_info=error)

    def _model_budget(self, device: str) -> int:
        # Where the memory is not known there is nothing to divide.
        return self.settings.model_memory or memory_of(device)[1] // 2 or 2**62

    def _warm_up(self) -> None:
        """Load what callers will ask for first, and matte a small frame with it, on every device."""
        for worker in self.scheduler.workers:
            room = worker.pool.budget
            for name in self._catalogue.names() if self.settings.model else [self._catalogue.default]:
                room -= self._catalogue.bytes_of(name)
                if room < 0:
                    break
                self._warm(worker, worker.pool.key(name, self.settings.precision))

    def _warm(self, worker: DeviceWorker, key: ModelKey) -> None:
        with worker.pool.lease(key) as engine:
            if self._told.is_set():
                return
            prepared = engine.prepare(warm_frame())
            engine.finish(worker.device.submit(engine.estimate, prepared).result())


def device_names(wanted: Sequence[str]) -> list[str]:
    """Return the devices that settings mean: ``auto`` is every GPU, else the CPU.

    Raises
    ------
    UsageError
        If one is named twice.
    """
    found: list[str] = []
    for name in wanted:
        found += _automatic() if name == "auto" else [name]
    if len(set(found)) != len(found):
        raise UsageError(f"--device: {', '.join(found)}: a device is named twice; one thread owns each")
    return found


def _automatic() -> list[str]:
    if torch.cuda.is_available():
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return ["mps"] if torch.backends.mps.is_available() else ["cpu"]


def precision_on(device: str, wish: str) -> str:
    """Return the precision that a wish comes to on a device, so that two names of one are one loaded model."""
    if wish == "auto":
        # The stand-ins of tests run on devices that torch does not know.
        with contextlib.suppress(RuntimeError):
            return resolve_precision(wish, torch.device(device))[0]
    return wish


def memory_for(settings: ServerSettings) -> Memory:
    """Return the memory that frames in flight may take: a quarter is for payloads, of which a quarter may lie idle."""
    total = settings.memory or psutil.virtual_memory().total // 2
    payloads = total // 4
    return Memory(MemoryBudget(payloads), MemoryBudget(total - payloads), Slabs(payloads // 4))


def warm_frame() -> Frame:
    """Return a small frame that has all three of foreground, background and unknown."""
    across = np.linspace(0, 1, 64, dtype=np.float32)
    trimap = np.tile(np.clip(across * 3 - 1, 0, 1), (64, 1))
    return Frame(plate=np.repeat(trimap[..., None], 3, axis=2), trimap=trimap, name="warm-up")
