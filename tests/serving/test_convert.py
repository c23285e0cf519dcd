"""Half to float and back, against numpy, value by value."""

import numpy as np
import pytest

from fbamatte.serving import convert as module
from fbamatte.serving.convert import convert

LARGEST = 65504.0
pytestmark = pytest.mark.skipif(convert is None, reason="this processor leaves the conversion to numpy")


def test_every_half_becomes_the_float_that_numpy_makes_of_it():
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    wide = np.zeros(halves.shape, np.float32)
    convert(wide, halves)
    assert np.array_equal(wide, halves.astype(np.float32), equal_nan=True)


def test_floats_are_rounded_as_numpy_rounds_them_and_stop_at_the_largest_half():
    # All exponents and signs, with fractions that do not repeat; ties among them.
    wide = np.arange(0, 1 << 32, 2039, dtype=np.uint64).astype(np.uint32).view(np.float32)
    ties = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    limits = np.array([np.inf, -np.inf, 65519.9, 65520, -65520], np.float32)
    wide = np.concatenate([wide, (ties[:-1] + ties[1:]) / 2, limits])
    got = np.empty(wide.shape, np.float16)
    convert(got, wide)
    with np.errstate(invalid="ignore"):
        expected = np.clip(wide, -LARGEST, LARGEST).astype(np.float16)
    assert np.array_equal(got, expected, equal_nan=True)
    assert np.array_equal(np.signbit(got), np.signbit(expected))


def test_many_values_are_shared_out_without_a_gap():
    halves = np.random.default_rng(1).random(3 * module._SHARE + 7, np.float32).astype(np.float16)
    wide = np.full(halves.shape, np.nan, np.float32)
    convert(wide, halves)
    assert np.array_equal(wide, halves.astype(np.float32))
    back = np.full(halves.shape, np.nan, np.float16)
    convert(back, wide)
    assert np.array_equal(back, halves)


def test_what_is_read_may_be_read_only_and_lie_anywhere():
    halves = np.linspace(-1, 1, 1001).astype(np.float16)
    source = np.frombuffer(b"x" + halves.tobytes(), np.float16, offset=1)
    assert not source.flags.aligned
    wide = np.empty(halves.shape, np.float32)
    convert(wide, source)
    assert np.array_equal(wide, halves.astype(np.float32))


def test_a_picture_keeps_its_shape():
    plate = np.random.default_rng(1).random((5, 7, 3), np.float32)
    half = np.empty(plate.shape, np.float16)
    convert(half, plate)
    assert np.array_equal(half, plate.astype(np.float16))


def test_a_processor_of_unknown_abilities_is_left_to_numpy(monkeypatch):
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert module._converter() is None
