"""Fixtures that tests of several rooms share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference() -> Path:
    """Oracles computed by other people's programs; see tests/data/README.md."""
    return Path(__file__).with_name("data")
