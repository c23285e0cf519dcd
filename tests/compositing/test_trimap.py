"""Trimaps from rotos and the six-channel encoding."""

import numpy as np
import pytest

from fbamatte.compositing.trimap import check, encode, from_roto, is_known, masks
from fbamatte.errors import TrimapError, UsageError


def square(size=41, low=12, high=29):
    roto = np.zeros((size, size), np.float32)
    roto[low:high, low:high] = 1
    return roto


def brute_force(roto, inside, outside):
    """Every pixel against every other, in float64."""
    ys, xs = np.indices(roto.shape)
    out = np.full(roto.shape, 0.5, np.float32)
    for value, region, width in ((1, roto >= 1, inside), (0, roto <= 0, outside)):
        edge = np.argwhere(~region)
        for y, x in np.argwhere(region):
            distance = np.sqrt(((edge - (y, x)) ** 2).sum(1)).min() - 0.5
            if width == 0 or distance >= width:
                out[y, x] = value
    assert ys.shape == xs.shape
    return out


@pytest.mark.parametrize(("inside", "outside"), [(0, 0), (3, 5), (1.5, 2.75), (0, 4), (8, 0.25)])
def test_widths_are_euclidean_and_may_be_fractions(inside, outside):
    roto = square()
    np.testing.assert_array_equal(from_roto(roto, inside, outside), brute_force(roto, inside, outside))


def test_a_whole_width_takes_just_that_many_pixels():
    row = from_roto(square(), 3, 5)[20]
    assert (row == 0.5).sum() == 2 * (3 + 5)


def test_a_wider_band_never_knows_more():
    widths = [0, 0.5, 1, 1.4142, 2, 3.3, 9]
    unknown = [(~is_known(from_roto(square(), w, w))).sum() for w in widths]
    assert unknown == sorted(unknown)


def test_soft_values_are_always_unknown():
    roto = square()
    roto[:, 20] = np.linspace(0.01, 0.99, 41)
    assert (from_roto(roto, 0, 0)[:, 20] == 0.5).all()


def test_filter_overshoot_counts_as_known():
    roto = square()
    roto[20, 20], roto[2, 2] = 1.07, -0.03
    trimap = from_roto(roto, 0, 0)
    assert (trimap[20, 20], trimap[2, 2]) == (1, 0)


def test_the_picture_border_is_no_edge():
    """A subject cut by the frame is known right up to it."""
    assert (from_roto(np.ones((8, 8), np.float32), 3, 3) == 1).all()
    assert (from_roto(np.zeros((8, 8), np.float32), 3, 3) == 0).all()
    half = np.zeros((8, 30), np.float32)
    half[:, :15] = 1
    assert (from_roto(half, 3, 3)[:, 0] == 1).all()


@pytest.mark.parametrize("width", [-1, float("nan"), float("inf")])
def test_a_bad_width_is_refused(width):
    with pytest.raises(UsageError, match="inside width"):
        from_roto(square(), width, 1)


@pytest.mark.parametrize("case", ["a", "b"])
def test_encoding_matches_the_oracle(case, reference):
    oracle = np.load(reference / "fba_oracle.npz")
    levels = np.array([0, 0.5, 1], np.float32)
    trimap = levels[np.searchsorted([0, 128, 255], oracle[f"{case}_trimap"])]
    np.testing.assert_allclose(encode(trimap), oracle[f"{case}_trimap_encoding"], atol=1e-6)


def test_an_empty_mask_encodes_as_zero():
    encoding = encode(np.full((6, 5), 0.5, np.float32))
    assert encoding.shape == (6, 6, 5)
    assert not encoding.any()


def test_masks_are_background_first():
    np.testing.assert_array_equal(masks(np.array([[0, 0.5, 1]], np.float32)), [[[1, 0, 0]], [[0, 0, 1]]])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([0.5, 0.5], "whole trimap is unknown"),
        ([0.5, 1], "no background"),
        ([0.5, 0], "no foreground"),
        ([np.nan, 1, 0], "1 NaN or Inf"),
    ],
)
def test_a_trimap_that_says_too_little_is_refused(values, says):
    with pytest.raises(TrimapError, match=says) as caught:
        check(np.array([values], np.float32), "cat.1001.exr, frame 1001")
    assert "cat.1001.exr, frame 1001" in str(caught.value)


@pytest.mark.parametrize("values", [[0, 0], [1, 1], [0, 1], [0, 0.5, 1]])
def test_a_trimap_that_says_enough_passes(values):
    check(np.array([values], np.float32), "frame 1")
