"""A folder of shared memory for one test: other servers on this machine come and go meanwhile."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fbamatte.rpc import memory


@contextmanager
def private_memory() -> Iterator[Path]:
    """Let everybody in this process use a folder of their own instead of /dev/shm."""
    with tempfile.TemporaryDirectory(dir=memory.FOLDER) as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "FOLDER", Path(folder))
        yield Path(folder)
