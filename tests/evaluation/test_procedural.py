"""The procedural set: its truth is exact, its trimaps are honest, a seed is a picture."""

import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from scipy import ndimage

from fbamatte.compositing.recomposition import recomposition_error
from fbamatte.errors import UsageError
from fbamatte.evaluation.procedural import FAMILIES, clip, sample

SIZE = 160


@pytest.fixture(scope="module")
def samples():
    return [sample(seed, SIZE, family) for family in FAMILIES for seed in (0, 1)]


def test_the_plate_is_exactly_its_parts(samples):
    for s in samples:
        a = s.alpha[..., None].astype(np.float64)
        exact = a * s.foreground + (1 - a) * s.background
        assert np.abs(s.plate - exact).max() <= 1e-6 * max(1, np.abs(exact).max()), (s.family, s.seed)
        assert recomposition_error(s.plate, s.alpha, s.foreground, s.background).max() < 1e-6


def test_grain_comes_off_all_three_alike(samples):
    noisy = [s for s in samples if s.grain.any()]
    assert noisy
    for s in noisy:
        a = s.alpha[..., None].astype(np.float64)
        clean = a * (s.foreground - s.grain) + (1 - a) * (s.background - s.grain)
        np.testing.assert_allclose(s.plate - s.grain, clean, atol=1e-5 * max(1, np.abs(clean).max()))


def test_soft_alpha_is_always_unknown(samples):
    for s in samples:
        soft = (s.alpha > 0) & (s.alpha < 1)
        assert (s.trimap[soft] == 0.5).all(), (s.family, s.seed)
        assert (s.alpha[s.trimap == 0] == 0).all()
        assert (s.alpha[s.trimap == 1] == 1).all()


def test_every_trimap_can_be_matted_with(samples):
    for s in samples:
        assert set(np.unique(s.trimap)) == {0.0, 0.5, 1.0}, (s.family, s.seed)
        # An artist's band: neither a hairline nor everything.
        assert 0.02 < (s.trimap == 0.5).mean() < 0.8, (s.family, s.seed)


def test_arrays_are_what_they_say(samples):
    for s in samples:
        assert s.alpha.min() == 0
        assert s.alpha.max() == 1
        for array in (s.plate, s.alpha, s.foreground, s.background, s.trimap):
            assert array.dtype == np.float32
            assert array.shape[:2] == (SIZE, SIZE)
            assert np.isfinite(array).all()


def test_the_families_are_what_they_are_called():
    soft = {f: np.mean([_soft_share(sample(s, 96, f).alpha) for s in range(3)]) for f in FAMILIES}
    assert soft["smoke"] > 0.2
    assert soft["glass"] > 0.05
    assert soft["motion"] > soft["leaves"]
    holes = ndimage.label(sample(0, 192, "net", grain=0).alpha < 0.5)[1]
    assert holes > 20


def _soft_share(alpha):
    return ((alpha > 0.02) & (alpha < 0.98)).mean()


def test_some_light_is_brighter_than_paper():
    assert max(sample(seed, SIZE, "glass").foreground.max() for seed in range(4)) > 5
    assert max(sample(seed, SIZE, "fur").background.max() for seed in range(8)) > 2


def test_backgrounds_have_the_spectrum_of_photographs():
    slopes = [_spectrum_slope(sample(seed, 256, "leaves", grain=0).background) for seed in range(8)]
    # Amplitude falls about as 1/f; defocus makes it steeper.
    assert -2.6 < np.median(slopes) < -0.8


def _spectrum_slope(picture):
    luminance = np.log(picture.mean(axis=-1) + 0.02)
    window = np.hanning(256)[:, None] * np.hanning(256)
    amplitude = np.abs(np.fft.fftshift(np.fft.fft2((luminance - luminance.mean()) * window)))
    radius = np.hypot(*np.meshgrid(np.arange(-128, 128), np.arange(-128, 128)))
    bands = [4, 8, 16, 32, 64]
    means = [amplitude[(radius >= b) & (radius < 2 * b)].mean() for b in bands[:-1]]
    return np.polyfit(np.log(bands[:-1]), np.log(means), 1)[0]


def test_a_seed_is_a_picture():
    first, again, other = sample(5, 96, "hair"), sample(5, 96, "hair"), sample(6, 96, "hair")
    assert np.array_equal(first.plate, again.plate)
    assert np.array_equal(first.trimap, again.trimap)
    assert not np.array_equal(first.plate, other.plate)


def test_a_seed_is_the_same_picture_in_another_process():
    code = (
        "import zlib; from fbamatte.evaluation.procedural import sample;"
        "print(zlib.crc32(sample(7, 96, 'fur').plate.tobytes()))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(there.stdout) == zlib.crc32(sample(7, 96, "fur").plate.tobytes())


def test_families_come_in_turn_and_sizes_as_asked():
    assert [sample(seed, 64).family for seed in range(8)] == list(FAMILIES)
    assert sample(0, (72, 96)).plate.shape == (72, 96, 3)


def test_a_picture_of_512_takes_less_than_a_second():
    sample(0, 64, "hair")  # compiles
    times = []
    for family in ("hair", "defocus", "smoke"):
        start = time.process_time()
        sample(1, 512, family)
        times.append(time.process_time() - start)
    assert np.median(times) < 1


@pytest.mark.parametrize("wrong", [{"size": 32}, {"family": "cats"}, {"size": (64, 20)}])
def test_wrong_wishes_are_refused(wrong):
    with pytest.raises(UsageError):
        sample(0, **wrong)


def test_a_clip_needs_two_frames():
    with pytest.raises(UsageError, match="2 frames"):
        clip(0, 1)


@pytest.fixture(scope="module")
def shot():
    return clip(3, 4, 128, "fur", grain=0.01)


def test_clip_frames_are_exact_and_honest(shot):
    assert len(shot.frames) == 4
    for s in shot.frames:
        assert recomposition_error(s.plate, s.alpha, s.foreground, s.background).max() < 1e-6
        soft = (s.alpha > 0) & (s.alpha < 1)
        assert (s.trimap[soft] == 0.5).all()


def test_object_and_camera_move_as_the_motion_says(shot):
    assert np.abs(shot.motion).max() > 0.3
    for now, after, motion in zip(shot.frames, shot.frames[1:], shot.motion):
        y, x = np.mgrid[:128, :128]
        to = [y + motion[..., 1], x + motion[..., 0]]
        arrived = ndimage.map_coordinates(after.alpha, to, order=1, mode="nearest")
        inside = (to[0] > 1) & (to[0] < 126) & (to[1] > 1) & (to[1] < 126) & (now.alpha > 0)
        moved = np.abs(arrived - now.alpha)[inside].mean()
        assert moved < 0.35 * np.abs(after.alpha - now.alpha)[inside].mean() + 0.004
        known = (now.alpha == 0) & (to[0] > 1) & (to[0] < 126) & (to[1] > 1) & (to[1] < 126)
        # Both are interpolations of one picture; what a pixel across they may differ in is smoothed away.
        before, unmoved = (ndimage.gaussian_filter(s.background - s.grain, (1.5, 1.5, 0)) for s in (now, after))
        behind = np.stack([ndimage.map_coordinates(unmoved[..., c], to, order=1) for c in range(3)], -1)
        assert np.abs(behind - before)[known].mean() < 0.2 * np.abs(unmoved - before)[known].mean()


def test_grain_is_new_in_each_frame_and_the_trimap_is_not_redrawn(shot):
    assert not np.array_equal(shot.frames[0].grain, shot.frames[1].grain)
    unknown = [(s.trimap == 0.5).mean() for s in shot.frames]
    assert max(unknown) / min(unknown) < 1.3
