"""The jobs for farms, each looked at by something that did not write it."""

import argparse
import re
import shlex
import shutil
import subprocess
from xml.etree import ElementTree as ET

import pytest

from fbamatte.cli import main
from fbamatte.errors import UsageError
from fbamatte.farm.settings import MatteSettings
from fbamatte.farm.submit import deadline, opencue, tractor
from fbamatte.farm.submit.submission import Submission, SubmitSettings
from fbamatte.settings import add_flags, from_arguments
from made import write_sequence

# The part of cjsl-1.15.dtd that a matte job uses: what may stand in an element, in this order.
CJSL = {
    "spec": "facility dept show shot user email uid job depends",
    "job": "paused priority maxretries maxcores maxgpus autoeat localbook os env layers",
    "layer": "cmd range chunk cores threadable memory gpus gpu gpu_memory timeout timeout_llu tags limits env services "
    "outputs",
    "layers": "layer",
    "services": "service",
}


@pytest.fixture
def shot(tmp_path):
    return write_sequence(tmp_path / "my {shot} [v1]", range(1001, 1013))


def submission(shot, line="", submit=""):
    command = f"--trimap {shlex.quote(str(shot))}/trimap.####.exr -o {shlex.quote(str(shot))}/out {line}"
    settings = parse(MatteSettings, f"{shlex.quote(str(shot))}/plate.####.exr {command}")
    return Submission.of(settings, parse(SubmitSettings, f"--bundle {shlex.quote(str(shot))}/job {submit}"))


def parse(kind, line):
    parser = argparse.ArgumentParser()
    add_flags(parser, kind)
    return from_arguments(kind, parser.parse_args(shlex.split(line)), {})


def matted(arguments):
    """Return what a task's command would matte with."""
    executable, verb, *rest = arguments
    assert (executable, verb) == ("fbamatte", "matte")
    return parse(MatteSettings, shlex.join(rest))


def entries(text):
    return dict(line.split("=", 1) for line in text.splitlines())


def test_deadline(shot):
    job = submission(shot, "--inside 3 --retries 2", "--priority 70 --frames-per-task 5")
    info = entries(deadline.job_info(job))
    assert (info["Plugin"], info["Frames"], info["ChunkSize"], info["Priority"]) == (
        "CommandLine",
        "1001-1012",
        "5",
        "70",
    )
    assert info["OutputDirectory0"] == str(shot / "out")
    plugin = entries(deadline.plugin_info(job))
    # what Deadline does to the arguments of a task
    line = plugin["Arguments"].replace("<STARTFRAME>", "1006").replace("<ENDFRAME>", "1010").replace("<QUOTE>", '"')
    settings = matted([plugin["Executable"], *shlex.split(line)])
    assert (settings.start, settings.end, settings.retries, settings.progress) == (1006, 1010, 2, "deadline")
    assert settings.plate == str(shot / "plate.####.exr")


@pytest.mark.parametrize(("frames", "chunk"), [("1001-1012", "5"), ("1001-1012x2", "1"), ("1001-1003,1009", "1")])
def test_a_task_told_first_and_last_alone_spans_no_gap(shot, frames, chunk):
    job = submission(shot, f"--frames {frames}", "--frames-per-task 5")
    assert entries(deadline.job_info(job))["ChunkSize"] == chunk
    assert ET.fromstring(opencue.specification(job)).findtext(".//chunk") == chunk


@pytest.mark.skipif(shutil.which("tclsh") is None, reason="tclsh, which reads Tractor's job script, is not installed")
def test_tractor(shot, tmp_path):
    """Tcl itself takes the script apart."""
    job = submission(shot, "--frames 1001-1012x2", "--frames-per-task 4 --gpus 0")
    reader = tmp_path / "reader.tcl"
    reader.write_text(
        """
        proc Job {args} { array set o $args; puts "job\\t$o(-title)\\t$o(-priority)\\t$o(-service)"
                           eval $o(-subtasks) }
        proc Task {title args} { array set o $args; puts "task\\t$title"; eval $o(-cmds) }
        proc RemoteCmd {line args} { puts "cmd\\t[join $line \\x01]" }
        source [lindex $argv 0]
        """
    )
    script = tmp_path / "job.alf"
    script.write_text(tractor.script(job))
    said = subprocess.run(["tclsh", reader, script], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0] == "job\tfbamatte plate.####.exr\t50\tfbamatte"
    assert [line.split("\t")[1] for line in said if line.startswith("task")] == [
        "frames 1001-1007x2",
        "frames 1009,1011",
    ]
    commands = [matted(line.split("\t", 1)[1].split("\x01")) for line in said if line.startswith("cmd")]
    assert [settings.frames for settings in commands] == ["1001-1007x2", "1009,1011"]
    assert {settings.plate for settings in commands} == {str(shot / "plate.####.exr")}
    assert {settings.progress for settings in commands} == {"tractor"}


def test_opencue(shot):
    job = submission(shot, "--rgba none", "--gpus 2")
    text = opencue.specification(job)
    root = ET.fromstring(text)
    for element in root.iter():
        allowed = CJSL.get(element.tag, "").split()
        order = [allowed.index(child.tag) for child in element]
        assert order == sorted(order), f"<{element.tag}> in another order than its definition's"
    assert re.fullmatch(r"[\w.-]+", root.find("job").get("name"))
    layer = root.find(".//layer")
    assert (layer.findtext("range"), layer.findtext("chunk"), layer.findtext("gpus")) == ("1001-1012", "10", "2")
    line = layer.findtext("cmd").replace("#FRAME_START#", "1001").replace("#FRAME_END#", "1010")
    settings = matted(shlex.split(line))
    assert (settings.start, settings.end, settings.rgba) == (1001, 1010, "none")


def test_paths_hold_on_every_machine(shot, monkeypatch):
    monkeypatch.chdir(shot)
    settings = parse(MatteSettings, "plate.####.exr --roto roto.####.exr -o ../out --preview sheets --model fba.pth")
    made = Submission.of(settings, SubmitSettings(bundle="job"))
    matte = made.matte
    paths = (matte.plate, matte.roto, matte.output, matte.preview, matte.model)
    assert paths == (
        f"{shot}/plate.####.exr",
        f"{shot}/roto.####.exr",
        f"{shot.parent}/out",
        f"{shot}/sheets",
        f"{shot}/fba.pth",
    )
    assert (
        Submission.of(
            parse(MatteSettings, "plate.####.exr --roto roto.####.exr -o o --model fba"), made.submit
        ).matte.model
        == "fba"
    )


@pytest.mark.parametrize("farm", ["openjd", "deadline", "tractor", "opencue"])
def test_the_command(shot, farm, capsys):
    arguments = [shot / "plate.####.exr", "--trimap", shot / "trimap.####.exr", "-o", shot / "out"]
    assert main([str(a) for a in ("submit", farm, *arguments, "--bundle", shot / "job")]) == 0
    assert "send it" in capsys.readouterr().out
    assert all(path.stat().st_size for path in (shot / "job").iterdir())
    assert main([str(a) for a in ("submit", farm, *arguments)]) == 2
    assert "--bundle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "submit", "says"),
    [
        ("--report a.html", "", "--report"),
        ("", "--frames-per-task 0", "--frames-per-task 0"),
        ("", "--gpus=-1", "--gpus -1"),
        ("", "--priority 200", "--priority 200"),
        ("", "--comp /nowhere/comp.nk", "comp.nk"),
    ],
)
def test_what_cannot_be_a_job(shot, line, submit, says):
    with pytest.raises(UsageError, match=says):
        submission(shot, line, submit)


def test_a_token_is_in_no_job(shot, monkeypatch, capsys):
    monkeypatch.setenv("FBAMATTE_TOKEN", "verysecret")
    arguments = [shot / "plate.####.exr", "--trimap", shot / "trimap.####.exr", "-o", shot / "out", "--bundle"]
    for farm in ("openjd", "deadline", "tractor", "opencue"):
        assert main([str(a) for a in ("submit", farm, *arguments, shot / farm)]) == 0
        assert not [path for path in (shot / farm).iterdir() if "verysecret" in path.read_text()]
    assert "verysecret" not in capsys.readouterr().out
