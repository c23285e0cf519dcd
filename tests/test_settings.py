"""Settings from flags, environment and defaults, in that order."""

import argparse
from dataclasses import dataclass
from typing import Optional

import pytest

from fbamatte.errors import UsageError
from fbamatte.settings import add_flags, from_arguments, option, positional


@dataclass(frozen=True)
class Sample:
    plate: str = positional("the plate")
    inside: float = option(6.0, "100 % pixels", metavar="PX")
    model: tuple[str, ...] = option((), "models")
    mode: str = option("zip", "a mode", choices=("zip", "piz"))
    overwrite: bool = option(False, "write again")
    frames: Optional[str] = option(None, "frames")
    output: str = option("", "where", flags=("-o", "--output"))
    token: str = option("", "a secret", secret=True)


def parse(*arguments, **environment):
    parser = argparse.ArgumentParser()
    add_flags(parser, Sample)
    parser.format_help()
    return from_arguments(Sample, parser.parse_args(arguments), environment)


def test_defaults():
    assert parse("p.exr") == Sample("p.exr")


def test_flags():
    got = parse("p.exr", "--inside", "2.5", "--model", "a", "--model", "b", "--overwrite", "-o", "x", "--frames", "1-3")
    assert got == Sample("p.exr", 2.5, ("a", "b"), "zip", True, "1-3", "x")


def test_environment():
    got = parse("p.exr", FBAMATTE_INSIDE="3", FBAMATTE_MODEL="a,b", FBAMATTE_OVERWRITE="yes", FBAMATTE_TOKEN="t")
    assert got == Sample("p.exr", 3.0, ("a", "b"), overwrite=True, token="t")


def test_a_flag_wins_over_the_environment():
    assert parse("p.exr", "--inside", "1", "--no-overwrite", FBAMATTE_INSIDE="3", FBAMATTE_OVERWRITE="1") == Sample(
        "p.exr", 1.0
    )


@pytest.mark.parametrize(("name", "value"), [("INSIDE", "wide"), ("MODE", "rar"), ("OVERWRITE", "perhaps")])
def test_a_bad_variable_is_named(name, value):
    with pytest.raises(UsageError, match=f"FBAMATTE_{name}={value}"):
        parse("p.exr", **{f"FBAMATTE_{name}": value})


def test_a_secret_has_no_flag_and_is_not_printed(capsys):
    with pytest.raises(SystemExit):
        parse("p.exr", "--token", "x")
    assert "hunter2" not in repr(parse("p.exr", FBAMATTE_TOKEN="hunter2"))
    assert "unrecognized" in capsys.readouterr().err
