"""What the tests of the node share: a slow model, the files of the cache, what the node and Nuke have said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR

SLOW = 0.15
SLOW_MODEL = f"testing-sleep-{SLOW}"


def exr(path: Path) -> dict[str, np.ndarray]:
    """Return a file's channels."""
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return {name: np.array(channel.pixels) for name, channel in file.channels().items()}


def cached(node: Any, frame: int, view: str = "main") -> Path:
    """Return where a frame of the node is cached."""
    return Path(node["run_folder"].value()) / view / f"fba.{frame:04d}.exr"


def status(node: Any) -> str:
    """Return what the node says of itself."""
    return str(node["status"].value())


def dialogs() -> list[str]:
    """Return what Nuke has shown in dialogs."""
    from nuke_standin import runtime

    return list(runtime.state.dialogs)


def works_again(node: Any, **counts: int) -> None:
    """Render the range: it ends well, with so many frames finished and kept."""
    from nuke_standin.driver import press

    job = press(node)
    assert job.outcome.state == "done", job.outcome
    assert (len(job.outcome.finished), len(job.outcome.kept)) == (counts["finished"], counts["kept"])
    assert status(node) == "cached 1001-1003"
