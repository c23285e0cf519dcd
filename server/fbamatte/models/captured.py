"""Programs of tensors recorded once per shape, so that a device is handed all their kernels in one call.

A picture is some six hundred kernels. Launched one by one from Python they cost more than small pictures
take; recorded as a CUDA graph they cost one call. A graph belongs to one shape, so the shapes seen last
are kept and others go. Pictures are not padded to larger sizes for it: GroupNorm and pyramid pooling use
statistics of the whole picture, which only padding to the multiples of 8 that the network wants leaves alone.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Optional

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Program = Callable[..., Tensor]
Record = Callable[[Program, tuple[Tensor, ...]], Program]
Key = tuple[tuple[torch.Size, torch.dtype], ...]

CAPACITY = 4

# torch records one graph at a time in a process, whatever its devices are.
_RECORDING = threading.Lock()


class Recorded:
    """A program with inputs and an output at fixed places in memory; here run anew each time.

    Parameters
    ----------
    program : callable
        Takes tensors and returns one, on one device, without looking at values.
    examples : tuple of Tensor
        Inputs of the one shape that it will be called with.
    """

    def __init__(self, program: Program, examples: tuple[Tensor, ...]) -> None:
        self._program = program
        self._inputs = tuple(torch.empty_like(x) for x in examples)
        self._fill(examples)
        self._output = self._record()

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Return the program's output, in place until the next call."""
        self._fill(inputs)
        self._replay()
        return self._output

    def free(self) -> None:
        """Give up what it holds; it is not called again."""

    def _fill(self, inputs: tuple[Tensor, ...]) -> None:
        for place, given in zip(self._inputs, inputs):
            place.copy_(given)

    def _record(self) -> Tensor:
        return torch.empty_like(self._program(*self._inputs))

    def _replay(self) -> None:
        self._output.copy_(self._program(*self._inputs))


class CudaGraphs:
    """Records programs as CUDA graphs that share one pool of memory.

    Graphs of one device never run at the same time, and none leaves anything in the pool that another run
    needs: their inputs and outputs lie outside it. So together they take what the largest takes.

    Parameters
    ----------
    device : torch.device
        A CUDA device; only the thread that owns it may call this.
    needed : callable
        Bytes that a program takes for given inputs; where so much is not free it is not recorded.
    available : callable
        Bytes that are free.
    """

    def __init__(self, device: torch.device, needed: Callable[..., int], available: Callable[[], int]) -> None:
        self._device, self._needed, self._available = device, needed, available
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch ships it untyped
        self._alive: weakref.WeakSet[Recorded] = weakref.WeakSet()
        self._pool: Any = None

    def __call__(self, program: Program, examples: tuple[Tensor, ...]) -> Program:
        """Return the program, recorded.

        Raises
        ------
        RuntimeError
            If it cannot be recorded or memory does not suffice.
        """
        needed, free = self._needed(*examples), self._available()
        if needed > free:
            raise torch.OutOfMemoryError(f"it needs {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free")
        if not self._alive:  # a pool whose last graph has gone cannot be used again
            self._pool = torch.cuda.graph_pool_handle()
        made = _Graph(program, examples, self._stream, self._pool)
        self._alive.add(made)
        return made


class _Graph(Recorded):
    """One CUDA graph."""

    def __init__(
        self,
        program: Program,
        examples: tuple[Tensor, ...],
        stream: torch.cuda.Stream,
        pool: Any,
    ) -> None:
        self._stream, self._pool = stream, pool
        self._graph = torch.cuda.CUDAGraph()
        super().__init__(program, examples)

    def _record(self) -> Tensor:
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            # libraries choose algorithms and make their workspaces in a first run, which recording forbids
            made = self._program(*self._inputs)
        current.wait_stream(self._stream)
        output = torch.empty_like(made)  # outside the pool, and of the stream that will read it
        del made
        # other threads go on using their devices while this one records
        with (
            _RECORDING,
            torch.cuda.device(self._stream.device),
            torch.cuda.graph(self._graph, self._pool, self._stream, capture_error_mode="thread_local"),
        ):
            output.copy_(self._program(*self._inputs))
        return output

    def free(self) -> None:
        torch.cuda.synchronize(self._stream.device)
        self._graph.reset()

    def _replay(self) -> None:
        self._graph.replay()


class Shapes:
    """A program that is recorded for each shape that comes a second time.

    A single picture is not worth recording. What cannot be recorded runs as it is, and the log says why.

    Parameters
    ----------
    program : callable
        As of `Recorded`.
    record : callable
        ``record(program, inputs)`` returns it recorded for these inputs' shapes, or raises RuntimeError.
    capacity : int
        Shapes that are remembered; the one unused for longest goes first, and its memory with it.
    """

    def __init__(self, program: Program, record: Record, capacity: int = CAPACITY) -> None:
        self._program, self._record, self._capacity = program, record, capacity
        self._kept: OrderedDict[Key, Optional[Program]] = OrderedDict()

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Return the program's output, which is good until the next call."""
        key = tuple((x.shape, x.dtype) for x in inputs)
        if key not in self._kept:
            self._kept[key] = None
            if len(self._kept) > self._capacity:
                _free(self._kept.popitem(last=False)[1])
            return self._program(*inputs)
        self._kept.move_to_end(key)
        ready = self._kept[key] or self._recorded(key, inputs)
        return ready(*inputs)

    @property
    def recorded(self) -> int:
        """How many shapes are recorded."""
        return sum(isinstance(kept, Recorded) for kept in self._kept.values())

    def clear(self) -> None:
        """Forget all shapes, so that their memory can be used for something else."""
        while self._kept:
            _free(self._kept.popitem()[1])

    def _recorded(self, key: Key, inputs: tuple[Tensor, ...]) -> Program:
        try:
            ready = self._record(self._program, inputs)
        except RuntimeError as error:  # torch's OutOfMemoryError is one
            height, width = inputs[0].shape[-2:]
            log.warning("%d×%d is computed kernel by kernel, it cannot be recorded: %s", width, height, error)
            ready = self._program
        self._kept[key] = ready
        return ready


def _free(kept: Optional[Program]) -> None:
    if isinstance(kept, Recorded):
        kept.free()
