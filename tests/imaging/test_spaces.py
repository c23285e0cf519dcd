import numpy as np
import pytest

from fbamatte.errors import FrameError, UsageError
from fbamatte.frame import Window
from fbamatte.imaging import attributes, color, gamuts, spaces
from fbamatte.imaging.image import Image

WINDOW = Window.of_size(1, 1)
REC709 = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)
AP1 = (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767)
AWG3 = (0.684, 0.313, 0.221, 0.848, 0.0861, -0.102, 0.3127, 0.329)


def image(*, windowed=True, **metadata) -> Image:
    return Image({}, WINDOW, WINDOW, metadata=metadata, name="plate", windowed=windowed)


def logc3(x):
    """ARRI LogC3 EI 800 to linear, ARRI "ALEXA Log C Curve", 2017."""
    a, b, c, d, e, f, cut = 5.555556, 0.052272, 0.247190, 0.385537, 5.367655, 0.092809, 0.010591
    return np.where(x > e * cut + f, (10 ** ((x - d) / c) - b) / a, (x - f) / e)


def logc4(x):
    """ARRI LogC4 to linear, ARRI "LogC4 Specification", 2022."""
    a, b, c = (2**18 - 16) / 117.45, (1023 - 95) / 1023, 95 / 1023
    s, t = (7 * np.log(2) * 2 ** (7 - 14 * c / b)) / (a * b), (2 ** (14 * (-c / b) + 6) - 64) / a
    return np.where(x >= 0, (2 ** (14 * (x - c) / b + 6) - 64) / a, x * s + t)


def slog3(x):
    """S-Log3 to linear, Sony "Technical Summary for S-Gamut3.Cine/S-Log3", 2014."""
    toe = (x * 1023 - 95) * 0.01125 / (171.2102946929 - 95)
    return np.where(x >= 171.2102946929 / 1023, 10 ** ((x * 1023 - 420) / 261.5) * 0.19 - 0.01, toe)


def srgb(x):
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


PUBLISHED = [
    ("ARRI LogC3 (EI800)", "Linear ARRI Wide Gamut 3", logc3),
    ("ARRI LogC4", "Linear ARRI Wide Gamut 4", logc4),
    ("S-Log3 S-Gamut3", "Linear S-Gamut3", slog3),
    ("S-Log3 S-Gamut3.Cine", "Linear S-Gamut3.Cine", slog3),
    ("sRGB - Texture", "Linear Rec.709 (sRGB)", srgb),
    ("sRGB - Display", "Linear Rec.709 (sRGB)", srgb),
]


@pytest.mark.parametrize(("space", "linear", "published"), PUBLISHED)
def test_becomes_linear_in_its_own_primaries_by_the_published_curve(space, linear, published):
    ramp = np.linspace(0, 1, 999, dtype=np.float32)
    pixels = np.stack([ramp, ramp[::-1], np.full_like(ramp, 0.4)], axis=-1)[None]
    given = pixels.copy()
    result, name = color.to_scene_linear(pixels, space)
    assert name == linear
    # Each channel by itself: nothing of another one's value has leaked in.
    np.testing.assert_allclose(result, published(pixels.astype(np.float64)), rtol=2e-4, atol=2e-5)
    np.testing.assert_array_equal(pixels, given)


@pytest.mark.parametrize("space", ["ACEScg", "Linear Rec.709 (sRGB)", *(row[0] for row in PUBLISHED)])
def test_round_trip(space):
    random = np.random.default_rng(0)
    linear_in = space in {"ACEScg", "Linear Rec.709 (sRGB)"}
    low, high = (-0.05, 64.0) if linear_in else (0.0, 1.0)
    pixels = random.uniform(low, high, (100, 100, 3)).astype(np.float32)
    linear, _ = color.to_scene_linear(pixels, space)
    back = color.from_scene_linear(linear, space)
    through_curve = color.from_scene_linear(color.decode(color.encode(linear)), space)
    scale = np.maximum(1, np.abs(pixels))
    errors = [float((np.abs(b - pixels) / scale).max()) for b in (back, through_curve)]
    print(f"{space}: {errors[0]:.1e}, through the networks' curve {errors[1]:.1e}")
    assert errors[0] <= 1e-5
    assert errors[1] <= 1e-4


@pytest.mark.parametrize("space", ["ACEScg", "ACES2065-1", "lin_rec709", "scene_linear", "Raw"])
def test_linear_stays_the_same_array(space):
    pixels = np.ones((2, 2, 3), np.float32)
    assert color.to_scene_linear(pixels, space) == (pixels, color.canonical(space))


def test_unnamed_stays_as_it_is():
    pixels = np.ones((2, 2, 3), np.float32)
    assert color.to_scene_linear(pixels, "") == (pixels, "")
    assert color.from_scene_linear(pixels, "") is pixels
    assert color.chromaticities("") is None


def test_channels_that_mix_go_to_scene_linear():
    assert color.linear_partner("ADX10") == "ACEScg"


def test_every_space_of_the_built_in_configuration_has_a_linear_partner():
    linear = set(spaces._linear_spaces())
    mixing = {"ADX10", "ADX16", "Rec.2100-HLG - Display"}
    for space in spaces._spaces():
        if "XYZ" not in space and space != "Raw" and space not in mixing:
            assert color.linear_partner(space) in linear
            assert spaces._crosstalk(space, color.linear_partner(space)) < 1e-4, space
            assert color.chromaticities(space) is not None, space


@pytest.mark.parametrize(
    ("space", "expected"),
    [("ACEScg", AP1), ("ARRI LogC3 (EI800)", AWG3), ("lin_rec709", REC709), ("sRGB - Texture", REC709), ("Raw", None)],
)
def test_chromaticities(space, expected):
    found = color.chromaticities(space)
    assert found is None if expected is None else gamuts.same(found, expected, 1e-6)


RESOLVED = [
    # path, what the file says, what the user says → space, who said so
    ("a.exr", {}, "", "ACES2065-1", "rule"),
    ("a.exr", {}, "ACEScg", "ACEScg", "option"),
    ("a.exr", {"colorInteropID": "lin_rec709_scene"}, "acescg", "ACEScg", "option"),
    ("a.exr", {"colorInteropID": "lin_rec709_scene"}, "", "Linear Rec.709 (sRGB)", "file"),
    ("a.exr", {"fbamatte/colorspace": "ACEScg", "oiio:ColorSpace": "sRGB"}, "", "ACEScg", "file"),
    ("a.exr", {"oiio:ColorSpace": "lin_ap1"}, "", "ACEScg", "file"),
    ("a.exr", {"oiio:ColorSpace": "never heard of"}, "", "ACES2065-1", "rule"),
    ("a.exr", {"chromaticities": attributes.typed("chromaticities", *AP1)}, "", "ACEScg", "file"),
    ("a.exr", {"chromaticities": attributes.typed("chromaticities", *REC709)}, "", "Linear Rec.709 (sRGB)", "file"),
    ("a.exr", {"chromaticities": attributes.typed("chromaticities", *AWG3)}, "", "Linear ARRI Wide Gamut 3", "file"),
    ("a.exr", {"chromaticities": attributes.typed("chromaticities", *[0.5] * 8)}, "", "", "file"),
    ("a.exr", {}, "scene_linear", "ACEScg", "option"),
    ("a.exr", {}, "srgb_tx", "sRGB Encoded Rec.709 (sRGB)", "option"),
    ("EXR in memory", {}, "", "ACES2065-1", "rule"),
]


@pytest.mark.parametrize(("path", "said", "asked", "space", "source"), RESOLVED)
def test_who_decides(path, said, asked, space, source):
    assert color.resolve(path, image(**said), asked) == color.Resolved(space, source)
    assert color.space_of(path, image(**said), asked) == space


def test_older_words_of_openimageio():
    assert color.space_of("a.png", image(windowed=False, **{"oiio:ColorSpace": "sRGB"})).startswith("sRGB Encoded")
    with pytest.raises(FrameError, match="'KodakLog', unknown here; name one"):
        color.space_of("a.dpx", image(windowed=False, **{"oiio:ColorSpace": "KodakLog"}))


@pytest.mark.parametrize(
    ("asked", "close"),
    [("LogC3", "ARRI LogC3 (EI800)"), ("acesgc", "ACEScg"), ("S-Log3", "S-Log3 S-Gamut3.Cine"), ("xyzzy", "ACEScg")],
)
def test_unknown_space_lists_close_names(asked, close):
    with pytest.raises(UsageError, match=f"colour space '{asked}' is unknown to studio-config") as caught:
        color.canonical(asked)
    assert close in str(caught.value)


CONFIG = """
ocio_profile_version: 2
file_rules:
  - !<Rule> {name: Log, colorspace: house log, pattern: "*log*", extension: "*"}
  - !<Rule> {name: Default, colorspace: house linear}
roles: {scene_linear: house linear, aces_interchange: aces}
displays: {d: [!<View> {name: v, colorspace: house linear}]}
colorspaces:
  - !<ColorSpace> {name: aces}
  - !<ColorSpace>
      name: house linear
      to_scene_reference: !<MatrixTransform> {matrix: [0.6, 0.3, 0.1, 0, 0.1, 0.8, 0.1, 0, 0, 0.1, 0.9, 0, 0, 0, 0, 1]}
  - !<ColorSpace>
      name: house log
      to_scene_reference: !<GroupTransform>
        children:
          - !<LogAffineTransform> {lin_side_offset: 0.01, log_side_slope: 0.2, log_side_offset: 0.5, direction: inverse}
          - !<MatrixTransform> {matrix: [0.6, 0.3, 0.1, 0, 0.1, 0.8, 0.1, 0, 0, 0.1, 0.9, 0, 0, 0, 0, 1]}
"""


def test_a_studios_own_configuration(tmp_path, monkeypatch):
    path = tmp_path / "house.ocio"
    path.write_text(CONFIG)
    assert color.linear_partner("ACEScg") == "ACEScg"
    monkeypatch.setenv("OCIO", str(path))
    assert color.space_of("shot_log.exr", image()) == "house log"
    assert color.space_of("shot.exr", image()) == "house linear"
    assert color.linear_partner("house log") == "house linear"
    assert color.chromaticities("house log") is None  # primaries that nobody published
    with pytest.raises(UsageError, match="house"):
        color.canonical("ACEScg")
    monkeypatch.delenv("OCIO")
    assert color.linear_partner("ACEScg") == "ACEScg"


def test_configuration_that_is_not_there(monkeypatch):
    monkeypatch.setenv("OCIO", "/nowhere/config.ocio")
    with pytest.raises(UsageError, match=r"OCIO configuration /nowhere/config\.ocio"):
        color.canonical("ACEScg")
