"""Somebody at the mouse: presses a button of an FBA node and waits for what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nuke_standin import app, runtime


def press(node: Any, button: str = "render_range", during: Callable[[Any], None] | None = None) -> Any:
    """Press a button and be Nuke's event loop until its job is over; return the job, None where none began.

    ``during`` gets the job once it is in the queue.
    """
    from fbamatte_nuke.jobs import the_queue

    before = the_queue.jobs()[:1]
    app.press(node, button)
    job = next(iter(the_queue.jobs()), None)
    began = job is not None and [job] != before
    if began and during is not None:
        during(job)
    runtime.pump(lambda: not the_queue.active())
    runtime.drain()
    if not began:  # for whoever expected one: shown when the test fails
        print(f"{button} began no job; dialogs: {runtime.state.dialogs}; printed: {runtime.state.printed}")
    return job if began else None
