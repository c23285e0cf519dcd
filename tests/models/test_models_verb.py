"""``fbamatte models``: what the user sees of licences, hashes and broken files."""

import json

import pytest

from fbamatte.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FBAMATTE_MODELS", str(tmp_path / "the models"))
    return tmp_path / "the models"


def test_the_list_says_licence_use_and_default(capsys):
    assert main(["models"]) == 0
    default = capsys.readouterr().out
    assert main(["models", "list"]) == 0
    assert capsys.readouterr().out == default
    line = next(line for line in default.splitlines() if line.startswith("closed-form"))
    assert "(default)" in line
    assert "yes" in line
    assert "MIT" in line


def test_an_import_shows_licence_and_hash_and_is_listed(narrow_file, folder, capsys):
    assert main(["models", "import", str(narrow_file), "--name", "mine"]) == 0
    said = capsys.readouterr().out
    assert "non-commercial" in said
    assert str(folder / "mine.safetensors") in said
    assert main(["models", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["mine"]["sha256"] in said
    assert rows["mine"]["commercial"] is False
    assert rows["mine"]["default"] is False
    assert rows["closed-form"]["default"] is True
    assert main(["models", "list"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("mine"))
    assert "NO" in line
    assert rows["mine"]["sha256"][:12] in line


def test_json_after_the_action_too(narrow_file, capsys):
    assert main(["models", "import", str(narrow_file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "narrow"
    assert main(["models", "verify", "narrow", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"] is True
    assert main(["models", "list", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["closed-form", "refined", "narrow"]


def test_verify_reads_every_byte(narrow_file, folder, capsys):
    assert main(["models", "import", str(narrow_file)]) == 0
    assert main(["models", "verify", "narrow"]) == 0
    assert "as recorded" in capsys.readouterr().out
    path = folder / "narrow.safetensors"
    data = bytearray(path.read_bytes())
    data[-1000] ^= 4
    path.write_bytes(data)
    assert main(["models", "verify", "narrow"]) == 2
    assert "SHA-256" in capsys.readouterr().err


def test_verify_of_what_has_no_weights(capsys):
    assert main(["models", "verify", "closed-form"]) == 0
    assert "no weights" in capsys.readouterr().out


def test_a_broken_file_hides_no_other(folder, capsys):
    folder.mkdir()
    (folder / "broken.safetensors").write_bytes(b"junk")
    assert main(["models"]) == 0
    said = capsys.readouterr().out
    assert "broken" in said
    assert "cannot be used" in said
    assert "closed-form" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verify", "nothing"], "no model called 'nothing'"),
        (["import", "nowhere.pth"], "nowhere.pth: no such file"),
    ],
)
def test_mistakes_end_with_2_and_say_why(arguments, said, capsys):
    assert main(["models", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_bad_import_writes_nothing(tmp_path, folder, capsys):
    (tmp_path / "bad.pth").write_bytes(b"no checkpoint")
    assert main(["models", "import", str(tmp_path / "bad.pth")]) == 2
    assert "bad.pth" in capsys.readouterr().err
    assert not folder.exists()


def test_the_folder_is_the_users_own_where_nothing_names_one(monkeypatch):
    from fbamatte.models.folder import models_folder

    monkeypatch.delenv("FBAMATTE_MODELS")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    monkeypatch.setattr("sys.platform", "linux")
    assert models_folder().as_posix() == "/data/fbamatte/models"
    monkeypatch.setattr("sys.platform", "darwin")
    assert models_folder().as_posix().endswith("/Library/Application Support/fbamatte/models")
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert models_folder().as_posix() == "/local/fbamatte/models"
