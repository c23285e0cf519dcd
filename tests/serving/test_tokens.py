import datetime
import os
import time

import pytest
from structlog.testing import capture_logs

from fbamatte.errors import AuthenticationError, UsageError
from fbamatte.serving import tokens as module
from fbamatte.serving.tokens import SKEW_SECONDS, TokenFile, parse

SECRET, OTHER = "s" * 32, "t" * 32


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_RELOAD_SECONDS", 0.0)
    path = tmp_path / "tokens"
    path.touch(0o600)

    def write(text):
        path.write_text(text)
        os.utime(path, ns=(time.time_ns(), time.time_ns()))
        return path

    return write


def stamp(seconds):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return moment.isoformat(timespec="seconds")


def test_names_comments_and_blank_lines():
    found = parse(f"# who may call\n\n{SECRET}\nlighting {OTHER}  # the lighting team\n", "file")
    assert [token.name for token in found] == ["line 3", "lighting"]


def test_a_token_is_known_by_its_name(file):
    tokens = TokenFile(file(f"lighting {SECRET}\nfarm {OTHER}\n"))
    assert tokens.identify(OTHER) == "farm"
    for wrong in ("", "wrong", SECRET[:-1], SECRET + "s", OTHER.upper(), "lighting"):
        with pytest.raises(AuthenticationError):
            tokens.identify(wrong)


@pytest.mark.parametrize(("ends_in", "good"), [(60, True), (-SKEW_SECONDS / 2, True), (-SKEW_SECONDS - 5, False)])
def test_a_token_ends_when_it_says_give_or_take_the_skew_of_clocks(file, ends_in, good):
    tokens = TokenFile(file(f"guest {SECRET} {stamp(ends_in)}\nother {OTHER}\n"))
    if good:
        assert tokens.identify(SECRET) == "guest"
    else:
        with pytest.raises(AuthenticationError, match="'guest' has expired"):
            tokens.identify(SECRET)


def test_a_changed_file_holds_at_once(file):
    tokens = TokenFile(file(f"a {SECRET}\n"))
    file(f"b {OTHER}\n")
    assert tokens.identify(OTHER) == "b"
    with pytest.raises(AuthenticationError):
        tokens.identify(SECRET)


def test_an_emptied_file_lets_nobody_in(file):
    tokens = TokenFile(file(f"a {SECRET}\n"))
    file("# all gone\n")
    with pytest.raises(AuthenticationError):
        tokens.identify(SECRET)


@pytest.mark.parametrize("damage", ["missing", "unreadable line"])
def test_a_damaged_file_leaves_the_old_tokens_and_says_so(file, damage):
    path = file(f"a {SECRET}\n")
    tokens = TokenFile(path)
    path.unlink() if damage == "missing" else file(f"b {OTHER} not-a-date\n")
    with capture_logs() as lines:
        assert tokens.identify(SECRET) == "a"
    assert any(line["log_level"] == "error" for line in lines)
    assert OTHER not in str(lines)


@pytest.mark.parametrize("text", ["", "# nothing\n", f"a {SECRET} 2027-13-01\n", f"a b {SECRET} d\n"])
def test_a_file_without_use_is_refused_without_quoting_it(file, text):
    with pytest.raises(UsageError) as refused:
        TokenFile(file(text))
    assert SECRET not in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="nowhere"):
        TokenFile(tmp_path / "nowhere")


def test_no_token_is_kept_or_shown(file):
    with capture_logs() as lines:
        tokens = TokenFile(file(f"a {SECRET}\n"))
        with pytest.raises(AuthenticationError) as refused:
            tokens.identify(OTHER)
    seen = repr(vars(tokens)) + str(lines) + str(refused.value)
    assert SECRET not in seen
    assert OTHER not in seen
