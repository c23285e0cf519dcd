"""Closed-form against PyMatting's solve of the whole plate, and on trimaps that are hard to solve."""

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.sparse.linalg import spsolve

import bundled_picture
from fbamatte.models import closed_form
from fbamatte.models.closed_form import alpha as solving
from fbamatte.models.closed_form import laplacian
from fbamatte.models.closed_form.alpha import closed_form_alpha
from fbamatte.models.closed_form.cholesky import factorise
from fbamatte.models.closed_form.dense import eliminate
from fbamatte.models.closed_form.dissection import REACH, dissect
from fbamatte.models.closed_form.foreground import estimate_foreground


@pytest.fixture(scope="module")
def truth():
    return bundled_picture.make()


def matrix_of(system: laplacian.System) -> scipy.sparse.csc_matrix:
    rows, columns, values = [], [], []
    for k in range(25):
        other = system.index[system.ys + k // 5 - 2, system.xs + k % 5 - 2]
        rows.append(np.flatnonzero(other >= 0))
        columns.append(other[other >= 0])
        values.append(system.values[other >= 0, k])
    return scipy.sparse.csc_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))))


def pictured(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).random((height, width, 3))
    return np.clip(ndimage.gaussian_filter(noise, (1.5, 1.5, 0)) * 2 - 0.5, 0, 1).astype(np.float32)


def test_alpha_is_pymattings(truth):
    from pymatting import estimate_alpha_cf

    expected = estimate_alpha_cf(truth.image.astype(np.float64), truth.trimap.astype(np.float64))
    found = closed_form_alpha(truth.image, truth.trimap)
    assert np.abs(found - expected).max() < 2e-3
    assert np.abs(found - expected).mean() < 2e-5


def test_foreground_and_background_are_pymattings(truth):
    from pymatting import estimate_foreground_ml

    expected = estimate_foreground_ml(truth.image, truth.alpha, return_background=True)
    found = estimate_foreground(truth.image, truth.alpha)
    assert np.abs(found[0] - expected[0]).max() < 1e-3
    assert np.abs(found[1] - expected[1]).max() < 1e-3


def test_rows_exist_for_unknown_pixels_alone(truth):
    unknown = truth.trimap == 0.5
    system = laplacian.build(truth.image, unknown, truth.alpha, prior=1e-10)
    assert system.values.shape == (np.count_nonzero(unknown), 25)


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 40), st.integers(3, 40), st.floats(0.05, 0.95), st.integers(0, 99), st.integers(1, 60))
def test_the_direct_solve_is_scipys_on_any_mask(height, width, share, seed, leaf):
    rng = np.random.default_rng(seed)
    unknown = ndimage.uniform_filter(rng.random((height, width)), 3) < share
    known = (rng.random((height, width)) < 0.5).astype(np.float32)
    system = laplacian.build(pictured(height, width, seed), unknown, known, prior=1e-4)
    if not len(system.rhs):
        return
    fronts = dissect(system.index, leaf)
    found = solving._refine(system, factorise(system, fronts))
    expected = np.atleast_1d(spsolve(matrix_of(system), system.rhs))
    assert np.abs(found - expected).max() < 1e-3
    assert np.linalg.norm(system.residual(found)) <= 1e-5 * np.linalg.norm(system.rhs) + 1e-12


@pytest.mark.parametrize(("size", "count"), [(1, 1), (7, 7), (9, 1), (120, 50)])
def test_columns_are_eliminated_as_numpys_cholesky_does(size, count):
    half = np.random.default_rng(size).normal(size=(size, size))
    matrix = half @ half.T + np.eye(size)
    panel, rest = np.array(matrix[:, :count], order="F"), np.array(matrix[count:, count:], order="F")
    assert eliminate(panel, rest)
    whole = np.linalg.cholesky(matrix)
    left = whole[count:, count:]
    np.testing.assert_allclose(np.tril(panel), whole[:, :count], atol=1e-10 * size)
    np.testing.assert_allclose(np.tril(rest), np.tril(left @ left.T), atol=1e-9 * size)
    assert not eliminate(np.array(-matrix[:, :count], order="F"), rest)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.floats(0.05, 1), st.integers(0, 99), st.integers(1, 30))
def test_cuts_separate_and_every_unknown_goes_once(height, width, share, seed, leaf):
    unknown = np.random.default_rng(seed).random((height, width)) < share
    index = np.full((height, width), -1, np.int32)
    index[unknown] = np.arange(np.count_nonzero(unknown), dtype=np.int32)
    fronts = dissect(index, leaf)
    order = np.full(np.count_nonzero(unknown), -1)
    for position, front in enumerate(fronts):
        assert all(child < position for child in front.children)
        assert (order[front.columns] == -1).all()
        order[front.columns] = position
    assert (order >= 0).all()
    ys, xs = np.nonzero(unknown)
    for position, front in enumerate(fronts):
        here = set(front.columns.tolist())
        for number in here:
            near = index[
                max(ys[number] - REACH, 0) : ys[number] + REACH + 1, max(xs[number] - REACH, 0) : xs[number] + REACH + 1
            ]
            later = {other for other in near[near >= 0].tolist() if order[other] > position}
            assert later <= set(front.boundary.tolist())


def solved(image: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    found = closed_form.ClosedForm().estimate(image, trimap)
    assert found.alpha.shape == trimap.shape
    for plane in (found.alpha, found.foreground, found.background):
        assert np.isfinite(plane).all()
        assert 0 <= plane.min() <= plane.max() <= 1
    return found.alpha


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 2), (1, 40), (37, 1), (2, 31), (3, 3), (13, 29)])
@pytest.mark.parametrize("fill", [0.0, 0.5, 1.0])
def test_tiny_and_odd_plates(size, fill):
    trimap = np.full(size, fill, np.float32)
    found = solved(pictured(*size), trimap)
    assert np.allclose(found, fill, atol=1e-5)  # all unknown: nothing says which, so the middle


def test_a_line_between_its_ends():
    image = np.linspace(0, 1, 30, dtype=np.float32)[None, :, None].repeat(3, 2)
    trimap = np.full((1, 30), 0.5, np.float32)
    trimap[0, :3], trimap[0, 27:] = 0, 1
    found = solved(image, trimap)
    assert (np.diff(found[0]) > -1e-3).all()
    assert found[0, 8] < 0.4
    assert found[0, 22] > 0.6


def test_islands_do_not_know_of_each_other(truth):
    """Each unknown region solved alone is what it is among others, wherever it lies."""
    image = pictured(90, 120)
    trimap = np.zeros((90, 120), np.float32)
    trimap[:, 60:] = 1
    regions = [np.s_[5:15, 55:66], np.s_[40:52, 50:70], np.s_[80:90, 57:63], np.s_[20:30, 0:10], np.s_[60:61, 100:120]]
    together = trimap.copy()
    for region in regions:
        together[region] = 0.5
    found = solved(image, together)
    for region in regions:
        alone = trimap.copy()
        alone[region] = 0.5
        assert np.abs(solved(image, alone)[region] - found[region]).max() < 1e-3


def test_a_picture_of_two_colours_is_solved(caplog):
    """All colours of a window on one line, black to bright: its covariance is singular but for ε."""
    bright = np.random.default_rng(0).random((40, 40, 1)) > 0.5
    image = (bright * np.array((1, 0.937, 0.791))).astype(np.float32)
    trimap = np.full((40, 40), 0.5, np.float32)
    trimap[:, :4], trimap[:, 36:] = 0, 1
    alpha = closed_form_alpha(image, trimap)
    assert not caplog.records
    assert 0.4 < alpha[:, 4:36].mean() < 0.6


def test_a_region_inside_one_side_takes_that_side(caplog):
    trimap = np.zeros((60, 80), np.float32)
    trimap[:, 40:] = 1
    trimap[20:40, 5:25] = 0.5
    trimap[10:30, 50:75] = 0.5
    found = solved(pictured(60, 80), trimap)
    assert found[20:40, 5:25].max() < 1e-3
    assert found[10:30, 50:75].min() > 1 - 1e-3
    trimap[:, 40:] = 0  # and the other side gone: nothing pulls up at all
    assert solved(pictured(60, 80), trimap).max() < 1e-3
    assert caplog.records == []


@pytest.mark.parametrize("colour", [0.0, 0.5, 1.0])
def test_a_flat_picture_is_solved_smoothly(colour):
    trimap = np.full((50, 60), 0.5, np.float32)
    trimap[:, :10], trimap[:, 50:] = 0, 1
    found = solved(np.full((50, 60, 3), colour, np.float32), trimap)
    assert np.abs(np.diff(found[25])).max() < 0.1
    assert found[25, 30] == pytest.approx(0.5, abs=0.02)


def test_unknown_up_to_every_border(truth):
    trimap = np.full(truth.trimap.shape, 0.5, np.float32)
    trimap[40:70, 45:75] = 1
    trimap[5:9, 5:9] = 0
    solved(truth.image, trimap)


def test_rims_one_pixel_thin(truth):
    edge = np.abs(ndimage.sobel(truth.alpha, 0)) + np.abs(ndimage.sobel(truth.alpha, 1)) > 2
    trimap = np.where(edge, 0.5, truth.alpha > 0.5).astype(np.float32)
    solved(truth.image, trimap)


def test_pictures_without_one_side_have_colours_all_the_same():
    image = np.clip(pictured(40, 40) + 0.3, 0, 1)
    for fill in (0, 1):
        found = closed_form.ClosedForm().estimate(image, np.full((40, 40), fill, np.float32))
        assert np.abs(found.foreground.mean() - image.mean()) < 0.1
        assert np.abs(found.background.mean() - image.mean()) < 0.1


def test_colours_are_fitted_only_if_somebody_asks(truth):
    found = closed_form.ClosedForm().estimate(truth.image, truth.trimap)
    assert found.fitted
    assert "_colours" not in vars(found)
    foreground, background = estimate_foreground(truth.image, found.alpha)
    mixed = (found.alpha > 0) & (found.alpha < 1)
    assert np.array_equal(found.foreground[mixed], foreground[mixed])
    assert np.array_equal(found.background[mixed], background[mixed])


def test_the_clean_plate_goes_on_smoothly_under_the_foreground(truth):
    found = closed_form.ClosedForm().estimate(truth.image, truth.trimap)
    solid = ndimage.binary_erosion(truth.trimap == 1, iterations=4)
    assert np.abs(found.background[solid] - truth.background[solid]).mean() < 0.12
    assert np.abs(np.diff(found.background, axis=1))[solid[:, 1:]].max() < 0.05


def test_a_pivot_that_rounding_lost_is_met_with_a_stronger_prior(truth, monkeypatch, caplog):
    exact = closed_form_alpha(truth.image, truth.trimap)
    monkeypatch.setattr(solving, "PRIORS", (-1.0, 1e-7))  # the first takes every pivot away
    found = closed_form_alpha(truth.image, truth.trimap)
    assert np.abs(found - exact).mean() < 1e-3
    assert "do not factorise" in caplog.text


def test_blocks_come_near_the_whole(truth, monkeypatch):
    """The way of plates too large for one solve."""
    monkeypatch.setattr(solving, "BLOCK", 32)
    monkeypatch.setattr(solving, "OVERLAP", 16)
    unknown = truth.trimap == 0.5
    whole = closed_form_alpha(truth.image, truth.trimap)
    blocks = closed_form_alpha(truth.image, truth.trimap, max_unknowns=1000)
    assert 0 < np.abs(whole - blocks)[unknown].mean() < 0.01
    odd = closed_form_alpha(truth.image[:91, :77], truth.trimap[:91, :77], max_unknowns=500)
    assert np.isfinite(odd).all()


def test_a_machine_without_a_place_for_compiled_code_mattes_all_the_same():
    """A read-only install and a home that is none: a container, a render node."""
    program = "from fbamatte.models import registry; registry.load('closed-form'); print('loaded')"
    environment = {**os.environ, "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "NUMBA_CACHE_DIR": ""}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "loaded", done.stderr
