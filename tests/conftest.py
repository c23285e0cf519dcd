"""Fixtures that tests of several rooms share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference() -> Path:
    """Oracles computed by other people's programs; see tests/data/README.md."""
    return Path(__file__).with_name("data")


def pytest_runtest_setup(item):
    """Skip what needs a CUDA device, or a processor that computes in bfloat16, where there is none."""
    if item.get_closest_marker("cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
    if item.get_closest_marker("bf16"):
        from fbamatte.models import devices

        if not devices.computes_bf16():
            pytest.skip(f"needs a processor with {devices.BF16_TAKES}: it computes in bfloat16")
