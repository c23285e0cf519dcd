import os
import shutil
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import OpenImageIO
import pytest

import exr_files
import made
from fbamatte.errors import ImageReadError, OutputError, UsageError
from fbamatte.frame import Matte, Window
from fbamatte.imaging import attributes
from fbamatte.imaging.exr import HALF_MAX, read_exr
from fbamatte.imaging.matte_exr import (
    MatteFormat,
    decode_matte,
    encode_counted,
    encode_matte,
    is_complete,
    write_atomic,
    write_matte,
)

DISPLAY, DATA = Window(0, 0, 39, 29), Window(-4, -3, 43, 32)


def matte(**more) -> Matte:
    random = np.random.default_rng(0)
    alpha = made.alpha()
    foreground, background = random.normal(1, 2, (2, *alpha.shape, 3)).astype(np.float32)
    given = {
        "alpha": alpha,
        "foreground": foreground,
        "background": background,
        "trimap": made.trimap(),
        "number": 1007,
        "view": "left",
        "display_window": DISPLAY,
        "data_window": DATA,
        "pixel_aspect": 2.0,
        "colorspace": "ACEScg",
        "metadata": {"timeCode": attributes.typed("timecode", 0x01020304, 0), "cameraMake": "日本"},
        "name": "plate.1007.exr",
        "provenance": {"model": "closed-form", "seconds": 1.5, "repairedPixels": 3},
    }
    return Matte(**{**given, **more})


def opened_by_oiio(path):
    source = OpenImageIO.ImageInput.open(str(path))
    assert source, OpenImageIO.geterror()
    return source.spec()


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


EXPECTED = {
    "premultiplied": ["R", "G", "B", "A"],
    "straight": ["R", "G", "B", "A"],
    "none": ["A"],
}


@pytest.mark.parametrize("rgba", EXPECTED)
@pytest.mark.parametrize("pixel_type", ["half", "float"])
@pytest.mark.parametrize("trimap", [False, True])
def test_channels_and_types_as_another_reader_sees_them(rgba, pixel_type, trimap, tmp_path):
    path = tmp_path / "m.exr"
    given = matte()
    assert write_matte(path, given, MatteFormat(rgba, pixel_type, write_trimap=trimap)) == 0
    spec = opened_by_oiio(path)
    layers = [f"{layer}.{c}" for layer in ("fba_fg", "fba_bg") for c in "RGB"]
    wanted = {*EXPECTED[rgba], *layers, *(["fba_trimap.A"] if trimap else [])}
    assert set(spec.channelnames) == wanted
    types = {n: str(spec.channelformat(i)) for i, n in enumerate(spec.channelnames)}
    full = wanted if pixel_type == "float" else {"A", "fba_trimap.A"}
    assert types == {n: "float" if n in full else "half" for n in wanted}
    assert spec.getattribute("compression") == "zip"
    assert spec.tile_width == 0
    assert (spec.x, spec.y, spec.width, spec.height) == (-4, -3, 48, 36)
    assert (spec.full_x, spec.full_y, spec.full_width, spec.full_height) == (0, 0, 40, 30)
    planes = exr_files.read_by_oiio(path)
    np.testing.assert_array_equal(planes["A"], given.alpha)
    rounding = 0 if pixel_type == "float" else 2**-11
    shown = given.foreground * given.alpha[..., None] if rgba == "premultiplied" else given.foreground
    for i, c in enumerate("RGB"):
        np.testing.assert_allclose(planes[f"fba_fg.{c}"], given.foreground[..., i], rtol=rounding, atol=6e-8)
        np.testing.assert_allclose(planes[f"fba_bg.{c}"], given.background[..., i], rtol=rounding, atol=6e-8)
        if rgba != "none":
            np.testing.assert_allclose(planes[c], shown[..., i], rtol=rounding, atol=6e-8)


def test_oiiotool_shows_attributes(tmp_path):
    tool = shutil.which("oiiotool", path=Path(sys.executable).parent) or shutil.which("oiiotool")
    if tool is None:
        pytest.skip("the OpenImageIO wheel of this platform ships no oiiotool")
    path = tmp_path / "m.exr"
    write_matte(path, matte())
    done = subprocess.run([tool, "--info", "-v", str(path)], capture_output=True, text=True, check=True)
    for line in (
        "channel list: R (half), G (half), B (half), A (float)",
        "pixel data origin: x=-4, y=-3",
        "full/display size: 40 x 30",
        'view: "left"',
        'fbamatte/model: "closed-form"',
        'fbamatte/colorspace: "ACEScg"',
        "fbamatte/seconds: 1.5",
        "01:02:03:04",
        "PixelAspectRatio: 2",
    ):
        assert line in done.stdout, done.stdout


@pytest.mark.parametrize("compression", ["zip", "zips", "piz", "none"])
def test_what_was_written_is_what_is_read(compression):
    given = matte()
    back = decode_matte(encode_matte(given, MatteFormat("straight", "float", compression, write_trimap=True)))
    for name in ("alpha", "foreground", "background", "trimap"):
        np.testing.assert_array_equal(getattr(back, name), getattr(given, name))
    for name in ("number", "view", "display_window", "data_window", "pixel_aspect", "colorspace", "provenance"):
        assert getattr(back, name) == getattr(given, name), name
    assert {k: v for k, v in back.metadata.items() if k in given.metadata} == given.metadata


def test_lossy_dwaa_is_near_and_keeps_alpha_exact():
    given = matte(foreground=np.full((36, 48, 3), 0.5, np.float32))
    back = decode_matte(encode_matte(given, MatteFormat(compression="dwaa")))
    np.testing.assert_array_equal(back.alpha, given.alpha)
    np.testing.assert_allclose(back.foreground, 0.5, atol=0.01)


def test_trimap_follows_from_alpha_where_it_was_not_written():
    back = decode_matte(encode_matte(matte()))
    np.testing.assert_array_equal(back.trimap, made.trimap())


def test_beyond_half_range_is_counted_and_never_infinite(tmp_path):
    given = matte()
    given.foreground[0, 0] = [1e6, -1e6, 65519.0]  # the last rounds to the largest half
    given.background[0, 1] = [np.inf, -np.inf, 65520.0]
    given.background[0, 2] = np.nan
    given.alpha[0, :2] = 1
    data, beyond = encode_counted(given, MatteFormat("none"))
    assert beyond == 5
    image = read_exr(data)
    assert image.metadata["fbamatte/halfOverflow"] == 5
    np.testing.assert_array_equal([image.channels[f"fba_fg.{c}"][0, 0] for c in "RGB"], [HALF_MAX, -HALF_MAX, HALF_MAX])
    np.testing.assert_array_equal([image.channels[f"fba_bg.{c}"][0, 1] for c in "RGB"], [HALF_MAX, -HALF_MAX, HALF_MAX])
    assert np.isnan(image.channels["fba_bg.R"][0, 2])
    assert encode_counted(given, MatteFormat())[1] == 7  # premultiplied R and G too
    data, beyond = encode_counted(given, MatteFormat(pixel_type="float"))
    assert beyond == 0
    assert read_exr(data).channels["fba_fg.R"][0, 0] == 1e6


def test_an_earlier_matte_as_plate_leaves_no_provenance_behind():
    metadata = {"fbamatte/model": "old", "fbamatte/digest": "abc", "owner": "me"}
    back = read_exr(encode_matte(matte(metadata=metadata))).metadata
    assert back["fbamatte/model"] == "closed-form"
    assert "fbamatte/digest" not in back
    assert back["owner"] == "me"


def test_not_a_matte_is_named():
    with pytest.raises(ImageReadError, match=r"x\.exr: is no matte of this program: lacks A, fba_bg\.B"):
        decode_matte(exr_files.exr(exr_files.planes("RGB")), name="x.exr")


@pytest.mark.parametrize(("field", "value"), [("rgba", "both"), ("pixel_type", "double"), ("compression", "rle")])
def test_unknown_words_are_refused(field, value):
    with pytest.raises(UsageError, match=value):
        MatteFormat(**{field: value})


def test_complete_means_every_pixel(tmp_path):
    path = tmp_path / "m.exr"
    assert not is_complete(path)
    write_matte(path, matte())
    assert is_complete(path)
    whole = path.read_bytes()
    for percent in range(0, 100, 3):
        path.write_bytes(whole[: len(whole) * percent // 100])
        assert not is_complete(path)
    path.write_bytes(exr_files.exr(exr_files.planes("RGBA")))
    assert not is_complete(path)


def test_writing_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "m.0001.exr"
    path.write_bytes(b"old")
    write_matte(path, matte())
    assert is_complete(path)
    assert names_in(tmp_path) == ["m.0001.exr"]
    mask = os.umask(0o022)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("name", ["with space.exr", "日本語.1001.exr", "é" * 125 + ".exr", "x" * 251 + ".exr"])
def test_names_up_to_255_bytes(name, tmp_path):
    folder = tmp_path / "ein Ordner 資料"
    folder.mkdir()
    write_matte(folder / name, matte())
    assert is_complete(folder / name)
    assert names_in(folder) == [name]


def test_folder_that_is_not_there_or_no_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "none" / "m.exr", tmp_path / "file" / "m.exr"):
        with pytest.raises(OutputError, match=f"{path}: cannot be written"):
            write_matte(path, matte())
    (tmp_path / "folder.exr").mkdir()
    with pytest.raises(OutputError, match=r"folder\.exr"):
        write_matte(tmp_path / "folder.exr", matte())
    assert names_in(tmp_path) == ["file", "folder.exr"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        write_matte(tmp_path / "m.exr", matte())


def test_file_too_large_leaves_the_old_one(tmp_path):
    """A real failure in the middle of writing: the kernel refuses to let the file grow."""
    path = tmp_path / "m.exr"
    path.write_bytes(b"old")
    code = f"""
        import resource, os
        from fbamatte.errors import OutputError
        from fbamatte.imaging.matte_exr import write_atomic
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            write_atomic({str(path)!r}, bytes(1_000_000))
        except OutputError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert f"{path}: cannot be written" in done.stdout
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["m.exr"]


def test_full_disk_leaves_nothing(tmp_path):
    """A file system of 64 KiB of our own, where the kernel allows one to be mounted."""
    code = f"""
        import os, subprocess, sys
        from fbamatte.errors import ResourceError
        from fbamatte.imaging.matte_exr import write_atomic
        folder = {str(tmp_path)!r}
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], stderr=-3).returncode:
            sys.exit(77)
        write_atomic(folder + "/small.exr", b"fits")
        try:
            write_atomic(folder + "/large.exr", bytes(1_000_000))
        except ResourceError as error:
            print(error, os.listdir(folder))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here, so no file system of our own")
    done = subprocess.run(["unshare", "-rm", *command], capture_output=True, text=True, check=False)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("mounting is not allowed here")
    assert done.returncode == 0, done.stderr
    assert "No space left on device" in done.stdout
    assert "['small.exr']" in done.stdout


def test_killed_while_writing_shows_no_unfinished_frame(tmp_path):
    code = f"""
        import itertools
        from fbamatte.imaging.matte_exr import write_atomic
        print("go", flush=True)
        for i in itertools.count():
            write_atomic({str(tmp_path)!r} + f"/m.{{i % 5:04}}.exr", bytes([i % 251]) * 3_000_000)
    """
    for delay in (0.0, 0.013, 0.05):
        child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
        child.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(delay)
        child.kill()
        child.wait()
        child.stdout.close()
        for path in tmp_path.glob("*.exr"):
            content = path.read_bytes()
            assert len(content) == 3_000_000
            assert content.count(content[:1]) == len(content)


def test_two_writers_of_one_name_never_mix(tmp_path):
    path = tmp_path / "m.exr"
    for content in (b"a" * 1000, b"b" * 2000):
        write_atomic(path, content)
        assert path.read_bytes() == content
