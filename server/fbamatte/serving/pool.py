"""Loaded models of one device: on demand, within a memory budget, least recently used goes first."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from fbamatte.engine import Engine
from fbamatte.errors import FbaMatteError, ResourceError
from fbamatte.serving.device import DeviceThread
from fbamatte.serving.failures import as_our_error

# A model that failed to load is not tried again for so long: each frame of a batch would pay for it.
RETRY_SECONDS = 10.0
POLL_SECONDS = 0.1


class ModelKey(NamedTuple):
    """What makes one loaded model different from another on the same device."""

    model: str
    precision: str
    version: str = ""


@dataclass
class _Entry:
    size: int
    engine: Engine | None = None
    users: int = 0
    # Somebody waits for its room: it takes no new users.
    retiring: bool = False
    # Another model has its name now.
    outdated: bool = False


class ModelPool:
    """The engines of one device.

    Parameters
    ----------
    device : DeviceThread
        Loads and closes every engine.
    load : callable
        ``load(key, device_name) -> Engine``; runs on the device's thread.
    size_of : callable
        Bytes that a model will take, known before it is loaded.
    budget : int
        Bytes that loaded models may take together.
    on_event : callable, optional
        Told ``"load"``, ``"evict"`` or ``"load_failed"`` and the key.
    precision_of : callable, optional
        What a wish such as ``auto`` comes to on this device.
    version_of : callable, optional
        What tells a model from another of its name that came before.
    """

    def __init__(
        self,
        device: DeviceThread,
        load: Callable[[ModelKey, str], Engine],
        size_of: Callable[[ModelKey], int],
        budget: int,
        on_event: Callable[[str, ModelKey], None] = lambda _event, _key: None,
        precision_of: Callable[[str], str] = lambda wish: wish,
        version_of: Callable[[str], str] = lambda _model: "",
    ) -> None:
        self._device = device
        self._load = load
        self._size_of = size_of
        self.budget = budget
        self._on_event = on_event
        self._precision_of = precision_of
        self._version_of = version_of
        self._entries: OrderedDict[ModelKey, _Entry] = OrderedDict()
        self._failed: dict[ModelKey, tuple[float, FbaMatteError]] = {}
        # Who waits for a model, in the order of asking.
        self._line: deque[object] = deque()
        self._changed = threading.Condition()

    def key(self, model: str, precision: str) -> ModelKey:
        """Return the key of what a frame asks for: two names of one precision are one model."""
        return ModelKey(model, self._precision_of(precision), self._version_of(model))

    def loaded(self) -> list[ModelKey]:
        """Return what is in memory, least recently used first."""
        with self._changed:
            return [key for key, entry in self._entries.items() if entry.engine is not None]

    @property
    def used(self) -> int:
        """Bytes that loaded models take."""
        return sum(entry.size for entry in list(self._entries.values()))

    @contextmanager
    def lease(self, key: ModelKey, check: Callable[[], None] = lambda: None) -> Iterator[Engine]:
        """Hold an engine, loading it and evicting others as needed; it is not evicted meanwhile.

        Parameters
        ----------
        check : callable
            Called while waiting; raises to give up.

        Raises
        ------
        ModelNotFoundError, CheckpointError
            As the loader says.
        ResourceError
            If the model is larger than the budget.
        """
        entry = self._acquire(key, check)
        assert entry.engine is not None
        try:
            yield entry.engine
        finally:
            with self._changed:
                entry.users -= 1
                if (entry.retiring or entry.outdated) and not entry.users:
                    self._evict(key)
                self._changed.notify_all()

    def close(self) -> None:
        """Close every engine that nobody uses."""
        with self._changed:
            for key in [key for key, entry in self._entries.items() if entry.engine and not entry.users]:
                self._evict(key)

    def _acquire(self, key: ModelKey, check: Callable[[], None]) -> _Entry:
        with self._changed:
            try:
                entry = self._wait_for_place(key, check)
            except BaseException:
                self._keep_all()
                raise
            entry.users += 1
            self._entries.move_to_end(key)
            if entry.engine is not None:
                return entry
        try:
            entry.engine = self._device.submit(self._load, key, self._device.name).result()
        except Exception as error:
            self._forget(key, as_our_error(error, f"model {key.model}"))
            raise self._failed[key][1] from None
        with self._changed:
            self._on_event("load", key)
            self._evict_older(key)
            self._changed.notify_all()
        return entry

    def _evict_older(self, key: ModelKey) -> None:
        """Let go of what ``key`` has replaced; frames that are at work with it finish first."""
        for other, entry in list(self._entries.items()):
            if other[:2] == key[:2] and other != key and entry.engine is not None:
                if entry.users:
                    entry.outdated = True
                else:
                    self._evict(other)

    def _wait_for_place(self, key: ModelKey, check: Callable[[], None]) -> _Entry:
        """Return a loaded entry, or a new one with room made for it; who asks first is served first."""
        turn = object()
        self._line.append(turn)
        try:
            while True:
                check()
                entry = self._entries.get(key)
                if entry is not None and entry.engine is not None and not entry.retiring:
                    return entry
                if entry is None and self._line[0] is turn:
                    self._refuse_known_failure(key)
                    if self._make_room(key, size := self._size_of(key)):
                        self._entries[key] = entry = _Entry(size)
                        return entry
                self._changed.wait(POLL_SECONDS)
        finally:
            self._line.remove(turn)
            self._changed.notify_all()

    def _make_room(self, key: ModelKey, size: int) -> bool:
        if size > self.budget:
            raise ResourceError(
                f"model {key.model} takes {size / 2**20:,.0f} MiB, "
                f"models may take {self.budget / 2**20:,.0f} MiB on {self._device.name}"
            )
        for other, entry in list(self._entries.items()):
            if self.used + size <= self.budget:
                break
            if not entry.users:
                self._evict(other)
            else:
                entry.retiring = True
        return self.used + size <= self.budget

    def _evict(self, key: ModelKey) -> None:
        engine = self._entries.pop(key).engine
        assert engine is not None
        self._device.submit(engine.close)
        self._on_event("evict", key)
        self._keep_all()

    def _keep_all(self) -> None:
        """Take new users again; whoever still waits for room asks again."""
        for entry in self._entries.values():
            entry.retiring = False
        self._changed.notify_all()

    def _forget(self, key: ModelKey, error: FbaMatteError) -> None:
        with self._changed:
            del self._entries[key]
            self._failed[key] = (time.monotonic() + RETRY_SECONDS, error)
            self._on_event("load_failed", key)
            self._changed.notify_all()

    def _refuse_known_failure(self, key: ModelKey) -> None:
        until, error = self._failed.get(key, (0.0, None))
        if error is not None and time.monotonic() < until:
            raise type(error)(*error.args)
        self._failed.pop(key, None)
