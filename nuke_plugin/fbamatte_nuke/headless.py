"""FBA nodes of a script rendered without an interface: ``nuke -t fbamatte_render.py SCRIPT …``.

Exit codes as those of the command ``fbamatte``: 0 all frames done, 1 some failed for good, 2 wrong
usage, 75 worth trying again, 130 interrupted, 143 told to end.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from typing import Any, Optional

import nuke
from fbamatte_nuke import key, preferences, survey, transport
from fbamatte_nuke.frames import format_frames, parse_frames
from fbamatte_nuke.job import Job, Task, prepare
from fbamatte_nuke.node import FbaNode, find, find_all
from fbamatte_nuke.problems import Problem
from fbamatte_nuke.progress import Progress


def arguments() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        prog="nuke -t fbamatte_render.py", description="Matte the FBA nodes of a Nuke script on a server."
    )
    parser.add_argument("script", help="the Nuke script")
    parser.add_argument("--node", action="append", default=[], help="an FBA node's full name; default: all")
    parser.add_argument("--frames", default="", help="such as 1001-1100x2; default: each node's own range")
    parser.add_argument("--views", default="", help="such as left,right; default: each node's own")
    parser.add_argument("--server", default="", help="host:port or unix:path; default: the node's, FBAMATTE_SERVER")
    parser.add_argument("--overwrite", action="store_true", help="matte also what is cached and right")
    parser.add_argument("--save", action="store_true", help="save the script, so that it reads the new frames")
    parser.add_argument("--save-as", default="", metavar="FILE", help="save it under another name")
    parser.add_argument("--list", action="store_true", help="only say which nodes there are and what they have")
    parser.add_argument("--json", action="store_true", help="one JSON object per frame on standard output")
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Render and return the exit code. Opens no dialog."""
    try:
        options = arguments().parse_args(sys.argv[1:] if argv is None else argv)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 2
    # Farms end a task with SIGTERM: clean up as for Ctrl-C.
    signal.signal(signal.SIGTERM, _told_to_end)
    try:
        _open(options.script)
        nodes = [find(name) for name in options.node] or find_all()
        if not nodes:
            raise Problem(f"{options.script} has no FBA node", "Choose another script", fatal=True)
        if options.list:
            return _list(nodes)
        code = _render(_in_order(nodes), options)
        _save(options)
    except Problem as problem:
        _complain(str(problem))
        return 75 if problem.status in {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"} else 2
    except KeyboardInterrupt as interrupt:
        _complain("interrupted; what is finished stays")
        return 143 if interrupt.args == (signal.SIGTERM,) else 130
    return code


def _told_to_end(number: int, _: object) -> None:
    raise KeyboardInterrupt(number)


def _open(script: str) -> None:
    try:
        nuke.scriptOpen(script)
    except RuntimeError as error:
        raise Problem(f"{script}: {error}", "Check the script", fatal=True) from error


def _render(nodes: list[FbaNode], options: argparse.Namespace) -> int:
    codes = []
    for node in nodes:
        frames = parse_frames(options.frames) if options.frames else survey.wanted_frames(node)
        if options.views:
            node.assign("render_views", options.views)
        line = transport.connect(options.server or node.server(), preferences.load())
        job = prepare(node, frames, node.views(), line, overwrite=options.overwrite)
        job.run(_Lines(job, options.json))
        codes.append(_summary(job))
    transport.disconnect()
    # An interrupt, or a server that is away, tells more than a frame that failed.
    return next((code for code in (130, 75, 1) if code in codes), 0)


def _in_order(nodes: list[FbaNode]) -> list[FbaNode]:
    """Return ``nodes`` so that one which another is made of comes first."""
    depth = {node.name: {other.fullName() for other in key.upstream_of([node.group])} for node in nodes}
    return sorted(nodes, key=lambda node: sum(other.name in depth[node.name] for other in nodes))


class _Lines(Progress):
    """Progress as lines on standard output: what farms read, or one JSON object per frame."""

    def __init__(self, job: Job, as_json: bool) -> None:
        super().__init__(job.name, job.cancelling)
        self._job = job
        self._json = as_json
        self._told: set[Task] = set()

    def step(self, done: int, total: int, message: str) -> bool:
        """See `Progress`."""
        self._tell()
        if not self._json:
            _say(f"Progress: {100 * done // max(1, total)}%  {message}")
        return not self._job.cancelling.is_set()

    def close(self) -> None:
        """Tell of the last frame."""
        self._tell()

    def _tell(self) -> None:
        outcome = self._job.outcome
        states = [("done", outcome.finished), ("kept", outcome.kept), ("failed", list(outcome.failed))]
        for state, tasks in states:
            for task in tasks:
                if task not in self._told:
                    self._told.add(task)
                    self._one(state, task, outcome.failed.get(task, ""))

    def _one(self, state: str, task: Task, reason: str) -> None:
        if self._json:
            entry: dict[str, Any] = {"node": self._job.name, "frame": task.frame, "view": task.view, "state": state}
            _say(json.dumps({**entry, "reason": reason} if reason else entry))
        elif reason:
            _complain(reason)


def _summary(job: Job) -> int:
    outcome = job.outcome
    text = f"{job.name}: {len(outcome.finished)} matted, {len(outcome.kept)} kept, {len(outcome.failed)} failed"
    left = [task.frame for task in job.tasks if task not in {*outcome.finished, *outcome.kept}]
    _complain(text + (f"; still to do: {format_frames(left)}" if left else ""))
    return outcome.exit_code


def _save(options: argparse.Namespace) -> None:
    target = options.save_as or (options.script if options.save else "")
    if not target:
        return
    try:
        nuke.scriptSaveAs(target, 1)
    except RuntimeError as error:
        raise Problem(f"{target} cannot be saved: {error}", "Check the folder", fatal=True) from error


def _list(nodes: list[FbaNode]) -> int:
    for node in nodes:
        found = survey.survey(node)
        _say(f"{node.name}: {found.line()}")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _complain(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
