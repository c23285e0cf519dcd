"""What each farm hears, line by line."""

import io
import json

import pytest

from fbamatte.farm.dialects import Deadline, OpenJD, Tractor, progress_for
from fbamatte.farm.progress import FrameReport, JsonLines, Lines
from fbamatte.farm.settings import PROGRESS

RUN = [
    FrameReport(1001, "", "done", output="fba.1001.exr", seconds=0.5),
    FrameReport(1002, "", "retrying", error="server away (will be tried again)", retryable=True),
    FrameReport(1003, "left", "failed", error="plate.1003.exr: truncated\nsecond line"),
    FrameReport(1002, "", "skipped", output="fba.1002.exr"),
]


def heard(kind, code=1):
    stream = io.StringIO()
    progress = kind(stream)
    progress.start(3)
    for report in RUN:
        progress.frame(report)
    progress.close()
    progress.ended(code, "1 failed: --frames 1003")
    return stream.getvalue().splitlines()


def test_openjd():
    assert heard(OpenJD) == [
        "openjd_progress: 0.0",
        "openjd_status: frame 1001 done: fba.1001.exr (0.50 s)",
        "openjd_progress: 33.3",
        "openjd_status: frame 1002 retrying: server away (will be tried again)",
        "openjd_progress: 33.3",
        "openjd_status: frame 1003 (left) failed: plate.1003.exr: truncated second line",
        "openjd_progress: 66.7",
        "openjd_status: frame 1002 skipped: fba.1002.exr",
        "openjd_progress: 100.0",
        "openjd_fail: 1 failed: --frames 1003",
    ]
    assert not any(line.startswith("openjd_fail") for line in heard(OpenJD, code=0))


def test_deadline():
    lines = heard(Deadline)
    assert [line for line in lines if line.startswith("Progress")] == [f"Progress: {n}%" for n in (0, 33, 33, 66, 100)]
    assert lines[-1] == "Error: 1 failed: --frames 1003"


def test_tractor():
    lines = heard(Tractor)
    assert [line for line in lines if line.startswith("TR_PROGRESS")] == [
        f"TR_PROGRESS {n}%" for n in (0, 33, 33, 66, 100)
    ]
    assert lines[-1] == "TR_EXIT_STATUS 1"
    assert heard(Tractor, code=0)[-1] == "TR_EXIT_STATUS 0"


def test_lines_count_a_retried_frame_once():
    assert [line[:4] for line in heard(Lines)] == [" 33%", " 33%", " 66%", "100%"]


def test_json_is_one_object_a_line():
    states = [json.loads(line)["state"] for line in heard(JsonLines)]
    assert states == ["done", "retrying", "failed", "skipped"]


@pytest.mark.parametrize("name", PROGRESS)
def test_every_choice_has_a_progress(name):
    assert progress_for(name)
