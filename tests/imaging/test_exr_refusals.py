"""Files that are cut short, damaged, or ask for too much: an error that names the file, nothing else."""

import io
import struct
import subprocess
import sys
import textwrap

import numpy as np
import OpenEXR
import pytest

import exr_files
from fbamatte.errors import ImageReadError
from fbamatte.imaging import attributes
from fbamatte.imaging.exr import Limits, read_exr
from fbamatte.imaging.exr_chunks import assemble
from fbamatte.imaging.exr_header import read_header

KINDS = {
    "zip": {},
    "none": {"compression": OpenEXR.NO_COMPRESSION},
    "piz": {"compression": OpenEXR.PIZ_COMPRESSION},
    "tiled": {"storage": exr_files.TILED},
    "decreasing": {"lineOrder": OpenEXR.DECREASING_Y},
    "multi-part": None,
}


def a_file(kind: str) -> bytes:
    planes = exr_files.planes("RGBA", 50, 75)
    if kind == "multi-part":
        display = {"display": ((0, 0), (49, 74))}
        return exr_files.multipart(("a", exr_files.planes("RGB", 20, 40), display), ("b", planes, display))
    return exr_files.exr(planes, **KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_at_every_percent(kind, tmp_path):
    data = a_file(kind)
    path = tmp_path / "plate.1001.exr"
    how = {"part": "b"} if kind == "multi-part" else {}
    for percent in [*range(100), 99.99]:
        path.write_bytes(data[: int(len(data) * percent / 100)])
        with pytest.raises(ImageReadError, match=r"plate\.1001\.exr"):
            read_exr(path, **how)
    path.write_bytes(data)
    read_exr(path, **how)


def test_holes_of_an_unfinished_render_are_no_pixels():
    data = bytearray(a_file("zip"))
    at = read_header(io.BytesIO(data), "x").tables_at
    struct.pack_into("<Q", data, at + 8, 0)
    with pytest.raises(ImageReadError, match=r"chunk 2 of 5 is missing: truncated or unfinished"):
        read_exr(bytes(data), name="x")


def test_chunks_in_each_others_place_are_noticed():
    data = bytearray(a_file("zip"))
    at = read_header(io.BytesIO(data), "x").tables_at
    data[at : at + 16] = data[at + 8 : at + 16] + data[at : at + 8]
    with pytest.raises(ImageReadError, match="chunk 1 of 5"):
        read_exr(bytes(data), name="x")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "file is empty"),
        (b"v/1", "truncated within its header"),
        (b"not an exr file at all, but text", "not an EXR"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not an EXR"),
        (b"v/1\x01\x09\0\0\0" + bytes(100), "version 9"),
        (b"v/1\x01\x02\0\0\0" + b"x" * 5000, "longer than 255"),
        (b"v/1\x01\x02\0\0\0" + bytes(100), "no 'channels'"),
    ],
)
def test_what_is_no_exr(content, said, tmp_path):
    path = tmp_path / "odd.exr"
    path.write_bytes(content)
    with pytest.raises(ImageReadError, match=said) as caught:
        read_exr(path)
    assert str(path) in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.exr", tmp_path):
        with pytest.raises(ImageReadError, match=str(path)):
            read_exr(path)


def test_damage_inside_a_chunk_is_an_error_and_prints_nothing(capfd):
    smooth = np.linspace(0, 1, 75 * 50).reshape(75, 50).astype(np.float16)  # noise would be stored uncompressed
    data = bytearray(exr_files.exr(dict.fromkeys("RGB", smooth)))
    header = read_header(io.BytesIO(data), "x")
    first = struct.unpack_from("<Q", data, header.tables_at)[0]
    data[first + 8 : first + 60] = b"\xff" * 52
    with pytest.raises(ImageReadError, match=r"x: damaged: .+"):
        read_exr(bytes(data), name="x")
    assert capfd.readouterr().out == ""


def bomb(window=(0, 0, 49, 74), channels=None, **more) -> bytes:
    """Return a well-formed header that asks for what its author likes, and one tiny chunk."""
    names = channels or ["B", "G", "R"]
    chlist = b"".join(n.encode() + b"\0" + struct.pack("<iB3xii", 1, 0, 1, 1) for n in names) + b"\0"
    head = {
        "channels": ("chlist", chlist),
        "compression": attributes.typed("compression", 3),
        "dataWindow": attributes.typed("box2i", *window),
        "displayWindow": attributes.typed("box2i", 0, 0, 99, 99),
        "lineOrder": attributes.typed("lineOrder", 0),
        "pixelAspectRatio": attributes.typed("float", 1.0),
        "screenWindowCenter": attributes.typed("v2f", 0.0, 0.0),
        "screenWindowWidth": attributes.typed("float", 1.0),
        **more,
    }
    return assemble(head, [struct.pack("<ii", window[1], 4) + b"abcd"])


BIG = 2**31 - 1
BOMBS = {
    "2^31 wide": lambda: bomb((-1, 0, BIG - 1, 0)),
    "2^31 square": lambda: bomb((0, 0, BIG, BIG)),
    "whole int range": lambda: bomb((-(2**31), -(2**31), BIG, BIG)),
    "far away": lambda: bomb((BIG - 10, 0, BIG, 10)),
    "inside out": lambda: bomb((10, 10, 5, 5)),
    "16K of lines in 400 bytes": lambda: bomb((0, 0, 15359, 15359)),
    "a million channels": lambda: bomb(channels=[f"c{i:07}" for i in range(1_000_000)]),
    "2000 channels": lambda: bomb(channels=[f"c{i:04}" for i in range(2000)]),
    "huge attribute": lambda: b"v/1\x01\x02\0\0\0" + b"a\0string\0" + struct.pack("<i", BIG) + bytes(1000),
    "negative attribute": lambda: b"v/1\x01\x02\0\0\0" + b"a\0string\0" + struct.pack("<i", -5) + bytes(1000),
    "a million attributes": lambda: b"v/1\x01\x02\0\0\0" + b"a\0int\0\4\0\0\0abcd" * 1_000_000,
    "30 MB of header": lambda: bomb(note=("string", bytes(30 * 2**20))),
    "preview of 2^32 pixels": lambda: bomb(preview=("preview", struct.pack("<II", 65536, 65536))),
    "tile of 2^31": lambda: bomb_tiled(BIG, BIG),
    "tile of nothing": lambda: bomb_tiled(0, 8),
}


def bomb_tiled(width, height) -> bytes:
    tiles = ("tiledesc", struct.pack("<IIB", width, height, 0))
    return bomb(tiles=tiles, type=("string", b"tiledimage"))


@pytest.mark.parametrize("kind", BOMBS)
def test_asking_for_too_much_is_refused(kind):
    with pytest.raises(ImageReadError, match="bomb"):
        read_exr(BOMBS[kind](), name="bomb")


def test_refusals_allocate_nothing(tmp_path):
    for i, make in enumerate(BOMBS.values()):
        (tmp_path / f"{i}.exr").write_bytes(make())
    black = dict.fromkeys("RGB", np.zeros((8640, 8000), np.float16))
    (tmp_path / "black.exr").write_bytes(exr_files.exr(black))
    code = f"""
        import resource, pathlib, sys
        from fbamatte.errors import ImageReadError
        from fbamatte.imaging.exr import Limits, read_exr
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        limits = Limits(ratio=200, ratio_free_bytes=2**26)
        for path in pathlib.Path({str(tmp_path)!r}).glob("*.exr"):
            try:
                read_exr(path, limits=limits)
                sys.exit(f"{{path}} was read")
            except ImageReadError:
                pass
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 64, "megabytes that refusing took"


def test_limits_are_the_callers(tmp_path):
    data = a_file("zip")
    read_exr(data, limits=Limits(pixels=50 * 75, channels=4, decoded_bytes=50 * 75 * 8))
    with pytest.raises(ImageReadError, match="limit 3749 pixels"):
        read_exr(data, limits=Limits(pixels=50 * 75 - 1))
    with pytest.raises(ImageReadError, match="more than 3 channels"):
        read_exr(data, limits=Limits(channels=3))
    with pytest.raises(ImageReadError, match="30000 bytes of pixels, limit 29999"):
        read_exr(data, limits=Limits(decoded_bytes=29999))
    with pytest.raises(ImageReadError, match="more than 1 parts"):
        read_exr(a_file("multi-part"), limits=Limits(parts=1))
    black = exr_files.exr(dict.fromkeys("RGB", np.zeros((500, 500), np.float16)))
    read_exr(black)
    with pytest.raises(ImageReadError, match="claim to hold 1500000 bytes"):
        read_exr(black, limits=Limits(ratio=100, ratio_free_bytes=0))


def test_damaged_files_crash_nothing(tmp_path):
    """Bytes changed at random, in a process of its own: refused or read, but never a crash."""
    for kind in KINDS:
        (tmp_path / f"{kind}.exr").write_bytes(a_file(kind))
    code = f"""
        import pathlib, random
        from fbamatte.errors import ImageReadError
        from fbamatte.imaging.exr import read_exr
        from fbamatte.imaging.exr_header import read_header
        dice, read, refused = random.Random(1), 0, 0
        for path in sorted(pathlib.Path({str(tmp_path)!r}).glob("*.exr")):
            whole = path.read_bytes()
            head = read_header(path.open("rb"), "x").tables_at
            for trial in range(200):
                data = bytearray(whole)
                end = head + 40 if trial % 2 else len(data)
                for _ in range(dice.choice([1, 1, 3, 20])):
                    data[dice.randrange(end)] = dice.randrange(256)
                try:
                    read_exr(bytes(data))
                    read += 1
                except ImageReadError:
                    refused += 1
        print(read, refused)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-3000:])
    read, refused = map(int, done.stdout.split())
    assert read + refused == 200 * len(KINDS)
    assert refused > 300
