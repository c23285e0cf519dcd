"""Stand-ins for tests and benchmarks: estimators that cost nothing, sleep or fail, and a real server.

A server offers the stand-ins only when started with ``--testing``, by these names:

==========================  ==============================================================================
``testing-null``            alpha is the trimap, F and B are the plate; through the whole engine
``testing-wire``            the same without any colour or solving: what is left is the server itself
``testing-sleep-0.1``       as ``testing-null``, after 0.1 s
``testing-late-20``         the same after 20 s, but warms up at once
``testing-polling-20``      as ``testing-late-20``, but gives up as soon as nobody waits for it
``testing-memory-3``        the third call runs out of memory, the others do not
``testing-large-512``       as ``testing-null``, with trained values of 512 MiB
``testing-broken``          cannot be loaded
==========================  ==============================================================================
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fbamatte.engine import Engine
from fbamatte.errors import CheckpointError
from fbamatte.frame import Frame, Matte
from fbamatte.models import interruption
from fbamatte.models.base import Estimate, ModelInfo
from fbamatte.serving.catalogue import BYTES_PER_PARAMETER, Catalogue, Source
from fbamatte.serving.process import Ready
from fbamatte.serving.server import Server
from fbamatte.serving.settings import ServerSettings

Array = NDArray[np.float32]
NULL, WIRE, BROKEN = "testing-null", "testing-wire", "testing-broken"
_START_SECONDS = 240.0


class NullEstimator:
    """Copies the trimap to alpha and the picture to F and B."""

    def __init__(self, device: str = "cpu", name: str = NULL, parameters: int = 0) -> None:
        self.info = info(name, parameters)
        self.device = device
        self.precision = "fp32"
        self.calls = 0
        self.closed = False
        # Which threads ever touched it: there must be one.
        self.threads: set[int] = {threading.get_ident()}

    def estimate(self, image: Array, trimap: Array) -> Estimate:
        """Return what came."""
        self.calls += 1
        self.threads.add(threading.get_ident())
        return Estimate(trimap, image, image)

    def close(self) -> None:
        """Note that it was closed."""
        self.closed = True


class SleepEstimator(NullEstimator):
    """Takes ``seconds`` a frame, and no processor meanwhile: like a GPU."""

    def __init__(self, seconds: float, device: str = "cpu", name: str = "testing-sleep") -> None:
        super().__init__(device, name)
        self.seconds = seconds

    def estimate(self, image: Array, trimap: Array) -> Estimate:
        """Return what came, later."""
        time.sleep(self.seconds)
        return super().estimate(image, trimap)


class LateEstimator(SleepEstimator):
    """Sleeps from its second call on."""

    def estimate(self, image: Array, trimap: Array) -> Estimate:
        """Return what came, at once the first time."""
        return super().estimate(image, trimap) if self.calls else NullEstimator.estimate(self, image, trimap)


class PollingEstimator(LateEstimator):
    """Asks every moment whether anybody still waits."""

    def estimate(self, image: Array, trimap: Array) -> Estimate:
        """Return what came, at once the first time, or give up."""
        end = time.monotonic() + (self.seconds if self.calls else 0)
        self.calls += 1
        while time.monotonic() < end:
            interruption.check()
            time.sleep(0.005)
        return Estimate(trimap, image, image)


class FailingEstimator(NullEstimator):
    """Runs out of memory on its ``nth`` call, as torch does on a GPU."""

    def __init__(self, nth: int, device: str = "cpu", name: str = "testing-memory") -> None:
        super().__init__(device, name)
        self.nth = nth

    def estimate(self, image: Array, trimap: Array) -> Estimate:
        """Return what came, or fail."""
        result = super().estimate(image, trimap)
        if self.calls == self.nth:
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return result


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


class WireEngine:
    """Stands in for an engine: the frame comes back as its own matte, nothing is computed."""

    def __init__(self, device: str = "cpu") -> None:
        self.info = info(WIRE)
        self.device = device
        self.precision = "fp32"

    def prepare(self, frame: Frame) -> Frame:
        """Return the frame."""
        return frame

    def estimate(self, frame: Frame) -> Frame:
        """Return the frame."""
        return frame

    def finish(self, frame: Frame) -> Matte:
        """Return the frame as a matte."""
        return Matte.for_frame(frame, frame.trimap, frame.plate, frame.plate, {"model": WIRE})

    def close(self) -> None:
        """Do nothing."""


def info(name: str, parameters: int = 0) -> ModelInfo:
    """Return what a stand-in says about itself."""
    return ModelInfo(name, "Stand-in for tests", "MIT", True, "", parameters, "Estimates nothing.")


class Sources(Mapping[str, Source]):
    """The stand-ins by name; see the table above."""

    def __init__(self, on_load: Callable[[Any], None] = lambda _: None) -> None:
        self._on_load = on_load

    def __getitem__(self, name: str) -> Source:
        kind, _, value = name.removeprefix("testing-").partition("-")
        make = _MAKERS.get(kind) if name.startswith("testing-") else None
        if make is None:
            raise KeyError(name)
        parameters = int(value) * 2**20 // BYTES_PER_PARAMETER if kind == "large" else 0
        return Source(info(name, parameters), lambda device, _precision: self._made(make(name, value, device)))

    def __iter__(self) -> Iterator[str]:
        return iter((NULL, WIRE, "testing-sleep-0.1"))

    def __len__(self) -> int:
        return 3

    def _made(self, estimator: Any) -> Engine:
        self._on_load(estimator)
        return estimator if isinstance(estimator, WireEngine) else Engine(estimator=estimator)  # type: ignore[return-value]  # it has the same methods


def _broken(name: str, _value: str, _device: str) -> Any:
    raise CheckpointError(f"{name}: made to fail")


_MAKERS: dict[str, Callable[[str, str, str], Any]] = {
    "null": lambda name, _value, device: NullEstimator(device, name),
    "wire": lambda _name, _value, device: WireEngine(device),
    "sleep": lambda name, value, device: SleepEstimator(float(value), device, name),
    "late": lambda name, value, device: LateEstimator(float(value), device, name),
    "polling": lambda name, value, device: PollingEstimator(float(value), device, name),
    "memory": lambda name, value, device: FailingEstimator(int(value), device, name),
    "large": lambda name, value, device: NullEstimator(device, name, int(value) * 2**20 // BYTES_PER_PARAMETER),
    "broken": _broken,
}


@dataclass
class RunningServer:
    """A server in a process of its own.

    Parameters
    ----------
    process : subprocess.Popen
    ready : Ready
        What its ready file says.
    log : Path
        What it wrote to standard error.
    """

    process: subprocess.Popen[bytes]
    ready: Ready
    log: Path

    @property
    def address(self) -> str:
        """The first address that it listens on."""
        return self.ready.addresses[0]

    @property
    def metrics(self) -> str:
        """Where its metrics and its status page are."""
        return self.ready.metrics


@contextlib.contextmanager
def running_server(
    *flags: str, models: Sequence[str] = (NULL,), environment: Mapping[str, str] | None = None
) -> Iterator[RunningServer]:
    """Run ``fbamatte serve`` as a process on any free port of 127.0.0.1, and stop it in the end.

    Parameters
    ----------
    flags : str
        Further flags; a ``--listen`` replaces the address.
    models : sequence of str
        What it offers; stand-ins or registered names.
    environment : mapping, optional
        Added to this process's own.
    """
    with tempfile.TemporaryDirectory(prefix="fbamatte-") as folder:
        ready_file, log = Path(folder, "ready.json"), Path(folder, "log")
        listen = () if any(flag.startswith("--listen") for flag in flags) else ("--listen=127.0.0.1:0",)
        offered = [f"--model={name}" for name in models]
        command = [sys.executable, "-m", "fbamatte", "serve", "--testing", f"--ready-file={ready_file}"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, *listen, *offered, *flags],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
            )
        try:
            yield RunningServer(process, _wait_for(process, ready_file, log), log)
        finally:
            _end(process)


def _wait_for(process: subprocess.Popen[bytes], ready_file: Path, log: Path) -> Ready:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        ready = Ready.read(ready_file)
        if ready:
            return ready
        time.sleep(0.02)
    raise RuntimeError(f"the server did not start, code {process.poll()}:\n{log.read_text()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(120)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def serve_in_process(
    *, models: Sequence[str] = (NULL,), on_load: Callable[[Any], None] = lambda _: None, **settings: Any
) -> Iterator[Server]:
    """Run a real server on threads of this process, on any free port of 127.0.0.1.

    Parameters
    ----------
    models : sequence of str
        What it offers; stand-ins or registered names.
    on_load : callable
        Told of each stand-in that is loaded, to look into it.
    settings
        As `ServerSettings`.

    Yields
    ------
    Server
        Serving; its ``addresses`` are where.
    """
    chosen = ServerSettings(**{"listen": ("127.0.0.1:0",), "drain_timeout": 5.0, **settings})
    server = Server(chosen, Catalogue.of_registry(models, Sources(on_load)))
    failure: list[BaseException] = []

    def live() -> None:
        try:
            server.run()
        except BaseException as error:  # told to the test, which is on another thread
            failure.append(error)

    thread = threading.Thread(target=live, name="server", daemon=True)
    thread.start()
    while not server.ready.wait(0.02) and thread.is_alive():
        pass
    try:
        if failure:
            raise failure[0]
        yield server
    finally:
        server.stop()
        thread.join(30)
