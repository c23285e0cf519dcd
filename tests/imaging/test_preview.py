import warnings

import numpy as np
import PyOpenColorIO
import pytest
from PIL import Image as Pillow

from fbamatte.errors import OutputError
from fbamatte.frame import Frame, Matte, Window
from fbamatte.imaging import preview
from fbamatte.imaging.display import SHOULDER, heat

REC709 = "Linear Rec.709 (sRGB)"
PANELS = ("plate", "trimap", "alpha", "error", "foreground", "background", "checker", "green")


def frame_and_matte(
    height=90, width=120, alpha=0.5, foreground=(0.6, 0.3, 0.1), background=(0.05, 0.1, 0.4), **carried
):
    """A plate of one colour that α, F and B explain exactly; unknown in its middle third."""
    a = np.full((height, width), alpha, np.float32)
    f, b = (np.broadcast_to(np.float32(c), (height, width, 3)).copy() for c in (foreground, background))
    trimap = np.full((height, width), 0.5, np.float32)
    trimap[:, : width // 3], trimap[:, width - width // 3 :] = 0, 1
    frame = Frame(a[..., None] * f + (1 - a[..., None]) * b, trimap, **carried)
    return frame, Matte.for_frame(frame, a, f, b)


def panel(sheet, name):
    """The cell of a panel below its label."""
    column, row = PANELS.index(name) % preview.COLUMNS, PANELS.index(name) // preview.COLUMNS
    cell = (sheet.shape[0] - preview.HEADER - preview.MARGIN - preview.GUTTER) // 2 - preview.LABEL
    x = preview.MARGIN + column * (preview.PANEL_WIDTH + preview.GUTTER)
    y = preview.HEADER + row * (preview.LABEL + cell + preview.GUTTER) + preview.LABEL
    return sheet[y : y + cell, x : x + preview.PANEL_WIDTH]


def middle(sheet, name):
    cell = panel(sheet, name)
    return cell[cell.shape[0] // 2, cell.shape[1] // 2] / 255


def picture_size(cell):
    """Width and height of what is not the well's colour."""
    drawn = (cell != np.array(preview.WELL, np.uint8)).any(axis=2)
    return drawn.any(axis=0).sum(), drawn.any(axis=1).sum()


def srgb_by_ocio(linear):
    config = PyOpenColorIO.Config.CreateFromFile("ocio://default")
    processor = config.getProcessor(REC709, "sRGB Encoded Rec.709 (sRGB)").getDefaultCPUProcessor()
    return np.array([processor.applyRGB(list(map(float, pixel))) for pixel in linear])


def test_display_is_srgb_below_the_shoulder():
    light = np.repeat(np.linspace(0, SHOULDER, 200, dtype=np.float32)[:, None], 3, axis=1)
    assert np.abs(preview.to_display(light, REC709) - srgb_by_ocio(light)).max() < 1e-4


def test_display_keeps_the_order_of_highlights_and_clips_below_black():
    light = np.repeat(np.array([-0.05, 0, 0.5, 0.8, 0.9, 1, 2, 4, 8, 16, 64], np.float32)[:, None], 3, axis=1)
    shown = preview.to_display(light, "")[:, 0]
    assert shown[0] == shown[1] == 0
    assert (np.diff(shown[1:]) > 0).all()
    assert shown[-1] < 1


def test_display_has_no_step_in_slope_where_the_shoulder_begins():
    light = np.repeat(np.linspace(SHOULDER - 0.01, SHOULDER + 0.01, 21)[:, None], 3, axis=1).astype(np.float32)
    steps = np.diff(preview.to_display(light, "")[:, 0].astype(np.float64))
    assert steps.max() / steps.min() < 1.15


def test_display_brings_acescg_to_rec709():
    # ACEScg to linear Rec. 709 by the matrix that the ACES project publishes (Bradford).
    matrix = np.array([[1.70505, -0.62179, -0.08326], [-0.13026, 1.14080, -0.01055], [-0.02400, -0.12897, 1.15297]])
    acescg = np.array([[0.3, 0.25, 0.2], [0.18, 0.18, 0.18], [0.2, 0.3, 0.15]], np.float32)
    expected = srgb_by_ocio(acescg @ matrix.T)
    assert np.abs(preview.to_display(acescg, "ACEScg") - expected).max() < 1e-3


def test_display_does_not_touch_its_argument():
    light = np.full((2, 2, 3), 0.5, np.float32)
    preview.to_display(light, "ACEScg")
    assert (light == 0.5).all()


def test_trimap_overlay_leaves_the_unknown_as_it_is():
    grey = np.full((1, 4, 3), 0.5, np.float32)
    shown = preview.overlay_trimap(grey, np.array([[0, 0.5, 0.01, 1]], np.float32))[0]
    assert (shown[1] == 0.5).all()
    assert (shown[2] == 0.5).all()
    assert shown[0, 0] > shown[0, 1] + 0.1
    assert shown[3, 1] > shown[3, 0] + 0.1


def test_composites_are_made_in_linear_light():
    frame, matte = frame_and_matte()
    sheet = preview.contact_sheet(frame, matte)
    linear = 0.5 * matte.foreground[0, 0] + 0.5 * preview.SATURATED
    assert np.abs(middle(sheet, "green") - srgb_by_ocio([linear])[0]).max() < 0.005
    display = 0.5 * srgb_by_ocio([matte.foreground[0, 0]])[0] + 0.5 * srgb_by_ocio([preview.SATURATED])[0]
    assert np.abs(middle(sheet, "green") - display).max() > 0.02


def test_panels_show_what_their_labels_say():
    frame, matte = frame_and_matte(colorspace="ACEScg")
    sheet = preview.contact_sheet(frame, matte)
    for name, pixels in (("plate", frame.plate), ("foreground", matte.foreground), ("background", matte.background)):
        assert np.abs(middle(sheet, name) - preview.to_display(pixels[0, 0], "ACEScg")).max() < 0.005, name
    assert np.abs(middle(sheet, "alpha") - 0.5).max() < 0.005
    assert np.abs(middle(sheet, "error") - heat(np.zeros((1, 1)))[0, 0]).max() < 0.005
    assert np.abs(middle(sheet, "trimap") - middle(sheet, "plate")).max() < 0.005
    trimap = panel(sheet, "trimap").astype(int)
    assert trimap[60, 20, 0] > trimap[60, 20, 1]
    assert trimap[60, -20, 1] > trimap[60, -20, 0]


def test_one_wrong_pixel_of_a_large_plate_is_seen_in_the_error():
    frame, matte = frame_and_matte(1200, 1600)
    matte.foreground[601, 803] += 0.5
    cell = panel(preview.contact_sheet(frame, matte), "error")
    assert cell[: cell.shape[0] - 40].max() > 200


def test_strong_lights_get_no_dark_rings():
    frame, matte = frame_and_matte(900, 1200, alpha=1.0, foreground=(0.2, 0.2, 0.2))
    frame.plate[400:420, 600:640] = 60
    cell = panel(preview.contact_sheet(frame, matte), "plate")
    assert cell.min() >= np.round(255 * preview.to_display(np.full((1, 3), 0.2, np.float32), "")).min()


@pytest.mark.parametrize("size", [(1, 1), (1, 997), (997, 1), (7, 13), (2000, 300), (300, 3000)])
def test_any_size_makes_a_sheet(size):
    sheet = preview.contact_sheet(*frame_and_matte(*size))
    assert sheet.shape[1:] == (preview.SHEET_WIDTH, 3)
    assert 300 < sheet.shape[0] < 1700
    assert sheet.dtype == np.uint8


def test_pixel_aspect_is_honoured():
    width, height = picture_size(panel(preview.contact_sheet(*frame_and_matte(100, 100, pixel_aspect=2.0)), "plate"))
    assert abs(width / height - 2.0) < 0.02


def test_display_window_is_framed_inside_overscan():
    overscan = {"display_window": Window(0, 0, 99, 69), "data_window": Window(-10, -10, 109, 79)}
    cell = panel(preview.contact_sheet(*frame_and_matte(90, 120, **overscan)), "plate")
    lines = (cell == preview.HEAD).all(axis=2)
    scale = preview.PANEL_WIDTH / 120
    assert abs(np.argmax(lines.sum(axis=0) > 100) - 10 * scale) <= 1
    assert abs(np.argmax(lines.sum(axis=1) > 100) - 10 * scale) <= 1
    whole = panel(preview.contact_sheet(*frame_and_matte()), "plate")
    assert not (whole == preview.HEAD).all(axis=2).any()


def test_nan_and_inf_in_the_plate_are_quietly_black():
    frame, matte = frame_and_matte()
    frame.plate[40:50, 55:65] = np.nan
    frame.plate[0, 0] = np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sheet = preview.contact_sheet(frame, matte)
    assert middle(sheet, "plate").max() == 0
    assert np.abs(middle(sheet, "error") - heat(np.zeros((1, 1)))[0, 0]).max() < 0.005


@pytest.mark.parametrize("name", ["", "plate.1001.exr", "撮影 猫.1001.exr", "x" * 400, "Ünïcode.1001.exr"])
def test_any_name_heads_a_sheet(name):
    sheet = preview.contact_sheet(*frame_and_matte(number=1001, view="left", name=name))
    assert (sheet[: preview.HEADER] != np.array(preview.GROUND)).any()
    assert (sheet[:, : preview.MARGIN - 2] == preview.GROUND).all()
    assert (sheet[:, -preview.MARGIN + 2 :] == preview.GROUND).all()


@pytest.mark.parametrize("name", ["a sheet.png", "撮影 猫.1001.png", "x" * 251 + ".png", "猫" * 83 + ".png"])
def test_png_under_any_name(tmp_path, name):
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    preview.write_png(tmp_path / name, pixels)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with Pillow.open(tmp_path / name) as read:
        assert (np.asarray(read) == pixels).all()


def test_png_replaces_an_older_one(tmp_path):
    for value in (10, 200):
        preview.write_png(tmp_path / "a.png", np.full((4, 4, 3), value, np.uint8))
    with Pillow.open(tmp_path / "a.png") as read:
        assert np.asarray(read).min() == 200


def test_png_that_cannot_be_written_names_the_file_and_leaves_nothing(tmp_path):
    pixels = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(OutputError, match=r"missing.*a\.png"):
        preview.write_png(tmp_path / "missing" / "a.png", pixels)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match=r"folder\.png"):
        preview.write_png(tmp_path / "folder.png", pixels)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]
