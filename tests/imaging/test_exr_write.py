"""What is written in ZIP, read by OpenEXR, against NumPy's conversion to half."""

import io

import numpy as np
import OpenEXR
import pytest

from fbamatte.compositing import half
from fbamatte.frame import Window
from fbamatte.imaging.exr import HALF_MAX, encode_exr
from fbamatte.imaging.image import Image

EDGES = [0, -0.0, 6e-8, 2.9e-8, -2.9e-8, 6.1e-5, 1, 1.00048828125, 65504, 65519.99, -65519.99, np.nan]


def plane(seed: int, height: int, width: int) -> np.ndarray:
    """Values of all sizes, each edge of half among them, laid out as a channel of an interleaved picture."""
    random = np.random.default_rng(seed)
    picture = (random.normal(size=(height, width, 3)) * 2.0 ** random.integers(-26, 14, (height, width, 3))).astype(
        "f4"
    )
    picture.reshape(-1)[: 3 * len(EDGES)] = np.repeat(EDGES, 3)[: picture.size]
    return picture[..., seed % 3]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (16, 1), (17, 13), (33, 40)])
@pytest.mark.parametrize("compression", ["zip", "zips"])
def test_openexr_reads_every_bit(compression, height, width):
    planes = {name: plane(i, height, width) for i, name in enumerate(["R", "A", "fba_fg.G", "Ä", "a" * 40])}
    window = Window(-3, -5, width - 4, height - 6)
    data, beyond = encode_exr(Image(planes, window, window), compression=compression, float_channels={"A"})
    assert beyond == 0
    file = OpenEXR.File(io.BytesIO(data), separate_channels=True)
    assert set(file.channels()) == set(planes)
    assert (
        file.header()["compression"] == {"zip": OpenEXR.ZIP_COMPRESSION, "zips": OpenEXR.ZIPS_COMPRESSION}[compression]
    )
    for name, given in planes.items():
        wanted = given if name == "A" else given.astype(np.float16)
        read = file.channels()[name].pixels
        assert read.dtype == wanted.dtype
        np.testing.assert_array_equal(read, wanted)
        np.testing.assert_array_equal(np.signbit(read), np.signbit(wanted))


def test_what_does_not_compress_is_stored():
    noise = np.random.default_rng(0).integers(0, 2**32, (48, 50), np.uint32) & np.uint32(0xBFFFFFFF)
    given, window = noise.view(np.float32), Window.of_size(50, 48)
    data, _ = encode_exr(Image({"A": given}, window, window), float_channels="all")
    assert len(data) > noise.nbytes
    read = OpenEXR.File(io.BytesIO(data), separate_channels=True).channels()["A"].pixels
    np.testing.assert_array_equal(read.view(np.uint32), noise)


@pytest.mark.parametrize("native", [True, False])
def test_nothing_becomes_infinite(native, monkeypatch):
    if native and not half.is_native():
        pytest.skip("this processor converts no half floats")
    monkeypatch.setattr(half, "_NATIVE", native)
    given = np.array([[65504, 65519.99, 65520, 1e9, np.inf], [-65504, -65520, -1e30, -np.inf, np.nan]], np.float32)
    bits = np.empty(given.shape, np.uint16)
    assert half.narrow(given, bits) == 6
    wanted = np.array([[1, 1, 1, 1, 1], [-1, -1, -1, -1, np.nan]]) * HALF_MAX
    np.testing.assert_array_equal(bits.view(np.float16), wanted)
    values = np.linspace(-70000, 70000, 999, dtype=np.float32).reshape(27, 37) ** 3 / np.float32(2e10)
    tiny = np.empty(values.shape, np.uint16)
    half.narrow(values, tiny)
    np.testing.assert_array_equal(tiny.view(np.float16), np.clip(values, -HALF_MAX, HALF_MAX).astype(np.float16))
