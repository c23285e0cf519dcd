"""OpenCue: the job specification in XML that Cuebot launches.

Source: cjsl-1.15.dtd of OpenCue. Not run on a live farm.
"""

from __future__ import annotations

import getpass
import os
import re
import shlex
from xml.etree import ElementTree as ET

from fbamatte.farm.submit.submission import Submission

_DOCTYPE = (
    '<?xml version="1.0"?>\n<!DOCTYPE spec PUBLIC "SPI Cue  Specification Language" '
    '"http://localhost:8080/spcue/dtd/cjsl-1.15.dtd">\n'
)
# Tokens that Cuebot replaces; they must reach it unquoted.
_FRAMES = ("--start=#FRAME_START#", "--end=#FRAME_END#")


def submit(submission: Submission) -> str:
    """Write the specification."""
    folder = submission.write({"job.xml": specification(submission)})
    path = folder / "job.xml"
    return f'send it    python3 -c "import opencue; opencue.api.launchSpec(open({str(path)!r}).read())"'


def specification(submission: Submission) -> str:
    """Return the job specification; show, shot and facility come from $SHOW, $SHOT and $FACILITY."""
    root = ET.Element("spec")
    place = {"facility": os.environ.get("FACILITY", "local"), "show": os.environ.get("SHOW", "testing")}
    for name, value in {**place, "shot": os.environ.get("SHOT", "shot"), "user": getpass.getuser()}.items():
        _add(root, name, value)
    job = ET.SubElement(root, "job", {"name": _name(submission.name)})
    _add(job, "paused", "False")
    _add(job, "priority", str(submission.submit.priority))
    _add(job, "maxretries", "3")
    _add(job, "autoeat", "False")
    _layer(ET.SubElement(job, "layers"), submission)
    ET.indent(root)
    return _DOCTYPE + ET.tostring(root, encoding="unicode") + "\n"


def _layer(layers: ET.Element, submission: Submission) -> None:
    layer = ET.SubElement(layers, "layer", {"name": "matte", "type": "Render"})
    command = [submission.submit.executable, *submission.arguments("lines")]
    _add(layer, "cmd", " ".join([shlex.join(command), *_FRAMES]))
    _add(layer, "range", submission.frames)
    _add(layer, "chunk", str(submission.frames_per_task))
    if submission.submit.gpus:
        _add(layer, "gpus", str(submission.submit.gpus))
        _add(layer, "gpu_memory", "1g")
    _add(ET.SubElement(layer, "services"), "service", "fbamatte")


def _add(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text


def _name(text: str) -> str:
    """Return a job's name as the specification allows it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("_") or "fbamatte"
