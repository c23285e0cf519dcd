"""Pictures to a device and back while it computes others.

On CUDA each direction has a stream of its own and goes through page-locked memory, so that while picture n
is computed, n+1 is on its way up and n−1 on its way down. Elsewhere the same calls copy at once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional

import numpy as np
import torch
from torch import Tensor

from fbamatte.models.base import Array

IN_FLIGHT = 2
"""Pictures that a device holds at the same time: one that is computed and one that waits for it."""


class Transfers:
    """The ways to and from one device; one thread calls this, any may wait for a `Download`.

    Parameters
    ----------
    device : torch.device
        Where to.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._cuda = device.type == "cuda"
        self._computed: deque[Any] = deque()
        self._started: Any = None
        if self._cuda:
            self._up, self._down = (torch.cuda.Stream(device) for _ in range(2))  # type: ignore[no-untyped-call]

    @contextmanager
    def picture(self) -> Iterator[None]:
        """Hand over one picture, once at most one other is still computed."""
        while len(self._computed) >= IN_FLIGHT:
            self._computed.popleft().synchronize()
        if not self._cuda:
            self._started = time.perf_counter()
            yield
            return
        with torch.cuda.device(self._device):
            self._started = _event()
            self._started.record()
            yield
            computed = _event()
            computed.record()
            self._computed.append(computed)

    def up(self, array: Array) -> Tensor:
        """Return an array on the device; it may be changed as soon as this returns, except on the CPU itself."""
        given = torch.from_numpy(_writable(array))
        if not self._cuda:
            return given.to(self._device)
        pinned = torch.empty(given.shape, dtype=given.dtype, pin_memory=True).copy_(given)
        with torch.cuda.stream(self._up):
            there = pinned.to(self._device, non_blocking=True)
        computing = torch.cuda.current_stream(self._device)
        computing.wait_stream(self._up)
        there.record_stream(computing)
        return there

    def down(self, *tensors: Tensor) -> Download:
        """Start to bring tensors back."""
        if not self._cuda:
            return Download([x.cpu() for x in tensors], self._started, None)
        self._down.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._down):
            pinned = []
            for x in tensors:
                pinned.append(torch.empty(x.shape, dtype=x.dtype, pin_memory=True).copy_(x, non_blocking=True))
                x.record_stream(self._down)
            arrived = _event()
            arrived.record()
        return Download(pinned, self._started, arrived)


class Download:
    """Tensors on their way back from a device.

    Parameters
    ----------
    tensors : list of Tensor
        In the processor's memory.
    started, arrived
        CUDA events around all of a picture's work, or the time at which it began and None.
    """

    def __init__(self, tensors: list[Tensor], started: Any, arrived: Optional[Any]) -> None:
        self._tensors, self._started, self._arrived = tensors, started, arrived
        self._seconds = time.perf_counter() - started if arrived is None else 0.0

    def wait(self) -> tuple[Array, ...]:
        """Return the arrays once they are here, in ordinary memory; on any thread, once."""
        tensors, self._tensors = self._tensors, []
        if self._arrived is None:
            return tuple(x.numpy() for x in tensors)
        self._arrived.synchronize()
        # whoever keeps a matte must not keep page-locked memory
        return tuple(torch.empty(x.shape, dtype=x.dtype).copy_(x).numpy() for x in tensors)

    @property
    def seconds(self) -> float:
        """From the picture's start on the device to its arrival; known after `wait`."""
        if self._arrived is not None:
            return float(self._started.elapsed_time(self._arrived)) / 1000
        return self._seconds


def _event() -> Any:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch ships it untyped


def _writable(array: Array) -> Array:
    """Return a contiguous float32 array that torch takes without a warning."""
    array = np.ascontiguousarray(array, np.float32)
    return array if array.flags.writeable else array.copy()
