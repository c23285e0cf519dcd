"""The GPU's measurements, by the same code on the CPU at sizes that take no time."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = [
    "--device",
    "cpu",
    "--size",
    "24x32",
    "--precision",
    "fp32",
    "--repeat",
    "1",
    "--frames",
    "2",
    "--width",
    "0.125",
]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("speed_gpu")


@pytest.mark.parametrize(
    ("part", "methods"),
    [
        ("speed", ["eager fp32", "eager fp32, TF32 allowed", "fp32 streamed", "fp32 whole", "fp32 strips"]),
        ("memory", ["fp32 whole", "fp32 strips", "fp32 streamed"]),
        ("stream", ["fp32 engine"]),
        ("first", ["fp32 first frames"]),
    ],
)
def test_a_part_measures_all_of_its_methods(benchmark, tmp_path, part, methods):
    benchmark.main([part, *TINY, "--json", str(tmp_path / "rows.json")])
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["method"] for row in rows] == methods
    assert not [row for row in rows if "failed" in row]
    for row in rows:
        if "alpha_max" in row:
            assert row["alpha_max"] < 1e-3
            assert row["colour_max"] < 1e-3


def test_what_one_method_cannot_do_costs_no_other(benchmark, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(benchmark, "streamed", broken)
    benchmark.main(["speed", *TINY, "--json", str(tmp_path / "rows.json")])
    rows = {row["method"]: row for row in json.loads((tmp_path / "rows.json").read_text())["rows"]}
    assert rows.pop("fp32 streamed")["failed"] == "RuntimeError: no such kernel"
    assert len(rows) == 4
    assert all("seconds" in row for row in rows.values())


@pytest.mark.parametrize("part", ["speed", "memory", "stream"])
def test_a_precision_that_the_device_lacks_costs_no_other(benchmark, tmp_path, part):
    tiny = [option for option in TINY if option not in ("--precision", "fp32")]
    benchmark.main([part, *tiny, "--precision", "fp16", "fp32", "--json", str(tmp_path / "rows.json")])
    rows = {row["method"]: row for row in json.loads((tmp_path / "rows.json").read_text())["rows"]}
    assert rows["fp16"]["failed"].startswith("UsageError: fp16 is for GPUs")
    assert any(name.startswith("fp32") and "failed" not in row for name, row in rows.items())


def test_the_table_says_what_was_met_missed_and_never_measured(benchmark, tmp_path, capsys):
    uhd = {"height": 2160, "width": 3840}
    rows = [
        {"method": "bf16 streamed", "seconds": 0.03, "times_eager": 9.0, **uhd},
        {"method": "fp16 streamed", "failed": "OutOfMemoryError", **uhd},
        {"method": "fp32 strips", "seconds": 1.0, "alpha_max": 1e-4, "colour_max": 0.01, **uhd},
    ]
    (tmp_path / "speed.json").write_text(json.dumps({"rows": rows}))
    benchmark.main(["table", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert "| UHD, network with transfers | 30 ms | 33 ms | yes |" in lines
    assert "| UHD against plain eager float32 | 9 times | 10 times | no |" in lines
    assert "| UHD, fp32 strips, max colour error | 0.01 | 0.002  | no |" in lines
    assert "| peak at 8K, half precision, whole | unmeasured | 14 GiB |  |" in lines
    assert (tmp_path / "curves.png").is_file()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_the_one_command(tmp_path):
    environment = {
        **os.environ, "OUT": str(tmp_path), "PYTHON": sys.executable, "SIZES": "24x32", "LARGE": "32x40",
        "PARTS": "tests first speed memory pieces large stream", "SLACK": "20",
    }  # fmt: skip
    script = ["bash", str(ROOT / "benchmarks" / "speed_gpu.sh"), *(o for o in TINY if o not in ("--size", "24x32"))]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {
        *(f"{part}.json" for part in ("first", "speed", "memory", "pieces", "stream")),
        "curves.png",
        "log.txt",
    }
    assert len(json.loads((tmp_path / "first.json").read_text())["rows"]) == 2
    assert "| UHD, network with transfers | unmeasured" in (tmp_path / "log.txt").read_text()
