import io
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import OpenEXR
import OpenImageIO
import pytest

import exr_files
from fbamatte.errors import ImageReadError
from fbamatte.frame import Window
from fbamatte.imaging.exr import read_exr
from fbamatte.imaging.reader import read_image

WINDOWS = {
    "whole": ((0, 0), ((0, 0), (39, 29))),
    "inside": ((10, 5), ((0, 0), (99, 79))),
    "overscan": ((-4, -3), ((0, 0), (31, 23))),
    "overlapping": ((-20, 15), ((0, 0), (39, 29))),
    "outside": ((200, 300), ((0, 0), (39, 29))),
    "display away from the origin": ((-10, -10), ((-50, -40), (49, 39))),
}
NAMES = (
    *("NO", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "B44", "B44A", "DWAA", "DWAB"),
    *("HTJ2K256", "HTJ2K32", "LJ2K", "ZSTD"),
)
COMPRESSIONS = [name for name in NAMES if hasattr(OpenEXR, f"{name}_COMPRESSION")]  # the last came late


def check_against_oiio(data: bytes, folder, **how):
    path = folder / "file.exr"
    path.write_bytes(data)
    image, reference = read_exr(path, **how), exr_files.read_by_oiio(path)
    assert set(image.channels) == set(reference)
    for name, plane in image.channels.items():
        assert plane.dtype == np.float32
        np.testing.assert_array_equal(plane, reference[name])
    return image


@pytest.mark.parametrize("storage", [exr_files.SCANLINE, exr_files.TILED], ids=["scanline", "tiled"])
@pytest.mark.parametrize("window", WINDOWS)
def test_any_data_window(window, storage, tmp_path):
    origin, display = WINDOWS[window]
    planes = exr_files.planes("RGBA")
    image = check_against_oiio(exr_files.exr(planes, origin=origin, display=display, storage=storage), tmp_path)
    assert image.data_window == Window(*origin, origin[0] + 39, origin[1] + 29)
    assert image.display_window == Window(*display[0], *display[1])
    for name, plane in planes.items():
        np.testing.assert_array_equal(image.channels[name], plane.astype(np.float32))


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("storage", [exr_files.SCANLINE, exr_files.TILED], ids=["scanline", "tiled"])
def test_any_compression(compression, storage, tmp_path):
    compression = getattr(OpenEXR, f"{compression}_COMPRESSION")
    data = exr_files.exr(exr_files.planes("RGB", 61, 301), compression=compression, storage=storage, origin=(-3, 7))
    path = tmp_path / "file.exr"
    path.write_bytes(data)
    # Lossy ones decode to whatever OpenEXR decodes them to: its own reading of the file is the reference.
    reference = OpenEXR.File(io.BytesIO(data), separate_channels=True).channels()
    image = read_exr(path)
    for name in "RGB":
        np.testing.assert_array_equal(image.channels[name], reference[name].pixels.astype(np.float32))


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (41, 1), (2, 3), (97, 89), (16, 16), (17, 33)])
@pytest.mark.parametrize("storage", [exr_files.SCANLINE, exr_files.TILED], ids=["scanline", "tiled"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_any_size(size, storage, dtype, tmp_path):
    check_against_oiio(exr_files.exr(exr_files.planes("RGB", *size, dtype), storage=storage), tmp_path)


@pytest.mark.parametrize("order", [OpenEXR.INCREASING_Y, OpenEXR.DECREASING_Y])
def test_line_order(order, tmp_path):
    check_against_oiio(exr_files.exr(exr_files.planes("RGB", 20, 100), lineOrder=order), tmp_path)


def test_half_and_float_in_one_file(tmp_path):
    planes = {**exr_files.planes("RGB"), **exr_files.planes("A", dtype=np.float32, seed=1)}
    check_against_oiio(exr_files.exr(planes), tmp_path)


def test_special_values_survive(tmp_path):
    plane = np.array([[np.nan, np.inf, -np.inf, -0.0, 65504, 6e-8]], np.float16)
    image = check_against_oiio(exr_files.exr(dict.fromkeys("RGB", plane)), tmp_path)
    assert np.signbit(image.channels["R"][0, 3])


def test_stream_bytes_and_path_are_the_same(tmp_path):
    data = exr_files.exr(exr_files.planes("RGB"))
    path = tmp_path / "f.exr"
    path.write_bytes(data)
    for source in (data, io.BytesIO(data), path, str(path)):
        np.testing.assert_array_equal(read_exr(source).rgb(), read_exr(data).rgb())


@pytest.mark.parametrize("rounding", ["down", "up"])
def test_mipmap_gives_level_0(rounding, tmp_path):
    path = tmp_path / "mip.exr"
    pixels = np.random.default_rng(0).random((50, 70, 3), np.float32)
    config = OpenImageIO.ImageSpec()
    config["maketx:forcefloat"] = 1
    config["openexr:roundingmode"] = int(rounding == "up")
    config.tile_width = config.tile_height = 16
    assert OpenImageIO.ImageBufAlgo.make_texture(
        OpenImageIO.MakeTxTexture, OpenImageIO.ImageBuf(pixels), str(path), config
    ), OpenImageIO.geterror()
    source = OpenImageIO.ImageInput.open(str(path))
    assert source.seek_subimage(0, 1), "the file that this test makes has no mipmap"
    source.close()
    np.testing.assert_array_equal(read_exr(path).rgb(), np.stack([*exr_files.read_by_oiio(path).values()][:3], -1))


def test_luminance_only_is_grey():
    image = read_exr(exr_files.exr(exr_files.planes("Y")))
    assert image.rgb().shape == (30, 40, 3)
    for i in range(3):
        np.testing.assert_array_equal(image.rgb()[..., i], image.channels["Y"])


def test_missing_alpha_is_no_error():
    assert "A" not in read_exr(exr_files.exr(exr_files.planes("RGB"))).channels


def test_no_colour_is_named():
    with pytest.raises(ImageReadError, match=r"EXR in memory: no R, G, B.*channels are Z"):
        read_exr(exr_files.exr(exr_files.planes("Z"))).rgb()


def test_one_layer_is_taken_and_of_several_one_must_be_named():
    one = exr_files.planes(["beauty.R", "beauty.G", "beauty.B", "depth.Z"])
    np.testing.assert_array_equal(read_exr(exr_files.exr(one)).rgb()[..., 0], one["beauty.R"])
    two = {**one, **exr_files.planes(["spec.R", "spec.G", "spec.B"], seed=5)}
    with pytest.raises(ImageReadError, match="beauty, spec"):
        read_exr(exr_files.exr(two)).rgb()
    np.testing.assert_array_equal(read_exr(exr_files.exr(two), part="spec").rgb()[..., 2], two["spec.B"])


def test_channels_by_their_long_names():
    planes = exr_files.planes(["beauty.red", "beauty.green", "beauty.blue", "alpha", "A"])
    image = read_exr(exr_files.exr(planes))
    np.testing.assert_array_equal(image.rgb()[..., 1], planes["beauty.green"])
    np.testing.assert_array_equal(image.channels["A"], planes["A"])
    np.testing.assert_array_equal(image.channels["alpha"], planes["alpha"])
    np.testing.assert_array_equal(read_exr(exr_files.exr(planes), part="beauty").rgb()[..., 0], planes["beauty.red"])


def test_parts_by_name_and_number(tmp_path):
    plate = exr_files.planes("RGB", seed=1)
    other = exr_files.planes("RGB", 21, 13, seed=2)
    depth = exr_files.planes(["depth.Z"], dtype=np.float32, seed=3)
    data = exr_files.multipart(
        ("depth", depth, {"storage": exr_files.TILED}),
        ("plate", plate, {"compression": OpenEXR.PIZ_COMPRESSION}),
        ("other", other, {"storage": exr_files.TILED, "display": ((0, 0), (39, 29))}),
    )
    np.testing.assert_array_equal(read_exr(data).rgb()[..., 0], plate["R"])
    np.testing.assert_array_equal(read_exr(data, part="other").rgb()[..., 1], other["G"])
    np.testing.assert_array_equal(read_exr(data, part=2).rgb()[..., 1], other["G"])
    np.testing.assert_array_equal(read_exr(data, part="depth").channels["depth.Z"], depth["depth.Z"])
    with pytest.raises(ImageReadError, match=r"no part or layer 'nope'; parts are depth, plate, other"):
        read_exr(data, part="nope")
    with pytest.raises(ImageReadError, match="no part 3; there are 3"):
        read_exr(data, part=3)
    path = tmp_path / "parts.exr"
    path.write_bytes(data)
    np.testing.assert_array_equal(read_image(path, part="other").rgb()[..., 2], exr_files.read_by_oiio(path, 2)["B"])


def test_views_in_parts():
    left, right = exr_files.planes("RGB", seed=1), exr_files.planes("RGB", seed=2)
    data = exr_files.multipart(("rgba.left", left, {"view": "left"}), ("rgba.right", right, {"view": "right"}))
    for view, planes, how in [
        ("left", left, {}),
        ("left", left, {"view": "left"}),
        ("right", right, {"view": "right"}),
    ]:
        image = read_exr(data, **how)
        assert image.view == view
        np.testing.assert_array_equal(image.rgb()[..., 0], planes["R"])
    np.testing.assert_array_equal(read_exr(data, part="rgba", view="right").rgb()[..., 0], right["R"])
    with pytest.raises(ImageReadError, match=r"no view 'middle'; views are left, right"):
        read_exr(data, view="middle")


def test_views_in_one_part():
    names = ["R", "G", "B", "right.R", "right.G", "right.B", "spec.right.R", "spec.left.R", "depth.Z"]
    planes = exr_files.planes(names)
    data = exr_files.exr(planes, multiView=["left", "right"])
    for how, red, specular in [({}, "R", "spec.left.R"), ({"view": "right"}, "right.R", "spec.right.R")]:
        image = read_exr(data, **how)
        assert set(image.channels) == {"R", "G", "B", "spec.R", "depth.Z"}
        np.testing.assert_array_equal(image.channels["R"], planes[red])
        np.testing.assert_array_equal(image.channels["spec.R"], planes[specular])
    assert read_exr(data).view == "left"
    assert "multiView" not in read_exr(data).metadata
    with pytest.raises(ImageReadError, match="no view 'top'"):
        read_exr(data, view="top")


def test_view_by_prefix_alone():
    planes = exr_files.planes(["R", "G", "B", "left.R", "left.G", "left.B"])
    image = read_exr(exr_files.exr(planes), view="left")
    np.testing.assert_array_equal(image.rgb()[..., 0], planes["left.R"])


def test_a_file_without_views_serves_any_view():
    planes = exr_files.planes("RGB")
    image = read_exr(exr_files.exr(planes), view="left")
    assert image.view == "left"
    np.testing.assert_array_equal(image.rgb()[..., 0], planes["R"])


def test_integers_are_left_out_by_name():
    planes = {**exr_files.planes("RGB"), "id": np.arange(1200, dtype=np.uint32).reshape(30, 40)}
    image = read_exr(exr_files.exr(planes))
    assert set(image.channels) == {"R", "G", "B"}
    assert "UINT" in image.skipped["id"]
    with pytest.raises(ImageReadError, match=r"R left out: 32-bit integers \(UINT\)"):
        read_exr(exr_files.exr(dict.fromkeys("RGB", planes["id"]))).rgb()


def deep(width=6, height=5) -> dict:
    samples = np.empty((height, width), dtype=object)
    for i in range(samples.size):
        samples.flat[i] = np.arange(1 + i % 3, dtype=np.float32)
    return {"Z": samples}


def test_deep_is_refused_by_name_but_not_a_flat_part_beside_it():
    buffer = io.BytesIO()
    OpenEXR.File({"type": OpenEXR.deepscanline, "compression": OpenEXR.ZIPS_COMPRESSION}, deep()).write(buffer)
    with pytest.raises(ImageReadError, match="deep pixels are not supported"):
        read_exr(buffer.getvalue())
    flat = exr_files.planes("RGB", 6, 5)
    parts = [
        OpenEXR.Part({"type": OpenEXR.deepscanline, "compression": OpenEXR.ZIPS_COMPRESSION}, deep(), "deep"),
        OpenEXR.Part({"type": OpenEXR.scanlineimage}, dict(flat), "flat"),
    ]
    buffer = io.BytesIO()
    OpenEXR.File(parts).write(buffer)
    np.testing.assert_array_equal(read_exr(buffer.getvalue()).rgb()[..., 0], flat["R"])
    with pytest.raises(ImageReadError, match="deep"):
        read_exr(buffer.getvalue(), part="deep")


@pytest.mark.parametrize("names", [("Y", "RY", "BY"), ("R", "G", "B")])
def test_subsampled_is_refused_by_name(names):
    full = np.zeros((4, 6), np.float16)
    last = OpenEXR.Channel(np.zeros((4, 6), np.float16), 2, 2)
    buffer = io.BytesIO()
    OpenEXR.File({"type": OpenEXR.scanlineimage}, {names[0]: full, names[1]: full, names[2]: last}).write(buffer)
    with pytest.raises(ImageReadError, match="luminance-chroma" if "RY" in names else "channel B is subsampled"):
        read_exr(buffer.getvalue())


def test_dwa_keeps_its_channel_rules(tmp_path):
    # DWA treats channels by their names: reading one part alone must not rename any.
    planes = exr_files.planes(["R", "G", "B", "A", "spec.R", "Z"], 64, 64)
    data = exr_files.multipart(("a", planes, {"compression": OpenEXR.DWAA_COMPRESSION}))
    reference = OpenEXR.File(io.BytesIO(data), separate_channels=True).channels()
    image = read_exr(data)
    for name in planes:
        np.testing.assert_array_equal(image.channels[name], reference[name].pixels.astype(np.float32))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_reads_and_writes():
    # OpenEXR's threads stay behind in a fork; whoever waits for them waits for ever. Data loaders fork.
    code = """
        import os, signal, sys
        import exr_files
        from fbamatte.imaging.exr import encode_exr, read_exr
        data = exr_files.exr(exr_files.planes("RGB", 200, 300))
        image = read_exr(data)
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os._exit(int(read_exr(encode_exr(read_exr(data))[0]).rgb().tobytes() != image.rgb().tobytes()))
        sys.exit(os.waitpid(child, 0)[1])
    """
    path = os.pathsep.join([str(Path(exr_files.__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert done.returncode == 0
