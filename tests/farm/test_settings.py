"""The settings of one run, and the flags that say them again."""

import argparse
import shlex

import pytest

from fbamatte.errors import UsageError
from fbamatte.farm.plan import fingerprint, plan
from fbamatte.farm.settings import MatteSettings, to_flags
from fbamatte.settings import add_flags, from_arguments
from made import write_sequence


def parse(line, environment=()):
    parser = argparse.ArgumentParser()
    add_flags(parser, MatteSettings)
    return from_arguments(MatteSettings, parser.parse_args(shlex.split(line)), dict(environment))


@pytest.mark.parametrize(
    "line",
    [
        "plate.####.exr --trimap t.####.exr -o out",
        "plate.####.exr --roto 'my rotos/r.####.exr' --inside 2.5 -o out --frames=-5--1 --no-continue-on-error",
        "p.exr --trimap t.exr -o o.exr --start -3 --end 12 --retries 2 --overwrite --tta --progress openjd",
    ],
)
def test_flags_give_the_same_settings_again(line):
    settings = parse(line)
    assert parse(shlex.join(to_flags(settings))) == settings


def test_a_token_never_becomes_a_flag():
    settings = parse("p.exr --trimap t.exr -o o", {"FBAMATTE_TOKEN": "secret"})
    assert settings.token == "secret"
    assert "secret" not in " ".join(to_flags(settings)) + repr(settings)


def test_flags_may_be_left_out():
    settings = parse("p.exr --trimap t.exr -o o --frames 1-9")
    assert to_flags(settings, without={"frames", "output"}) == ["p.exr", "--trimap=t.exr"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("--start 3", "belong together"),
        ("--start 1 --end 3 --frames 1-3", "not both"),
        ("--retries=-1", "--retries -1"),
        ("--report frames.txt", ".html or .json"),
        ("--tta --server host:1", "exclude each other"),
    ],
)
def test_what_contradicts_itself(more, says):
    with pytest.raises(UsageError, match=says):
        parse(f"p.exr --trimap t.exr -o o {more}")


def test_start_and_end(tmp_path):
    shot = write_sequence(tmp_path, range(1001, 1006))
    line = f"{shot}/plate.####.exr --trimap {shot}/trimap.####.exr -o {shot}/out"
    assert plan(parse(f"{line} --start 1002 --end 1004")).plate.numbers == (1002, 1003, 1004)
    assert plan(parse(f"{line} --start 1004 --end 1004")).plate.numbers == (1004,)
    with pytest.raises(UsageError, match="after"):
        plan(parse(f"{line} --start 1004 --end 1002"))


def test_ten_by_two_means_what_the_syntax_says(tmp_path):
    shot = write_sequence(tmp_path, range(1, 11))
    line = f"{shot}/plate.@.exr --trimap {shot}/trimap.@.exr -o {shot}/out.@.exr"
    assert plan(parse(f"{line} --frames 1-10:2 --frame-syntax openjd")).plate.numbers == (1, 3, 5, 7, 9)
    with pytest.raises(UsageError, match="x2"):
        plan(parse(f"{line} --frames 1-10:2"))


def test_the_fingerprint_names_what_decides_the_pixels_and_nothing_else():
    base = "p.exr --trimap t.exr -o o"
    same = ["--retries 3", "--report a.json", "--progress json", "--device cpu", "--preview x", "--overwrite"]
    other = ["--rgba none", "--tta", "--pixel-type float", "--precision fp16", "--write-trimap", "--compression none"]
    first = fingerprint(parse(base), "model")
    assert {fingerprint(parse(f"{base} {more}"), "model") for more in same} == {first}
    assert len({first, *(fingerprint(parse(f"{base} {more}"), "model") for more in other)}) == 7
    assert fingerprint(parse(base), "another") != first
