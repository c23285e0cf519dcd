"""The curve against an independent transcription of its description, in float64 and piece by piece."""

import math

import numpy as np
import pytest

from fbamatte.imaging import curve


def srgb(x):
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-12) ** (1 / 2.4) - 0.055)


def oracle(x: float) -> float:
    """The curve as curve.py's table describes it: only its four design numbers and the fit are shared."""
    a, b, c, d = 0.8295, 0.6391, -0.01775, 0.4481

    def middle(x):
        return (a * x + b * math.sqrt(x) + c) / (math.sqrt(x) + d)

    def slope(x, h=1e-7):
        return (middle(x + h) - middle(x - h)) / (2 * h)

    black, toe, bend_end, start, largest = 1 / 64, 1 / 8, 0.004, 0.75, 65536.0
    if x <= 0:
        return black + toe * x
    if x <= bend_end:  # Gregory and Delbourgo's monotone rational quadratic through two points and slopes
        rise, t = middle(bend_end) - black, x / bend_end
        chord, end = rise / bend_end, slope(bend_end)
        top = chord * t * t + toe * t * (1 - t)
        return black + rise * top / (chord + (toe + end - 2 * chord) * t * (1 - t))
    if x <= start:
        return middle(x)
    low, high = 1e-6, 1.0
    for _ in range(200):  # the gain for which the largest light is exactly 1
        gain = (low + high) / 2
        reached = middle(start) + gain * math.log(1 + (largest - start) * slope(start) / gain)
        low, high = (gain, high) if reached < 1 else (low, gain)
    return middle(start) + gain * math.log(1 + (x - start) * slope(start) / gain)


LIGHT = np.concatenate(
    [-np.geomspace(1e-7, 100, 150)[::-1], [0.0], np.geomspace(1e-8, 65504, 600), np.linspace(0, 0.005, 99)]
)


def test_equals_its_description():
    expected = np.array([oracle(float(x)) for x in LIGHT])
    np.testing.assert_allclose(curve.encode(LIGHT), expected, atol=4e-7, rtol=3e-7)


def test_is_display_like():
    x = np.linspace(0, 0.8, 100_001)
    difference = np.abs(curve.encode(x) - srgb(x)).max()
    print(f"largest difference from sRGB, 0–0.8: {difference:.4f}")
    assert difference < 0.018


def test_round_trip():
    light = LIGHT.astype(np.float32)
    back = curve.decode(curve.encode(light))
    error = np.abs(back - light) / np.maximum(np.abs(light), 1e-3)
    print(f"largest relative round trip error: {error.max():.2e}")
    assert error.max() < 2e-5
    for value in (64.0, -0.05):
        assert float(curve.decode(curve.encode(value))) == pytest.approx(value, rel=1e-5)
    assert curve.decode(curve.encode(0.0)) == 0


def test_the_way_back_and_forth_from_the_encoded_side():
    encoded = np.linspace(0, 1, 10_001, dtype=np.float32)
    np.testing.assert_allclose(curve.encode(curve.decode(encoded)), encoded, atol=3e-7)


def test_ends():
    assert curve.encode(curve.TOE_END) == 0
    assert float(curve.encode(65504.0)) < 1
    assert float(curve.encode(curve.LARGEST)) == pytest.approx(1, abs=1e-7)
    assert float(curve.decode(1.0)) == pytest.approx(curve.LARGEST, rel=1e-5)
    assert curve.TOE_END <= -0.05


def test_rises_everywhere():
    every_half = np.arange(65536, dtype=np.uint16).view(np.float16)
    light = np.sort(every_half[np.isfinite(every_half)].astype(np.float32))
    steps = np.diff(curve.encode(light).astype(np.float64))
    # Neighbouring halves below 2^-17 lie closer than single precision resolves beside encoded black.
    assert steps.min() >= 0
    assert (steps[np.abs(light[1:]) > 2**-16] > 0).all()
    encoded = np.linspace(-0.1, 1.01, 100_001, dtype=np.float32)
    assert (np.diff(curve.decode(encoded)) > 0).all()


@pytest.mark.parametrize("join", [0.0, curve.BEND_END, curve.SHOULDER_START])
def test_smooth_where_the_pieces_meet(join):
    h = 1e-9
    below, at, above = oracle(join - h), oracle(join), oracle(join + h)
    assert (at - below) / h == pytest.approx((above - at) / h, rel=1e-3)


def test_slope_is_the_derivative():
    inner = LIGHT[np.abs(LIGHT) > 1e-4]
    h = np.abs(inner) * 1e-5
    expected = [(oracle(x + d) - oracle(x - d)) / (2 * d) for x, d in zip(inner, h)]
    np.testing.assert_allclose(curve.encode_slope(inner), expected, rtol=2e-3)
    assert (curve.encode_slope(LIGHT) > 0).all()


def test_a_pixel_does_not_depend_on_its_neighbours():
    light = np.random.default_rng(0).normal(size=(70, 900)).astype(np.float32)
    whole = curve.encode(light)
    for i in range(0, 70, 7):
        np.testing.assert_array_equal(curve.encode(light[i, ::3].copy()), whole[i, ::3])
        np.testing.assert_array_equal(curve.decode(whole[i, ::5].copy()), curve.decode(whole)[i, ::5])
    lone = np.array([curve.encode(x) for x in light[0]])
    np.testing.assert_array_equal(lone, whole[0])


def test_shapes_types_and_odd_values():
    assert curve.encode(np.zeros((2, 3, 3), np.float16)).shape == (2, 3, 3)
    assert curve.encode(np.zeros((2, 3), np.float64)).dtype == np.float32
    assert curve.encode(np.zeros((0, 3))).shape == (0, 3)
    strided = np.linspace(-1, 2, 60, dtype=np.float32).reshape(4, 5, 3)[:, ::2, ::-1]
    np.testing.assert_array_equal(curve.decode(curve.encode(strided)), curve.decode(curve.encode(strided.copy())))
    odd = np.array([np.nan, np.inf, -np.inf, 0.5], np.float32)
    np.testing.assert_array_equal(np.isnan(curve.encode(odd)), [True, False, False, False])
    np.testing.assert_array_equal(curve.decode(curve.encode(odd))[1:3], [np.inf, -np.inf])
    assert curve.encode(odd)[3] == curve.encode(0.5)
    given = odd.copy()
    curve.encode(given)
    np.testing.assert_array_equal(given, odd)


def test_nan_does_not_spread():
    light = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    spoilt = light.copy()
    spoilt[::7] = np.nan
    kept = ~np.isnan(spoilt)
    for through in (curve.encode, curve.decode, curve.encode_slope):
        np.testing.assert_array_equal(through(spoilt)[kept], through(light)[kept])
        assert np.isnan(through(spoilt)[~kept]).all()
