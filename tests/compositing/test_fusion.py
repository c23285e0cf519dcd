"""Fusion against a float64 transcription of the paper and the published order of updates."""

import numpy as np
import pytest

from fbamatte.compositing.fusion import fuse, fuse_published


def pictures(seed=0, shape=(9, 7)):
    rng = np.random.default_rng(seed)
    return rng.random((*shape, 3)), rng.random(shape), rng.random((*shape, 3)), rng.random((*shape, 3))


def transcription(c, a0, f0, b0, iterations, vc, vf, vb, va):
    """Eq. 4–6 pixel by pixel, each from the newest values of the others."""
    a, f, b = a0.copy(), f0.copy(), b0.copy()
    for _ in range(iterations):
        for y, x in np.ndindex(a.shape):
            t = a[y, x]
            for k in range(3):
                f[y, x, k] = f0[y, x, k] + vf / vc * t * (c[y, x, k] - t * f[y, x, k] - (1 - t) * b[y, x, k])
            for k in range(3):
                b[y, x, k] = b0[y, x, k] + vb / vc * (1 - t) * (c[y, x, k] - t * f[y, x, k] - (1 - t) * b[y, x, k])
            line = f[y, x] - b[y, x]
            a[y, x] = (a0[y, x] + va / vc * np.dot(c[y, x] - b[y, x], line)) / (1 + va / vc * np.dot(line, line))
    return a, f, b


@pytest.mark.parametrize("iterations", [0, 1, 2, 5])
@pytest.mark.parametrize("variances", [(1, 1, 1, 10), (1, 0.5, 0.8, 3), (2, 1, 1, 100)])
def test_matches_the_paper(iterations, variances):
    c, a, f, b = pictures()
    vc, vf, vb, va = variances
    got = fuse(c, a, f, b, iterations=iterations, var_plate=vc, var_foreground=vf, var_background=vb, var_alpha=va)
    for mine, theirs in zip(got, transcription(c, a, f, b, iterations, vc, vf, vb, va)):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12)


def test_one_iteration_is_the_published_step_without_its_clamps():
    """Where nothing is clamped the two forms are one."""
    c, a, f, b = (0.4 + 0.2 * p for p in pictures(1))
    for mine, published in zip(fuse(c, a, f, b), fuse_published(c, a, f, b)):
        inside = (published > 0) & (published < 1)
        assert inside.mean() > 0.9
        np.testing.assert_allclose(mine[inside], published[inside], atol=1e-12)


def test_one_step_leaves_56_percent_of_the_residual_at_half_alpha():
    c, _, f, b = (0.4 + 0.1 * p for p in pictures(2))
    a = np.full(c.shape[:2], 0.5)
    before = c - 0.5 * f - 0.5 * b
    _, f1, b1 = fuse(c, a, f, b)
    left = (c - 0.5 * f1 - 0.5 * b1) / before
    np.testing.assert_allclose(left, 0.75 * 0.75, atol=1e-9)


def test_a_variance_of_zero_is_refused():
    c, a, f, b = pictures()
    with pytest.raises(ValueError, match="variances"):
        fuse(c, a, f, b, var_alpha=0)
