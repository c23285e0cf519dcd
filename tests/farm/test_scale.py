"""The simulation of a farm against what can be worked out by hand."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def scale():
    spec = importlib.util.spec_from_file_location("farm_scale", BENCHMARKS / "farm_scale.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def farm(scale, **changes):
    seconds = {"read": 0.1, "prepare": 0.1, "finish": 0.2, "write": 0.3, **changes.pop("seconds", {})}
    values = {"bytes_read": 10**6, "bytes_written": 10**6, "gpus": 1, "cores": 8, "storage": 1e12, "link": 1e12}
    return scale.Farm({"estimate": 0.05, **seconds}, **{**values, "jitter": 0.0, **changes})


@pytest.mark.parametrize("gpus", [1, 7])
def test_the_longest_stage_sets_the_pace(scale, gpus):
    found = scale.simulate(farm(scale, gpus=gpus))
    assert found["frames_per_hour"] == pytest.approx(3600 * gpus / 0.3, rel=0.03)
    assert found["waits_for"] == "one write at a time"


def test_a_slow_gpu_sets_the_pace(scale):
    found = scale.simulate(farm(scale, seconds={"estimate": 1.0}))
    assert found["frames_per_hour"] == pytest.approx(3600, rel=0.03)
    assert found["waits_for"] == "gpu"


def test_one_core_does_all_stages_in_turn(scale):
    found = scale.simulate(farm(scale, cores=1))
    assert found["frames_per_hour"] == pytest.approx(3600 / 0.7, rel=0.05)
    assert found["waits_for"] == "cores"


def test_storage_is_shared_by_all(scale):
    """Two megabytes a frame through ten megabytes a second: five frames a second, however many machines."""
    for gpus in (20, 60):
        found = scale.simulate(farm(scale, gpus=gpus, storage=1e7))
        assert found["frames_per_hour"] == pytest.approx(3600 * 5, rel=0.05)
        assert found["waits_for"] == "storage"
        assert found["read"] + found["written"] == pytest.approx(1e7, rel=0.05)


def test_the_link_of_a_machine_is_its_own(scale):
    found = scale.simulate(farm(scale, gpus=4, link=1e6))
    assert found["frames_per_hour"] == pytest.approx(4 * 3600 / 2, rel=0.05)
    assert found["waits_for"] == "link"


def test_from_measurement_to_table(tmp_path):
    measured = subprocess.run(
        [sys.executable, BENCHMARKS / "farm_stages.py", "--size", "160x90", "--runs", "1"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert set(json.loads(measured)["seconds"]) == {"read", "prepare", "finish", "write"}
    (tmp_path / "stages.json").write_text(measured)
    command = [
        sys.executable,
        BENCHMARKS / "farm_scale.py",
        tmp_path / "stages.json",
        "--estimate",
        "0.5",
        "--gpus",
        "1,2",
    ]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| 0.5")]
    assert [row[2].strip() for row in rows] == ["1", "2"]
    one, two = (float(row[3].replace(",", "")) for row in rows)
    assert two == pytest.approx(2 * one, rel=0.1)
