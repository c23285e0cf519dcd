"""Planes' memory that is used again."""

import threading
import time

import numpy as np

from fbamatte.serving.slabs import IDLE_SECONDS, Slabs

SHAPE = (1024, 1500)
BYTES = 1024 * 1500 * 4


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_memory_comes_back_when_the_last_view_goes():
    slabs = Slabs(10 * BYTES)
    first = slabs.empty(SHAPE)
    first[:] = 7
    where, view = address(first), first[100:200, ::2].T
    del first
    assert slabs.idle_bytes == 0
    assert (view == 7).all()
    del view
    assert slabs.idle_bytes >= BYTES
    second = slabs.empty((1500, 1024))
    assert address(second) == where
    assert slabs.idle_bytes == 0
    assert second.flags.writeable
    assert second.dtype == np.float32


def test_two_arrays_never_share_memory():
    slabs = Slabs(10 * BYTES)
    slabs.empty(SHAPE)
    arrays = [slabs.empty(SHAPE) for _ in range(3)]
    for number, array in enumerate(arrays):
        array[:] = number
    assert [array.max() for array in arrays] == [0, 1, 2]
    assert [array.min() for array in arrays] == [0, 1, 2]


def test_no_more_than_the_limit_lies_idle():
    slabs = Slabs(2 * BYTES)
    arrays = [slabs.empty(SHAPE) for _ in range(5)]
    del arrays[:]
    assert BYTES <= slabs.idle_bytes <= 2 * BYTES
    assert Slabs(0).empty(SHAPE).shape == SHAPE


def test_idle_memory_goes_back_to_the_system_in_time():
    slabs = Slabs(10 * BYTES)
    slabs.empty(SHAPE)
    slabs.tidy(time.monotonic())
    assert slabs.idle_bytes >= BYTES
    slabs.tidy(time.monotonic() + IDLE_SECONDS)
    assert slabs.idle_bytes == 0


def test_a_large_slab_is_not_spent_on_a_small_plane():
    slabs = Slabs(10 * BYTES)
    slabs.empty((4 * SHAPE[0], SHAPE[1]))
    slabs.empty(SHAPE)
    assert slabs.idle_bytes >= 5 * BYTES


def test_threads_that_take_and_give_at_once_never_share_memory():
    slabs, mixed = Slabs(3 * BYTES), []

    def work(number: int) -> None:
        for _ in range(60):
            array = slabs.empty(SHAPE)
            array[::64] = number
            time.sleep(0)
            if not (array[::64] == number).all():
                mixed.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not mixed
    assert slabs.idle_bytes <= 3 * BYTES
