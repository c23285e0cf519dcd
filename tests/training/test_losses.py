"""Each term against a direct transcription in float64, and its gradient."""

import numpy as np
import pytest
import torch

from fbamatte.imaging import curve
from fbamatte.training import light, losses

SHAPE = (2, 13, 18)


@pytest.fixture
def case():
    rng = np.random.default_rng(7)
    pictures = {
        name: rng.random((SHAPE[0], channels, *SHAPE[1:]))
        for name, channels in (
            ("alpha", 1), ("estimate", 1), ("foreground", 3), ("background", 3), ("image", 3), ("f", 3), ("b", 3)
        )
    }  # fmt: skip
    pictures["region"] = (rng.random((SHAPE[0], 1, *SHAPE[1:])) < 0.6).astype(float)
    return {name: torch.from_numpy(p) for name, p in pictures.items()}


def numpy_pyramid_distance(difference):
    """Pixel by pixel, as the definition reads."""
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    total, current = 0.0, difference
    for level in range(5):
        height, width = current.shape
        small = np.zeros(((height + 1) // 2, (width + 1) // 2))
        for y in range(0, height, 2):
            for x in range(0, width, 2):
                for i in range(5):
                    for j in range(5):
                        row, column = np.clip(y + i - 2, 0, height - 1), np.clip(x + j - 2, 0, width - 1)
                        small[y // 2, x // 2] += kernel[i, j] * current[row, column]
        for y in range(height):
            for x in range(width):
                value = weight = 0.0
                for i in range(5):
                    for j in range(5):
                        row, column = y + i - 2, x + j - 2
                        if 0 <= row < height and 0 <= column < width and row % 2 == 0 and column % 2 == 0:
                            value += kernel[i, j] * small[row // 2, column // 2]
                            weight += kernel[i, j]
                total += 2**level * abs(current[y, x] - value / weight)
        current = small
    return total


def planes(tensor):
    return tensor.numpy().reshape(-1, *SHAPE[1:])


def numpy_gradients(plane):
    return np.diff(plane, axis=1), np.diff(plane, axis=0)


def alpha_terms(case, **more):
    return losses.alpha_losses(
        case["estimate"], case["alpha"], case["foreground"], case["background"], case["image"], case["region"], **more
    )


def color_terms(case, **more):
    truth = case["foreground"], case["background"]
    return losses.color_losses((case["f"], case["b"]), truth, case["alpha"], case["image"], case["region"], **more)


def test_alpha_terms_are_their_definitions(case):
    got = alpha_terms(case, display_light=True)
    region, area = case["region"].numpy(), float(case["region"].sum())
    error = np.where(region > 0, case["estimate"].numpy() - case["alpha"].numpy(), 0)
    estimate = case["alpha"].numpy() + error
    recomposed = estimate * case["foreground"].numpy() + (1 - estimate) * case["background"].numpy()
    flat = error.reshape(-1, *SHAPE[1:])
    expected = {
        "alpha_l1": np.abs(error).sum(),
        "alpha_l2": np.square(error).sum(),
        "alpha_comp": (np.abs(recomposed - case["image"].numpy()) * region).sum(),
        "alpha_lap": sum(numpy_pyramid_distance(p) for p in flat),
        "alpha_grad": sum(np.abs(g).sum() for p in flat for g in numpy_gradients(p)),
    }
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert float(got[name]) == pytest.approx(value / area, rel=1e-10), name


def test_color_terms_are_their_definitions(case):
    got = color_terms(case, display_light=True)
    region, area = case["region"].numpy(), float(case["region"].sum())
    f, b, image, alpha = (case[name].numpy() for name in ("f", "b", "image", "alpha"))
    errors = [np.where(region > 0, case[e].numpy() - case[t].numpy(), 0)
              for e, t in (("f", "foreground"), ("b", "background"))]  # fmt: skip
    excluded = 0.0
    for n in range(SHAPE[0]):
        for c in range(3):
            (fx, fy), (bx, by) = numpy_gradients(f[n, c]), numpy_gradients(b[n, c])
            excluded += (np.abs(fx * bx) * region[n, 0, :, :-1]).sum() + (np.abs(fy * by) * region[n, 0, :-1]).sum()
    expected = {
        "fb_l1": sum(np.abs(e).sum() for e in errors),
        "fb_lap": sum(numpy_pyramid_distance(p) for e in errors for p in e.reshape(-1, *SHAPE[1:])),
        "fb_comp": (np.abs(alpha * f + (1 - alpha) * b - image) * region).sum(),
        "fb_excl": excluded,
    }
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert float(got[name]) == pytest.approx(value / area, rel=1e-10), name


def test_composition_in_linear_light_is_that_of_the_numpy_curve(case):
    f, b, a = case["foreground"].numpy() * 0.9, case["background"].numpy() * 0.9, case["alpha"].numpy()
    expected = curve.encode(a * curve.decode(f) + (1 - a) * curve.decode(b))
    got = light.composite(torch.from_numpy(f), case["alpha"], torch.from_numpy(b), display_light=False)
    np.testing.assert_allclose(got, expected, atol=2e-6)


@pytest.mark.parametrize("name", losses.ALPHA_TERMS)
@pytest.mark.parametrize("display_light", [True, False])
def test_gradient_of_alpha_terms(case, name, display_light):
    estimate = (case["estimate"] * 0.9 + 0.05).requires_grad_()

    def term(x):
        return alpha_terms({**case, "estimate": x}, display_light=display_light)[name]

    assert torch.autograd.gradcheck(term, (estimate,), eps=1e-7, atol=1e-5, fast_mode=True)


@pytest.mark.parametrize("name", losses.COLOR_TERMS)
@pytest.mark.parametrize("display_light", [True, False])
def test_gradient_of_color_terms(case, name, display_light):
    small = {k: v[:1, :, :7, :8] for k, v in case.items()}
    f, b = ((small[k] * 0.75 + 0.05).requires_grad_() for k in "fb")

    def term(f, b):
        return color_terms({**small, "f": f, "b": b}, display_light=display_light)[name]

    assert torch.autograd.gradcheck(term, (f, b), eps=1e-7, atol=2e-4, rtol=2e-3, fast_mode=True)


def test_equation_2_weighs_colors_a_quarter(case):
    terms = {**alpha_terms(case), **color_terms(case)}
    expected = sum(terms[n] for n in losses.ALPHA_TERMS) + 0.25 * sum(terms[n] for n in losses.COLOR_TERMS)
    assert float(losses.weighted_sum(terms, losses.EQUATION_2)) == pytest.approx(float(expected), rel=1e-12)


def test_what_lies_outside_the_region_does_not_count(case):
    elsewhere = {**case}
    for name in ("estimate", "f", "b"):
        elsewhere[name] = torch.where(case["region"] > 0, case[name], torch.rand_like(case[name]))
    names = [*losses.ALPHA_TERMS, "fb_l1", "fb_lap", "fb_comp"]  # exclusion looks one pixel further
    before, after = ({**alpha_terms(c), **color_terms(c)} for c in (case, elsewhere))
    for name in names:
        assert float(before[name]) == pytest.approx(float(after[name]), rel=1e-12), name


def test_an_empty_region_costs_nothing(case):
    nothing = {**case, "region": torch.zeros_like(case["region"])}
    for value in (alpha_terms(nothing) | color_terms(nothing)).values():
        assert float(value) == 0


def test_the_curve_on_tensors_is_the_engines():
    linear = np.concatenate([np.linspace(-0.12, 1.5, 4001), np.geomspace(1e-6, 65504, 400)])
    got = light.encode(torch.from_numpy(linear))
    np.testing.assert_allclose(got, curve.encode(linear), atol=3e-7)
    np.testing.assert_allclose(light.decode(got), linear, rtol=1e-9, atol=1e-12)


def test_the_slope_of_the_curve_on_tensors_is_the_engines():
    linear = torch.linspace(-0.1, 3, 997, dtype=torch.float64, requires_grad=True)
    light.encode(linear).sum().backward()
    np.testing.assert_allclose(linear.grad, curve.encode_slope(linear.detach().numpy()), rtol=2e-4)
