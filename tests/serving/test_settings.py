import argparse
import dataclasses
from pathlib import Path

import pytest

from fbamatte.cli.serve import to_flags
from fbamatte.errors import UsageError
from fbamatte.serving.settings import ServerSettings, Size
from fbamatte.settings import add_flags, from_arguments


def read(*flags, **environment):
    parser = argparse.ArgumentParser()
    add_flags(parser, ServerSettings)
    return from_arguments(ServerSettings, parser.parse_args(flags), environment)


@pytest.mark.parametrize(
    ("text", "size"), [("4096", 4096), ("512M", 512 * 2**20), ("1.5GiB", 3 * 2**29), ("2g", 2**31), ("8kb", 8192)]
)
def test_sizes(text, size):
    assert Size(text) == size


@pytest.mark.parametrize("text", ["", "M", "12X", "1M2"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        Size(text)


def test_a_flag_wins_over_the_environment_and_that_over_the_default():
    settings = read("--queue-size=3", FBAMATTE_QUEUE_SIZE="5", FBAMATTE_LANES="2", FBAMATTE_MODEL="a,b")
    assert (settings.queue_size, settings.lanes, settings.model) == (3, 2, ("a", "b"))
    assert settings.streams == ServerSettings().streams


def test_every_field_has_a_flag_that_gives_it_back():
    changed = {
        field.name: {bool: True, int: 7, float: 1.5, str: "x", Size: Size(9), tuple: ("a", "b")}[type(field.default)]
        for field in dataclasses.fields(ServerSettings)
    }
    changed |= {"precision": "fp16", "log_format": "json", "log_level": "debug"}
    settings = ServerSettings(**changed)
    assert read(*to_flags(settings)) == settings
    assert read(*to_flags(ServerSettings()), FBAMATTE_LOG="elsewhere", FBAMATTE_DETACH="1") == ServerSettings()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tls-cert=c"], "belong together"),
        (["--tls-client-ca=c"], "needs --tls-cert"),
        (["--lanes=0"], "--lanes is 0"),
        (["--queue-size=-1"], "--queue-size is -1"),
    ],
)
def test_settings_that_cannot_be_right(flags, message):
    with pytest.raises(UsageError, match=message):
        read(*flags)


def test_the_flag_for_tests_is_not_advertised():
    parser = argparse.ArgumentParser()
    add_flags(parser, ServerSettings)
    assert "testing" not in parser.format_help()


def test_every_flag_is_explained():
    page = (Path(__file__).parents[2] / "docs" / "server.md").read_text()
    flags = {"--" + field.name.replace("_", "-") for field in dataclasses.fields(ServerSettings)} - {"--testing"}
    assert {flag for flag in flags if f"{flag}`" not in page and f"{flag} " not in page} == set()
