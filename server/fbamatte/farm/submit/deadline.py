"""Deadline 10: job info and plug-in info files for its CommandLine plug-in.

Source: "Manual Job Submission" and "Command Line" of its manual. Not run on a live farm.
"""

from __future__ import annotations

from pathlib import Path

from fbamatte.farm.submit.submission import Submission


def submit(submission: Submission) -> str:
    """Write both files."""
    folder = submission.write({"job_info.job": job_info(submission), "plugin_info.job": plugin_info(submission)})
    return f"send it    deadlinecommand {folder / 'job_info.job'} {folder / 'plugin_info.job'}"


def job_info(submission: Submission) -> str:
    """Return the job info file: frames, size of tasks, where the output goes."""
    job = submission.job
    first = job.output.path(*job.frames[0])
    entries = {
        "Plugin": "CommandLine",
        "Name": submission.name,
        "Comment": "fbamatte",
        "Frames": submission.frames,
        "ChunkSize": submission.frames_per_task,
        "Priority": submission.submit.priority,
        "OutputDirectory0": first.parent,
        "OutputFilename0": Path(job.output.pattern).name if job.output.pattern.endswith(".exr") else first.name,
    }
    return _file(entries)


def plugin_info(submission: Submission) -> str:
    """Return the plug-in info file: what a task runs. Deadline replaces the frame words in it."""
    arguments = submission.arguments("deadline", "--start=<STARTFRAME>", "--end=<ENDFRAME>")
    entries = {
        "Executable": submission.submit.executable,
        "Arguments": " ".join(map(_quoted, arguments)),
        "Shell": "default",
        "ShellExecute": False,
        "SingleFramesOnly": False,
        "StartupDirectory": "",
    }
    return _file(entries)


def _quoted(argument: str) -> str:
    """Return an argument as Deadline splits them: quotes would end the entry, so they have a word."""
    return f"<QUOTE>{argument}<QUOTE>" if set(argument) & set(" \t'&;()") else argument


def _file(entries: dict[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in entries.items())
