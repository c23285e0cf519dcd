"""The pipeline stage: order, bounds, errors, and an end."""

import threading
import time

import pytest

from fbamatte.engine.overlap import overlap


def test_order_is_kept():
    assert list(overlap(lambda n: n * n, range(50), ahead=3)) == [n * n for n in range(50)]


def test_stages_run_side_by_side():
    """The second stage waits on item n until the first is at item n + 1: one after the other, it would never end."""
    together = threading.Barrier(2, timeout=10)

    def first(n):
        if n > 0:
            together.wait()
        return n

    def second(n):
        if n < 5:
            together.wait()
        return n

    assert list(overlap(second, overlap(first, range(6)))) == list(range(6))


def test_it_works_only_so_far_ahead():
    started = []
    results = overlap(lambda n: started.append(n) or n, range(100), ahead=2)
    assert next(results) == 0
    time.sleep(0.2)
    # one was taken, two wait, one is in hand
    assert len(started) <= 4


def test_an_error_arrives_where_its_result_would_have():
    def stage(n):
        if n == 2:
            raise ZeroDivisionError("frame 2")
        return n

    results = overlap(stage, range(5))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError, match="frame 2"):
        next(results)


def test_an_error_of_the_source_arrives_too():
    def source():
        yield 1
        raise OSError("the disk is gone")

    results = overlap(lambda n: n, source())
    assert next(results) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)


def test_closing_ends_the_thread_and_closes_the_source():
    closed = threading.Event()

    def source():
        try:
            yield from range(1_000_000)
        finally:
            closed.set()

    results = overlap(lambda n: n, source())
    next(results)
    results.close()
    assert closed.wait(5)


def test_no_lead_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        next(overlap(str, [1], ahead=0))
