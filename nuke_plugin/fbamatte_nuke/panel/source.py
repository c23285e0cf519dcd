"""Where the panel's state comes from: nodes and jobs of this Nuke, and the server, asked on a thread of its own."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Optional

import nuke
from fbamatte_nuke import actions, cache, node, preferences, show, survey, transport
from fbamatte_nuke.frames import format_frames
from fbamatte_nuke.job import Job
from fbamatte_nuke.jobs import the_queue
from fbamatte_nuke.panel.state import JobState, ModelState, NodeState, PanelState, ServerState
from fbamatte_nuke.problems import Problem

_ASK_SECONDS = 5.0
_NODES_SECONDS = 2.0
_HEALTH = {"SERVER_STATE_SERVING": "ready", "SERVER_STATE_STARTING": "starting", "SERVER_STATE_DRAINING": "starting"}


class Source:
    """As `fbamatte_nuke.panel.window.Window` wants it. Main thread only, but for the asking of the server."""

    def __init__(self) -> None:
        self._server = ServerState(_address())
        self._asked = 0.0
        self._asking: Optional[threading.Thread] = None
        self._nodes: tuple[NodeState, ...] = ()
        self._looked = 0.0
        self._cache = ""
        self._folders: tuple[Path, ...] = ()
        self._address = ""

    def state(self) -> PanelState:
        """Return what there is to show now; asks the server and looks at the nodes only now and then."""
        self._ask()
        self._look()
        errors = dict.fromkeys(reason for job in the_queue.jobs() for reason in _reasons(job))
        jobs = tuple(_job(job) for job in the_queue.jobs())
        return PanelState(self._server, self._nodes, jobs, self._cache, tuple(errors))

    def render(self, name: str) -> None:
        """Start a node's range."""
        actions.render_range(node.find(name).group)
        self._looked = 0.0

    def cancel(self, name: str) -> None:
        """Cancel a node's job."""
        the_queue.cancel(name)

    def select(self, name: str) -> None:
        """Select a node and open its properties."""
        group = node.find(name).group
        for other in nuke.selectedNodes():
            other.setSelected(False)
        group.setSelected(True)
        group.showControlPanel()

    def jump(self, frame: int) -> None:
        """Go to a frame."""
        nuke.frame(frame)
        self._looked = 0.0

    def test(self) -> None:
        """Try the server layer by layer."""
        self._asked = 0.0
        self._server = ServerState(self._address or _address(), "asking", "asking ...")

    def refresh(self) -> None:
        """Look into every cached file of every node."""
        for found in node.find_all():
            show.refresh(found, thorough=True)
        self._looked = 0.0

    def clear_old(self) -> None:
        """Delete what no node shows any more."""
        for found in node.find_all():
            actions.clear_old(found.group)
        self._looked = 0.0

    def copy(self, text: str) -> None:
        """Put ``text`` on the clipboard."""
        from fbamatte_nuke.panel.qt import QtWidgets

        QtWidgets.QApplication.clipboard().setText(text)

    def _ask(self) -> None:
        waiting = self._asking is not None and self._asking.is_alive()
        if not waiting and time.monotonic() - self._asked > _ASK_SECONDS:
            self._asked = time.monotonic()
            asked = (self._address or _address(),)
            self._asking = threading.Thread(target=self._answer, args=asked, name="fbamatte-panel", daemon=True)
            self._asking.start()

    def _answer(self, address: str) -> None:
        """Ask the server and count the cache; on a thread, for it may take as long as a network takes."""
        total = [cache.usage(folder) for folder in self._folders]
        use = cache.Usage(sum(one.files for one in total), sum(one.bytes for one in total))
        self._cache = f"{use} in the cache" if total else ""
        try:
            line = transport.connect(address, preferences.load())
            try:
                self._server = server_state(address, line.info(), line.kind)
            except Problem:
                found = line.diagnose()
                words = "is back" if found["ok"] else found["message"]
                self._server = ServerState(address, "away", words, found["advice"])
        except Problem as problem:
            self._server = ServerState(address, "away", problem.message, problem.todo)

    def _look(self) -> None:
        if time.monotonic() - self._looked < _NODES_SECONDS or nuke.executing():
            return
        self._looked = time.monotonic()
        found = node.find_all()
        self._address = found[0].text("server") if found else ""
        self._nodes = tuple(_node(one) for one in found)
        try:
            self._folders = tuple(one.cache_base() for one in found)
        except Problem:
            # Damaged preferences: the server's line says so already.
            self._folders = ()


def _address() -> str:
    try:
        return preferences.load().server
    except Problem:
        return preferences.DEFAULT_SERVER


def server_state(address: str, info: dict[str, Any], kind: str) -> ServerState:
    """Return what a server that answered is like; ``info`` as `fbamatte_nuke.remote.Remote.info` returns it."""
    server = info["server"]
    health = _HEALTH.get(server.get("state", ""), "asking")
    devices = server.get("devices", [])
    waiting = sum(int(device.get(name, 0)) for device in devices for name in ("queued_interactive", "queued_batch"))
    running = sum(int(device.get("running", 0)) for device in devices)
    words = [{"ready": "ready", "starting": "not taking frames"}.get(health, health)]
    if running or waiting:
        health = "busy" if health == "ready" else health
        words = [f"{running} at work, {waiting} waiting"]
    words += [", ".join(device.get("title") or device.get("name", "") for device in devices)]
    words += [f"fbamatte {server.get('version', '')}"] + (["bridge"] if kind == "bridge" else [])
    models = tuple(_model(model, server.get("default_model", "")) for model in info["models"])
    return ServerState(address, health, " · ".join(word for word in words if word), "", models)


def _model(model: dict[str, Any], default: str) -> ModelState:
    return ModelState(
        model.get("name", ""),
        model.get("title", ""),
        model.get("licence", ""),
        bool(model.get("commercial", False)),
        bool(model.get("loaded_on")),
        model.get("name") == default,
    )


def _node(found: node.FbaNode) -> NodeState:
    busy = bool(the_queue.active(found.name))
    try:
        seen = survey.survey(found, thorough=False)
    except Problem as problem:
        return NodeState(found.name, {}, str(problem), nuke.frame(), {}, busy)
    frames: dict[int, str] = {}
    reasons: dict[int, str] = {}
    for (_, frame), one in seen.states.items():
        # Of several views the worst shows.
        if frame not in frames or survey.STATES.index(one.state) > survey.STATES.index(frames[frame]):
            frames[frame] = one.state
        if one.state == "failed":
            reasons.setdefault(frame, one.reason)
    return NodeState(found.name, frames, seen.line(), nuke.frame(), reasons, busy)


def _job(job: Job) -> JobState:
    outcome, total = job.outcome, len(job.tasks)
    frames = format_frames(task.frame for task in job.tasks)
    current = outcome.current
    words = {
        "waiting": f"{frames}  waiting",
        "running": f"{frames}  {outcome.ended} of {total}"
        + (f", frame {current.frame} {outcome.stage}" if current else ""),
        "done": f"{frames}  {len(outcome.finished)} matted, {len(outcome.kept)} kept",
        "failed": f"{frames}  {len(outcome.finished)} matted, {len(outcome.failed)} failed",
        "cancelled": f"{frames}  cancelled after {outcome.ended} of {total}",
    }[outcome.state]
    return JobState(job.name, outcome.state, outcome.ended, total, words)


def _reasons(job: Job) -> list[str]:
    # A copy, for the job may be adding to it.
    return list(dict(job.outcome.failed).values())
