"""What tests of the wire share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from private_memory import private_memory


@pytest.fixture
def shm() -> Iterator[Path]:
    """This test's own folder of shared memory."""
    with private_memory() as folder:
        yield folder
