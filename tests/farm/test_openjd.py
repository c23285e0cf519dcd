"""The Open Job Description bundle: checked, expanded and run by its own tools."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from fbamatte.cli import main
from fbamatte.farm.submit import openjd
from fbamatte.farm.submit.yaml import to_yaml
from fbamatte.imaging.exr import read_exr
from made import write_sequence

OPENJD, FBAMATTE = (shutil.which(name, path=Path(sys.executable).parent) for name in ("openjd", "fbamatte"))
needs_openjd = pytest.mark.skipif(OPENJD is None, reason="openjd-cli is not installed")
SLOW_MODEL = "testing-sleep-0.5"


@pytest.fixture
def shot(tmp_path):
    return write_sequence(tmp_path / "shot", range(1001, 1010))


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """Keep sessions, and servers that know the stand-ins, out of everybody else's way."""
    (tmp_path / "tmp").mkdir()
    for name, value in {"TMPDIR": str(tmp_path / "tmp"), "FBAMATTE_TESTING": "1"}.items():
        monkeypatch.setenv(name, value)


def bundle(shot, *more):
    arguments = [shot / "plate.####.exr", "--trimap", shot / "trimap.####.exr", "-o", shot / "out"]
    job = ["--bundle", shot / "job", "--executable", FBAMATTE or "fbamatte"]
    assert main([str(a) for a in ("submit", "openjd", *arguments, *job, *more)]) == 0
    return shot / "job"


def command(job, *more):
    return [OPENJD, "run", job / "template.yaml", "--step", "Matte", "-p", f"file://{job}/parameters.json", *more]


def start(job, *more):
    """Run a job in a process group of its own, as a farm's agent would."""
    return subprocess.Popen(
        command(job, *more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def servers(shot):
    """Return the servers of this shot's sessions."""
    mine = str(shot.parent / "tmp")
    found = [p for p in psutil.process_iter(["cmdline", "status"]) if "serve" in (p.info["cmdline"] or [])]
    return [p for p in found if mine in " ".join(p.info["cmdline"]) and p.info["status"] != psutil.STATUS_ZOMBIE]


def wait_for(condition, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.05)


def outputs(shot):
    return sorted(path.name for path in (shot / "out").glob("fba.*.exr"))


@needs_openjd
def test_the_model_of_the_specification_expands_it(shot):
    """Template and values go through openjd-model, which refuses what the specification does not allow."""
    from openjd.model import (
        DocumentType,
        create_job,
        decode_job_template,
        document_string_to_object,
        preprocess_job_parameters,
    )

    job = bundle(shot, "--frames", "1001-1009x2", "--frames-per-task", "2", "--gpus", "1")

    def read(name):
        return document_string_to_object(document=(job / name).read_text(), document_type=DocumentType.YAML)

    template = decode_job_template(template=read("template.yaml"), supported_extensions=["TASK_CHUNKING"])
    given = {entry["name"]: str(entry["value"]) for entry in read("parameter_values.yaml")["parameterValues"]}
    values = preprocess_job_parameters(
        job_template=template, job_parameter_values=given, job_template_dir=job, current_working_dir=job
    )
    step = create_job(job_template=template, job_parameter_values=values).steps[0]
    assert step.parameterSpace.taskParameterDefinitions["Frame"].chunks.defaultTaskCount == 2
    assert str(step.parameterSpace.taskParameterDefinitions["Frame"].range) == "1001-1009:2"
    assert (step.hostRequirements.amounts[0].name, step.hostRequirements.amounts[0].min) == ("amount.worker.gpu", 1)
    assert given == json.loads((job / "parameters.json").read_text())


def test_assets_are_the_files_that_are_read(shot):
    import yaml

    job = bundle(shot, "--frames", "1002-1003")
    found = yaml.safe_load((job / "asset_references.yaml").read_text())["assetReferences"]
    assert found["inputs"]["filenames"] == [
        f"{shot}/{kind}.{n}.exr" for kind in ("plate", "trimap") for n in (1002, 1003)
    ]
    assert found["outputs"]["directories"] == [str(shot / "out")]


@pytest.mark.parametrize(
    "value",
    [
        {"a": [{"b": 1, "c": ["x: y", "- z", "{{q}}"]}, []], "d": {}, "e": "yes", "f": "1e3", "g": "", "h": None},
        ["#", "'", '"', "ü ねこ", "a\nb", "1001-1100", "~", "null", "0x1", "a: b", "*x", "&x", "!x", "%x", "@x", "`x"],
    ],
)
def test_our_yaml_is_everybodys(value):
    import yaml

    assert yaml.safe_load(to_yaml(value)) == value


def test_no_session_server_where_one_is_named_or_cannot_do_it(shot):
    for more in (("--server", "host:50051"), ("--tta",)):
        job = bundle(shot, *more)
        text = (job / "template.yaml").read_text()
        assert "session-start" not in text
        assert "--model={{Param.Model}}" in text


@needs_openjd
def test_one_server_a_session_and_exact_mattes(shot, environment, capfd):
    """Nine frames in two chunks, one server, its end; a second runner finds all done; pixels as without a farm."""
    job = bundle(shot, "--gpus", "0", "--frames-per-task", "5")
    assert subprocess.run([OPENJD, "check", job / "template.yaml"], check=False).returncode == 0
    run = subprocess.run(command(job, "--preserve"), check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    assert "Chunks run: 2" in run.stdout
    logs = list((shot.parent / "tmp").rglob("fbamatte-server.log"))
    assert len(logs) == 1
    log = logs[0].read_text()
    assert log.count("draining") == 1
    assert servers(shot) == []
    assert not list((shot.parent / "tmp").rglob("socket"))
    local = [shot / "plate.####.exr", "--trimap", shot / "trimap.####.exr", "-o", shot / "local"]
    assert main([str(a) for a in ("matte", *local)]) == 0
    assert outputs(shot) == [f"fba.{n}.exr" for n in range(1001, 1010)]
    for name in outputs(shot):
        one, other = (read_exr(shot / folder / name) for folder in ("out", "local"))
        for channel in other.channels:
            np.testing.assert_array_equal(one.channels[channel], other.channels[channel])
        # so a shot that began on a farm is finished on any machine, and the other way round
        assert one.metadata["fbamatte/settings"] == other.metadata["fbamatte/settings"]


@needs_openjd
def test_a_killed_runner_leaves_no_server(shot, environment):
    job = bundle(shot, "--gpus", "0", "--model", SLOW_MODEL)
    runner = start(job)
    wait_for(lambda: len(outputs(shot)) >= 2)
    assert len(servers(shot)) == 1
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    wait_for(lambda: not servers(shot))
    assert all(read_exr(shot / "out" / name) for name in outputs(shot))


@pytest.mark.slow
@needs_openjd
def test_a_failed_frame_fails_the_job_and_the_server_ends_all_the_same(shot, environment):
    (shot / "plate.1002.exr").unlink()
    job = bundle(shot, "--gpus", "0", "--frames", "1001-1009")
    run = subprocess.run(command(job), check=False, capture_output=True, text=True)
    assert run.returncode == 1
    assert "openjd_fail: 1 failed: --frames 1002" in run.stdout
    assert "Exiting Environment: Server" in run.stdout
    assert servers(shot) == []
    assert len(outputs(shot)) == 8
    # mended, and only that frame asked for
    shutil.copy(shot / "plate.1001.exr", shot / "plate.1002.exr")
    again = subprocess.run(command(job, "--task-param", "Frame=1002"), check=False, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout
    assert len(outputs(shot)) == 9


@pytest.mark.slow
@needs_openjd
def test_a_runner_told_to_stop_stops_task_and_server(shot, environment):
    job = bundle(shot, "--gpus", "0", "--model", SLOW_MODEL)
    runner = start(job)
    wait_for(lambda: len(outputs(shot)) >= 2)
    runner.send_signal(signal.SIGTERM)
    said, _ = runner.communicate(timeout=240)
    assert runner.returncode != 0
    assert "Exiting Environment: Server" in said
    assert servers(shot) == []
    assert 2 <= len(outputs(shot)) < 9
    before = {name: (shot / "out" / name).stat().st_mtime_ns for name in outputs(shot)}
    again = subprocess.run(command(job), check=False, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout
    assert len(outputs(shot)) == 9
    assert {name: (shot / "out" / name).stat().st_mtime_ns for name in before} == before
    assert again.stdout.count(" skipped: ") == len(before)


@pytest.mark.slow
@needs_openjd
def test_two_runners_share_a_shot(tmp_path, environment):
    shot = write_sequence(tmp_path / "shot", range(1001, 1017))
    job = bundle(shot, "--gpus", "0", "--model", SLOW_MODEL)
    halves = ('[{"Frame":"1001-1004"},{"Frame":"1005-1008"}]', '[{"Frame":"1009-1012"},{"Frame":"1013-1016"}]')
    runners = [start(job, "--tasks", tasks) for tasks in halves]
    seen = set()
    while any(runner.poll() is None for runner in runners):
        seen |= {process.pid for process in servers(shot)}
        time.sleep(0.2)
    assert [runner.returncode for runner in runners] == [0, 0]
    assert len(seen) == 2
    assert len(outputs(shot)) == 16
    assert servers(shot) == []


def test_the_limits_of_an_action_leave_time_to_be_polite():
    """A runner that ends an action waits first; what it waits for must fit."""
    assert openjd.NOTICE_S >= 5
    assert openjd.STOP_S > 60


@needs_openjd
def test_nuke_routes_in_their_order(shot, tmp_path):
    """Both bundles with something in Nuke's place that writes down how it was called: no Nuke runs here."""
    nuke, said = tmp_path / "nuke", tmp_path / "said"
    nuke.write_text(f'#!/bin/sh\necho "$@" >> {said}\n')
    nuke.chmod(0o755)
    (tmp_path / "comp.nk").write_text("")
    given = {"Script": tmp_path / "comp.nk", "Ready": tmp_path / "ready.nk", "Frames": "1001-1004", "FramesPerTask": 2}
    given |= {"Nuke": nuke, "Renderer": "/plugin/fbamatte_render.py", "Executable": shutil.which("true")}
    template = Path(__file__).parents[2] / "docs" / "openjd-nuke" / "template.yaml"
    parameters = [part for name, value in given.items() for part in ("-p", f"{name}={value}")]
    for step in ("Matte", "Save", "Comp"):
        subprocess.run([OPENJD, "run", template, "--step", step, *parameters], check=True, capture_output=True)
    script, ready = given["Script"], given["Ready"]
    assert said.read_text().splitlines() == [
        *(f"-t /plugin/fbamatte_render.py {script} --frames {frames}" for frames in ("1001-1002", "1003-1004")),
        f"-t /plugin/fbamatte_render.py {script} --frames 1001-1004 --save-as {ready}",
        *(f"-x -F {frames} {ready}" for frames in ("1001-1002", "1003-1004")),
    ]
    said.unlink()
    job = bundle(shot, "--comp", script, "--nuke", nuke, "--frames", "1001-1004", "--frames-per-task", "4")
    command = [OPENJD, "run", job / "template.yaml", "--step", "Comp", "-p", f"file://{job}/parameters.json"]
    subprocess.run(command, check=True, capture_output=True)
    assert said.read_text() == f"-x -F 1001-1004 {script}\n"


@pytest.mark.skipif(
    shutil.which("deadline") is None, reason="deadline, the client of AWS Deadline Cloud, is not installed"
)
def test_deadline_cloud_reads_the_bundle(shot):
    job = bundle(shot, "--frames", "1001-1004")
    said = subprocess.run(["deadline", "bundle", "info", job], capture_output=True, text=True, check=True).stdout
    assert "Frames" in said
    assert "1001-1004" in said
