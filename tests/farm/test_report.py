"""The report as data and as a page."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fbamatte.cli import main
from fbamatte.errors import UnavailableError
from fbamatte.farm.page import page
from fbamatte.farm.plan import plan
from fbamatte.farm.progress import FrameReport
from fbamatte.farm.report import RunReport
from fbamatte.farm.settings import MatteSettings
from made import write_sequence

VOID = {"meta", "img", "path"}


class Checker(HTMLParser):
    """Collects tags and notices those that are not closed, and anything that another file would have to bring."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.foreign = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.foreign += [v for k, v in attrs if k in {"src", "href"} and not (v or "").startswith("data:")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open[-1] != tag:
            assert self.open.pop() in {"p", "dt", "dd"}, f"unclosed before </{tag}>"
        self.open.pop()


@pytest.fixture
def job(tmp_path):
    shot = write_sequence(tmp_path / "<shot> & co", range(1001, 1006))
    return plan(
        MatteSettings(str(shot / "plate.####.exr"), trimap=str(shot / "trimap.####.exr"), output=str(tmp_path / "out"))
    )


@pytest.fixture
def report(job, tmp_path):
    sheet = tmp_path / "sheet.png"
    Image.fromarray(np.zeros((900, 1200, 3), np.uint8)).save(sheet)
    frames = [
        FrameReport(1001, "", "done", "a.exr", 1.5, 2e-8, read_seconds=0.1, estimate_seconds=1, preview=str(sheet)),
        FrameReport(1003, "", "failed", error="plate <1003> is truncated & gone"),
        FrameReport(1002, "", "failed", error="server away", retryable=True),
        FrameReport(1004, "", "skipped", "d.exr"),
    ]
    return RunReport(job, ["fbamatte", "matte", "x"], "closed-form", frames, code=1, seconds=3.0)


def test_what_is_still_to_do_can_be_pasted(report):
    found = report.as_dict()
    assert found["still_to_do"] == "1002-1003,1005"
    assert (found["done"], found["skipped"], found["failed"], found["not_reached"]) == (
        "1001",
        "1004",
        "1002-1003",
        "1005",
    )
    assert [frame["frame"] for frame in found["frames"]] == [1001, 1002, 1003, 1004]
    assert report.sentences()[-1] == "2 failed, 1 not reached: --frames 1002-1003,1005"


def test_the_page_is_one_sound_file(report):
    text = page(report)
    found = Checker(text)
    assert found.open == []
    assert found.foreign == []
    assert "script" not in found.tags
    assert "http" not in text
    assert found.tags.count("tr") == 1 + 4
    assert found.tags.count("img") == 1
    assert "svg" in found.tags


def test_the_page_shows_failed_frames_first_and_escapes_what_files_are_called(report):
    text = page(report)
    frames = re.findall(r"<tr><td class=n>(\d+)", text)
    assert frames == ["1002", "1003", "1001", "1004"]
    assert "plate &lt;1003&gt; is truncated &amp; gone" in text
    assert "&lt;shot&gt; &amp; co" in text
    assert "--frames 1002-1003,1005" in text


def test_thumbnails_are_small(report):
    data = re.search(r'src="data:image/jpeg;base64,([^"]+)"', page(report)).group(1)
    assert len(data) < 30_000


def test_a_page_without_a_single_frame(job):
    text = page(RunReport(job, [], "", [], code=75, stopped_by="no server takes frames"))
    assert Checker(text).open == []
    assert "no server takes frames" in text
    assert "--frames 1001-1005" in text


def test_a_lost_contact_sheet_does_not_cost_the_report(report, tmp_path):
    (tmp_path / "sheet.png").unlink()
    assert "sheet.png cannot be read" in page(report)


def test_the_command_writes_it_whatever_happens(tmp_path, monkeypatch, capsys):
    shot = write_sequence(tmp_path / "shot")
    (shot / "plate.1002.exr").unlink()
    arguments = ["matte", shot / "plate.####.exr", "--trimap", shot / "trimap.####.exr", "-o", shot / "out"]
    report = tmp_path / "reports" / "run.json"
    arguments = [str(a) for a in (*arguments, "--frames", "1001-1003", "--report", report)]
    assert main(arguments) == 1
    found = json.loads(report.read_text())
    assert (found["exit_code"], found["failed"], found["done"]) == (1, "1002", "1001,1003")
    assert Path(found["frames"][0]["output"]).exists()
    from fbamatte.engine import Engine

    def interrupted(*_):
        raise UnavailableError("gone")

    monkeypatch.setattr(Engine, "matte", interrupted)
    assert main([*arguments, "--overwrite"]) == 75
    found = json.loads(report.read_text())
    assert (found["exit_code"], found["stopped_by"], found["still_to_do"]) == (75, "gone", "1001-1003")
