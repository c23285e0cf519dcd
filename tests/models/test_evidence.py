"""Evidence beside closed-form alpha: what it says of pictures whose truth is known."""

import threading

import numpy as np
import pytest
from pymatting import estimate_alpha_cf
from scipy import ndimage

from fbamatte.errors import CancelledError
from fbamatte.models import evidence
from fbamatte.models.interruption import interruptible
from fbamatte.models.sampling import best_pairs, candidates

F, B = np.array((0.8, 0.5, 0.2)), np.array((0.1, 0.3, 0.6))


@pytest.fixture
def ramp():
    """A mixture of two colours from background at the left to foreground at the right."""
    alpha = np.clip((np.mgrid[:24, :48][1] - 12) / 24, 0, 1).astype(np.float32)
    image = (alpha[..., None] * F + (1 - alpha[..., None]) * B).astype(np.float32)
    trimap = np.where(alpha <= 0, 0, np.where(alpha >= 1, 1, 0.5)).astype(np.float32)
    return image, trimap, alpha


def distances(trimap):
    return (ndimage.distance_transform_edt(trimap != v).astype(np.float32) for v in (0, 1))


def pairs(image, trimap):
    return best_pairs(image, trimap, candidates(image, trimap), *distances(trimap))


def test_pairs_of_two_colours_give_the_truth(ramp):
    image, trimap, alpha = ramp
    found, error, contrast = pairs(image, trimap)
    np.testing.assert_allclose(found, alpha, atol=1e-4)
    unknown = trimap == 0.5
    assert error[unknown].max() < 1e-4
    np.testing.assert_allclose(contrast[unknown], np.linalg.norm(F - B), atol=1e-4)


def test_a_hole_that_nothing_known_touches_is_found_by_its_colour(ramp):
    """What closed-form matting cannot know: the hole is surrounded by foreground alone."""
    image, trimap, _ = (x.copy() for x in ramp)
    trimap[8:16, 38:46], image[10:14, 40:44] = 0.5, B
    found, *_ = pairs(image, trimap)
    assert found[10:14, 40:44].max() < 0.01
    assert found[8:10, 38:46].min() > 0.99


def test_the_same_picture_gives_the_same_pairs(ramp):
    image, trimap, _ = ramp
    noisy = (image + np.random.default_rng(0).normal(0, 0.05, image.shape)).astype(np.float32)
    first, second = (pairs(noisy, trimap)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_picture_says_how_far_it_is_from_what_is_known_around(ramp):
    image, trimap, alpha = ramp
    plane = dict(zip(evidence.NAMES, evidence.gather(image, trimap)))
    apart = dict(zip(("red", "green", "blue"), 2 * (F - B)))
    for name, scale in apart.items():  # both colours are the same everywhere: so are their means
        np.testing.assert_allclose(plane[f"{name} above background"], scale * alpha, atol=2e-3)
        np.testing.assert_allclose(plane[f"{name} above foreground"], scale * (alpha - 1), atol=2e-3)
    np.testing.assert_allclose(plane["picture's green"], 2 * image[..., 1] - 1, atol=1e-6)


def test_closed_form_alpha_is_solved_between_the_lights(ramp):
    image, trimap, _ = ramp
    noisy = np.clip(image + np.random.default_rng(0).normal(0, 0.05, image.shape), 0, 1).astype(np.float32)
    got = evidence.gather(noisy, trimap)[evidence.NAMES.index("closed-form alpha")]
    expected = estimate_alpha_cf(noisy.astype(np.float64) ** evidence.POWER, trimap.astype(np.float64))
    np.testing.assert_allclose(got, expected, atol=5e-3)


def test_evidence_is_given_up_when_nobody_waits_on_both_of_its_threads(ramp):
    image, trimap, _ = ramp
    asked = set()
    with interruptible(lambda: asked.add(threading.get_ident())):
        evidence.gather(image, trimap)
    assert threading.get_ident() in asked, "sampling asks"
    assert len(asked) == 2, "closed-form matting asks beside it"

    def nobody_waits():
        if threading.current_thread() is not threading.main_thread():
            raise CancelledError("nobody waits")

    with pytest.raises(CancelledError, match="nobody waits"), interruptible(nobody_waits):
        evidence.gather(image, trimap)


def test_values_below_black_are_black_to_the_laplacian(ramp):
    image, trimap, _ = ramp
    below = image - np.float32(0.2)
    assert below.min() < 0
    planes = evidence.gather(below, trimap)
    assert np.isfinite(planes).all()
    np.testing.assert_array_equal(evidence.between_lights(below), evidence.between_lights(np.maximum(below, 0)))


def test_planes_have_names_and_bounds(ramp):
    image, trimap, alpha = ramp
    planes = evidence.gather(image, trimap)
    assert planes.shape == (evidence.PLANES, *trimap.shape)
    assert np.abs(planes).max() <= 3
    plane = dict(zip(evidence.NAMES, planes))
    np.testing.assert_allclose(plane["sampled alpha, fitted"], alpha, atol=0.01)
    assert plane["closed-form residual"].max() < 0.1
    assert (plane["foreground's colour, fine"][:, :8] < 0.1).all()
    assert (plane["foreground's colour, fine"][:, -8:] > 0.9).all()


@pytest.mark.parametrize("known", [0.0, 0.5, 1.0])
def test_with_one_side_unknown_there_are_no_pairs(ramp, known):
    image, trimap, _ = ramp
    trimap = np.full_like(trimap, known)
    planes = evidence.gather(image, trimap)
    assert np.isfinite(planes).all()
    assert (planes[evidence.NAMES.index("sampled alpha")] == known).all()


def test_a_part_is_as_in_the_whole():
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.random((300, 420, 3)), (3, 3, 0)).astype(np.float32)
    x = np.mgrid[:300, :420][1]
    trimap = np.where(x < 200, 0, np.where(x > 230, 1, 0.5)).astype(np.float32)
    picture = evidence.prepare(image, trimap)
    rows, columns = slice(140, 190), slice(180, 260)
    part, whole = picture.planes(rows, columns), picture.planes(slice(0, 300), slice(0, 420))[:, rows, columns]
    np.testing.assert_allclose(part, whole, atol=2e-3)
    assert np.abs(part - whole).mean() < 1e-5
