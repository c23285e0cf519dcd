"""Tractor: a job script in its Tcl form.

Source: "Job Scripting" and "Job Scripting Operators" of its manual. Not run on a live farm.
"""

from __future__ import annotations

import re

from fbamatte.farm.report import ranges
from fbamatte.farm.submit.submission import Submission

_PLAIN = re.compile(r"[A-Za-z0-9_./=,:@%+-]+")


def submit(submission: Submission) -> str:
    """Write the job script."""
    folder = submission.write({"job.alf": script(submission)})
    return f"send it    tractor-spool {folder / 'job.alf'}"


def script(submission: Submission) -> str:
    """Return the job script: one task a chunk of frames."""
    service = "fbamatte,gpu" if submission.submit.gpus else "fbamatte"
    head = f"Job -title {_word(submission.name)} -priority {submission.submit.priority} -service {_word(service)}"
    return f"{head} -subtasks {{\n" + "".join(_task(submission, numbers) for numbers in submission.chunks()) + "}\n"


def _task(submission: Submission, numbers: list[int]) -> str:
    frames = ranges(numbers)
    command = [submission.submit.executable, *submission.arguments("tractor", f"--frames={frames}")]
    # Words inside one word: the command line is split once more when it is run.
    line = _word(" ".join(map(_word, command)))
    return f"  Task {_word(f'frames {frames}')} -cmds {{\n    RemoteCmd {line}\n  }}\n"


def _word(text: str) -> str:
    """Return ``text`` as one word of Tcl."""
    if _PLAIN.fullmatch(text):
        return text
    if text.count("{") == text.count("}") == 0 and "\\" not in text:
        return f"{{{text}}}"
    if _is_balanced(text):
        return f"{{{text}}}"
    return re.sub(r"([^A-Za-z0-9_./=,:@%+-])", r"\\\1", text)


def _is_balanced(text: str) -> bool:
    """Whether braces around ``text`` would end where they should, and mean what stands between them."""
    depth = 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return False
    return depth == 0 and "\\" not in text
