"""Exact recomposition and the linear-light α, over the range of a real plate and beyond."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fbamatte.compositing.over import over, premultiply, unpremultiply
from fbamatte.compositing.recomposition import recompose, recomposition_error, solve_alpha

SHAPE = (5, 4)
colours = arrays(np.float32, (*SHAPE, 3), elements=st.floats(-0.0625, 64, width=32))
variances = st.sampled_from([None, np.ones_like, lambda x: 0.01 + x * x])
alphas = arrays(np.float32, SHAPE, elements=st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1, width=32)))


@settings(max_examples=200, deadline=None)
@given(c=colours, f=colours, b=colours, a=alphas, variance=variances)
def test_f_over_b_is_the_plate(c, f, b, a, variance):
    f, b = recompose(c, a, f, b, variance)
    assert f.dtype == b.dtype == np.float32
    assert (np.abs(over(f, a, b) - c) <= 1e-5 * np.maximum(1, np.abs(c))).all()
    assert (f[a == 1] == c[a == 1]).all()
    assert (b[a == 0] == c[a == 0]).all()


@pytest.mark.parametrize("variance", [np.ones_like, lambda x: 0.5 + x * x])
def test_the_correction_is_the_likeliest_one(variance):
    """Against numpy's minimum-norm least squares in deviations of each layer, pixel by pixel."""
    rng = np.random.default_rng(3)
    c, f, b = (rng.normal(1, 5, (*SHAPE, 3)).astype(np.float32) for _ in range(3))
    a = rng.random(SHAPE).astype(np.float32)
    got_f, got_b = recompose(c, a, f, b, variance)
    for y, x, k in np.ndindex(*SHAPE, 3):
        off = np.sqrt([variance(layer[y, x, k].astype(np.float64)) for layer in (f, b)])
        t = np.array([[a[y, x], 1 - a[y, x]]], np.float64)
        residual = c[y, x, k] - t[0, 0] * f[y, x, k] - t[0, 1] * b[y, x, k]
        delta = off * np.linalg.lstsq(t * off, np.array([residual]), rcond=None)[0]
        assert got_f[y, x, k] == pytest.approx(f[y, x, k] + delta[0], abs=1e-5)
        assert got_b[y, x, k] == pytest.approx(b[y, x, k] + delta[1], abs=1e-5)


@settings(max_examples=100, deadline=None)
@given(f=colours, b=colours, a=alphas)
def test_a_true_alpha_is_kept(f, b, a):
    np.testing.assert_allclose(solve_alpha(over(f, a, b), a, f, b, np.ones_like, 0.5), a, atol=2e-5)


def test_alpha_is_the_most_probable_one():
    """Against a search: the sum of squared errors over their variances has its minimum at the answer."""
    rng = np.random.default_rng(5)
    c, f, b = (rng.random((*SHAPE, 3)).astype(np.float32) for _ in range(3))
    guess = rng.uniform(0.05, 0.95, SHAPE).astype(np.float32)
    found = solve_alpha(c, guess, f, b, lambda x: 0.1 + x, 1.5)
    tried = np.linspace(0, 1, 20001)
    for y, x in np.ndindex(SHAPE):
        mixed = guess[y, x] ** 2 * (0.1 + f[y, x]) + (1 - guess[y, x]) ** 2 * (0.1 + b[y, x])
        line = tried[:, None] * f[y, x] + (1 - tried[:, None]) * b[y, x]
        cost = ((c[y, x] - line) ** 2 / mixed).sum(1) + 1.5**2 * (tried - guess[y, x]) ** 2
        assert found[y, x] == pytest.approx(tried[cost.argmin()], abs=1e-4)


def test_a_wrong_alpha_moves_towards_colours_that_are_sure_and_not_towards_others():
    f, b = np.full((2, 2, 3), 8, np.float32), np.full((2, 2, 3), 0.05, np.float32)
    true, guess = np.full((2, 2), 0.3, np.float32), np.full((2, 2), 0.7, np.float32)
    sure, unsure = (
        solve_alpha(over(f, true, b), guess, f, b, lambda x, u=u: np.full_like(x, u), 1.0) for u in (1, 1e6)
    )
    assert (np.abs(sure - true) < 0.25 * np.abs(guess - true)).all()
    assert (np.abs(unsure - guess) < 0.01).all()


def test_equal_colours_say_nothing_and_the_estimate_stays():
    guess = np.linspace(0, 1, 9, dtype=np.float32).reshape(3, 3)
    for grey in (np.full((3, 3, 3), 0.18, np.float32), np.zeros((3, 3, 3), np.float32)):
        np.testing.assert_allclose(solve_alpha(grey, guess, grey, grey, np.ones_like, 1.0), guess, atol=1e-7)


def test_strips_are_seamless():
    """A picture of many strips gives what each pixel alone gives."""
    rng = np.random.default_rng(4)
    c, f, b = (rng.random((257, 1031, 3)).astype(np.float32) for _ in range(3))
    a = rng.random((257, 1031)).astype(np.float32)
    whole = recompose(c, a, f, b)
    for y, x in [(0, 0), (31, 5), (32, 1030), (256, 700)]:
        one = recompose(*(p[y : y + 1, x : x + 1] for p in (c, a, f, b)))
        np.testing.assert_array_equal(whole[0][y, x], one[0][0, 0])
        np.testing.assert_array_equal(whole[1][y, x], one[1][0, 0])


def test_recomposition_error_is_relative_above_one():
    c = np.array([[[10, 0.1, 0]]], np.float32)
    error = recomposition_error(c, np.ones((1, 1), np.float32), c + np.float32([1, 0.05, 0]), c)
    assert error[0, 0] == pytest.approx(0.1, abs=1e-6)


def test_premultiply_and_back():
    f = np.array([[[40, -0.05, 0.5]]], np.float32)
    a = np.array([[0.25]], np.float32)
    np.testing.assert_array_equal(unpremultiply(premultiply(f, a), a), f)
    np.testing.assert_array_equal(unpremultiply(f, np.zeros((1, 1), np.float32)), np.zeros_like(f))
