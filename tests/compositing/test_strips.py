"""Work on pictures in strips, and how many threads it may take."""

import os

import numpy as np
import pytest

from fbamatte.compositing import strips
from fbamatte.compositing.strips import at_work, in_strips, workers


@pytest.mark.parametrize("shape", [(1, 1), (3, 100_000), (1000, 70), (257, 513)])
def test_strips_cover_a_picture_once(shape):
    picture, touched = np.arange(np.prod(shape)).reshape(shape), np.zeros(shape, int)

    def add(values, counts):
        counts += values + 1

    in_strips(add, picture, touched)
    assert np.array_equal(touched, picture + 1)


@pytest.fixture
def idle(monkeypatch):
    """A stage of another test may still be at work on a thread of its own."""
    monkeypatch.setattr(strips, "_at_work", 0)


def test_cores_are_divided_among_those_at_work(idle, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert workers() == 8
    with at_work():
        assert workers() == 8
        with at_work(), at_work():
            assert workers() == 2
        with pytest.raises(ZeroDivisionError), at_work():
            1 / 0  # noqa: B018 - fails on purpose
    assert workers() == 8


def test_nobody_is_left_without_a_thread(idle, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with at_work(), at_work(), at_work():
        assert workers() == 1
