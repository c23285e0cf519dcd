"""The command on real files, with everything that goes wrong at three in the morning."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import OpenImageIO as oiio  # noqa: N813  the name by which everybody knows it
import pytest

from fbamatte.cli import main
from fbamatte.frame import Window
from fbamatte.imaging.exr import read_exr
from fbamatte.models import devices
from made import HEIGHT, WIDTH, alpha, plate, write, write_plate, write_sequence


@pytest.fixture
def shot(tmp_path):
    return write_sequence(tmp_path / "shot")


def matte(folder, *more, roto="", trimap="trimap.####.exr", out="out/fba.####.exr"):
    source = ["--roto", folder / roto] if roto else ["--trimap", folder / trimap]
    return main([str(p) for p in ("matte", folder / "plate.####.exr", *source, "-o", folder / out, *more)])


def outputs(folder):
    return sorted(p.name for p in (folder / "out").iterdir())


def test_a_sequence(shot, capsys):
    assert matte(shot, "--preview", shot / "sheets") == 0
    assert outputs(shot) == [f"fba.{n}.exr" for n in (1001, 1002, 1003)]
    assert sorted(p.name for p in (shot / "sheets").iterdir()) == [f"fba.{n}.png" for n in (1001, 1002, 1003)]
    said = capsys.readouterr()
    assert "3 done" in said.out
    assert "100%" in said.err


def test_the_file_is_the_contracts(shot):
    """Read by OpenImageIO, not by ourselves."""
    assert matte(shot, "--frames", "1001", "--pixel-type", "float", "--write-trimap") == 0
    buffer = oiio.ImageBuf(str(shot / "out" / "fba.1001.exr"))
    names = set(buffer.spec().channelnames)
    layers = {f"{layer}.{c}" for layer in ("fba_fg", "fba_bg") for c in "RGB"}
    assert names == {*"RGBA", *layers, "fba_trimap.A"}
    pixels = buffer.get_pixels(oiio.FLOAT)
    plane = {name: pixels[..., i] for i, name in enumerate(buffer.spec().channelnames)}
    a = plane["A"]
    for i, c in enumerate("RGB"):
        f, b = plane[f"fba_fg.{c}"], plane[f"fba_bg.{c}"]
        truth = plate()[..., i]
        assert (np.abs(a * f + (1 - a) * b - truth) <= 1e-5 * np.maximum(1, np.abs(truth))).all()
        np.testing.assert_array_equal(plane[c], a * f)
        np.testing.assert_array_equal(f[a == 1], truth[a == 1])
        np.testing.assert_array_equal(b[a == 0], truth[a == 0])
    assert np.abs(a - alpha()).mean() < 0.02
    assert buffer.spec().get_string_attribute("fbamatte/model") == "closed-form"


def test_a_roto_makes_the_trimap(shot):
    assert (
        matte(shot, "--inside", "2", "--outside", "2.5", "--write-trimap", "--frames", "1002", roto="roto.####.exr")
        == 0
    )
    made = read_exr(shot / "out" / "fba.1002.exr").channels["fba_trimap.A"]
    assert set(np.unique(made)) == {0, 0.5, 1}
    assert not (shot / "out" / "fba.1001.exr").exists()


def test_finished_frames_are_skipped_and_broken_ones_made_again(shot, capsys):
    assert matte(shot) == 0
    before = {name: (shot / "out" / name).read_bytes() for name in outputs(shot)}
    (shot / "out" / "fba.1002.exr").write_bytes(before["fba.1002.exr"][:-200])
    times = {name: (shot / "out" / name).stat().st_mtime_ns for name in outputs(shot)}
    capsys.readouterr()
    assert matte(shot) == 0
    said = capsys.readouterr()
    assert "2 skipped" in said.out
    changed = [name for name in outputs(shot) if (shot / "out" / name).stat().st_mtime_ns != times[name]]
    assert changed == ["fba.1002.exr"]
    again = read_exr(shot / "out" / "fba.1002.exr").channels
    first = read_exr(before["fba.1002.exr"]).channels
    for name in first:
        np.testing.assert_array_equal(again[name], first[name])


def test_new_inputs_or_settings_make_frames_again(shot, capsys):
    assert matte(shot) == 0
    write_plate(shot / "plate.1003.exr", 1009)
    assert matte(shot, "--json") == 0
    states = {line["frame"]: line["state"] for line in map(json.loads, capsys.readouterr().out.splitlines()[1:])}
    assert states == {1001: "skipped", 1002: "skipped", 1003: "done"}
    assert matte(shot, "--json", "--rgba", "straight") == 0
    states = [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()]
    assert states == ["done"] * 3


def test_a_missing_frame_is_named_and_the_others_are_made(shot, capsys):
    (shot / "plate.1002.exr").unlink()
    assert matte(shot, "--frames", "1001-1003") == 1
    said = capsys.readouterr().err
    assert "plate.1002.exr" in said
    assert "--frames 1002" in said
    assert outputs(shot) == ["fba.1001.exr", "fba.1003.exr"]


def test_a_missing_trimap_is_named(shot, capsys):
    (shot / "trimap.1003.exr").unlink()
    assert matte(shot) == 1
    assert "trimap.1003.exr" in capsys.readouterr().err
    assert outputs(shot) == ["fba.1001.exr", "fba.1002.exr"]


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda _: b"no picture", lambda _: b""])
def test_a_damaged_plate_is_named(shot, capsys, damage):
    path = shot / "plate.1002.exr"
    path.write_bytes(damage(path.read_bytes()))
    assert matte(shot) == 1
    assert "plate.1002.exr" in capsys.readouterr().err
    assert outputs(shot) == ["fba.1001.exr", "fba.1003.exr"]


def test_a_trimap_of_another_size_is_refused(shot, capsys):
    write(shot / "trimap.1001.exr", {"A": np.ones((HEIGHT, WIDTH - 1), np.float32)})
    assert matte(shot) == 1
    said = capsys.readouterr().err
    assert "trimap.1001.exr" in said
    assert f"{WIDTH - 1}×{HEIGHT}" in said
    assert f"{WIDTH}×{HEIGHT}" in said


@pytest.mark.parametrize(
    ("values", "says"), [([0.5], "whole trimap is unknown"), ([0.5, 1], "no background"), ([0, 0.5], "no foreground")]
)
def test_a_trimap_that_says_too_little_is_refused(shot, capsys, values, says):
    trimap = np.resize(np.float32(values), (HEIGHT, WIDTH))
    write(shot / "trimap.1002.exr", {"A": trimap})
    assert matte(shot) == 1
    said = capsys.readouterr().err
    assert says in said
    assert "plate.1002.exr" in said
    assert "frame 1002" in said


def test_an_all_known_trimap_copies_exactly(shot):
    known = np.zeros((HEIGHT, WIDTH), np.float32)
    known[:, : WIDTH // 2] = 1
    write(shot / "trimap.1001.exr", {"A": known})
    assert matte(shot, "--frames", "1001", "--pixel-type", "float") == 0
    channels = read_exr(shot / "out" / "fba.1001.exr").channels
    np.testing.assert_array_equal(channels["A"], known)
    for i, c in enumerate("RGB"):
        np.testing.assert_array_equal(channels[f"fba_fg.{c}"], plate()[..., i])
        np.testing.assert_array_equal(channels[f"fba_bg.{c}"], plate()[..., i])


def test_nan_and_inf_are_counted_and_do_not_spread(shot, capsys):
    pixels = plate()
    pixels[5, 6] = np.nan
    pixels[HEIGHT // 2, WIDTH // 2, 1] = np.inf
    write(shot / "plate.1001.exr", dict(zip("RGB", np.moveaxis(pixels, -1, 0))))
    assert matte(shot, "--frames", "1001", "--pixel-type", "float") == 0
    assert "2 NaN or Inf" in capsys.readouterr().err
    found = read_exr(shot / "out" / "fba.1001.exr").channels
    assert matte(shot, "--frames", "1002", "--pixel-type", "float") == 0
    for name, channel in found.items():
        assert np.isfinite(channel).all(), name
    write_plate(shot / "plate.1001.exr", 1001)
    assert matte(shot, "--frames", "1001", "--pixel-type", "float") == 0
    clean = read_exr(shot / "out" / "fba.1001.exr").channels["A"]
    assert np.abs(clean - found["A"]).max() < 1e-6, "pixels in the known regions changed alpha elsewhere"


@pytest.mark.parametrize("size", [(1, 1), (1, 17), (23, 1), (7, 13), (31, 29)])
def test_odd_sizes(tmp_path, size):
    height, width = size
    rng = np.random.default_rng(height)
    trimap = np.resize(np.float32([0, 0.5, 1]), (height, width))
    write(tmp_path / "plate.1001.exr", {c: rng.random(size).astype(np.float32) for c in "RGB"})
    write(tmp_path / "trimap.1001.exr", {"A": np.ones(size, np.float32) if trimap.size == 1 else trimap})
    assert matte(tmp_path) == 0
    assert read_exr(tmp_path / "out" / "fba.1001.exr").channels["A"].shape == size


def test_overscan_and_attributes_come_back(shot):
    windows = {"display_window": Window(0, 0, 39, 29), "data_window": Window(-4, -3, WIDTH - 5, HEIGHT - 4)}
    write_plate(shot / "plate.1001.exr", **windows, pixel_aspect=2.0, metadata={"owner": "somebody", "shutter": 180.5})
    # as a roto node writes it: only where something was drawn
    y, x = np.nonzero(alpha() > 0.5)
    roto = (alpha() > 0.5).astype(np.float32)[y.min() : y.max() + 1, x.min() : x.max() + 1]
    box = Window(int(x.min()) - 4, int(y.min()) - 3, int(x.max()) - 4, int(y.max()) - 3)
    write(shot / "roto.1001.exr", {"A": roto}, display_window=Window(0, 0, 39, 29), data_window=box)
    assert matte(shot, "--frames", "1001", "--inside", "2", "--outside", "2", roto="roto.####.exr") == 0
    made = read_exr(shot / "out" / "fba.1001.exr")
    assert (made.display_window, made.data_window) == (windows["display_window"], windows["data_window"])
    assert made.pixel_aspect == 2
    assert made.metadata["owner"] == "somebody"
    assert made.metadata["shutter"] == 180.5
    assert np.abs(made.channels["A"] - alpha()).mean() < 0.05


@pytest.mark.parametrize("name", ["plate with spaces", "板 ねこ", "ü" * 115 + "x"])
def test_any_name(tmp_path, name):
    write_plate(tmp_path / name / f"{name}.1001.exr")
    write(tmp_path / name / "t.1001.exr", {"A": np.ones((HEIGHT, WIDTH), np.float32)})
    folder = tmp_path / name
    out = folder / f"{name}_fba.####.exr"
    arguments = ["matte", folder / f"{name}.####.exr", "--trimap", folder / "t.####.exr", "-o", out]
    assert main([str(a) for a in arguments]) == 0
    assert (folder / f"{name}_fba.1001.exr").exists()
    assert len(f"{name}_fba.1001.exr".encode()) <= 255


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--model", "nonsense"], "nonsense"),
        (["--model", "../../etc/passwd"], "passwd"),
        (["--input-space", "ARRI LogD"], "ARRI LogC"),
        (["--frames", "ten"], "ten"),
        (["--frames", "1001-1003:2"], "x2"),
        (["--device", "cuda:7"], "cuda:7"),
        (["--inside", "-3"], "inside"),
    ],
)
def test_wrong_usage(shot, capsys, more, says):
    roto = "roto.####.exr" if "--inside" in more else ""
    assert matte(shot, *more, roto=roto) == 2
    assert says in capsys.readouterr().err
    assert not (shot / "out").exists()


@pytest.mark.parametrize("model", ["closed-form", "refined"])
def test_a_precision_that_the_processor_lacks_is_refused_before_any_frame(shot, capsys, monkeypatch, model):
    monkeypatch.setattr(devices, "computes_bf16", lambda: False)
    assert matte(shot, "--model", model, "--device", "cpu", "--precision", "bf16") == 2
    assert "use --precision auto or fp32" in capsys.readouterr().err
    assert not list(shot.glob("out/*.exr"))


def test_no_frames_at_all(tmp_path, capsys):
    assert matte(tmp_path) in {1, 2}
    assert "plate.####.exr" in capsys.readouterr().err


def test_trimap_and_roto_together_are_refused(shot, capsys):
    assert matte(shot, "--roto", shot / "roto.####.exr") == 2
    assert "either --trimap or --roto" in capsys.readouterr().err


def test_mattes_never_overwrite_plates(shot, capsys):
    before = (shot / "plate.1001.exr").read_bytes()
    assert matte(shot, out="plate.####.exr") == 2
    assert "overwrite the plates" in capsys.readouterr().err
    assert (shot / "plate.1001.exr").read_bytes() == before


def test_one_name_for_many_frames_is_refused(shot, capsys):
    assert matte(shot, out="out/fba.exr") == 2
    assert "frame number" in capsys.readouterr().err


def test_a_pickle_that_is_no_checkpoint(shot, capsys):
    (shot / "model.pth").write_bytes(pickle.dumps({"answer": 42}))
    assert matte(shot, "--model", shot / "model.pth") == 2
    assert "model.pth" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(shot, capsys):
    (shot / "out").mkdir()
    (shot / "out").chmod(0o500)
    assert matte(shot) == 2
    assert "out" in capsys.readouterr().err


def test_an_output_below_a_file_is_refused(shot, capsys):
    (shot / "out").write_text("a file")
    assert matte(shot) == 2
    assert f"{shot / 'out'}: this folder cannot be made" in capsys.readouterr().err


def test_a_full_disk_stops_with_its_own_code_and_no_stub(shot, tmp_path, capsys):
    """A real full file system where this process may mount one."""
    full = tmp_path / "full"
    full.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24k", "none", str(full)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs rights that this process lacks")
    try:
        assert matte(shot, out=full / "fba.####.exr") == 75
        assert "No space left" in capsys.readouterr().err
        assert all(read_exr(path) for path in full.glob("*.exr"))
        assert not [p.name for p in full.iterdir() if p.suffix != ".exr"]
    finally:
        subprocess.run(["umount", full], check=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_soon_and_leaves_whole_files_only(tmp_path, number):
    shot = write_sequence(tmp_path / "shot", range(1001, 1101))
    command = [sys.executable, "-m", "fbamatte", "matte", shot / "plate.####.exr", "--trimap", shot / "trimap.####.exr"]
    process = subprocess.Popen([*command, "-o", shot / "out" / "fba.####.exr"], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "frame 1003" in line:
            break
    process.send_signal(number)
    process.stderr.read()
    assert process.wait(60) == 130
    left = sorted((shot / "out").iterdir())
    assert 3 <= len(left) < 100
    assert all(path.suffix == ".exr" and read_exr(path) for path in left)


def test_two_runs_share_a_shot_without_a_torn_frame(tmp_path):
    """The second writer of a frame refuses; together they finish it all."""
    shot = write_sequence(tmp_path / "shot", range(1001, 1013))
    command = [sys.executable, "-m", "fbamatte", "matte", shot / "plate.####.exr", "--trimap", shot / "trimap.####.exr"]
    command += ["-o", shot / "out" / "fba.####.exr", "--json"]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [[json.loads(line) for line in run.communicate(timeout=240)[0].splitlines()] for run in runs]
    for line in (line for lines in said for line in lines if line["state"] == "failed"):
        assert "another process is writing it" in line["error"]
    made = [line["frame"] for lines in said for line in lines if line["state"] == "done"]
    assert sorted(made) == list(range(1001, 1013))
    assert all(read_exr(path) for path in (shot / "out").iterdir())


def test_views(tmp_path):
    for view in ("left", "right"):
        write_plate(tmp_path / f"plate.{view}.1001.exr")
        write(tmp_path / f"trimap.{view}.1001.exr", {"A": np.ones((HEIGHT, WIDTH), np.float32)})
    arguments = ["matte", tmp_path / "plate.%V.####.exr", "--trimap", tmp_path / "trimap.%V.####.exr"]
    assert main([str(a) for a in (*arguments, "-o", tmp_path / "fba.%v.####.exr")]) == 0
    assert Path(tmp_path / "fba.l.1001.exr").exists()
    assert Path(tmp_path / "fba.r.1001.exr").exists()


def test_a_kill_anywhere_leaves_whole_frames_and_a_rerun_completes_them(tmp_path):
    """Short form of benchmarks/farm_kill.py: one kill here, twenty there."""
    script = Path(__file__).parents[2] / "benchmarks" / "farm_kill.py"
    command = [sys.executable, script, "--kills", "1", "--frames", "8", "--seed", "3"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(run.stdout)
    assert [found[name] for name in ("missing", "partial", "repeated", "unequal")] == [0] * 4


def test_a_server_that_is_not_there_is_worth_retrying(shot, capsys, monkeypatch):
    monkeypatch.setattr("fbamatte.cli.matte.PATIENCE_S", 0.5)
    assert matte(shot, "--server", "127.0.0.1:1") == 75
    assert "127.0.0.1:1" in capsys.readouterr().err
    assert not (shot / "out").exists()


def test_json_has_standard_output_to_itself(shot, capsys):
    (shot / "plate.1002.exr").unlink()
    assert matte(shot, "--progress", "json", "--frames", "1001-1003") == 1
    said = capsys.readouterr()
    assert {json.loads(line)["frame"] for line in said.out.splitlines()} == {1001, 1002, 1003}
    assert "--frames 1002" in said.err


def test_existing_error_does_nothing(shot, capsys):
    assert matte(shot, "--existing", "error") == 0
    before = {path: path.stat().st_mtime_ns for path in (shot / "out").iterdir()}
    assert matte(shot, "--existing", "error") == 2
    assert "1001-1003 are there already" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in (shot / "out").iterdir()} == before


def test_a_signal_in_the_middle_of_one_long_frame(tmp_path):
    """SIGTERM while the estimator computes something long: out before it is done."""
    shot = tmp_path / "shot"
    side = 1400
    rng = np.random.default_rng(1)
    write(shot / "plate.1001.exr", {c: rng.random((side, side), dtype=np.float32) for c in "RGB"})
    trimap = np.full((side, side), 0.5, np.float32)
    trimap[:2], trimap[-2:] = 0, 1
    write(shot / "trimap.1001.exr", {"A": trimap})
    command = [sys.executable, "-m", "fbamatte", "matte", shot / "plate.####.exr", "--trimap", shot / "trimap.####.exr"]
    process = subprocess.Popen(
        [*command, "-o", shot / "out", "--report", shot / "report.json"], stderr=subprocess.DEVNULL
    )
    while not list(shot.glob("out/.fbamatte-*.lock")):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(2)
    process.terminate()
    assert process.wait(60) == 130
    assert list((shot / "out").glob("*.exr")) == []
    report = json.loads((shot / "report.json").read_text())
    assert (report["stopped_by"], report["not_reached"], report["exit_code"]) == ("interrupted", "1001", 130)
