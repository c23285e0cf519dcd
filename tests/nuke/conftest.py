"""The stand-in for Nuke on the path, and sessions of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fbamatte.serving.server import Server
from fbamatte.testing import RunningServer, running_server, serve_in_process
from nuke_session import SLOW_MODEL

REPOSITORY = Path(__file__).resolve().parents[2]
STANDIN = Path(__file__).resolve().parent / "standin"
PLUGIN = REPOSITORY / "nuke_plugin"

for folder in (STANDIN, PLUGIN):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


@pytest.fixture
def preferences_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Preferences of nobody, and no settings from the environment."""
    for name in ("SERVER", "TOKEN", "TOKEN_FILE", "CACHE", "NUKE_MODE", "PYTHON", "TIMEOUT", "TLS", "TLS_CA"):
        monkeypatch.delenv(f"FBAMATTE_{name}", raising=False)
    path = tmp_path / "home" / "fbamatte.json"
    monkeypatch.setenv("FBAMATTE_NUKE_PREFERENCES", str(path))
    return path


@pytest.fixture
def begin(preferences_file: Path) -> Iterator[Callable[..., Any]]:
    """Start a session: begin() with an interface, begin(gui=False) without."""
    from nuke_standin import app, runtime

    from fbamatte_nuke import jobs, transport

    def start(*, gui: bool = True) -> Any:
        return app.start(gui=gui, plugins=(PLUGIN,))

    yield start
    jobs.the_queue.cancel()
    if jobs.the_queue.active():
        runtime.pump(lambda: not jobs.the_queue.active(), 30)
    transport.disconnect()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server in this process."""
    with serve_in_process(models=("testing-null", SLOW_MODEL)) as started:
        yield started


@pytest.fixture(scope="module")
def other_process() -> Iterator[RunningServer]:
    """A server in a process of its own, with a slower model."""
    with running_server(models=("testing-null", "testing-sleep-0.5")) as started:
        yield started


@pytest.fixture
def address(server: Server) -> str:
    """Where the node's server is; a module may have another."""
    return server.addresses[0]


@pytest.fixture
def node(begin: Callable[..., Any], tmp_path: Path, address: str) -> Any:
    """A script's FBA node with plate and roto of three frames, in a session with an interface."""
    from nuke_standin import trees

    begin()
    made = trees.tree(tmp_path / "shot")
    made["server"].setValue(address)
    return made
