"""Open Job Description: a bundle of template, parameter values and asset references.

A step environment starts one server when a session begins and stops it when the session ends; the tasks of the
session send their frames to it, so a model is loaded once a session, not once a task.

Source: specification 2023-09 with the extension TASK_CHUNKING; bundle layout of AWS Deadline Cloud.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fbamatte.farm.submit.submission import MODEL_FILES, Submission
from fbamatte.farm.submit.yaml import to_yaml
from fbamatte.models import registry

# A model may come from slow storage; what a server may take to finish its frames once told to stop.
START_S, STOP_S = 600, 120
# A server whose session is gone without a word ends by itself: at once where it sees its runner end, else after this.
IDLE_S = 900
# Between the polite signal and the end; the command needs five seconds.
NOTICE_S = 30
# Aim of a farm that chooses the size of tasks by what it measures.
TASK_S = 600


def submit(submission: Submission) -> str:
    """Write the bundle."""
    folder = submission.write(
        {
            "template.yaml": to_yaml(template(submission)),
            "parameter_values.yaml": to_yaml(
                {"parameterValues": [{"name": name, "value": value} for name, value in _values(submission).items()]}
            ),
            "asset_references.yaml": to_yaml({"assetReferences": assets(submission)}),
            # the local runner takes a flat map of text alone
            "parameters.json": json.dumps({k: str(v) for k, v in _values(submission).items()}, indent=1) + "\n",
        }
    )
    return (
        f"{folder}: {len(submission.numbers)} frames\n"
        f"check it   openjd check {folder / 'template.yaml'}\n"
        f"run here   openjd run {folder / 'template.yaml'} --step Matte -p file://{folder / 'parameters.json'}\n"
        f"send it    deadline bundle submit {folder}"
    )


def template(submission: Submission) -> dict[str, Any]:
    """Return the job template."""
    steps = [_matte_step(submission)]
    if submission.submit.comp:
        steps.append(_comp_step())
    return {
        "specificationVersion": "jobtemplate-2023-09",
        "extensions": ["TASK_CHUNKING"],
        "name": submission.name[:128],
        "parameterDefinitions": _parameters(submission),
        "steps": steps,
    }


def assets(submission: Submission) -> dict[str, Any]:
    """Return which files the job reads and where it writes, for farms that carry them."""
    job, submit = submission.job, submission.submit
    inputs = {str(sequence.path(*key)) for sequence in (job.plate, job.matte) for key in job.frames}
    inputs |= {submit.comp} if submit.comp else set()
    inputs |= {submission.matte.model} if _is_file(submission.matte.model) else set()
    outputs = {str(job.output.path(*key).parent) for key in job.frames}
    outputs |= {submission.matte.preview} if submission.matte.preview else set()
    return {
        "inputs": {"filenames": sorted(inputs), "directories": []},
        "outputs": {"directories": sorted(outputs)},
        "referencedPaths": [],
    }


def _values(submission: Submission) -> dict[str, Any]:
    """Return what this shot gives the job's parameters."""
    matte, submit = submission.matte, submission.submit
    values = {
        "Frames": submission.frames.replace("x", ":"),
        "FramesPerTask": submit.frames_per_task,
        "SecondsPerTask": TASK_S,
        "Plate": matte.plate,
        "Matte": matte.roto or matte.trimap,
        "Output": matte.output,
        "Model": matte.model or registry.DEFAULT,
        "Executable": submit.executable,
    }
    return values | ({"Comp": submit.comp, "Nuke": submit.nuke} if submit.comp else {})


def _parameters(submission: Submission) -> list[dict[str, Any]]:
    # Patterns and folders of sequences are no files that could be carried: the asset references list those.
    path = {"type": "PATH", "objectType": "FILE", "dataFlow": "NONE"}
    model = path if _is_file(submission.matte.model) else {"type": "STRING"}
    definitions: dict[str, dict[str, Any]] = {
        "Frames": {"type": "STRING", "description": "Frames to matte; a step is written 1001-1100:2"},
        "FramesPerTask": {"type": "INT", "minValue": 1, "description": "Frames of one task, to begin with"},
        "SecondsPerTask": {
            "type": "INT",
            "minValue": 0,
            "description": "What a task should take, for farms that adapt its frames to it",
        },
        "Plate": {**path, "description": "Pattern of the plates"},
        "Matte": {**path, "description": "Pattern of the trimaps or rotos"},
        "Output": {**path, "description": "Pattern of the mattes, or their folder"},
        "Model": {**model, "description": "Estimator by name, or checkpoint file"},
        "Executable": {"type": "STRING", "description": "fbamatte on the farm's machines"},
    }
    if submission.submit.comp:
        definitions["Comp"] = {**path, "description": "Nuke script that reads the mattes"}
        definitions["Nuke"] = {"type": "STRING", "description": "Nuke on the farm's machines"}
    return [{"name": name, **definition} for name, definition in definitions.items()]


def _matte_step(submission: Submission) -> dict[str, Any]:
    step: dict[str, Any] = {"name": "Matte"}
    if submission.submit.gpus:
        step["hostRequirements"] = {"amounts": [{"name": "amount.worker.gpu", "min": submission.submit.gpus}]}
    if _has_server(submission):
        step["stepEnvironments"] = [_server(submission)]
    step["parameterSpace"] = _space("NONCONTIGUOUS")
    step["script"] = {"actions": {"onRun": _action("{{Param.Executable}}", _task(submission))}}
    return step


def _task(submission: Submission) -> list[str]:
    """Return the arguments of one task, with the template's names in place of this shot's values."""
    matte = submission.matte
    ours = frozenset({"plate", "trimap", "roto", "output", "model"})
    on_server = frozenset({"device"}) if _has_server(submission) else frozenset()
    arguments = submission.arguments("openjd", without=ours | on_server)
    named = ["{{Param.Plate}}", f"--{'roto' if matte.roto else 'trimap'}={{{{Param.Matte}}}}"]
    named.append("--output={{Param.Output}}")
    # where the session has a server, its own model is the one
    named += [] if _has_server(submission) else ["--model={{Param.Model}}"]
    return [*arguments, *named, "--frame-syntax=openjd", "--frames={{Task.Param.Frame}}"]


def _has_server(submission: Submission) -> bool:
    """Whether the session keeps a server: not where one is named, nor for what servers do not do."""
    return not (submission.matte.server or submission.matte.tta)


def _server(submission: Submission) -> dict[str, Any]:
    """Return the environment that keeps one server for all tasks of a session."""
    folder = "--folder={{Session.WorkingDirectory}}"
    settings = {"device": submission.matte.device, "precision": submission.matte.precision, "idle-timeout": IDLE_S}
    start = ["submit", "session-start", folder, "--model={{Param.Model}}", *(f"--{k}={v}" for k, v in settings.items())]
    enter = _action("{{Param.Executable}}", start, START_S)
    leave = _action("{{Param.Executable}}", ["submit", "session-stop", folder], STOP_S)
    return {
        "name": "Server",
        "description": "One server for all tasks of a session",
        "script": {"actions": {"onEnter": enter, "onExit": leave}},
    }


def _comp_step() -> dict[str, Any]:
    return {
        "name": "Comp",
        "dependencies": [{"dependsOn": "Matte"}],
        "parameterSpace": _space("CONTIGUOUS"),
        "script": {
            "actions": {"onRun": _action("{{Param.Nuke}}", ["-x", "-F", "{{Task.Param.Frame}}", "{{Param.Comp}}"])}
        },
    }


def _space(constraint: str) -> dict[str, Any]:
    chunks = {
        "defaultTaskCount": "{{Param.FramesPerTask}}",
        "targetRuntimeSeconds": "{{Param.SecondsPerTask}}",
        "rangeConstraint": constraint,
    }
    frame = {"name": "Frame", "type": "CHUNK[INT]", "range": "{{Param.Frames}}", "chunks": chunks}
    return {"taskParameterDefinitions": [frame]}


def _action(command: str, arguments: list[str], seconds: int = 0) -> dict[str, Any]:
    """Return an action that is told to stop before it is made to; without that a runner kills at once."""
    action: dict[str, Any] = {"command": command, "args": arguments}
    if seconds:
        action["timeout"] = seconds
    return {**action, "cancelation": {"mode": "NOTIFY_THEN_TERMINATE", "notifyPeriodInSeconds": NOTICE_S}}


def _is_file(model: str) -> bool:
    return model.endswith(MODEL_FILES) and Path(model).is_absolute()
