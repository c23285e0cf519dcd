import io

import numpy as np
import OpenEXR
import OpenImageIO
import pytest
from PIL import Image as Pillow

import exr_files
from fbamatte.errors import ImageReadError
from fbamatte.imaging import attributes
from fbamatte.imaging.exr import Limits, encode_exr
from fbamatte.imaging.reader import read_image


def write(path, pixels, kind, **entries):
    height, width, channels = pixels.shape
    spec = OpenImageIO.ImageSpec(width, height, channels, kind)
    for name, value in entries.items():
        spec.attribute(name.replace("__", ":"), value)
    out = OpenImageIO.ImageOutput.create(str(path))
    assert out, OpenImageIO.geterror()
    assert out.open(str(path), spec), out.geterror()
    assert out.write_image(pixels), out.geterror()
    out.close()
    return path


def noise(bits, channels=3, width=40, height=30):
    random = np.random.default_rng(0)
    return random.integers(0, 2**bits, (height, width, channels), dtype=np.uint16 if bits > 8 else np.uint8)


@pytest.mark.parametrize(
    ("name", "bits"), [("a.png", 8), ("a.png", 16), ("a.tif", 8), ("a.tif", 16), ("a.dpx", 8), ("a.dpx", 16)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_integer_is_exactly_its_fraction(name, bits, channels, tmp_path):
    pixels = noise(bits, channels)
    image = read_image(write(tmp_path / name, pixels, "uint16" if bits > 8 else "uint8"))
    expected = (pixels.astype(np.float64) / (2**bits - 1)).astype(np.float32)
    assert np.abs(image.rgb() - expected).max() <= 1e-7
    assert len(np.unique(image.rgb())) == len(np.unique(pixels))
    assert image.data_window == image.display_window
    assert (image.data_window.width, image.data_window.height) == (40, 30)
    assert not image.windowed


def test_ten_bit_dpx(tmp_path):
    ten = np.arange(1024, dtype=np.uint16).repeat(3).reshape(32, 32, 3)
    path = write(tmp_path / "a.dpx", (ten << 6) | (ten >> 4), "uint16", **{"oiio:BitsPerSample": 10})
    assert np.abs(read_image(path).rgb() - ten / 1023).max() < 2e-5


def test_float_tiff_stays_as_it_is(tmp_path):
    pixels = (np.random.default_rng(0).normal(size=(30, 40, 3)) * 50).astype(np.float32)
    np.testing.assert_array_equal(read_image(write(tmp_path / "a.tif", pixels, "float")).rgb(), pixels)


def test_png_written_by_somebody_else(tmp_path):
    pixels = noise(8)
    Pillow.fromarray(pixels).save(tmp_path / "p.png")
    np.testing.assert_allclose(read_image(tmp_path / "p.png").rgb(), pixels / 255, atol=1e-7)


def test_jpeg(tmp_path):
    smooth = np.linspace(0, 255, 40 * 30 * 3).reshape(30, 40, 3).astype(np.uint8)
    Pillow.fromarray(smooth).save(tmp_path / "p.jpg", quality=100, subsampling=0)
    image = read_image(tmp_path / "p.jpg")
    np.testing.assert_allclose(image.rgb(), smooth / 255, atol=3 / 255)
    assert image.colorspace == "srgb_rec709_scene"


def test_colour_is_not_multiplied_by_alpha(tmp_path):
    pixels = noise(8, 4)
    Pillow.fromarray(pixels).save(tmp_path / "p.png")
    image = read_image(tmp_path / "p.png")
    np.testing.assert_allclose(image.rgb(), pixels[..., :3] / 255, atol=1e-7)
    np.testing.assert_allclose(image.channels["A"], pixels[..., 3] / 255, atol=1e-7)


@pytest.mark.parametrize("kind", ["grey", "opaque rgba", "palette", "grey alpha"])
def test_trimap_png_is_exactly_its_values(kind, tmp_path):
    values = np.array([[0, 128, 255], [255, 128, 0]], np.uint8).repeat(5, 0)
    picture = Pillow.fromarray(values)
    if kind == "opaque rgba":
        picture = picture.convert("RGBA")
    elif kind == "palette":
        picture = picture.convert("RGB").quantize(4)
    elif kind == "grey alpha":
        picture = picture.convert("LA")
    picture.save(tmp_path / "t.png")
    plane = read_image(tmp_path / "t.png").matte_plane()
    assert set(np.unique(plane)) == {np.float32(0), np.float32(128 / 255), np.float32(1)}
    np.testing.assert_array_equal(plane == 1, values == 255)


def test_a_colour_picture_with_opaque_alpha_is_a_roto_that_covers_all(tmp_path):
    pixels = noise(8, 4)
    pixels[..., 3] = 255
    Pillow.fromarray(pixels).save(tmp_path / "t.png")
    assert (read_image(tmp_path / "t.png").matte_plane() == 1).all()


def test_empty_alpha_beside_a_picture_is_an_empty_roto(tmp_path):
    planes = {**exr_files.planes("RGB"), "A": np.zeros((30, 40), np.float16)}
    (tmp_path / "t.exr").write_bytes(exr_files.exr(planes))
    assert not read_image(tmp_path / "t.exr").matte_plane().any()


def test_the_only_channel_is_the_matte_whatever_its_name(tmp_path):
    planes = exr_files.planes(["roto.person"])
    (tmp_path / "t.exr").write_bytes(exr_files.exr(planes))
    np.testing.assert_array_equal(read_image(tmp_path / "t.exr").matte_plane(), planes["roto.person"])
    (tmp_path / "t.exr").write_bytes(exr_files.exr(exr_files.planes(["roto.person", "roto.dog"])))
    with pytest.raises(ImageReadError, match=r"no alpha, luminance or red .* roto\.dog, roto\.person"):
        read_image(tmp_path / "t.exr").matte_plane()


def test_alpha_that_says_something_is_the_matte(tmp_path):
    pixels = noise(8, 4)
    Pillow.fromarray(pixels).save(tmp_path / "t.png")
    np.testing.assert_allclose(read_image(tmp_path / "t.png").matte_plane(), pixels[..., 3] / 255, atol=1e-7)


@pytest.mark.parametrize(
    ("rate", "ratio"), [(24.0, (24, 1)), (23.976, (24000, 1001)), (29.97, (30000, 1001)), (12.5, (12500, 1000))]
)
def test_attributes_get_the_names_and_types_that_exr_gives_them(rate, ratio, tmp_path):
    path = tmp_path / "a.dpx"
    spec = OpenImageIO.ImageSpec(40, 30, 3, "uint16")
    spec.attribute("smpte:TimeCode", OpenImageIO.TypeTimeCode, (0x01020304, 0))
    spec.attribute("dpx:FrameRate", rate)
    spec.attribute("Copyright", "me")
    out = OpenImageIO.ImageOutput.create(str(path))
    assert out.open(str(path), spec)
    assert out.write_image(noise(16))
    out.close()
    metadata = read_image(path).metadata
    assert metadata["framesPerSecond"] == attributes.typed("rational", *ratio)
    assert metadata["timeCode"] == attributes.typed("timecode", 0x01020304, 0)
    assert not [key for key in metadata if key.startswith(("dpx:", "oiio:Bits"))]
    header = OpenEXR.File(io.BytesIO(encode_exr(read_image(path))[0])).header()
    assert header["timeCode"].frame == 4


@pytest.mark.parametrize("name", ["a.png", "a.tif", "raw.tif", "a.dpx", "a.jpg"])
def test_truncated_at_every_percent(name, tmp_path):
    path = tmp_path / name
    if name == "a.jpg":
        Pillow.fromarray(noise(8)).save(path)
    else:
        write(path, noise(16), "uint16", **({"compression": "none"} if name == "raw.tif" else {}))
    whole = path.read_bytes()
    read_image(path)
    for percent in range(100):
        path.write_bytes(whole[: len(whole) * percent // 100])
        with pytest.raises(ImageReadError, match=name):
            read_image(path)


def test_progressive_jpeg_with_thumbnail_is_whole(tmp_path):
    path = tmp_path / "p.jpg"
    inner = tmp_path / "inner.jpg"
    Pillow.fromarray(noise(8, width=8, height=8)).save(inner)
    Pillow.fromarray(noise(8)).save(
        path, progressive=True, exif=b"Exif\0\0" + inner.read_bytes(), restart_marker_rows=1
    )
    read_image(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])  # the thumbnail's own end marker must not pass for the picture's
    with pytest.raises(ImageReadError, match="truncated JPEG"):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.png", b"", "file is empty"),
        ("a.exr", b"", "file is empty"),
        ("a.exr", b"short", "not an EXR"),
        ("a.exr", b"this is text, not a picture", "no EXR, DPX, TIFF, PNG or JPEG"),
        ("a.png", b"GIF89a" + bytes(50), "no EXR, DPX"),
        ("a.iff", b"FOR4" + bytes(50), "no EXR, DPX"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(50), "a.png"),
        ("a.dpx", b"SDPX" + bytes(5000), "a.dpx"),
        ("a.tif", b"II*\0" + bytes(50), "a.tif"),
    ],
)
def test_what_is_no_picture(name, content, said, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageReadError, match=said) as caught:
        read_image(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(ImageReadError, match=r"gone\.exr: No such file"):
        read_image(tmp_path / "gone.exr")


def test_content_counts_not_the_name(tmp_path):
    planes = exr_files.planes("RGB")
    (tmp_path / "odd.png").write_bytes(exr_files.exr(planes))
    np.testing.assert_array_equal(read_image(tmp_path / "odd.png").rgb()[..., 0], planes["R"])
    write(tmp_path / "a.png", noise(8), "uint8").rename(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif").rgb().shape == (30, 40, 3)


@pytest.mark.parametrize("name", ["with space.png", "日本語.1001.png", "é" * 125 + ".png"])
def test_any_name(name, tmp_path):
    Pillow.fromarray(noise(8)).save(tmp_path / name)
    assert read_image(tmp_path / name).name == str(tmp_path / name)


def test_limits(tmp_path):
    path = write(tmp_path / "a.png", np.zeros((500, 500, 3), np.uint8), "uint8")
    with pytest.raises(ImageReadError, match=r"a\.png: 500×500 pixels, limit 249999"):
        read_image(path, limits=Limits(pixels=249_999))
    with pytest.raises(ImageReadError, match="claim to hold 750000 bytes"):
        read_image(path, limits=Limits(ratio=10, ratio_free_bytes=0))
