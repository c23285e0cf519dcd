"""A range of frames on its way through the server: export, send, receive, keep, one frame at a time.

`Job.run` may run on any thread: what touches Nuke goes to the main thread through `host`. Nuke's
interface waits only while one frame is exported.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Optional

import fbamatte_nuke
import nuke
from fbamatte_nuke import cache, export, host, key, show
from fbamatte_nuke.exrfile import UnreadableExr
from fbamatte_nuke.node import FbaNode
from fbamatte_nuke.problems import Cancelled, Problem, from_os, where
from fbamatte_nuke.progress import Progress
from fbamatte_nuke.transport import Request, Transport


class Task(NamedTuple):
    """One view of one frame."""

    frame: int
    view: str


@dataclass
class Outcome:
    """What a job has come to so far; read by the panel while the job runs.

    Parameters
    ----------
    state : str
        waiting, running, done, failed or cancelled.
    finished, kept : list of Task
        Matted now, and found in the cache.
    failed : dict
        Task → reason.
    stopped_by : str
        The problem that ended the whole range early; empty where none did.
    current : Task, optional
        What is in hand.
    stage : str
        Where it is: exporting, sending, queued, decoding, estimating, encoding, or waiting to be sent again.
    """

    state: str = "waiting"
    finished: list[Task] = field(default_factory=list)
    kept: list[Task] = field(default_factory=list)
    failed: dict[Task, str] = field(default_factory=dict)
    stopped_by: str = ""
    exit_code: int = 0
    current: Optional[Task] = None
    stage: str = ""

    @property
    def ended(self) -> int:
        """Tasks that need nothing more."""
        return len(self.finished) + len(self.kept) + len(self.failed)


class Job:
    """Mattes frames of one FBA node. Make it with `prepare`, on the main thread.

    Parameters
    ----------
    node : FbaNode
        Only touched on the main thread.
    tasks : list of Task
        In the order to do them.
    run : cache.Run
        Where finished frames go.
    settings : dict
        What goes with every frame: model, colour space, pixel type.
    transport : Transport
        The way to the server.
    stereo : bool
        Whether the script has several views, so that messages name them.
    """

    def __init__(
        self,
        node: FbaNode,
        tasks: list[Task],
        run: cache.Run,
        settings: dict[str, str],
        transport: Transport,
        *,
        stereo: bool = False,
    ) -> None:
        self.node = node
        self.name = node.name
        self.tasks = tasks
        self.target = run
        self.settings = settings
        self.transport = transport
        self.outcome = Outcome()
        self.warnings: list[str] = []
        self._stereo = stereo
        self.cancelling = threading.Event()
        self._refuses_empty = settings.get("empty_trimap", "refuse") == "refuse"
        self._shown: Optional[Path] = None

    def cancel(self) -> None:
        """Stop as soon as it can be done without losing a finished frame. From any thread."""
        self.cancelling.set()

    def label(self, task: Task) -> str:
        """Return how messages name ``task``."""
        return where(self.name, task.frame, self._wire_view(task))

    def _wire_view(self, task: Task) -> str:
        return task.view if self._stereo else ""

    def run(self, progress: Optional[Progress] = None) -> Outcome:
        """Do all tasks and return what came of them. Raises nothing: a problem ends up in the outcome."""
        progress = progress or Progress(f"FBA {self.name}", self.cancelling)
        self.outcome.state = ended = "running"
        scratch = Path(tempfile.mkdtemp(prefix="fbamatte-"))
        try:
            ended = self._run(progress, scratch)
        finally:
            self.outcome.current, self.outcome.stage = None, ""
            shutil.rmtree(scratch, ignore_errors=True)
            progress.close()
            host.post(show.refresh, self.node, False, self.target)
            # Last, for whoever waits for the job looks at this.
            self.outcome.state = ended if ended != "running" else "failed"
        return self.outcome

    def _run(self, progress: Progress, scratch: Path) -> str:
        """Do the tasks; return the state that the job ends in."""
        for task in self.tasks:
            self.outcome.current = task
            if not progress.step(self.outcome.ended, len(self.tasks), self.label(task)):
                self.cancelling.set()
            problem = self._attempt(task, scratch, progress)
            if problem is None:
                continue
            if isinstance(problem, Cancelled):
                self.outcome.exit_code = 130
                return "cancelled"
            self._note_failure(task, problem)
            if problem.fatal:
                self.outcome.stopped_by = str(problem)
                self.outcome.exit_code = 75 if problem.status == "UNAVAILABLE" else 1
                return "failed"
        self.outcome.exit_code = 1 if self.outcome.failed else 0
        return "failed" if self.outcome.failed else "done"

    def _attempt(self, task: Task, scratch: Path, progress: Progress) -> Optional[Problem]:
        """Do one task; return what went wrong."""
        try:
            if self.cancelling.is_set():
                return Cancelled()
            if self._is_there(task):
                self.outcome.kept.append(task)
                self._show(task)
                return None
            self._matte(task, scratch, progress)
        except Exception as error:
            # Whatever it is, the range must not end without a word.
            return self._problem(error, task)
        self.outcome.finished.append(task)
        self._show(task, new=True)
        return None

    def _problem(self, error: Exception, task: Task) -> Problem:
        if isinstance(error, Problem):
            return error
        if isinstance(error, OSError):
            return from_os(error, f"{self.label(task)}: keeping it")
        if host.is_gone(error):
            return Problem(f"{self.name} is no more, so its range ends here", fatal=True)
        return Problem(f"{self.label(task)}: {type(error).__name__}: {error}", "This is a fault of the plug-in")

    def _show(self, task: Task, new: bool = False) -> None:
        if new or self._shown != self.target.folder:
            self._shown = self.target.folder
            host.post(show.show_frame, self.node, self.target, task.frame)

    def _is_there(self, task: Task) -> bool:
        """Whether the run has this very frame; where it has another under that name, start a new revision."""
        found = self.target.look(task.view, task.frame)
        if found.state == "missing":
            return False
        entry = self.target.journal().get((task.view, task.frame), {})
        if found.state == "cached" and cache.unchanged(entry):
            return True
        # A name that has once held pixels never gets others: Nuke would go on showing the first.
        self.target = _revised(self.target, without=task)
        return False

    def _matte(self, task: Task, scratch: Path, progress: Progress) -> None:
        label = self.label(task)
        self.outcome.stage = "exporting"
        files, exported = host.patiently(_export, self.node, task, scratch, label, stopped=self.cancelling.is_set)
        part = self.target.part(task.view, task.frame)
        try:
            if exported.refused and self._refuses_empty:
                raise Problem(*exported.refused)
            self.warnings += [exported.warning] if exported.warning else []
            part.parent.mkdir(parents=True, exist_ok=True)
            request = Request(
                exported.plate,
                exported.trimap,
                part,
                task.frame,
                self._wire_view(task),
                self.name,
                label,
                self.settings,
            )
            answer = self.transport.matte(request, lambda: self._stopped(progress), self._note_stage)
            self.target.commit(task.view, task.frame, files=files, **answer)
        except UnreadableExr as error:
            raise Problem(f"{label}: the server's answer is damaged: {error}", "Render it again") from error
        finally:
            exported.remove()
            part.unlink(missing_ok=True)

    def _stopped(self, progress: Progress) -> bool:
        """Whether to give the frame in hand up; asked a few times a second, on a thread of its own."""
        return self.cancelling.is_set() or progress.cancelled(self.outcome.stage)

    def _note_stage(self, stage: str, _: float) -> None:
        self.outcome.stage = stage

    def _note_failure(self, task: Task, problem: Problem) -> None:
        self.outcome.failed[task] = str(problem)
        try:
            self.target.note(task.view, task.frame, "failed", reason=str(problem))
        except OSError:
            # The disk that holds the journal is full or gone: the reason is in the outcome all the same.
            self.warnings.append(str(problem))


def _export(node: FbaNode, task: Task, scratch: Path, label: str) -> tuple[dict[str, list[int]], export.Exported]:
    # The artist goes on working meanwhile, and may have switched to proxies or taken an input away.
    export.check(node)
    # The files first: one that is written again meanwhile then counts as changed.
    return key.files(node, task.frame), export.export_frame(node, task.frame, task.view, scratch, label)


def _revised(source: cache.Run, without: Task) -> cache.Run:
    """Return the next revision of ``source`` with all its whole frames but one."""
    target = cache.next_revision(source.folder.parent, source.key)
    target.make(source.about())
    for (view, frame), entry in source.journal().items():
        if (frame, view) != without and source.look(view, frame).state == "cached":
            cache.carry_over(source, target, view, frame, entry)
    return target


def prepare(
    node: FbaNode,
    frames: list[int],
    views: list[str],
    transport: Transport,
    *,
    overwrite: bool = False,
    priority: str = "batch",
) -> Job:
    """Return a job for ``frames`` of ``views``, having made sure that it can start. Main thread only.

    ``overwrite`` mattes what is cached and right once more; ``priority`` is interactive or batch.

    Raises
    ------
    Problem
        If proxy mode is on, an input is missing, there are no frames, or the cache folder cannot be written.
    """
    export.check(node)
    if not frames:
        raise Problem(f"{node.name}: no frames to matte", "Fill in frames", fatal=True)
    base, run_key = node.cache_base(), key.run_key(node)
    run = None if overwrite else _known_run(node, base, run_key)
    run = run or cache.next_revision(base, run_key)
    settings = {name: node.text(name) for name in ("model", "input_space", "pixel_type", "empty_trimap")}
    settings["priority"] = priority
    try:
        run.make({"node": node.name, "settings": settings, **_versions()})
    except OSError as error:
        raise from_os(error, f"{node.name}: cache folder {run.folder}") from error
    tasks = [Task(frame, view) for frame in frames for view in views]
    return Job(node, tasks, run, settings, transport, stereo=len(nuke.views()) > 1)


def _known_run(node: FbaNode, base: Path, run_key: str) -> Optional[cache.Run]:
    """Return the run that has frames of this key: the one shown, also after a copy or a new name, else the latest."""
    shown = node.run()
    if shown is not None and shown.key == run_key and shown.folder.is_dir():
        return shown
    return cache.latest(base, run_key)


def _versions() -> dict[str, Any]:
    return {"fbamatte_nuke": fbamatte_nuke.__version__}
