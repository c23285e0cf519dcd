import random
import threading
from dataclasses import dataclass

import pytest

from fbamatte.errors import ResourceError
from fbamatte.serving.queue import INTERACTIVE_RUN, FairQueue, Priority


@dataclass(eq=False)
class Item:
    caller: str
    number: int = 0
    priority: Priority = Priority.BATCH


def names(queue, count):
    return "".join(queue.get().caller for _ in range(count))


def test_callers_take_turns_and_keep_their_own_order():
    queue = FairQueue(100)
    for number in range(4):
        queue.put(Item("a", number))
    for caller in "bc":
        queue.put(Item(caller))
    taken = [queue.get() for _ in range(6)]
    assert "".join(item.caller for item in taken) == "abcaaa"
    assert [item.number for item in taken if item.caller == "a"] == [0, 1, 2, 3]


def test_interactive_goes_before_batch():
    queue = FairQueue(100)
    for caller in "ab":
        queue.put(Item(caller))
    queue.put(Item("i", priority=Priority.INTERACTIVE))
    assert names(queue, 3) == "iab"


def test_batch_does_not_starve():
    queue = FairQueue(1000)
    queue.put(Item("b"))
    for _ in range(3 * INTERACTIVE_RUN):
        queue.put(Item("i", priority=Priority.INTERACTIVE))
    assert names(queue, 3 * INTERACTIVE_RUN).index("b") == INTERACTIVE_RUN


def test_an_interactive_run_counts_only_while_batch_waits():
    queue = FairQueue(1000)
    for _ in range(2 * INTERACTIVE_RUN):
        queue.put(Item("i", priority=Priority.INTERACTIVE))
    names(queue, 2 * INTERACTIVE_RUN)
    queue.put(Item("b"))
    queue.put(Item("i", priority=Priority.INTERACTIVE))
    assert names(queue, 2) == "ib"


def test_a_full_queue_says_so():
    queue = FairQueue(2, "cuda:0")
    queue.put(Item("a"))
    queue.put(Item("a"))
    with pytest.raises(ResourceError, match="queue of cuda:0 is full: 2 of 2"):
        queue.put(Item("b"))
    with pytest.raises(ResourceError):
        queue.check_room()
    assert len(queue) == 2


def test_what_is_removed_is_not_handed_out():
    queue = FairQueue(10)
    items = [Item("a"), Item("b"), Item("a", 1)]
    for item in items:
        queue.put(item)
    assert queue.remove(items[0])
    assert not queue.remove(items[0])
    assert names(queue, 2) == "ab"
    assert len(queue) == 0


@pytest.mark.parametrize("seed", range(8))
def test_the_position_is_what_really_goes_before(seed):
    shuffled = random.Random(seed)
    queue = FairQueue(100)
    items = [Item(shuffled.choice("abc"), number) for number in range(12)]
    for item in items:
        queue.put(item)
    expected = {item.number: queue.position(item) for item in items}
    order = [queue.get().number for _ in items]
    assert {number: order.index(number) for number in expected} == expected


def test_closing_wakes_who_waits_and_hands_back_the_rest():
    queue = FairQueue(10)
    got = []
    waiting = threading.Thread(target=lambda: got.append(queue.get()))
    waiting.start()
    dropped = []
    queue.close(dropped.append)
    waiting.join(60)
    assert got == [None]

    full = FairQueue(10)
    item = Item("a")
    full.put(item)
    full.close(dropped.append)
    assert dropped == [item]
    assert full.get() is None
