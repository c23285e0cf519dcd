import io
import math
import pickle
import struct

import numpy as np
import OpenEXR
import OpenImageIO
import pytest
from hypothesis import given
from hypothesis import strategies as st

import exr_files
from fbamatte.errors import FrameError, ImageReadError
from fbamatte.frame import Window
from fbamatte.imaging import attributes
from fbamatte.imaging.exr import encode_exr, read_exr
from fbamatte.imaging.exr_chunks import replace_attributes
from fbamatte.imaging.exr_header import read_header
from fbamatte.imaging.image import Image

# Every predefined type, and what no reader of this program has ever heard of.
EVERY_TYPE = {
    "timeCode": attributes.typed("timecode", 0x01020304, 0xDEADBEEF),
    "framesPerSecond": attributes.typed("rational", 48000, 2002),
    "keyCode": attributes.typed("keycode", 1, 2, 123456, 7, 3, 4, 64),
    "cameraMake": "ARRI née Köln 日本",
    "latin": ("string", b"caf\xe9"),
    "empty": "",
    "isoSpeed": 800.0,
    "take": 7,
    "chromaticities": attributes.typed("chromaticities", 0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329),
    "adoptedNeutral": attributes.typed("v2f", 0.3127, 0.329),
    "screenWindowCenter": attributes.typed("v2f", 0.25, -0.5),
    "screenWindowWidth": 1.5,
    "originalDataWindow": attributes.typed("box2i", -5, -6, 7, 8),
    "boxF": attributes.typed("box2f", 0.1, 0.2, 0.3, 0.4),
    "d": attributes.typed("double", math.pi),
    "v2i": attributes.typed("v2i", -1, 2),
    "v2d": attributes.typed("v2d", math.pi, math.e),
    "v3i": attributes.typed("v3i", 1, 2, 3),
    "v3f": attributes.typed("v3f", 1, 2, 3),
    "v3d": attributes.typed("v3d", 1, 2, 3),
    "m33f": attributes.typed("m33f", *range(9)),
    "m33d": attributes.typed("m33d", *range(9)),
    "worldToCamera": attributes.typed("m44f", *range(16)),
    "m44d": attributes.typed("m44d", *range(16)),
    "envmap": attributes.typed("envmap", 1),
    "names": ("stringvector", struct.pack("<i", 3) + b"one" + struct.pack("<i", 0)),
    "noNames": ("stringvector", b""),
    "weights": ("floatvector", struct.pack("<3f", 1, 2, 3)),
    "preview": ("preview", struct.pack("<II", 2, 1) + bytes(range(8))),
    "notANumber": ("float", struct.pack("<I", 0x7FA00001)),
    "someStudio/own": ("ourOwnType", b"\0\1\2\xff"),
    "n" * 200: ("aTypeOfAVeryLongNameIndeedLongerThan31", b"x"),
    "nothing": ("void", b""),
}


def written(metadata) -> bytes:
    window = Window.of_size(5, 4)
    plane = np.ones((4, 5), np.float32)
    return encode_exr(Image({"R": plane}, window, window, metadata=metadata))[0]


def test_every_type_comes_back_bit_for_bit():
    data = written(EVERY_TYPE)
    assert read_exr(data).metadata == EVERY_TYPE
    raw = read_header(io.BytesIO(data), "x").parts[0].attributes
    for name, value in EVERY_TYPE.items():
        assert raw[name] == attributes.encode(value)
    again = read_exr(written(read_exr(data).metadata))
    assert again.metadata == EVERY_TYPE


def test_openexr_and_openimageio_understand_what_was_written(tmp_path):
    known = {k: v for k, v in EVERY_TYPE.items() if k not in {"latin", "notANumber"}}
    path = tmp_path / "a.exr"
    path.write_bytes(written(known))
    header = OpenEXR.File(str(path)).header()
    assert str(header["framesPerSecond"]) == "24000/1001"
    assert header["timeCode"].hours == 1
    assert header["timeCode"].frame == 4
    assert header["cameraMake"] == EVERY_TYPE["cameraMake"]
    np.testing.assert_array_equal(header["m44d"], np.arange(16.0).reshape(4, 4))
    source = OpenImageIO.ImageInput.open(str(path))
    assert source, OpenImageIO.geterror()
    assert source.spec().getattribute("cameraMake") == EVERY_TYPE["cameraMake"]
    assert source.spec().get_float_attribute("isoSpeed") == 800
    assert source.read_image("float") is not None


def test_attributes_of_a_file_that_openexr_wrote():
    more = {"owner": "somebody", "timeCode": OpenEXR.TimeCode(*range(1, 5), *[0] * 14), "lens": 35.5}
    metadata = read_exr(exr_files.exr(exr_files.planes("RGB"), **more)).metadata
    assert metadata["owner"] == "somebody"
    assert metadata["lens"] == 35.5
    assert attributes.numbers_of(metadata["timeCode"])[0] == 0x01020304
    assert not {"channels", "compression", "dataWindow", "type"} & set(metadata)


def test_metadata_pickles_and_goes_through_json():
    assert pickle.loads(pickle.dumps(EVERY_TYPE)) == EVERY_TYPE
    assert attributes.from_json(attributes.to_json(EVERY_TYPE)) == EVERY_TYPE
    assert attributes.from_json(attributes.to_json({"nan": math.nan, "i": 1, "f": 1.0}))["i"] == 1
    assert isinstance(attributes.from_json(attributes.to_json({"f": 1.0}))["f"], float)


@given(st.text("abcdefg/é", min_size=1, max_size=60), st.text("vwxyz", min_size=1, max_size=60), st.binary(max_size=99))
def test_any_bytes_of_any_unknown_type(name, kind, content):
    value = ("x" + kind, content)
    assert read_exr(written({"x" + name: value})).metadata["x" + name] == value


@given(st.one_of(st.text(), st.integers(-(2**31), 2**31 - 1), st.floats(width=32)))
def test_plain_values_return(value):
    returned = attributes.decode(*attributes.encode(value))
    assert type(returned) in {type(value), tuple}
    assert attributes.encode(returned) == attributes.encode(value)
    assert returned == value or math.isnan(value)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (True, ("int", b"\1\0\0\0")),
        (np.float32(0.5), ("float", struct.pack("<f", 0.5))),
        (np.int64(3), ("int", b"\3\0\0\0")),
        (2**40, ("string", b"1099511627776")),
        (1e300, ("double", struct.pack("<d", 1e300))),
        ([1, "é"], ("string", '[1, "é"]'.encode())),
        (None, ("string", b"null")),
    ],
)
def test_what_programs_note_down(value, stored):
    assert attributes.encode(value) == stored


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("timecode", b"abc"),
        ("float", b""),
        ("m44f", bytes(63)),
        ("stringvector", struct.pack("<i", 100) + b"short"),
        ("stringvector", struct.pack("<i", -4)),
        ("floatvector", b"abc"),
        ("preview", struct.pack("<II", 10, 10)),
    ],
)
def test_impossible_attributes_are_refused_not_passed_on(kind, content):
    damaged = replace_attributes(memoryview(written({})), {"x": (kind, content)})
    with pytest.raises(ImageReadError, match=f"plate: attribute 'x' of type '{kind}' has {len(content)} bytes"):
        read_exr(damaged, name="plate")


def test_readable_for_people():
    assert attributes.describe("text") == "text"
    assert attributes.describe(attributes.typed("rational", 24, 1)) == "rational(24, 1)"
    assert attributes.describe(EVERY_TYPE["names"]) == "stringvector(one, )"
    assert attributes.describe(("odd", b"abc")) == "odd(3 bytes)"


@pytest.mark.parametrize(
    ("name", "value"),
    [("", 1), ("a\0b", 1), ("n" * 256, 1), ("x", ("", b"")), ("x", ("int", b"")), ("x", ("a\0", b""))],
)
def test_what_no_header_can_hold_is_refused_on_writing(name, value):
    with pytest.raises(FrameError, match="attribute"):
        written({name: value})
