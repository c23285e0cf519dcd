"""What the node's buttons do. Main thread; every error ends up on the node, in words.

The buttons' own code in the gizmo only imports this, so that scripts open where it is missing.
"""

from __future__ import annotations

import functools
import shutil
from typing import Any, Callable, Optional

import nuke
from fbamatte_nuke import cache, key, preferences, show, survey, timing, transport, upgrade
from fbamatte_nuke.job import Job, prepare
from fbamatte_nuke.jobs import the_queue
from fbamatte_nuke.node import FbaNode, find_all
from fbamatte_nuke.problems import Problem, from_os

Action = Callable[[FbaNode], Any]


def _action(function: Action) -> Callable[[nuke.Group], Any]:
    """Let ``function`` take a Nuke node; write a problem on it and, in the interface, say it."""

    @functools.wraps(function)
    def run(group: nuke.Group) -> Any:
        node = FbaNode(group)
        try:
            return function(node)
        except Problem as problem:
            tell(node, problem)
        except OSError as error:
            tell(node, from_os(error, node.name))
        return None

    return run


def tell(node: FbaNode, problem: Problem) -> None:
    """Write ``problem`` on the node; in the interface also say it, for somebody has just pressed a button."""
    show.say(node, f"failed: {problem}", f"failed: {problem.message}")
    if nuke.GUI:
        nuke.message(f"{problem.message}.\n\n{problem.todo}" if problem.todo else f"{problem.message}.")


def start(node: FbaNode, frames: list[int], *, overwrite: bool = False, priority: str = "batch") -> Job:
    """Put ``frames`` of ``node`` into the queue and return the job.

    Raises
    ------
    Problem
        If it cannot start: see `fbamatte_nuke.job.prepare` and `fbamatte_nuke.transport.connect`.
    """
    line = transport.connect(node.server(), preferences.load())
    job = prepare(node, frames, node.views(), line, overwrite=overwrite, priority=priority)
    the_queue.submit(job)
    show.say(node, f"matting {len(job.tasks)} frame{'' if len(job.tasks) == 1 else 's'} ...")
    return job


@_action
def render_current(node: FbaNode) -> Job:
    """Matte the frame that the viewer asks the node for, before anything that waits for a farm."""
    return start(node, [timing.asked_frame(node, nuke.frame())], priority="interactive")


@_action
def render_range(node: FbaNode) -> Job:
    """Matte the node's range; what is cached and right is kept."""
    return start(node, survey.wanted_frames(node))


@_action
def cancel(node: FbaNode) -> None:
    """End the node's job after what is in hand."""
    if not the_queue.cancel(node.name):
        show.refresh(node)


@_action
def refresh_status(node: FbaNode) -> Optional[survey.Survey]:
    """Compare the cache with the inputs as they are."""
    return show.refresh(node, thorough=True)


@_action
def test_connection(node: FbaNode) -> dict[str, Any]:
    """Say whether the server answers and, if not, why not."""
    line = transport.connect(node.server(), preferences.load())
    found = line.diagnose()
    text = f"{line.server}: {found['message']} {found['advice']}".strip()
    show.say(node, text)
    if nuke.GUI:
        nuke.message(text)
    return found


@_action
def clear_old(node: FbaNode) -> str:
    """Delete the node's runs except the one it shows and those that other nodes show."""
    shown = _shown_folders()
    freed = [cache.remove(run.folder) for run in cache.runs(node.cache_base()) if run.folder.as_posix() not in shown]
    return _cleared(node, freed)


@_action
def clear_all(node: FbaNode) -> str:
    """Delete all of the node's runs except those that other nodes show."""
    others = _shown_folders(but=node)
    freed = [cache.remove(run.folder) for run in cache.runs(node.cache_base()) if run.folder.as_posix() not in others]
    run = node.run()
    if run is None or not run.folder.exists():
        node.inner("Cache")["file"].setValue("")
        node.assign("has_result", False)
        node.assign("run_folder", "")
    return _cleared(node, freed)


@_action
def relocate(node: FbaNode) -> Optional[str]:
    """Move the run that the node shows into its cache folder as the knob says it now."""
    run = node.run()
    if run is None or not run.folder.is_dir():
        raise Problem(f"{node.name} has nothing cached to move", "Render first")
    target = cache.Run(node.cache_base() / run.folder.name)
    if target.folder.resolve() == run.folder.resolve():
        raise Problem(f"{node.name} is in {target.folder} already", "Choose another cache folder first")
    part = target.folder.with_name(f".{target.folder.name}.moving")
    shutil.rmtree(part, ignore_errors=True)
    # The old folder goes only when the new one is complete and shown.
    shutil.copytree(run.folder, part)
    shutil.rmtree(target.folder, ignore_errors=True)
    part.replace(target.folder)
    show.play(node, target)
    if run.folder.as_posix() not in _shown_folders():
        cache.remove(run.folder)
    show.refresh(node)
    return target.folder.as_posix()


@_action
def create_read(node: FbaNode) -> nuke.Node:
    """Make a plain Read of what the node shows, for a pipeline that wants no groups."""
    run = node.run()
    if run is None or not node.value("has_result"):
        raise Problem(f"{node.name} has nothing cached to read", "Render first")
    first, last = int(node.value("cached_first")), int(node.value("cached_last"))
    knobs = {"file": run.pattern, "first": first, "last": last, "origfirst": first, "origlast": last}
    with node.group.parent():
        read = nuke.nodes.Read(**knobs, origset=True, raw=True, on_error="error", label=f"matte of {node.name}")
    read.setXYpos(node.group.xpos() + 120, node.group.ypos())
    return read


@_action
def upgrade_node(node: FbaNode) -> nuke.Group:
    """Rebuild the node from the installed gizmo."""
    return upgrade.upgrade(node).group


def stale_nodes() -> list[str]:
    """Return the names of the FBA nodes that show a matte of other inputs than they have now."""
    found = []
    for node in find_all():
        run = node.run()
        if run is not None and run.key and run.key != key.quick_key(node):
            found.append(node.name)
    return found


def _shown_folders(but: Optional[FbaNode] = None) -> set[str]:
    return {node.text("run_folder") for node in find_all() if but is None or node.name != but.name}


def _cleared(node: FbaNode, freed: list[cache.Usage]) -> str:
    total = cache.Usage(sum(use.files for use in freed), sum(use.bytes for use in freed))
    show.refresh(node)
    text = f"{total} deleted" if freed else "nothing to delete"
    node.assign("cache_info", f"{cache.usage(node.cache_base())} ({text})")
    return text
