"""The network against the published one's output, at any size, in its variants."""

import gc
import weakref

import numpy as np
import pytest
import torch

import synthetic_weights
from fbamatte.compositing import trimap as trimaps
from fbamatte.models.checkpoint import load_checkpoint
from fbamatte.models.config import NetworkConfig
from fbamatte.models.layers import WSConv2d
from fbamatte.models.network import FBANetwork, padded


def inputs(height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    trimap = np.full((height, width), 0.5, np.float32)
    trimap[:, : width // 3], trimap[:, width - width // 4 :] = 0, 1
    planes = (rng.random((3, height, width), np.float32), trimaps.masks(trimap), trimaps.encode(trimap))
    return tuple(torch.from_numpy(x)[None] for x in planes)


def oracle(reference, case: str, dtype: torch.dtype) -> tuple[tuple[torch.Tensor, ...], np.ndarray]:
    data = np.load(reference / "fba_oracle.npz")
    trimap = data[f"{case}_trimap"] / np.float32(255)
    image = data[f"{case}_image"].transpose(2, 0, 1) / 255
    planes = (image, trimaps.masks(trimap), trimaps.encode(trimap))
    return tuple(torch.from_numpy(x)[None].to(dtype) for x in planes), data[f"{case}_output"]


@pytest.fixture(scope="module")
def folded(published) -> FBANetwork:
    return load_checkpoint(published)


@pytest.mark.parametrize("case", ["a", "b"])
def test_float32_reaches_the_published_output(folded, reference, case):
    planes, expected = oracle(reference, case, torch.float32)
    with torch.inference_mode():
        error = np.abs(folded(*planes)[0].numpy() - expected)
    assert error[0].max() <= 1e-3
    assert error[1:].max() <= 2e-4
    assert error.mean() <= 1e-5


def test_float64_reaches_the_published_output_closely(published, reference):
    network = load_checkpoint(published, fold=False).double().fold()
    planes, expected = oracle(reference, "a", torch.float64)
    with torch.inference_mode():
        error = np.abs(network(*planes)[0].numpy() - expected)
    assert error.max() <= 1e-4


def test_the_checkpoint_has_the_published_keys_and_shapes():
    with torch.device("meta"):
        state = FBANetwork().state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == synthetic_weights.published_shapes()


def test_folding_changes_no_output(narrow):
    planes = inputs(40, 48)
    with torch.inference_mode():
        before = narrow(*planes)
        after = narrow.fold()(*planes)
    assert (before - after).abs().max() < 1e-4
    assert narrow.folded


def test_training_standardises_weights_at_each_call_and_reaches_every_one(narrow):
    narrow.train()
    narrow(*inputs(64, 64)).square().mean().backward()
    missing = [name for name, value in narrow.named_parameters() if value.grad is None]
    assert missing == []
    convolution = WSConv2d(4, 6, 3, padding=1)
    x = torch.randn(1, 4, 8, 8)
    before = convolution(x)
    with torch.no_grad():
        convolution.weight.mul_(50).add_(3)  # a standardised weight has forgotten both
    assert torch.allclose(convolution(x), before, atol=2e-2)
    assert not torch.allclose(torch.nn.functional.conv2d(x, convolution.weight, convolution.bias, padding=1), before)


def test_a_multiple_of_eight_is_not_touched():
    image = torch.rand(1, 3, 24, 40)
    assert padded(image) is image


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (37, 1), (7, 13), (33, 47), (41, 24)])
def test_any_size_is_its_padded_whole_cut_out(narrow, size):
    planes = inputs(*size)
    height, width = size
    grown = tuple(
        torch.from_numpy(np.pad(x, ((0, 0), (0, 0), (0, -height % 8), (0, -width % 8)), "edge"))
        for x in (plane.numpy() for plane in planes)
    )
    with torch.inference_mode():
        out, whole = narrow(*planes), narrow(*grown)
    assert out.shape == (1, 7, height, width)
    assert torch.isfinite(out).all()
    assert torch.equal(out, whole[:, :, :height, :width])


def test_a_batch_is_its_pictures_one_by_one(narrow):
    first, second = inputs(24, 32, seed=1), inputs(24, 32, seed=2)
    with torch.inference_mode():
        both = narrow(*(torch.cat(pair) for pair in zip(first, second)))
        apart = torch.cat([narrow(*first), narrow(*second)])
    assert torch.allclose(both, apart, atol=1e-4)


def test_only_the_three_skips_live_while_the_decoder_runs(narrow):
    """A UHD plate's activations are gigabytes: each goes as soon as the next is made."""
    made, alive = [], []
    stages = {
        "stem": narrow.encoder.bn1,
        "layer1": narrow.encoder.layer1,
        "layer2": narrow.encoder.layer2,
        "layer3": narrow.encoder.layer3,
        "layer4": narrow.encoder.layer4,
    }
    for name, stage in stages.items():
        stage.register_forward_hook(lambda _m, _i, out, name=name: made.append((name, weakref.ref(out))))

    def look(*_):
        gc.collect()
        alive.extend(name for name, tensor in made if tensor() is not None)

    narrow.decoder.ppm[0].register_forward_pre_hook(look)
    with torch.inference_mode():
        narrow(*inputs(32, 32))
    assert alive == ["stem", "layer1", "layer4"]


def test_low_precision_keeps_norms_head_and_fusion_in_float32(narrow):
    planes = inputs(48, 48)
    with torch.inference_mode():
        exact = narrow(*planes)
        low = narrow.fold().lower_precision(torch.bfloat16)(*planes)
    assert low.dtype == torch.float32
    assert narrow.precision == torch.bfloat16
    assert narrow.encoder.bn1.weight.dtype == narrow.decoder.conv_up4[0].weight.dtype == torch.float32
    assert 0 < (low - exact)[:, 1:].abs().mean() < 0.02


VARIANTS = {
    "batch norm": NetworkConfig(width=0.125, norm="batch", standardise=False),
    "batch norm, standardised": NetworkConfig(width=0.125, norm="batch"),
    "sigmoid alpha": NetworkConfig(width=0.125, alpha="sigmoid"),
    "alpha alone": NetworkConfig(width=0.125, outputs="alpha", fusion=False),
    "no fusion": NetworkConfig(width=0.125, fusion=False),
}


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_variant_computes_and_is_trained(make_network, config):
    network = make_network(config).train()
    pair = tuple(torch.cat(planes) for planes in zip(inputs(32, 32, seed=1), inputs(32, 32, seed=2)))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1  # one batch is all that its running statistics will see
    network(*pair).mean().backward()
    assert all(value.grad is not None for value in network.parameters())
    with torch.inference_mode():
        out = network.eval()(*inputs(32, 40))
    assert out.shape == (1, config.head_channels, 32, 40)
    assert 0 <= out.min() <= out.max() <= 1


def test_variants_differ_where_they_say_so(make_network):
    clip, sigmoid, unfused = (
        make_network(NetworkConfig(width=0.125, fusion=fusion, alpha=alpha))
        for alpha, fusion in (("clip", False), ("sigmoid", False), ("clip", False))
    )
    planes = inputs(32, 32)
    with torch.inference_mode():
        a, b = clip(*planes), sigmoid(*planes)
        fused = make_network(NetworkConfig(width=0.125))(*planes)
    inside = (a[:, :1] > 0) & (a[:, :1] < 1)
    assert torch.allclose(b[:, :1][inside], torch.sigmoid(a[:, :1][inside]), atol=1e-5)
    assert torch.equal(a, unfused(*planes))
    assert (fused - a).abs().max() > 1e-3


def test_half_the_width_is_a_quarter_of_the_weights():
    with torch.device("meta"):
        sizes = [
            sum(p.numel() for p in FBANetwork(NetworkConfig(width=w)).parameters() if p.ndim == 4) for w in (1, 0.5)
        ]
    assert sizes[0] / sizes[1] == pytest.approx(4, rel=0.01)
