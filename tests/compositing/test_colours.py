from __future__ import annotations

import os

import numpy as np
import pytest

from fbamatte.compositing.colours import colours
from fbamatte.compositing.over import over
from fbamatte.compositing.recomposition import recomposition_error


def plate_of(width: float, seed: int, shape: tuple[int, int] = (240, 320)):
    """A plate from −0.05 to 64 with smooth alpha, F and B: a lit ramp and a highlight at the edge of a round shape."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]] / max(shape)
    away = np.hypot(y - 0.375, x - 0.5)
    t = np.clip((0.22 - away) * max(shape) / width + 0.5, 0, 1)
    alpha = (t * t * (3 - 2 * t)).astype(np.float32)

    def layer(peak: float) -> np.ndarray:
        angle, size = rng.uniform(0, 2 * np.pi), rng.uniform(0.12, 0.2)
        far = np.hypot(y - 0.375 - 0.2 * np.sin(angle), x - 0.5 - 0.2 * np.cos(angle))
        ramps = [0.3 + slope[0] * (y - 0.4) + slope[1] * (x - 0.5) for slope in rng.uniform(-0.3, 0.3, (3, 2))]
        field = np.stack(ramps, axis=-1) + (peak * np.exp(-((far / size) ** 2) / 2))[..., None] * [1, 0.8, 0.6]
        low, high = field.min(), field.max()
        return ((field - low) / (high - low) * (peak + 0.05) - 0.05).astype(np.float32)

    foreground, background = layer(64.0), layer(8.0)
    return over(foreground, alpha, background), alpha, foreground, background


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("width", [5, 15, 30])
def test_foreground_of_a_high_dynamic_range_plate(width, seed):
    plate, alpha, truth, _ = plate_of(width, seed)
    foreground, _ = colours(plate, alpha)
    error = np.abs(foreground - truth) / np.maximum(np.abs(truth), 0.01)
    for where in (alpha >= 0.1, (alpha >= 0.1) & (alpha < 1)):
        assert np.median(error[where]) <= 0.02
        assert np.percentile(error[where], 95) <= 0.1


def test_known_pixels_are_exact_and_the_rest_recomposes():
    plate, alpha, _, _ = plate_of(20, 3)
    foreground, background = colours(plate, alpha)
    assert np.array_equal(foreground[alpha == 1], plate[alpha == 1])
    assert np.array_equal(background[alpha == 0], plate[alpha == 0])
    both_seen = (alpha >= 0.1) & (alpha <= 0.9)
    assert both_seen.mean() > 0.02
    assert recomposition_error(plate, alpha, foreground, background)[both_seen].max() < 1e-5


def test_a_layer_that_is_hardly_seen_is_what_is_around_it():
    """Noise of the plate is a hundred times that in a layer with one per cent of it."""
    plate, alpha, _, _ = plate_of(20, 3)
    plate = plate + np.random.default_rng(0).normal(0, 0.05, plate.shape).astype(np.float32)
    foreground, _ = colours(plate, alpha)
    seen, faint = alpha >= 0.1, alpha < 0.02
    assert foreground[faint].min() > foreground[seen].min() - 0.5
    assert foreground[faint].max() < foreground[seen].max() + 0.5


def test_gain_and_offset_go_through():
    plate, alpha, _, _ = plate_of(15, 4)
    foreground, background = colours(plate, alpha)
    doubled = colours(plate * 4, alpha)
    assert np.array_equal(doubled[0], foreground * 4)
    moved = colours(plate * 3 + 0.5, alpha)
    for one, other in zip(moved, (foreground, background)):
        np.testing.assert_allclose(one, other * 3 + 0.5, rtol=1e-2, atol=2e-2)


def test_the_number_of_threads_changes_nothing(monkeypatch):
    plate, alpha, _, _ = plate_of(30, 5)
    results = []
    for workers in (1, 3):
        monkeypatch.setattr(os, "cpu_count", lambda workers=workers: workers)
        results.append(colours(plate, alpha))
    assert np.array_equal(results[0][0], results[1][0])
    assert np.array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("shape", [(1, 1), (1, 37), (41, 1), (2, 3), (61, 67)])
@pytest.mark.parametrize("kind", ["zero", "one", "half", "island", "hole", "noise"])
def test_any_alpha_and_size_gives_colours_like_the_plates(shape, kind):
    rng = np.random.default_rng(6)
    plate = rng.uniform(0.5, 1, (*shape, 3)).astype(np.float32)
    alpha = np.zeros(shape, np.float32)
    if kind in {"one", "hole"}:
        alpha[:] = 1
    if kind == "half":
        alpha[:] = 0.5
    if kind in {"island", "hole"}:
        alpha[shape[0] // 2, shape[1] // 2] = 0.5
    if kind == "noise":
        alpha[:] = rng.integers(0, 3, shape) / 2
    for picture in colours(plate, alpha):
        assert picture.dtype == np.float32
        assert picture.shape == plate.shape
        assert np.isfinite(picture).all()
        assert np.percentile(picture, 5) > 0.2  # nothing falls to black
        assert picture.max() < 3


def test_the_plate_under_a_solid_foreground_continues_its_surroundings():
    background = np.broadcast_to(np.linspace(0.2, 0.8, 120, dtype=np.float32)[:, None], (90, 120, 3))
    y, x = np.mgrid[:90, :120]
    alpha = np.clip((25 - np.hypot(y - 45, x - 60)) / 6 + 0.5, 0, 1).astype(np.float32)
    plate = over(np.float32([3, 0.1, 0.1]), alpha, background)
    _, clean = colours(plate, alpha)
    assert np.abs(clean - background).max() < 0.15


def test_only_gaps_in_question_are_bridged():
    plate, alpha, _, _ = plate_of(10, 7)
    everywhere = colours(plate, alpha, unknown=np.ones(alpha.shape, bool))
    assert np.array_equal(everywhere[0], colours(plate, alpha)[0])


def test_alphas_that_nearly_vanish_spread_no_nan():
    """One over their fourth power, which weighs the purest mixtures, is beyond single precision."""
    plate, alpha, _, _ = plate_of(30, 8)
    veil = alpha.copy()
    veil[:60, :60] = np.where(alpha[:60, :60] == 0, 1e-9, alpha[:60, :60])
    for picture in colours(plate, veil):
        assert np.isfinite(picture).all()
