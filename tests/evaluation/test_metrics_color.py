"""Colour metrics against scikit-image, the authors' test pairs and sums written out."""

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from fbamatte.errors import FrameError
from fbamatte.evaluation import metrics
from fbamatte.evaluation.metrics.ciede2000 import lab_of_linear

# From the table of Sharma, Wu and Dalal: pairs chosen to break careless implementations, and their ΔE00.
SHARMA = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, 3.1571, -77.2803), (50, 0, -82.7485), 2.8615),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
    ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
]


@pytest.mark.parametrize(("first", "second", "difference"), SHARMA)
def test_ciede2000_of_the_authors_pairs(first, second, difference):
    assert metrics.ciede2000(first, second) == pytest.approx(difference, abs=5e-5)
    assert metrics.ciede2000(second, first) == pytest.approx(difference, abs=5e-5)


def test_ciede2000_equals_scikit_image():
    rng = np.random.default_rng(1)
    first = rng.uniform([0, -100, -100], [100, 100, 100], (20000, 3))
    second = first + rng.normal(0, 15, first.shape)
    np.testing.assert_allclose(metrics.ciede2000(first, second), deltaE_ciede2000(first, second), atol=1e-9)


def test_lab_equals_scikit_image():
    linear = np.random.default_rng(2).random((500, 3))
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(lab_of_linear(linear), rgb2lab(srgb), atol=1e-9)


def test_premultiplied_errors_are_the_sums_written_out():
    rng = np.random.default_rng(3)
    prediction, truth = rng.random((2, 20, 30, 3))
    trimap = np.where(rng.random((20, 30)) < 0.4, 0.5, 1.0)
    total = squares = count = 0.0
    for row in range(20):
        for column in range(30):
            if trimap[row, column] == 0.5:
                for channel in range(3):
                    difference = prediction[row, column, channel] - truth[row, column, channel]
                    total, squares, count = total + abs(difference), squares + difference**2, count + 1
    assert metrics.premultiplied_sad(prediction, truth, trimap) == pytest.approx(total / 1000)
    assert metrics.premultiplied_mse(prediction, truth, trimap) == pytest.approx(squares / count)


def test_foreground_error_looks_at_the_soft_edge_alone():
    alpha = np.array([[0.0, 0.05, 0.5, 0.95, 1.0]])
    truth = np.zeros((1, 5, 3))
    prediction = np.full((1, 5, 3), 9.0)
    prediction[0, 2] = 0.25
    assert metrics.foreground_error(prediction, truth, alpha) == pytest.approx(0.25)
    assert np.isnan(metrics.foreground_error(prediction, truth, np.ones((1, 5))))


def test_halo_is_the_mean_difference_over_every_background():
    rng = np.random.default_rng(4)
    alpha, true_alpha = rng.uniform(0.1, 0.9, (2, 8, 9))
    foreground, true_foreground = rng.uniform(0, 1, (2, 8, 9, 3))
    expected = []
    for background in metrics.HALO_BACKGROUNDS:
        seen, meant = (
            a[..., None] * f + (1 - a[..., None]) * np.array(background)
            for a, f in ((alpha, foreground), (true_alpha, true_foreground))
        )
        expected.append(deltaE_ciede2000(*(rgb2lab(srgb(c)) for c in (seen, meant))).mean())
    halo = metrics.edge_halo(alpha, foreground, true_alpha, true_foreground)
    assert halo == pytest.approx(np.mean(expected))


def srgb(linear):
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


def test_halo_sees_background_left_in_the_foreground():
    true_alpha = np.tile(np.linspace(0, 1, 41), (5, 1))
    true_foreground = np.broadcast_to([0.25, 0.12, 0.05], (5, 41, 3))
    green = np.array([0.05, 0.6, 0.1])
    plate = true_alpha[..., None] * true_foreground + (1 - true_alpha[..., None]) * green
    assert metrics.edge_halo(true_alpha, true_foreground, true_alpha, true_foreground) == 0
    # The plate itself taken for F: a green fringe that any eye sees.
    assert metrics.edge_halo(true_alpha, plate, true_alpha, true_foreground) > 5


def test_halo_takes_pictures_as_backgrounds():
    true_alpha = np.full((4, 6), 0.5)
    foreground = np.full((4, 6, 3), 0.3)
    picture = np.random.default_rng(5).random((4, 6, 3))
    one = metrics.edge_halo(true_alpha * 0.8, foreground, true_alpha, foreground, backgrounds=[picture])
    assert one > 0


def test_colour_shapes_must_agree():
    with pytest.raises(FrameError, match="differ in shape"):
        metrics.premultiplied_sad(np.zeros((2, 2, 3)), np.zeros((2, 3, 3)), np.full((2, 2), 0.5))
