"""Ray as the engine of a batch; skips itself where Ray is not installed, which is the usual case."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fbamatte.cli import main
from fbamatte.farm.ray_worker import Worker
from fbamatte.farm.settings import MatteSettings
from made import write_sequence

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed: pip install 'fbamatte[ray]'")


def matte(shot, *more):
    arguments = ["matte", shot / "plate.####.exr", "--trimap", shot / "trimap.####.exr", "-o", shot / "out", *more]
    return main([str(a) for a in arguments])


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_without_ray_it_says_what_to_install(tmp_path, capsys):
    shot = write_sequence(tmp_path)
    assert matte(shot, "--engine", "ray") == 2
    assert "fbamatte[ray]" in capsys.readouterr().err
    assert not (shot / "out").exists()


def test_what_a_worker_does_needs_no_ray(tmp_path):
    """The worker is a plain class: read, estimate, write, and a report in every case."""
    from fbamatte.farm.plan import plan

    shot = write_sequence(tmp_path)
    settings = MatteSettings(f"{shot}/plate.####.exr", trimap=f"{shot}/trimap.####.exr", output=f"{shot}/out")
    job = replace(plan(settings), settings="test")
    job.make_folders()
    (shot / "plate.1003.exr").unlink()
    worker = Worker(job, settings)
    assert worker.ready()
    assert [worker.matte((n, "")).state for n in (1001, 1002, 1003)] == ["done", "done", "failed"]
    assert worker.matte((1001, "")).state == "skipped"
    assert sorted(path.name for path in (shot / "out").iterdir()) == ["fba.1001.exr", "fba.1002.exr"]


@pytest.mark.slow
@needs_ray
def test_a_cluster_of_this_machine(tmp_path, capsys):
    shot = write_sequence(tmp_path, range(1001, 1009))
    (shot / "plate.1004.exr").unlink()
    assert matte(shot, "--engine", "ray", "--json", "--frames", "1001-1008") == 1
    states = {line["frame"]: line["state"] for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert states == {n: "failed" if n == 1004 else "done" for n in range(1001, 1009)}
    # what a cluster made, one machine knows
    assert matte(shot, "--json", "--frames", "1001-1003") == 0
    assert {json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()} == {"skipped"}


@pytest.mark.slow
@needs_ray
def test_a_node_that_is_killed_costs_no_more_than_the_frames_in_its_hands(tmp_path):
    script = Path(__file__).parents[2] / "benchmarks" / "farm_ray.py"
    run = subprocess.run([sys.executable, script, "--frames", "24"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
