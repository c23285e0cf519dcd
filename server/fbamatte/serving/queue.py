"""Who goes next: bounded, interactive before batch, callers in turn.

A queue belongs to one device. Within a priority the callers take turns, and within a caller the
frames keep their order, so that a farm with a thousand frames and an artist with one both move.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from enum import IntEnum
from typing import Generic, Protocol, TypeVar

from fbamatte.errors import ResourceError


class Priority(IntEnum):
    """Lower goes first."""

    INTERACTIVE = 0
    BATCH = 1


class Queued(Protocol):
    """What a queue needs to know about what it holds."""

    @property
    def priority(self) -> Priority:
        """Which of the two lines it stands in."""

    @property
    def caller(self) -> Hashable:
        """With whom it shares a turn."""


Item = TypeVar("Item", bound=Queued)

# So many interactive frames may pass a waiting batch frame before one batch frame goes.
INTERACTIVE_RUN = 8


class _Turns(Generic[Item]):
    """Items of one priority, round-robin over callers."""

    def __init__(self) -> None:
        self._by_caller: OrderedDict[Hashable, deque[Item]] = OrderedDict()
        self.size = 0

    def append(self, item: Item) -> None:
        self._by_caller.setdefault(item.caller, deque()).append(item)
        self.size += 1

    def popleft(self) -> Item:
        caller, items = self._by_caller.popitem(last=False)
        item = items.popleft()
        if items:
            self._by_caller[caller] = items  # to the back of the line
        self.size -= 1
        return item

    def remove(self, item: Item) -> bool:
        items = self._by_caller.get(item.caller)
        if items is None or item not in items:
            return False
        items.remove(item)
        if not items:
            del self._by_caller[item.caller]
        self.size -= 1
        return True

    def ahead_of(self, item: Item) -> int:
        """Return how many items go before this one as the turns stand."""
        items = self._by_caller.get(item.caller)
        if items is None or item not in items:
            return 0
        rounds = items.index(item)
        ahead, passed = 0, False
        for caller, others in self._by_caller.items():
            if caller == item.caller:
                passed = True
                ahead += rounds
            else:
                ahead += min(len(others), rounds if passed else rounds + 1)
        return ahead


class FairQueue(Generic[Item]):
    """A bounded queue with two priorities and turns between callers.

    Parameters
    ----------
    capacity : int
        Items that may wait; one more is refused.
    name : str
        What messages call the queue, such as the device's name.
    """

    def __init__(self, capacity: int, name: str = "queue") -> None:
        self.capacity = capacity
        self.name = name
        self._lines: dict[Priority, _Turns[Item]] = {priority: _Turns() for priority in Priority}
        self._run = 0  # interactive items handed out since the last batch item, while batch waited
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return sum(line.size for line in self._lines.values())

    def waiting(self, priority: Priority) -> int:
        """Return how many items of one priority wait."""
        return self._lines[priority].size

    def check_room(self) -> None:
        """Refuse early what `put` would refuse later.

        Raises
        ------
        ResourceError
            If the queue is full.
        """
        if len(self) >= self.capacity:
            raise ResourceError(
                f"the queue of {self.name} is full: {len(self)} of {self.capacity} frames are waiting; "
                "try again in a moment or send to another server"
            )

    def put(self, item: Item) -> None:
        """Append an item to its caller's line.

        Raises
        ------
        ResourceError
            If the queue is full.
        """
        with self._changed:
            self.check_room()
            self._lines[item.priority].append(item)
            self._changed.notify()

    def get(self) -> Item | None:
        """Wait for the next item and return it; None once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self))
            return None if self._closed else self._next_line().popleft()

    def remove(self, item: Item) -> bool:
        """Take a waiting item out; return whether it was still waiting."""
        with self._changed:
            return self._lines[item.priority].remove(item)

    def position(self, item: Item) -> int:
        """Return how many items are expected to go before this one; 0 where it is next or gone."""
        with self._changed:
            ahead = self._lines[item.priority].ahead_of(item)
            if item.priority is Priority.BATCH:
                ahead += self._lines[Priority.INTERACTIVE].size
            return ahead

    def close(self, drop: Callable[[Item], None] = lambda _: None) -> None:
        """Wake everybody who waits; ``drop`` is called with each item that was still in line."""
        with self._changed:
            self._closed = True
            left = [line.popleft() for line in self._lines.values() for _ in range(line.size)]
            self._changed.notify_all()
        for item in left:
            drop(item)

    def _next_line(self) -> _Turns[Item]:
        interactive, batch = self._lines[Priority.INTERACTIVE], self._lines[Priority.BATCH]
        if batch.size and (not interactive.size or self._run >= INTERACTIVE_RUN):
            self._run = 0
            return batch
        self._run = self._run + 1 if batch.size else 0
        return interactive
