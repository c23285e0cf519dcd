"""``nuke -t fbamatte_render.py``: what a farm runs. Every test is a process of its own; there is nobody to click."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest

from fbamatte.serving.server import Server
from fbamatte.testing import serve_in_process

HERE = Path(__file__).resolve().parent
PLUGIN = HERE.parents[1] / "nuke_plugin"
APP = HERE / "standin" / "nuke_standin" / "app.py"


@pytest.fixture(name="server", scope="module")
def fixture_server() -> Iterator[Server]:
    with serve_in_process(models=("testing-null", "testing-sleep-1")) as server:
        yield server


@pytest.fixture(name="script")
def fixture_script(begin: Callable[..., Any], tmp_path: Path) -> Path:
    """A script with one FBA node, saved before anything was matted."""
    from nuke_standin import trees

    import nuke

    begin()
    trees.tree(tmp_path / "shot")
    nuke.scriptSaveAs(str(tmp_path / "shot" / "shot.nk"), 1)
    return tmp_path / "shot" / "shot.nk"


def command(*arguments: object) -> list[str]:
    line = [sys.executable, str(APP), "-p", str(PLUGIN), str(PLUGIN / "fbamatte_render.py")]
    return [*line, *(str(argument) for argument in arguments)]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FBAMATTE")}
    preferences = os.environ["FBAMATTE_NUKE_PREFERENCES"]
    return {
        **kept,
        "PYTHONPATH": str(HERE / "standin"),
        "FBAMATTE_NUKE_PREFERENCES": preferences,
        **more,
    }


def run(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), env=environment(**more), capture_output=True, text=True, check=False, timeout=90
    )


def test_matte_then_comp_as_two_jobs(script: Path, server: Server, tmp_path: Path) -> None:
    """First job: matte and save. Second job, without the plug-in: render a Write that reads the mattes."""
    import nuke

    node = nuke.toNode("FBA1")
    node["view_mode"].setValue("Comp")
    nuke.nodes.Write(
        name="Out", file=f"{tmp_path.as_posix()}/comp.%04d.exr", file_type="exr", channels="rgba", inputs=[node]
    )
    nuke.scriptSaveAs(str(script), 1)
    found = run(script, "--save", FBAMATTE_SERVER=server.addresses[0])
    assert found.returncode == 0, found.stderr
    assert "Progress: 0%  FBA1, frame 1001" in found.stdout
    assert "Progress: 66%  FBA1, frame 1003" in found.stdout
    assert "FBA1: 3 matted, 0 kept, 0 failed" in found.stderr
    farm = tmp_path / "farm.py"
    farm.write_text(f"import nuke\nnuke.scriptOpen({str(script)!r})\nnuke.execute('Out', 1001, 1003)\n")
    plain = subprocess.run(
        [sys.executable, str(APP), str(farm)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert plain.returncode == 0, plain.stderr
    with OpenEXR.File(str(tmp_path / "comp.1002.exr")) as file:
        assert np.any(file.channels()["RGBA"].pixels)


def test_second_run_keeps_and_says_so_as_json(script: Path, server: Server) -> None:
    lines = []
    for _ in range(2):
        found = run(script, "--server", server.addresses[0], "--json", "--frames", "1001-1003x2")
        assert found.returncode == 0, found.stderr
        lines.append([json.loads(line) for line in found.stdout.splitlines()])
    expected = [{"node": "FBA1", "frame": frame, "view": "main"} for frame in (1001, 1003)]
    assert lines[0] == [{**entry, "state": "done"} for entry in expected]
    assert lines[1] == [{**entry, "state": "kept"} for entry in expected]
    found = run(script, "--server", server.addresses[0], "--json", "--frames", "1001", "--overwrite")
    assert json.loads(found.stdout) == {**expected[0], "state": "done"}


def test_a_frame_that_fails_fails_the_job(script: Path, server: Server) -> None:
    (script.parent / "plate.main.1002.exr").unlink()
    found = run(script, "--server", server.addresses[0], "--json")
    assert found.returncode == 1
    states = {entry["frame"]: entry for entry in map(json.loads, found.stdout.splitlines())}
    assert [states[frame]["state"] for frame in (1001, 1002, 1003)] == ["done", "failed", "done"]
    assert "FBA1, frame 1002" in states[1002]["reason"]
    assert "No such file" in states[1002]["reason"]
    assert "still to do: 1002" in found.stderr


def test_a_server_that_is_away_is_worth_another_try(script: Path) -> None:
    found = run(script, "--server", "127.0.0.1:1", FBAMATTE_PATIENCE="0.5")
    assert found.returncode == 75
    assert "FBA1, frame 1001" in found.stderr
    assert "still to do: 1001-1003" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{folder}/none.nk"], "No such file"),
        (["{script}", "--node", "FBA7"], "FBA7 is no FBA node of this script. Its FBA nodes: FBA1"),
        (["{script}", "--frames", "9-1"], "runs backwards"),
        (["{script}", "--views", "left"], "no view left"),
        (["{script}", "--server", "nonsense"], "'nonsense' is no address"),
        ([], "required: script"),
        (["{script}", "--sausage"], "unrecognized"),
    ],
)
def test_wrong_usage(script: Path, arguments: list[str], words: str) -> None:
    found = run(*(argument.format(script=script, folder=script.parent) for argument in arguments))
    assert found.returncode == 2
    assert words in found.stderr
    assert "Traceback" not in found.stderr


def test_proxy_mode_fails_the_job(script: Path, server: Server) -> None:
    import nuke

    nuke.root()["proxy"].setValue(True)
    nuke.scriptSaveAs(str(script), 1)
    found = run(script, "--server", server.addresses[0])
    assert found.returncode == 2
    assert "proxy mode is on" in found.stderr


def test_list_needs_no_server(script: Path) -> None:
    found = run(script, "--list")
    assert (found.returncode, found.stdout) == (0, "FBA1: no matte yet\n")


def test_nodes_that_build_on_one_another_go_in_order(script: Path, server: Server) -> None:
    """FBA2 takes the result of FBA1 as its plate, and sorts before it in the script."""
    import nuke

    first = nuke.toNode("FBA1")
    first["view_mode"].setValue("Result")
    first.setSelected(False)
    second = nuke.createNode("FBA")
    second.setName("AFBA")
    second.setInput(0, first)
    second.setInput(1, first.input(1))
    nuke.scriptSaveAs(str(script), 1)
    found = run(script, "--server", server.addresses[0], "--json")
    assert found.returncode == 0, found.stderr
    order = [json.loads(line)["node"] for line in found.stdout.splitlines()]
    assert order == ["FBA1"] * 3 + ["AFBA"] * 3


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_leaves_whole_frames_only(script: Path, server: Server, sent: signal.Signals, code: int) -> None:
    import nuke

    nuke.toNode("FBA1")["model"].setValue("testing-sleep-1")
    nuke.scriptSaveAs(str(script), 1)
    process = subprocess.Popen(
        command(script, "--server", server.addresses[0], "--json"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["state"] == "done"
    time.sleep(0.3)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    files = [path.name for path in (script.parent / "fbamatte").rglob("*") if path.is_file()]
    assert "fba.1001.exr" in files
    assert not [name for name in files if name.endswith(".part")]
    found = run(script, "--server", server.addresses[0], "--json")
    assert found.returncode == 0
    assert json.loads(found.stdout.splitlines()[0])["state"] == "kept"
