"""Weights that no repository needs to hold: made once a session."""

from pathlib import Path

import pytest
import torch

import synthetic_weights
from fbamatte.models.config import NetworkConfig
from fbamatte.models.network import FBANetwork


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> Path:
    """A file as the paper's authors publish theirs: 139 MB."""
    path = tmp_path_factory.mktemp("weights") / "FBA.pth"
    torch.save(synthetic_weights.filled(synthetic_weights.published_shapes()), path)
    return path


@pytest.fixture
def narrow() -> FBANetwork:
    """The published network at an eighth of its width: small enough to make for every test."""
    return filled_network(NetworkConfig(width=0.125))


@pytest.fixture
def narrow_file(narrow, tmp_path) -> Path:
    path = tmp_path / "narrow.pth"
    torch.save(narrow.state_dict(), path)
    return path


@pytest.fixture
def make_network():
    return filled_network


def filled_network(config: NetworkConfig) -> FBANetwork:
    network = FBANetwork(config)
    state = network.state_dict()
    floats = {key: tuple(value.shape) for key, value in state.items() if value.is_floating_point()}
    drawn = synthetic_weights.filled(floats)
    drawn = {key: value.abs() + 0.5 if key.endswith("running_var") else value for key, value in drawn.items()}
    network.load_state_dict({**state, **drawn})
    return network.eval()
