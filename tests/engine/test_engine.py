"""One frame in, one matte out, from −0.05 to 64 and beyond."""

import numpy as np
import pytest

from fbamatte.compositing.over import over
from fbamatte.compositing.recomposition import recomposition_error
from fbamatte.engine import Engine
from fbamatte.errors import FbaMatteError, FrameError, InternalError, ModelNotFoundError, ResourceError, TrimapError
from fbamatte.frame import Frame, Window
from fbamatte.imaging import color
from fbamatte.models.base import Estimate, ModelInfo
from made import HEIGHT, WIDTH, frame, plate


class Told:
    """An estimator that answers what it is told to."""

    info = ModelInfo("told", "Told", "MIT", commercial=True, sha256="", parameters=0, description="")
    device = precision = "none"

    def __init__(self, answer):
        self._answer = answer

    def estimate(self, image, trimap):
        return self._answer(image, trimap)

    def close(self):
        pass


def smooth_scene(size=96):
    """α, F and B that vary slowly; F from 0.3 to 64, B from −0.05 to 4."""
    y, x = np.mgrid[:size, :size] / size
    alpha = np.clip((x - 0.25) * 2, 0, 1).astype(np.float32)
    glow = np.exp(-((x - 0.8) ** 2 + (y - 0.3) ** 2) / 0.06)
    foreground = np.stack([0.3 + 63.7 * glow, 0.4 + 40 * glow, 0.5 + y], axis=-1).astype(np.float32)
    background = np.stack([4 * y - 0.05, 0.2 + x, np.full_like(x, -0.05)], axis=-1).astype(np.float32)
    return over(foreground, alpha, background), alpha, foreground, background


def three_values(alpha):
    return np.where(alpha <= 0, 0, np.where(alpha >= 1, 1, 0.5)).astype(np.float32)


def test_what_the_estimator_knows_comes_back_in_linear_light():
    """The true α, F and B come out as they are, over the whole range."""
    c, alpha, foreground, background = smooth_scene()
    truth = Estimate(alpha, color.encode(foreground), color.encode(background))
    with Engine(estimator=Told(lambda *_: truth)) as engine:
        matte = engine.matte_one(Frame(c, three_values(alpha)))
    assert np.abs(matte.alpha - alpha).max() < 1e-3
    error = np.abs(matte.foreground - foreground) / np.maximum(np.abs(foreground), 0.05)
    assert np.median(error[alpha >= 0.1]) < 0.001
    assert np.quantile(error[alpha >= 0.1], 0.95) < 0.02
    assert matte.foreground.max() > 60
    assert matte.background.min() < -0.04


def test_an_alpha_of_display_light_is_brought_to_linear_light():
    """One α per pixel cannot mix encoded channels to what was mixed in linear light; most of the way is found."""
    c, alpha, foreground, background = smooth_scene()
    f, b = color.encode(foreground), color.encode(background)
    line = f - b
    display = np.sum((color.encode(c) - b) * line, axis=-1) / np.maximum(np.sum(line * line, axis=-1), 1e-9)
    display = np.where((alpha <= 0) | (alpha >= 1), alpha, np.clip(display, 1e-4, 1 - 1e-4)).astype(np.float32)
    with Engine(estimator=Told(lambda *_: Estimate(display, f, b, light="display"))) as engine:
        matte = engine.matte_one(Frame(c, three_values(alpha)))
    assert np.abs(display - alpha).mean() > 0.1
    assert np.abs(matte.alpha - alpha).mean() < 0.4 * np.abs(display - alpha).mean()


@pytest.mark.parametrize("wrong", [0.0, 0.2, 1.0])
def test_a_wrong_estimate_still_recomposes(wrong):
    c, alpha, *_ = smooth_scene()
    rng = np.random.default_rng(5)

    def nonsense(image, trimap):
        noise = lambda shape: (rng.random(shape) * wrong).astype(np.float32)  # noqa: E731  one line twice
        a = np.where(trimap == 0.5, np.clip(alpha + noise(alpha.shape), 0, 1), trimap).astype(np.float32)
        return Estimate(a, np.clip(image + noise(image.shape), 0, 1), noise(image.shape))

    with Engine(estimator=Told(nonsense)) as engine:
        matte = engine.matte_one(Frame(c, three_values(alpha)))
    assert recomposition_error(c, matte.alpha, matte.foreground, matte.background).max() <= 1e-5


def test_an_overshooting_estimate_invents_no_highlights():
    """An encoded 1.0 is 65536 in linear light; a plate that ends at 1 has nothing like it."""
    c = np.full((8, 8, 3), 0.2, np.float32)
    c[0, 0] = 1
    trimap = np.full((8, 8), 0.5, np.float32)
    trimap[0], trimap[7] = 1, 0
    white = Told(lambda image, t: Estimate(np.where(t == 0.5, 0.3, t).astype(np.float32), np.ones_like(image), image))
    with Engine(estimator=white) as engine:
        matte = engine.matte_one(Frame(c, trimap))
    assert matte.foreground.max() < 2


def test_known_regions_are_exact():
    with Engine() as engine:
        matte = engine.matte_one(frame())
    trimap, c = frame().trimap, plate()
    assert (matte.alpha[trimap == 0] == 0).all()
    assert (matte.alpha[trimap == 1] == 1).all()
    assert (matte.foreground[matte.alpha == 1] == c[matte.alpha == 1]).all()
    assert (matte.background[matte.alpha == 0] == c[matte.alpha == 0]).all()


@pytest.mark.parametrize("exposure", [0.25, 4.0])
def test_a_stop_more_light_changes_colours_by_a_stop(exposure):
    """Within what the display-like curve lets through: it is no logarithm."""
    with Engine() as engine:
        one = engine.matte_one(frame())
        other = engine.matte_one(Frame(plate() * np.float32(exposure), frame().trimap))
    assert np.abs(one.alpha - other.alpha).mean() < 0.05
    solid = (one.alpha == 1) & (other.alpha == 1)
    assert solid.mean() > 0.1
    np.testing.assert_allclose(other.foreground[solid], one.foreground[solid] * exposure, rtol=1e-6)


def test_everything_a_frame_carries_comes_back():
    carried = {
        "display_window": Window(0, 0, 19, 9),
        "data_window": Window(-8, -6, WIDTH - 9, HEIGHT - 7),
        "pixel_aspect": 2.0,
        "view": "left",
        "colorspace": "ACEScg",
        "metadata": {"owner": "somebody"},
        "name": "plate.exr",
    }
    with Engine() as engine:
        matte = engine.matte_one(frame(1007, **carried))
    assert {name: getattr(matte, name) for name in carried} == carried
    assert matte.number == 1007
    assert matte.provenance["model"] == "closed-form"
    assert matte.provenance["colorspace"] == "ACEScg"


def test_frames_come_in_order_and_a_bad_one_is_told():
    unknown = np.full((HEIGHT, WIDTH), 0.5, np.float32)
    frames = [frame(1001), Frame(plate(), unknown, number=1002), frame(1003)]
    told = []
    with Engine() as engine:
        mattes = list(engine.matte(frames, lambda f, error: told.append((f.number, error))))
        assert [matte.number for matte in mattes] == [1001, 1003]
        assert [number for number, _ in told] == [1002]
        assert isinstance(told[0][1], TrimapError)
        stream = engine.matte(frames)
        assert next(stream).number == 1001
        with pytest.raises(TrimapError, match="frame 1002"):
            next(stream)


def test_one_by_one_and_in_a_stream_are_the_same_bits():
    with Engine() as engine:
        streamed = list(engine.matte(frame(n) for n in range(1001, 1004)))
        for matte in streamed:
            alone = engine.matte_one(frame(matte.number))
            for name in ("alpha", "foreground", "background"):
                np.testing.assert_array_equal(getattr(matte, name), getattr(alone, name))


def test_augmentation_changes_alpha_little_and_the_plate_not_at_all():
    with Engine() as plain, Engine(tta="rotations") as augmented:
        one, other = plain.matte_one(frame()), augmented.matte_one(frame())
    assert other.provenance["model"] == "closed-form+tta"
    assert 0 < np.abs(one.alpha - other.alpha).max() < 0.2
    assert recomposition_error(plate(), other.alpha, other.foreground, other.background).max() <= 1e-5


def test_memory_that_does_not_suffice_is_worth_retrying():
    def starve(_image, _trimap):
        raise MemoryError

    with Engine(estimator=Told(starve)) as engine, pytest.raises(ResourceError, match=f"{WIDTH}×{HEIGHT}"):
        engine.matte_one(frame())


def test_our_own_mistake_in_one_frame_does_not_cost_the_others():
    def stumble(image, trimap):
        if image[0, 0, 0] > 0.5:
            raise KeyError(54)
        return Estimate(np.where(trimap == 0.5, 0.5, trimap).astype(np.float32), image, image)

    told = []
    bright = Frame(plate() + 9, frame().trimap, number=1002)
    with Engine(estimator=Told(stumble)) as engine:
        mattes = engine.matte([frame(1001), bright, frame(1003)], lambda f, error: told.append((f.number, error)))
        assert [matte.number for matte in mattes] == [1001, 1003]
    assert [(number, type(error), str(error)) for number, error in told] == [
        (1002, InternalError, "frame 1002: KeyError: 54")
    ]


def test_an_unknown_model_lists_the_known_ones():
    with pytest.raises(ModelNotFoundError, match="closed-form"):
        Engine("nonsense")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"plate": np.zeros((4, 5, 4), np.float32)}, "plate has shape"),
        ({"trimap": np.zeros((4, 6), np.float32)}, "5×4 but trimap is 6×4"),
        ({"data_window": Window(0, 0, 9, 9)}, "data window"),
    ],
)
def test_a_frame_that_does_not_fit_together(change, says):
    parts = {"plate": np.zeros((4, 5, 3), np.float32), "trimap": np.zeros((4, 5), np.float32), **change}
    with pytest.raises(FrameError, match=says):
        Frame(**parts)


def test_a_plate_without_a_finite_pixel_is_refused():
    plate = np.full((8, 9, 3), np.nan, np.float32)
    trimap = np.zeros((8, 9), np.float32)
    trimap[:, 3:], trimap[:, 6:] = 0.5, 1
    with Engine(estimator=Told(None)) as engine, pytest.raises(FrameError, match=r"dark\.7\.exr.*all 72 pixels"):
        engine.prepare(Frame(plate, trimap, name="dark.7.exr"))


def test_every_error_has_a_status_and_an_exit_code():
    def tree(kind):
        yield kind
        for child in kind.__subclasses__():
            yield from tree(child)

    for kind in tree(FbaMatteError):
        assert kind.status.isupper()
        assert kind.exit_code in {1, 2, 75, 130}
