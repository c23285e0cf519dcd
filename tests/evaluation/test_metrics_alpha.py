"""SAD, MSE, Grad and Conn against the MATLAB code's own values and against a plain transcription of it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.signal import convolve2d
from skimage.measure import label, regionprops

from fbamatte.errors import FrameError, TrimapError
from fbamatte.evaluation import metrics

DATA = Path(__file__).parents[1] / "data" / "metrics"

# Computed by the Composition-1k authors' MATLAB code, run in GNU Octave 7.3.
MATLAB = {
    "a": {"sad": 0.771306, "mse": 0.008640694, "gradient": 0.612489, "connectivity": 0.710573},
    "b": {"sad": 1.349683, "mse": 0.008665724, "gradient": 1.028996, "connectivity": 1.194382},
}
NAMES = ("sad", "mse", "gradient", "connectivity")


def load(case):
    truth, prediction, trimap = (np.asarray(Image.open(DATA / f"{case}_{n}.png")) for n in ("gt", "pred", "trimap"))
    return prediction / 255, truth / 255, trimap


def direct_gradient(prediction, truth, trimap, sigma=1.4):
    half = int(np.ceil(sigma * np.sqrt(-2 * np.log(np.sqrt(2 * np.pi) * sigma * 1e-2))))

    def gauss(x):
        return np.exp(-(x**2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))

    kernel = np.empty((2 * half + 1, 2 * half + 1))
    for i in range(2 * half + 1):
        for j in range(2 * half + 1):
            u, v = i - half, j - half
            kernel[i, j] = gauss(u) * -v * gauss(v) / sigma**2
    kernel /= np.sqrt((kernel**2).sum())

    def magnitude(image):
        stretched = (image - image.min()) / (image.max() - image.min())
        padded = np.pad(stretched, half, mode="edge")
        return np.sqrt(convolve2d(padded, kernel, "valid") ** 2 + convolve2d(padded, kernel.T, "valid") ** 2)

    return (((magnitude(prediction) - magnitude(truth)) ** 2) * (trimap == 128)).sum() / 1000


def direct_connectivity(prediction, truth, trimap, step=0.1):
    level = np.full(prediction.shape, -1.0)
    thresholds = [k * step for k in range(round(1 / step) + 1)]
    for previous, threshold in zip(thresholds, thresholds[1:]):
        labels = label((prediction >= threshold - 1e-9) & (truth >= threshold - 1e-9), connectivity=1)
        source = np.zeros(prediction.shape, bool)
        if labels.max():
            source = labels == max(regionprops(labels), key=lambda region: region.area).label
        level[(level == -1) & ~source] = previous
    level[level == -1] = 1

    def phi(alpha):
        distance = alpha - level
        return 1 - distance * (distance >= 0.15)

    return (np.abs(phi(prediction) - phi(truth)) * (trimap == 128)).sum() / 1000


def soft_case(seed, shape=(61, 83)):
    """Blobs, holes and specks: many components at every threshold, on the 8-bit grid like real mattes."""
    rng = np.random.default_rng(seed)
    noise = np.kron(rng.random((9, 12)), np.ones((7, 7)))[: shape[0], : shape[1]]
    truth = np.clip(noise * 1.6 - 0.3 + 0.2 * rng.standard_normal(shape), 0, 1)
    prediction = np.clip(truth + 0.15 * rng.standard_normal(shape), 0, 1)
    trimap = np.where(rng.random(shape) < 0.7, 128, np.where(truth > 0.5, 255, 0)).astype(np.uint8)
    return np.round(prediction * 255) / 255, np.round(truth * 255) / 255, trimap


@pytest.mark.parametrize("case", MATLAB)
@pytest.mark.parametrize("name", NAMES)
def test_equals_the_matlab_code(case, name):
    value = getattr(metrics, name)(*load(case))
    assert value == pytest.approx(MATLAB[case][name], rel=1e-5)


@pytest.mark.parametrize("case", MATLAB)
@pytest.mark.parametrize("name", NAMES)
def test_single_precision_changes_nothing(case, name):
    prediction, truth, trimap = load(case)
    value = getattr(metrics, name)(prediction.astype(np.float32), truth.astype(np.float32), trimap)
    assert value == pytest.approx(MATLAB[case][name], rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_gradient_and_connectivity_equal_a_plain_transcription(seed):
    case = soft_case(seed)
    assert metrics.gradient(*case) == pytest.approx(direct_gradient(*case), rel=1e-9)
    assert metrics.connectivity(*case) == pytest.approx(direct_connectivity(*case), rel=1e-9)


@pytest.mark.parametrize(
    "place", [(slice(0, 3), slice(0, 4)), (slice(20, 22), slice(30, 31)), (slice(-2, None), slice(-5, None))]
)
def test_gradient_of_a_small_unknown_region_sees_what_is_around_it(place):
    prediction, truth, _ = soft_case(9)
    trimap = np.zeros(truth.shape, np.uint8)
    trimap[place] = 128
    assert metrics.gradient(prediction, truth, trimap) == pytest.approx(direct_gradient(prediction, truth, trimap))


def test_trimaps_of_both_scales_mean_the_same():
    prediction, truth, trimap = load("a")
    as_float = np.where(trimap == 128, 0.5, trimap / 255)
    for name in NAMES:
        assert getattr(metrics, name)(prediction, truth, as_float) == getattr(metrics, name)(prediction, truth, trimap)


def test_known_pixels_do_not_count_in_sad_and_mse():
    prediction, truth, trimap = load("a")
    spoiled = np.where(trimap == 128, prediction, 1 - truth)
    assert metrics.sad(spoiled, truth, trimap) == metrics.sad(prediction, truth, trimap)
    assert metrics.mse(spoiled, truth, trimap) == metrics.mse(prediction, truth, trimap)


def test_the_truth_has_no_error():
    _, truth, trimap = load("b")
    assert [getattr(metrics, name)(truth, truth, trimap) for name in NAMES] == [0, 0, 0, 0]


def test_connectivity_takes_the_first_of_two_equal_components_by_columns():
    # Two squares of one size: the left one is the source although the right one is met first by rows.
    truth = np.zeros((6, 9))
    truth[3:5, 1:3] = 1
    truth[1:3, 6:8] = 1
    prediction = truth.copy()
    prediction[3:5, 1:3] = 0.8
    trimap = np.full(truth.shape, 0.5)
    assert metrics.connectivity(prediction, truth, trimap) == pytest.approx(direct_by_columns(prediction, truth))
    # Had the right one been the source at 0.8, the left one would have fallen to level 0 and 0.2 apart by 4 pixels.
    assert metrics.connectivity(prediction, truth, trimap) == pytest.approx(4 * 0.2 / 1000)


def direct_by_columns(prediction, truth):
    trimap = np.full(truth.shape, 128).T
    return direct_connectivity(prediction.T, truth.T, trimap)


def test_a_constant_prediction_is_measured_not_divided_by_zero():
    _, truth, trimap = load("a")
    assert np.isfinite(metrics.gradient(np.full_like(truth, 0.5), truth, trimap))
    assert np.isfinite(metrics.connectivity(np.zeros_like(truth), truth, trimap))


def test_nothing_unknown_is_an_error():
    with pytest.raises(TrimapError, match="no unknown pixel"):
        metrics.sad(np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((4, 4)))


def test_shapes_must_agree():
    with pytest.raises(FrameError, match="differ in shape"):
        metrics.mse(np.zeros((4, 4)), np.zeros((4, 5)), np.full((4, 4), 0.5))
