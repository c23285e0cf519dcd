"""dtSSD and MESSDdt against the formulas written out, and against what they are meant to see."""

import numpy as np
import pytest
from scipy import ndimage

from fbamatte.errors import FrameError
from fbamatte.evaluation import metrics


def small_clip(seed=0, frames=4, shape=(12, 17)):
    rng = np.random.default_rng(seed)
    prediction, truth = rng.random((2, frames, *shape))
    trimap = np.where(rng.random((frames, *shape)) < 0.6, 0.5, 0.0)
    return prediction, truth, trimap


def test_dtssd_is_the_formula_written_out():
    prediction, truth, trimap = small_clip()
    pairs = []
    for t in range(3):
        total = 0.0
        for p in np.ndindex(12, 17):
            if trimap[(t, *p)] == 0.5:
                change = prediction[(t + 1, *p)] - prediction[(t, *p)]
                true_change = truth[(t + 1, *p)] - truth[(t, *p)]
                total += (change - true_change) ** 2
        pairs.append(total**0.5)
    assert metrics.dtssd(prediction, truth, trimap) == pytest.approx(np.mean(pairs))


def test_messddt_is_the_formula_written_out_for_whole_pixel_motion():
    prediction, truth, trimap = small_clip(1)
    motion = np.random.default_rng(2).integers(-3, 4, (3, 12, 17, 2))
    pairs = []
    for t in range(3):
        total = 0.0
        for y, x in np.ndindex(12, 17):
            across, down = motion[t, y, x]
            to_y, to_x = y + down, x + across
            if trimap[t, y, x] == 0.5 and 0 <= to_y < 12 and 0 <= to_x < 17:
                now = (prediction[t, y, x] - truth[t, y, x]) ** 2
                total += abs(now - (prediction[t + 1, to_y, to_x] - truth[t + 1, to_y, to_x]) ** 2)
        pairs.append(total)
    assert metrics.messddt(prediction, truth, trimap, motion) == pytest.approx(np.mean(pairs))


def moving_disc(frames=5, shift=2.0):
    y, x = np.mgrid[:60, :90]
    discs = [np.clip(14 - np.hypot(y - 30, x - 25 - shift * t), 0, 1) for t in range(frames)]
    return np.stack(discs), np.full((frames, 60, 90), 0.5)


def test_an_error_that_travels_with_the_picture_is_forgiven_and_one_that_flickers_is_not():
    truth, trimap = moving_disc()
    motion = np.zeros((4, 60, 90, 2))
    motion[..., 0] = 2
    travelling = truth * 0.8
    flickering = truth * np.array([0.8, 1.0, 0.8, 1.0, 0.8])[:, None, None]
    assert metrics.messddt(travelling, truth, trimap, motion) == pytest.approx(0, abs=1e-9)
    assert metrics.messddt(flickering, truth, trimap, motion) > 10
    assert metrics.dtssd(flickering, truth, trimap) > 2 * metrics.dtssd(travelling, truth, trimap)


def test_the_truth_is_steady():
    truth, trimap = moving_disc()
    assert metrics.dtssd(truth, truth, trimap) == 0
    assert metrics.messddt(truth, truth, trimap, np.ones((4, 60, 90, 2))) == 0


def test_motion_is_found_where_none_is_given():
    texture = ndimage.gaussian_filter(np.random.default_rng(3).random((80, 100)), 2, mode="wrap")
    clip = np.stack([texture, np.roll(texture, (1, 2), (0, 1))])
    across, down = np.median(metrics.estimate_motion(clip)[0, 10:-10, 10:-10], axis=(0, 1))
    assert (across, down) == pytest.approx((2, 1), abs=0.1)


def test_one_frame_has_no_time():
    with pytest.raises(FrameError, match="two frames"):
        metrics.dtssd(np.zeros((1, 4, 4)), np.zeros((1, 4, 4)), np.full((1, 4, 4), 0.5))


def test_motion_must_fit_the_clip():
    prediction, truth, trimap = small_clip()
    with pytest.raises(FrameError, match="motion has shape"):
        metrics.messddt(prediction, truth, trimap, np.zeros((4, 12, 17, 2)))
