import numpy as np
import pytest
from PIL import Image as Pillow

import exr_files
import made
from fbamatte.errors import FrameError, UsageError
from fbamatte.frame import Window
from fbamatte.imaging import attributes, color
from fbamatte.imaging.exr import read_exr
from fbamatte.imaging.frames import aligned, frame_from_images
from fbamatte.imaging.image import Image
from fbamatte.imaging.reader import read_image

WIDTH, HEIGHT = made.WIDTH, made.HEIGHT
WHOLE = Window.of_size(WIDTH, HEIGHT)
REC709 = attributes.typed("chromaticities", 0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)


def plate(display=WHOLE, data=WHOLE, **more) -> Image:
    planes = dict(zip("RGB", np.moveaxis(made.plate(width=data.width, height=data.height), -1, 0)))
    return Image(planes, display, data, name="plate.exr", **more)


def mask(display=WHOLE, data=WHOLE, **more) -> Image:
    plane = np.arange(1, data.width * data.height + 1, dtype=np.float32).reshape(data.height, data.width)
    return Image({"A": plane}, display, data, name="roto.exr", **more)


def test_a_frame_carries_what_the_plate_said():
    metadata = {"timeCode": attributes.typed("timecode", 1, 2), "chromaticities": REC709, "note": "x"}
    given = plate(Window(0, 0, 9, 9), pixel_aspect=2.0, view="left", metadata=metadata)
    frame = frame_from_images(given, mask(Window(0, 0, 9, 9)), number=1007)
    assert (frame.number, frame.view, frame.pixel_aspect, frame.name) == (1007, "left", 2.0, "plate.exr")
    assert (frame.display_window, frame.data_window) == (Window(0, 0, 9, 9), WHOLE)
    assert frame.colorspace == "Linear Rec.709 (sRGB)"
    assert frame.metadata == metadata
    np.testing.assert_array_equal(frame.plate, given.rgb())


def test_a_plate_that_said_nothing_of_colour_is_given_no_words():
    frame = frame_from_images(plate(), mask())
    assert frame.colorspace == "ACES2065-1"  # by the file rules
    assert frame.metadata == {}


def test_an_option_is_written_down():
    frame = frame_from_images(plate(metadata={"chromaticities": REC709}), mask(), input_space="ACEScg")
    assert attributes.numbers_of(frame.metadata["chromaticities"]) == pytest.approx(color.chromaticities("ACEScg"))


def test_log_becomes_linear_and_its_words_follow():
    said = {"colorInteropID": "ocio:arrilogc3_awg3_scene", "oiio:ColorSpace": "ARRI LogC3 (EI800)", "note": "x"}
    given = plate(metadata={**said, "acesImageContainerFlag": 1, "chromaticities": REC709})
    frame = frame_from_images(given, mask())
    assert frame.colorspace == "Linear ARRI Wide Gamut 3"
    expected, _ = color.to_scene_linear(given.rgb(), "ARRI LogC3 (EI800)")
    np.testing.assert_array_equal(frame.plate, expected)
    assert attributes.numbers_of(frame.metadata["chromaticities"]) == pytest.approx(
        color.chromaticities("ARRI LogC3 (EI800)")
    )
    assert frame.metadata["colorInteropID"] == "ocio:lin_awg3_scene"
    assert frame.metadata["oiio:ColorSpace"] == "Linear ARRI Wide Gamut 3"
    assert frame.metadata["note"] == "x"
    assert "acesImageContainerFlag" not in frame.metadata
    np.testing.assert_array_equal(frame.trimap, mask().channels["A"])  # never colour-converted


def test_primaries_of_nobody_stay_as_they_are():
    own = attributes.typed("chromaticities", *[0.5, 0.3, 0.3, 0.5, 0.2, 0.1, 0.31, 0.33])
    frame = frame_from_images(plate(metadata={"chromaticities": own}), mask())
    assert frame.colorspace == ""
    assert frame.metadata == {"chromaticities": own}


def test_unknown_input_space():
    with pytest.raises(UsageError, match="ACEScg"):
        frame_from_images(plate(), mask(), input_space="ACESgc")


def test_a_png_plate_is_linear_light(tmp_path):
    Pillow.fromarray(np.full((4, 5, 3), 188, np.uint8)).save(tmp_path / "p.png")
    trimap = Image({"A": np.ones((4, 5), np.float32)}, Window.of_size(5, 4), Window.of_size(5, 4))
    frame = frame_from_images(read_image(tmp_path / "p.png"), trimap)
    np.testing.assert_allclose(frame.plate, 0.5029, atol=1e-4)
    assert frame.colorspace == "Linear Rec.709 (sRGB)"
    assert attributes.numbers_of(frame.metadata["chromaticities"]) == pytest.approx(attributes.numbers_of(REC709))


OVERSCAN = Window(-4, -3, WIDTH + 3, HEIGHT + 2)


def test_trimap_of_the_display_window_on_a_plate_with_overscan():
    placed = aligned(mask(), plate(data=OVERSCAN))
    assert placed.shape == (OVERSCAN.height, OVERSCAN.width)
    np.testing.assert_array_equal(placed[3:-3, 4:-4], mask().channels["A"])
    assert np.count_nonzero(placed) == WIDTH * HEIGHT


def test_trimap_of_the_same_data_window():
    same = mask(data=OVERSCAN)
    assert aligned(same, plate(data=OVERSCAN)) is same.channels["A"]


@pytest.mark.parametrize("data", [Window(5, 6, 20, 18), Window(-10, -10, 5, 5), Window(WIDTH - 3, 2, WIDTH + 30, 9)])
def test_cropped_roto_goes_to_its_place(data):
    placed, roto = aligned(mask(data=data), plate()), mask(data=data).channels["A"]
    expected = np.zeros((HEIGHT, WIDTH), np.float32)
    for y in range(data.height):
        for x in range(data.width):
            if 0 <= data.x_min + x < WIDTH and 0 <= data.y_min + y < HEIGHT:
                expected[data.y_min + y, data.x_min + x] = roto[y, x]
    np.testing.assert_array_equal(placed, expected)


def test_roto_outside_the_plate_is_empty():
    assert not aligned(mask(data=Window(500, 500, 510, 510)), plate()).any()


def test_moved_data_window_of_the_same_size_is_moved():
    moved = Window(WHOLE.x_min + 2, 0, WHOLE.x_max + 2, WHOLE.y_max)
    placed = aligned(mask(data=moved), plate())
    np.testing.assert_array_equal(placed[:, 2:], mask().channels["A"][:, :-2])
    assert not placed[:, :2].any()


def test_png_of_the_size_of_the_overscan():
    flat = Window.of_size(OVERSCAN.width, OVERSCAN.height)
    drawn = mask(flat, flat, windowed=False)
    assert aligned(drawn, plate(data=OVERSCAN)) is drawn.channels["A"]


def test_other_size_is_refused_and_never_resized():
    small = Window.of_size(WIDTH // 2, HEIGHT // 2)
    with pytest.raises(FrameError, match=r"plate\.exr: plate is 48×36 .* roto\.exr is 24×18 .* nothing is resized"):
        frame_from_images(plate(), mask(small, small))


def test_one_pixel(tmp_path):
    one = Window.of_size(1, 1)
    given = read_exr(exr_files.exr(exr_files.planes("RGB", 1, 1)))
    frame = frame_from_images(given, Image({"Y": np.ones((1, 1), np.float32)}, one, one))
    assert frame.plate.shape == (1, 1, 3)
