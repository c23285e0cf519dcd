"""What a checkpoint's tensors and metadata say about its network."""

import pytest
import torch

import synthetic_weights
from fbamatte.errors import CheckpointError
from fbamatte.models.config import NetworkConfig, config_from_dict, config_of_shapes
from fbamatte.models.network import FBANetwork


def shapes_of(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in FBANetwork(config).state_dict().items()}


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(),
        NetworkConfig(norm="batch", standardise=False),
        NetworkConfig(outputs="alpha", fusion=False),
        NetworkConfig(width=0.25),
        NetworkConfig(width=0.4375),
        NetworkConfig(width=0.125, norm="batch", standardise=False, outputs="alpha", fusion=False),
    ],
)
def test_a_network_is_recognised_by_its_tensors(config):
    found = config_of_shapes(shapes_of(config))
    assert found == config or shapes_of(found) == shapes_of(config)
    assert (found.norm, found.outputs, found.standardise) == (config.norm, config.outputs, config.standardise)


def test_the_published_file_is_the_default_network():
    assert config_of_shapes(synthetic_weights.published_shapes()) == NetworkConfig()


@pytest.mark.parametrize(
    ("shapes", "named"),
    [
        ({}, "encoder.conv1.weight"),
        ({"encoder.conv1.weight": (64, 3, 7, 7), "fc.weight": (1000, 2048)}, "encoder.layer4.0.conv1.weight"),
        ({**synthetic_weights.published_shapes(), "decoder.conv_up4.4.weight": (3, 16, 1, 1)}, "3 outputs"),
    ],
)
def test_another_network_is_refused_by_what_it_lacks(shapes, named):
    with pytest.raises(CheckpointError, match=named):
        config_of_shapes(shapes)


@pytest.mark.parametrize("values", [{"norm": "layer"}, {"width": 0}, {"width": 99}, {"alpha": "relu"}, {"depth": 101}])
def test_a_setting_that_is_not_known_is_refused(values):
    with pytest.raises(CheckpointError, match=str(next(iter(values)))):
        config_from_dict(values)


def test_settings_survive_the_metadata():
    config = NetworkConfig(norm="batch", groups=16, standardise=False, alpha="sigmoid", width=0.3)
    assert config_from_dict(config.as_dict()) == config
