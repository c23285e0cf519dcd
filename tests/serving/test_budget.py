import threading
import time

import pytest

from fbamatte.errors import ResourceError
from fbamatte.serving.budget import MemoryBudget
from fbamatte.serving.failures import LimitError
from fbamatte.serving.queue import Priority

NOW, BATCH = Priority.INTERACTIVE, Priority.BATCH


def test_what_will_never_fit_is_a_limit():
    with pytest.raises(LimitError, match="frame 7: needs about 2 MiB"):
        MemoryBudget(2**20).reserve(2 * 2**20, NOW, "frame 7", wait=lambda: True)


def test_who_does_not_wait_is_refused():
    budget = MemoryBudget(100)
    budget.reserve(80, NOW, "a", wait=lambda: True)
    with pytest.raises(ResourceError) as refused:
        budget.reserve(80, NOW, "b", wait=lambda: False)
    assert not isinstance(refused.value, LimitError)
    assert budget.used == 80


def test_who_waits_gets_what_is_given_back():
    budget = MemoryBudget(100)
    budget.reserve(80, NOW, "a", wait=lambda: True)
    threading.Timer(0.1, budget.release, [80]).start()
    begin = time.monotonic()
    budget.reserve(80, NOW, "b", wait=lambda: time.monotonic() - begin < 60)
    assert budget.used == 80


def test_batch_leaves_room_for_interactive():
    budget = MemoryBudget(100)
    budget.reserve(70, BATCH, "a", wait=lambda: False)
    with pytest.raises(ResourceError):
        budget.reserve(20, BATCH, "b", wait=lambda: False)
    budget.reserve(20, NOW, "c", wait=lambda: False)


def test_a_large_batch_frame_goes_alone():
    budget = MemoryBudget(100)
    budget.reserve(95, BATCH, "a", wait=lambda: False)
    budget.release(95)
    assert budget.used == 0
