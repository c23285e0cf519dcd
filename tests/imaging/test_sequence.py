import re
from pathlib import Path

import fileseq
import pytest

from fbamatte.errors import ImageReadError, UsageError
from fbamatte.imaging.sequence import FrameSequence, compact, parse_frames

PATTERNS = [
    # pattern, frames, path of the first and last
    ("plate.%04d.exr", "1001-1003", "plate.1001.exr", "plate.1003.exr"),
    ("plate.%d.exr", "9-10", "plate.9.exr", "plate.10.exr"),
    ("plate.####.exr", "1001-1003", "plate.1001.exr", "plate.1003.exr"),
    ("plate.######.exr", "1", "plate.000001.exr", "plate.000001.exr"),
    ("plate.##.exr", "7,123", "plate.07.exr", "plate.123.exr"),
    ("plate.#.exr", "5", "plate.0005.exr", "plate.0005.exr"),
    ("plate.@@@.exr", "5", "plate.005.exr", "plate.005.exr"),
    ("plate.$F4.exr", "5", "plate.0005.exr", "plate.0005.exr"),
    ("plate.1001-1100#.exr", None, "plate.1001.exr", "plate.1100.exr"),
    ("plate.1001-1100####.exr", None, "plate.1001.exr", "plate.1100.exr"),
    ("plate.1001-1100x3,1120#.exr", None, "plate.1001.exr", "plate.1120.exr"),
    ("plate.1001-1100#.exr", "1005", "plate.1005.exr", "plate.1005.exr"),
    ("plate_-10--1#.exr", None, "plate_-010.exr", "plate_-001.exr"),
    ("plate.%04d.exr", "-5-5", "plate.-005.exr", "plate.0005.exr"),
    ("plate.%04d.exr", "9999-10001", "plate.9999.exr", "plate.10001.exr"),
    ("plate_v2-####.exr", "7", "plate_v2-0007.exr", "plate_v2-0007.exr"),
    ("####.exr", "7", "0007.exr", "0007.exr"),
    ("a.b.c_####.tar.exr", "7", "a.b.c_0007.tar.exr", "a.b.c_0007.tar.exr"),
    ("/shots/a b/日本 語.####.exr", "7", "/shots/a b/日本 語.0007.exr", "/shots/a b/日本 語.0007.exr"),
    ("/1-5#/v003_x.%04d.exr", "7", "/1-5#/v003_x.0007.exr", "/1-5#/v003_x.0007.exr"),
]


@pytest.mark.parametrize(("pattern", "frames", "first", "last"), PATTERNS)
def test_patterns(pattern, frames, first, last):
    sequence = FrameSequence.parse(pattern, frames)
    assert sequence.path(sequence.numbers[0]) == Path(first)
    assert sequence.path(sequence.numbers[-1]) == Path(last)
    assert not sequence.is_single


FRAMES = [
    ("1001", [1001]),
    ("1001-1004", [1001, 1002, 1003, 1004]),
    ("1001-1006x2,1120", [1001, 1003, 1005, 1120]),
    ("10-7", [10, 9, 8, 7]),
    ("-3--1", [-3, -2, -1]),
    ("-1-1", [-1, 0, 1]),
    ("5,1-5", [5, 1, 2, 3, 4]),
    (" 1 - 3 , 5 ", [1, 2, 3, 5]),
    ("1-6y2", [2, 4, 6]),
]


@pytest.mark.parametrize(("text", "numbers"), FRAMES)
def test_frames(text, numbers):
    assert parse_frames(text) == numbers


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1-10:3", [1, 4, 7, 10]), ("10-1:-4", [10, 6, 2]), ("1-3,7", [1, 2, 3, 7]), ("-5--1:2", [-5, -3, -1])],
)
def test_open_job_description_frames(text, numbers):
    assert parse_frames(text, "openjd") == numbers


@pytest.mark.parametrize(
    ("text", "syntax", "said"),
    [
        ("1001-1100:2", "fileseq", "a step is written with x"),
        ("1-10x2", "openjd", "a step is written with ':'"),
        ("1-10:0", "openjd", "step 0 never leads"),
        ("1-10:-2", "openjd", "step -2 never leads from 1 to 10"),
        ("", "fileseq", "list is empty"),
        ("abc", "fileseq", "not understood"),
        ("1-", "fileseq", "not understood"),
        ("1-10x0", "fileseq", "not understood"),
        ("1.5", "fileseq", "only whole"),
        ("1-2000000", "fileseq", "more than 1000000"),
        ("1-99999999999", "fileseq", "more than 1000000"),
        ("1", "maya", "known are fileseq and openjd"),
    ],
)
def test_frames_that_cannot_be_meant(text, syntax, said):
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        parse_frames(text, syntax)
    assert repr(text) in str(caught.value) or syntax == "maya" or not text


def test_agrees_with_fileseq_itself():
    for text in ("1-10x3", "1-10y3", "-7-7", "1001-1100x2,1120"):
        assert parse_frames(text) == list(fileseq.FrameSet(text))


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")


def test_found_on_disk(tmp_path):
    names = [f"p.{n:04}.exr" for n in (1003, 1001, 1002, -2, 12345)]
    touch(
        tmp_path, *names, "p.1004.exr.part", "p.10.exr", "p.01005.exr", "q.1006.exr", "p.1007.png", "p.x.exr", "p..exr"
    )
    assert FrameSequence.parse(tmp_path / "p.%04d.exr").numbers == (-2, 1001, 1002, 1003, 12345)
    assert FrameSequence.parse(tmp_path / "p.#.exr").numbers == (-2, 1001, 1002, 1003, 12345)
    with pytest.raises(ImageReadError, match=r"z\.%04d\.exr: no frame of this sequence is on disk"):
        FrameSequence.parse(tmp_path / "z.%04d.exr")
    with pytest.raises(ImageReadError, match="on disk"):
        FrameSequence.parse(tmp_path / "no folder" / "z.%04d.exr")


def test_missing_frames_are_named_exactly(tmp_path):
    touch(tmp_path, *(f"p.{n:04}.exr" for n in range(1001, 1011) if n not in {1003, 1004, 1008}))
    sequence = FrameSequence.parse(tmp_path / "p.####.exr", "1001-1010")
    assert sequence.missing() == [1003, 1004, 1008]
    with pytest.raises(ImageReadError, match=r"p\.####\.exr: missing frames 1003-1004,1008$"):
        sequence.check()
    FrameSequence.parse(tmp_path / "p.####.exr", "1001,1002").check()


def test_a_single_picture(tmp_path):
    touch(tmp_path, "still.exr", "plate.1017.exr")
    still = FrameSequence.parse(tmp_path / "still.exr")
    assert still.is_single
    assert still.numbers == (1,)
    assert FrameSequence.parse(tmp_path / "plate.1017.exr").numbers == (1017,)
    many = FrameSequence.parse(tmp_path / "still.exr", "1001-1003")
    assert {many.path(n) for n in many.numbers} == {tmp_path / "still.exr"}
    many.check()
    gone = FrameSequence.parse(tmp_path / "gone.exr", "1001-1003")
    assert gone.missing() == [1001, 1002, 1003]
    with pytest.raises(ImageReadError, match=r"gone\.exr: no such file"):
        gone.check()


def test_views(tmp_path):
    for view in ("left", "right"):
        touch(tmp_path / view, *(f"p_{view[0]}.{n:04}.exr" for n in (1, 2)))
    sequence = FrameSequence.parse(tmp_path / "%V" / "p_%v.####.exr")
    assert sequence.views == ("left", "right")
    assert sequence.numbers == (1, 2)
    assert sequence.path(2, "right") == tmp_path / "right" / "p_r.0002.exr"
    (tmp_path / "right" / "p_r.0002.exr").unlink()
    assert sequence.missing() == [2]
    assert sequence.missing("left") == []
    with pytest.raises(ImageReadError, match=r"\(right\): missing frames 2"):
        sequence.check()
    with pytest.raises(UsageError, match="which view"):
        sequence.path(1)
    assert FrameSequence.parse(tmp_path / "%V" / "p_%v.####.exr", views=["left"]).views == ("left",)


def test_views_that_are_not_on_disk_are_left_out(tmp_path):
    touch(tmp_path / "left", "p.0001.exr")
    assert FrameSequence.parse(tmp_path / "%V" / "p.####.exr").views == ("left",)


@pytest.mark.parametrize("name", ["with space.", "日本語.", "é" * 122 + ".", "x" * 246 + "."])
def test_any_name(name, tmp_path):
    touch(tmp_path / "名 前", f"{name}0007.exr"[-255:])
    sequence = FrameSequence.parse(tmp_path / "名 前" / f"{name}####.exr")
    assert sequence.numbers == (7,)
    assert sequence.path(7).is_file()


def test_thousands_of_frames_are_one_look_into_the_folder(tmp_path):
    touch(tmp_path, *(f"p.{n:04}.exr" for n in range(3000)))
    assert FrameSequence.parse(tmp_path / "p.####.exr", "0-2999").missing() == []


def test_compact():
    assert compact([3, 1, 2, 10]) == "1-3,10"
    assert compact([5]) == "5"
    assert compact([-2, -1]) == "-2--1"
    assert parse_frames(compact([1, 3, 5, 7, 8])) == [1, 3, 5, 7, 8]
