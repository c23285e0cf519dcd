"""The committed example plates: what they promise, and that the script still makes them."""

import importlib.util
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import OpenEXR
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
FRAMES = {"chelsea": range(1001, 1007), "astronaut": range(1001, 1006)}


def read(path):
    """Header and pixels, (H, W) or (H, W, 3), float32."""
    with OpenEXR.File(str(path)) as file:
        (channel,) = file.channels().values()
        return dict(file.header()), channel.pixels.astype(np.float32)


def frame(shot, kind, number):
    return read(EXAMPLES / "plates" / shot / f"{kind}.{number}.exr")


def window(header, name):
    (x_min, y_min), (x_max, y_max) = header[name]
    return int(x_min), int(y_min), int(x_max), int(y_max)


@pytest.fixture(scope="module")
def script():
    pytest.importorskip("skimage", reason="the example plates are made with scikit-image, of fbamatte[train]")
    spec = importlib.util.spec_from_file_location("make_plates", EXAMPLES / "make_plates.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("shot", "number"), [("chelsea", 1004), ("astronaut", 1002)])
def test_the_script_makes_the_committed_pixels(script, tmp_path, shot, number):
    script.write(script.SHOTS[shot], number, tmp_path)
    for kind in ("plate", "roto"):
        header, made = read(tmp_path / f"{kind}.{number}.exr")
        committed_header, committed = frame(shot, kind, number)
        # Another machine's arithmetic may tip a rounding to half: one step of 2⁻¹⁰, near 0 of the spline's own noise.
        np.testing.assert_allclose(made, committed, rtol=2**-10, atol=1e-5)
        assert {key: str(value) for key, value in header.items()} == {
            key: str(value) for key, value in committed_header.items()
        }


@pytest.mark.parametrize("shot", FRAMES)
def test_every_frame_has_plate_and_roto_of_one_size(shot):
    names = {f"{kind}.{number}.exr" for kind in ("plate", "roto") for number in FRAMES[shot]}
    assert {path.name for path in (EXAMPLES / "plates" / shot).iterdir()} == names
    for number in FRAMES[shot]:
        plate_header, plate = frame(shot, "plate", number)
        roto_header, roto = frame(shot, "roto", number)
        assert plate.shape == (*roto.shape, 3)
        for name in ("dataWindow", "displayWindow"):
            assert window(plate_header, name) == window(roto_header, name)
        assert np.isfinite(plate).all()


@pytest.mark.parametrize("shot", FRAMES)
def test_rotos_are_drawn_and_move_with_the_plate(shot):
    rotos = [frame(shot, "roto", number)[1] for number in FRAMES[shot]]
    for roto in rotos:
        assert roto.min() == 0
        assert roto.max() == 1
        assert 0.001 < ((roto > 0) & (roto < 1)).mean() < 0.05, "an edge, antialiased and a little soft"
    for one, next_one in zip(rotos, rotos[1:]):
        assert 0 < np.abs(one - next_one).mean() < 0.02


@pytest.mark.parametrize("shot", FRAMES)
def test_plates_carry_what_a_camera_writes(shot):
    for number in FRAMES[shot]:
        header, _ = frame(shot, "plate", number)
        assert header["framesPerSecond"] == Fraction(24)
        assert str(header["timeCode"]) == f"(1, 0, {number // 24}, {number % 24}, 0, 0, 0, 0, 0, 0)"
        assert header["imageCounter"] == number
        assert header["owner"]
        assert "scikit-image" in header["comments"]
        np.testing.assert_allclose(
            header["chromaticities"], (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329), atol=1e-6
        )


def test_one_sequence_has_highlights_and_overscan():
    header, plate = frame("astronaut", "plate", 1001)
    assert 8 < plate.max() < 16
    assert 0.01 < (plate > 1).any(axis=2).mean() < 0.1
    data, display = window(header, "dataWindow"), window(header, "displayWindow")
    assert data[0] < display[0] == 0
    assert data[1] < display[1] == 0
    assert data[2] > display[2]
    assert data[3] > display[3]


def test_the_plates_stay_small_and_say_whose_they_are():
    plates = EXAMPLES / "plates"
    assert sum(path.stat().st_size for path in plates.rglob("*") if path.is_file()) < 10e6
    licence = (plates / "LICENCE.md").read_text(encoding="utf-8")
    assert "CC0" in licence
    assert "NASA" in licence
