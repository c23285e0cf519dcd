"""The batch runner with estimators that fail as they do at night."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from fbamatte.engine import Engine
from fbamatte.errors import OutputError, ResourceError, UnavailableError
from fbamatte.farm import batch as batches
from fbamatte.farm.batch import Batch, exit_code
from fbamatte.farm.plan import plan
from fbamatte.farm.settings import MatteSettings
from fbamatte.imaging.exr import read_exr
from fbamatte.testing import NullEstimator
from made import write_sequence


class Silent:
    """Progress that only remembers."""

    def __init__(self):
        self.frames = []
        self.frame = self.frames.append

    def start(self, total):
        self.total = total

    def close(self):
        pass

    def ended(self, code, summary):
        pass


class Flaky(NullEstimator):
    """Out of memory the first ``times`` times that it is asked."""

    def __init__(self, times):
        super().__init__()
        self.left = times

    def estimate(self, image, trimap):
        if self.left:
            self.left -= 1
            raise MemoryError
        return super().estimate(image, trimap)


@pytest.fixture
def job(tmp_path):
    shot = write_sequence(tmp_path / "shot", range(1001, 1007))
    settings = MatteSettings(
        str(shot / "plate.####.exr"), trimap=str(shot / "trimap.####.exr"), output=str(tmp_path / "out")
    )
    return replace(plan(settings), settings="test")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(batches, "PAUSES_S", (0.0,))


def run(job, estimator, progress=None):
    with Engine(estimator=estimator) as engine:
        return Batch(job, engine.matte, progress or Silent()).run()


def states(reports):
    return {report.frame: report.state for report in reports}


def test_what_may_yet_succeed_is_tried_again(job):
    progress = Silent()
    reports = run(replace(job, retries=2), Flaky(3), progress)
    assert states(reports) == dict.fromkeys(range(1001, 1007), "done")
    retried = [report.frame for report in progress.frames if report.state == "retrying"]
    assert retried == [1001, 1002, 1003]
    assert all("will be tried again" in r.error for r in progress.frames if r.state == "retrying")
    assert len(reports) == 6


def test_retries_come_to_an_end(job):
    estimator = Flaky(10_000)
    reports = run(replace(job, retries=2), estimator)
    assert states(reports) == dict.fromkeys(range(1001, 1007), "failed")
    assert exit_code(reports) == 75
    assert 10_000 - estimator.left == 3 * 6


def test_what_can_never_succeed_is_not_tried_again(job):
    job.plate.path(1003).unlink()
    progress = Silent()
    reports = run(replace(job, retries=5), NullEstimator(), progress)
    assert states(reports)[1003] == "failed"
    assert exit_code(reports) == 1
    assert not [report for report in progress.frames if report.state == "retrying"]


def test_a_server_that_goes_away_is_asked_again_for_the_rest(job):
    """The verb itself breaks in the middle, as a client's does when its server is gone."""
    engine, broken = Engine(estimator=NullEstimator()), threading.Event()

    def matte(frames, on_error):
        for made in engine.matte(frames, on_error):
            yield made
            if made.number == 1003 and not broken.is_set():
                broken.set()
                raise UnavailableError("no server takes frames")

    reports = Batch(replace(job, retries=1), matte, Silent()).run()
    assert states(reports) == dict.fromkeys(range(1001, 1007), "done")
    broken.clear()
    with pytest.raises(UnavailableError):
        Batch(replace(job, existing="overwrite"), matte, Silent()).run()


def test_a_disk_that_is_full_for_a_moment(job, monkeypatch):
    real, calls = batches.work.write_matte, []

    def write_matte(path, *rest):
        calls.append(path)
        if len(calls) == 2:
            raise ResourceError(f"{path}: cannot be written: No space left on device")
        return real(path, *rest)

    monkeypatch.setattr(batches.work, "write_matte", write_matte)
    reports = run(replace(job, retries=1), NullEstimator())
    assert states(reports) == dict.fromkeys(range(1001, 1007), "done")
    assert len(calls) == 7


def test_stop_at_the_first_failure(job):
    job.plate.path(1002).unlink()
    reports = run(replace(job, continue_on_error=False), NullEstimator())
    assert states(reports)[1002] == "failed"
    assert exit_code(reports) == 1
    assert 1006 not in states(reports)


def test_existing_frames_can_be_an_error(job):
    assert exit_code(run(job, NullEstimator())) == 0
    job.output.path(1004).unlink()
    before = {path: path.stat().st_mtime_ns for path in job.output.path(1001).parent.iterdir()}
    with pytest.raises(OutputError, match=r"frames 1001-1003,1005-1006 are there already"):
        run(replace(job, existing="error"), NullEstimator())
    assert {path: path.stat().st_mtime_ns for path in job.output.path(1001).parent.iterdir()} == before


def test_existing_frames_can_be_made_again(job):
    run(job, NullEstimator())
    assert states(run(job, NullEstimator())) == dict.fromkeys(range(1001, 1007), "skipped")
    again = run(replace(job, existing="overwrite"), NullEstimator())
    assert states(again) == dict.fromkeys(range(1001, 1007), "done")


@pytest.mark.parametrize("chunks", [[6], [1, 2, 3], [1] * 6, [5, 1]])
def test_pixels_do_not_depend_on_how_the_range_was_cut(job, tmp_path, chunks):
    whole = replace(job, output=type(job.output).parse(str(tmp_path / "whole" / "fba.####.exr"), job.plate.numbers))
    with Engine() as engine:
        Batch(whole, engine.matte, Silent()).run()
    at = 0
    for size in chunks:
        with Engine() as engine:
            Batch(replace(job, frames=job.frames[at : at + size]), engine.matte, Silent()).run()
        at += size
    for number, view in job.frames:
        one, other = (read_exr(each.output.path(number, view)).channels for each in (whole, job))
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=f"{number} {name}")


def test_times_add_up(job):
    for report in run(job, NullEstimator()):
        assert report.read_seconds > 0
        assert report.write_seconds > 0
        assert report.work_seconds == report.read_seconds + report.estimate_seconds + report.write_seconds
