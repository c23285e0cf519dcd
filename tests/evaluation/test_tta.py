"""Test-time augmentation: geometry that undoes itself, averages in the right light, any estimator inside."""

import numpy as np
import pytest

from fbamatte.compositing.recomposition import recomposition_error
from fbamatte.engine import Engine
from fbamatte.engine.tta import Augmentation, Augmented, parse
from fbamatte.errors import UsageError
from fbamatte.evaluation import metrics
from fbamatte.evaluation.procedural import sample
from fbamatte.frame import Frame
from fbamatte.imaging import color
from fbamatte.models import registry
from fbamatte.models.base import Estimate, ModelInfo

INFO = ModelInfo("leaning", "Leans to one side", "MIT", True, "", 0, "")


class Leaning:
    """Takes luminance for alpha and errs more and more to the right, as no turned or mirrored view agrees with."""

    info, device, precision = INFO, "cpu", "fp32"

    def __init__(self, lean=0.4):
        self.lean = lean
        self.seen = []

    def estimate(self, image, trimap):
        self.seen.append(image.shape)
        ramp = np.linspace(-1, 1, image.shape[1], dtype=np.float32)[None]
        alpha = np.clip(image.mean(axis=-1) + self.lean * ramp, 0, 1)
        alpha = np.where(trimap >= 1, 1, np.where(trimap <= 0, 0, alpha)).astype(np.float32)
        return Estimate(alpha, image.copy(), image.copy())

    def close(self):
        self.closed = True


def picture(shape=(40, 56), seed=0):
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.3, 0.7, (*shape, 3)).astype(np.float32)
    trimap = np.full(shape, 0.5, np.float32)
    trimap[:, :5], trimap[:, -5:] = 0, 1
    return image, trimap


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_back_undoes_forth(turns, flip):
    image, trimap = picture()
    way = Augmentation(turns, flip)
    assert np.array_equal(way.back(way.forth(image)), image)
    assert np.array_equal(way.back(way.forth(trimap)), trimap)


def test_all_are_eight_different_views():
    image, _ = picture((9, 9))
    views = {way.forth(image).tobytes() for way in parse("all")}
    assert len(views) == 8


def test_names_and_recipes():
    assert len(parse("none")) == 1
    assert len(parse("quick")) == 2
    assert len(parse("paper")) == 24
    recipe = parse("rotations@0.5,2*3")
    assert [(a.turns, a.scale, a.weight) for a in recipe] == [
        (t, s, w) for s, w in ((0.5, 1), (2, 3)) for t in range(4)
    ]


@pytest.mark.parametrize("wrong", ["", "shear", "all@", "all@0", "all@x", "flip@1*-1", "flip@9", "all@1*nan"])
def test_wrong_sets_are_refused_by_name(wrong):
    with pytest.raises(UsageError, match="augmentation"):
        parse(wrong)


def test_an_error_that_depends_on_the_side_averages_out():
    image, trimap = picture()
    fair = Leaning(0).estimate(image, trimap).alpha
    one = Leaning().estimate(image, trimap).alpha
    average = Augmented(Leaning(), "all", "display").estimate(image, trimap).alpha
    assert np.abs(one - fair).mean() > 0.1
    # What remains is where the leaning answers were clipped.
    assert np.abs(average - fair).mean() < 0.2 * np.abs(one - fair).mean()


def test_one_view_changes_nothing_in_display_light():
    image, trimap = picture()
    plain, wrapped = Leaning().estimate(image, trimap), Augmented(Leaning(), "none", "display").estimate(image, trimap)
    assert np.array_equal(plain.alpha, wrapped.alpha)
    np.testing.assert_allclose(wrapped.foreground, plain.foreground, atol=1e-6)


def test_scales_are_seen_and_known_pixels_stay_known():
    image, trimap = picture()
    leaning = Leaning()
    estimate = Augmented(leaning, "rotations@0.5,1,1.5", "display").estimate(image, trimap)
    assert {(20, 28, 3), (28, 20, 3), (40, 56, 3), (60, 84, 3)} <= set(leaning.seen)
    assert (estimate.alpha[trimap == 0] == 0).all()
    assert (estimate.alpha[trimap == 1] == 1).all()
    assert estimate.alpha.shape == trimap.shape
    assert estimate.foreground.shape == image.shape


def test_weights_count():
    image, trimap = picture()
    left, right = (
        Augmented(Leaning(), (Augmentation(flip=f),), "display").estimate(image, trimap) for f in (False, True)
    )
    ways = (Augmentation(weight=3), Augmentation(flip=True, weight=1))
    mixed = Augmented(Leaning(), ways, "display").estimate(image, trimap)
    np.testing.assert_allclose(mixed.alpha, 0.75 * left.alpha + 0.25 * right.alpha, atol=1e-6)


def test_alpha_is_averaged_in_linear_light():
    """F is white, B black: α is the plate's own linear light, although the estimator's mixes encoded values."""
    black, white = color.encode(np.float32([0, 1]))

    class BlackAndWhite(Leaning):
        def estimate(self, image, trimap):
            share = (image[..., 0] - black) / (white - black)
            alpha = np.where(trimap == 0.5, share, trimap).astype(np.float32)
            return Estimate(alpha, np.full_like(image, white), np.full_like(image, black), light="display")

    linear = np.linspace(0.1, 0.9, 32, dtype=np.float32)[None, :, None] * np.ones((8, 1, 3), np.float32)
    trimap = np.full((8, 32), 0.5, np.float32)
    trimap[0], trimap[-1] = 0, 1
    linear[0], linear[-1] = 0, 1
    estimate = Augmented(BlackAndWhite(), "flip").estimate(color.encode(linear), trimap)
    assert np.abs(estimate.alpha - linear[..., 0]).max() < 1e-3


def test_the_engine_takes_it_as_any_estimator_and_stays_exact():
    s = sample(4, 96, "glass")
    frame = Frame(s.plate, s.trimap, colorspace="Linear Rec.709 (sRGB)")
    with Engine(estimator=Augmented(registry.load("closed-form"), "flip@0.75,1")) as engine:
        matte = engine.matte_one(frame)
    assert engine.info.name == "closed-form+tta"
    assert matte.provenance["model"] == "closed-form+tta"
    assert recomposition_error(s.plate, matte.alpha, matte.foreground, matte.background).max() < 1e-5
    plain = Engine("closed-form").matte_one(frame)
    error, plain_error = (metrics.mse(m.alpha, s.alpha, s.trimap) for m in (matte, plain))
    assert error < 1.2 * plain_error


def test_closing_closes_the_estimator():
    inner = Leaning()
    Augmented(inner).close()
    assert inner.closed
