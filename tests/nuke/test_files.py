"""Frames, EXR files, the cache and the preferences: what needs no Nuke at all."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest

from fbamatte_nuke import cache, exrfile, preferences
from fbamatte_nuke.frames import format_frames, parse_frames
from fbamatte_nuke.problems import Problem, from_os, from_server


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("1001", [1001]),
        ("1001-1003", [1001, 1002, 1003]),
        ("1001-1010x4", [1001, 1005, 1009]),
        ("1001 1003, 1007-1008", [1001, 1003, 1007, 1008]),
        ("-5--3", [-5, -4, -3]),
        ("-1-1", [-1, 0, 1]),
        ("3 1 3 2", [3, 1, 2]),
        ("", []),
    ],
)
def test_frames_as_compositors_type_them(text: str, frames: list[int]) -> None:
    assert parse_frames(text) == frames


@pytest.mark.parametrize("text", ["a", "1-", "1-2y3", "5-1", "1-9x0", "1..5", "1-5:2", "1-999999999"])
def test_frames_that_are_none_are_refused_by_name(text: str) -> None:
    with pytest.raises(Problem, match=r"range|frames"):
        parse_frames(text)


def test_format_is_read_back() -> None:
    assert format_frames([3, 1, 2, 7, -4, -3]) == "-4--3 1-3 7"
    chance = random.Random(1)
    for _ in range(200):
        frames = sorted({chance.randrange(-20, 20) for _ in range(chance.randrange(1, 15))})
        assert parse_frames(format_frames(frames)) == frames


COMPRESSIONS = {
    "none": OpenEXR.NO_COMPRESSION,
    "rle": OpenEXR.RLE_COMPRESSION,
    "zips": OpenEXR.ZIPS_COMPRESSION,
    "zip": OpenEXR.ZIP_COMPRESSION,
    "piz": OpenEXR.PIZ_COMPRESSION,
    "dwaa": OpenEXR.DWAA_COMPRESSION,
}


def write(path: Path, planes: dict[str, np.ndarray], compression: str = "zip", **header: Any) -> Path:
    head = {"type": OpenEXR.scanlineimage, "compression": COMPRESSIONS[compression], **header}
    OpenEXR.File(head, planes).write(str(path))
    return path


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("height", [1, 16, 37])
def test_a_whole_file_is_whole_and_a_shorter_one_never(tmp_path: Path, compression: str, height: int) -> None:
    noise = np.random.default_rng(0).random((height, 23), np.float32)
    window = ((-3, -5), (19, height - 6))
    path = write(tmp_path / "a.exr", {"A": noise, "fba_fg.R": noise.astype(np.float16)}, compression, dataWindow=window)
    info = exrfile.check(path)
    assert info.channels == {"A": 2, "fba_fg.R": 1}
    assert info.data_window == (-3, -5, 19, height - 6)
    data = path.read_bytes()
    for length in {0, 3, 8, 50, *range(100, len(data), max(1, len(data) // 60)), len(data) - 1}:
        path.write_bytes(data[:length])
        with pytest.raises(exrfile.UnreadableExr):
            exrfile.check(path)


def test_a_writer_that_was_killed_leaves_no_whole_file(tmp_path: Path) -> None:
    """OpenEXR writes the table of blocks last: until then it is zeros."""
    path = write(tmp_path / "a.exr", {"A": np.zeros((40, 8), np.float32)}, "zip")
    data = bytearray(path.read_bytes())
    end = _table(bytes(data))
    data[end : end + 8 * 3] = bytes(8 * 3)
    path.write_bytes(data)
    with pytest.raises(exrfile.UnreadableExr, match="block 1 of 3 is missing"):
        exrfile.check(path)


def _table(data: bytes) -> int:
    from nuke_standin import exr

    return exr.attributes(data)[1]


def test_header_says_who_made_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.exr", {"A": np.zeros((4, 8), np.float32)}, **{"fbamatte/model": "fba", "n": 3, "x": 0.5})
    attributes = exrfile.check(path).attributes
    assert {name: attributes[name] for name in ("fbamatte/model", "n", "x")} == {
        "fbamatte/model": "fba",
        "n": 3,
        "x": 0.5,
    }


def test_tiles_and_other_files_are_named_for_what_they_are(tmp_path: Path) -> None:
    tiles = OpenEXR.TileDescription()
    tiles.xSize, tiles.ySize, tiles.mode = 16, 16, OpenEXR.ONE_LEVEL
    path = tmp_path / "tiled.exr"
    OpenEXR.File({"type": OpenEXR.tiledimage, "tiles": tiles}, {"A": np.zeros((32, 32), np.float32)}).write(str(path))
    with pytest.raises(exrfile.UnreadableExr, match="tiled, deep or of several parts"):
        exrfile.check(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 100)
    with pytest.raises(exrfile.UnreadableExr, match="no EXR"):
        exrfile.check(path)


def test_garbage_is_refused_and_nothing_else_happens(tmp_path: Path) -> None:
    good = write(tmp_path / "a.exr", {"A": np.zeros((40, 30), np.float32)}).read_bytes()
    chance = random.Random(0)
    path = tmp_path / "b.exr"
    for _ in range(500):
        data = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        try:
            exrfile.check(path)
        except exrfile.UnreadableExr:
            continue


def test_trimap_is_counted_exactly(tmp_path: Path) -> None:
    trimap = np.random.default_rng(3).choice([0, 0.5, 1], (61, 47)).astype(np.float16)
    path = write(tmp_path / "t.exr", {"A": trimap}, "none")
    assert exrfile.trimap_counts(path) == tuple(int((trimap == value).sum()) for value in (0, 0.5, 1))
    with pytest.raises(exrfile.UnreadableExr, match="values other than"):
        exrfile.trimap_counts(write(tmp_path / "t.exr", {"A": trimap * np.float16(0.3)}, "none"))
    for planes, compression in (({"A": trimap}, "zip"), ({"A": trimap.astype(np.float32)}, "none")):
        with pytest.raises(exrfile.UnreadableExr, match="needed one plain half"):
            exrfile.trimap_counts(write(tmp_path / "t.exr", planes, compression))


@pytest.fixture(name="run")
def fixture_run(tmp_path: Path) -> cache.Run:
    run = cache.Run(tmp_path / "FBA1" / "0123456789abcdef-1")
    run.make({"node": "FBA1"})
    return run


def finish(run: cache.Run, frame: int, view: str = "main", **entry: Any) -> Path:
    part = run.part(view, frame)
    part.parent.mkdir(parents=True, exist_ok=True)
    write(part, {"A": np.zeros((4, 8), np.float32)})
    return run.commit(view, frame, **entry)


def test_a_frame_appears_whole_or_not_at_all(run: cache.Run) -> None:
    assert run.look("main", 1001).state == "missing"
    path = finish(run, 1001, seconds=2)
    assert run.look("main", 1001).state == "cached"
    assert run.journal()["main", 1001]["seconds"] == 2
    part = run.part("main", 1002)
    part.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(exrfile.UnreadableExr):
        run.commit("main", 1002)
    assert not part.exists()
    assert run.look("main", 1002).state == "missing"
    assert run.frames("main") == [1001]


def test_the_reads_pattern_leads_to_the_files(run: cache.Run) -> None:
    for frame in (-7, 0, 12, 1001, 123456):
        path = finish(run, frame, "left")
        assert Path(run.pattern.replace("%V", "left") % frame) == path
        assert "\\" not in run.pattern
    assert run.frames("left") == [-7, 0, 12, 1001, 123456]


def test_journal_outlives_a_cut_line(run: cache.Run) -> None:
    run.note("main", 1, "done")
    run.note("main", 2, "failed", reason="no")
    with (run.folder / "journal.jsonl").open("a") as stream:
        stream.write('{"view": "main", "fra')
    assert set(run.journal()) == {("main", 1), ("main", 2)}


def test_a_file_that_changes_is_noticed(run: cache.Run, tmp_path: Path) -> None:
    plate = tmp_path / "plate.exr"
    plate.write_bytes(b"one")
    entry = {"files": {str(plate): cache.mark(str(plate))}}
    assert cache.unchanged(entry)
    os.utime(plate, ns=(1, 1))
    assert not cache.unchanged(entry)
    plate.unlink()
    assert not cache.unchanged(entry)
    assert cache.unchanged({"files": {}})
    assert not cache.unchanged({})


def test_revisions_and_carrying_over(run: cache.Run) -> None:
    finish(run, 1001, files={"a": [1, 2]})
    assert cache.latest(run.folder.parent, run.key).folder == run.folder  # type: ignore[union-attr]
    following = cache.next_revision(run.folder.parent, run.key)
    assert following.folder.name == "0123456789abcdef-2"
    following.make({})
    cache.carry_over(run, following, "main", 1001, run.journal()["main", 1001])
    assert following.look("main", 1001).state == "cached"
    assert following.journal()["main", 1001]["files"] == {"a": [1, 2]}
    assert cache.next_revision(run.folder.parent, "f" * 16).folder.name == "f" * 16 + "-1"
    names = {found.folder.name for found in cache.runs(run.folder.parent)}
    assert names == {"0123456789abcdef-1", "0123456789abcdef-2"}


def test_usage_counts_and_remove_frees(run: cache.Run) -> None:
    size = finish(run, 1001).stat().st_size
    use = run.usage()
    assert use.files == 3
    assert use.bytes > size
    assert cache.remove(run.folder) == use
    assert not run.folder.exists()
    assert str(cache.Usage(1, 1234567)) == "1 file, 1.2 MB"
    assert str(cache.Usage(2, 12)) == "2 files, 12 bytes"


def test_folders_of_other_people_are_no_runs(tmp_path: Path) -> None:
    for name in ("backup", "0123456789abcdef", "0123456789abcdef-1.old"):
        (tmp_path / name).mkdir()
    assert cache.runs(tmp_path) == []
    assert cache.runs(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("name", "safe"),
    [("FBA1", "FBA1"), ("Group1.FBA1", "Group1.FBA1"), ("a/b:c", "a_b_c"), ("...", "node"), ("猫", "猫")],
)
def test_node_names_as_folders(name: str, safe: str) -> None:
    assert cache.safe_name(name) == safe


def test_preferences_come_from_environment_then_file(preferences_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert preferences.load() == preferences.Preferences()
    preferences.save(server="studio:50051", timeout=5.0)
    assert json.loads(preferences_file.read_text()) == {"server": "studio:50051", "timeout": 5.0}
    assert preferences.load().server == "studio:50051"
    monkeypatch.setenv("FBAMATTE_SERVER", "mine:1")
    assert preferences.load().server == "mine:1"
    assert preferences.load().timeout == 5.0
    monkeypatch.setenv("FBAMATTE_NUKE_MODE", "sideways")
    with pytest.raises(Problem, match="Choose one of auto, in-process, bridge"):
        preferences.load()


def test_token_comes_from_environment_or_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FBAMATTE_TOKEN", raising=False)
    file = tmp_path / "token"
    file.write_text("secret\n")
    chosen = preferences.Preferences(token_file=str(file))
    assert chosen.token() == "secret"
    monkeypatch.setenv("FBAMATTE_TOKEN", "other")
    assert chosen.token() == "other"
    monkeypatch.delenv("FBAMATTE_TOKEN")
    with pytest.raises(Problem, match="No such file"):
        preferences.Preferences(token_file=str(tmp_path / "none")).token()


def test_problems_say_what_to_do_and_whether_to_go_on() -> None:
    frame = from_server("INVALID_ARGUMENT", "plate is 3×4 but trimap is 2×2", "FBA1, frame 7")
    assert str(frame).startswith("FBA1, frame 7: plate is 3×4")
    assert not frame.fatal
    assert from_server("UNAVAILABLE", "gone", "FBA1, frame 7").fatal
    assert not from_server("RESOURCE_EXHAUSTED", "out of memory", "FBA1, frame 7").fatal
    assert from_server("UNAVAILABLE", "FBA1, frame 7: gone", "FBA1, frame 7").message == "FBA1, frame 7: gone"
    assert "disk is full" in str(from_os(OSError(28, "No space left on device"), "writing"))
