"""Strips against the whole network: each statistic is the whole picture's, so nothing may move."""

import gc
import weakref

import numpy as np
import pytest
import torch

from fbamatte.compositing import trimap as trimaps
from fbamatte.models import fast_cpu, fast_host, fast_maps, fast_pyramid
from fbamatte.models.config import NetworkConfig
from fbamatte.models.fast import FastNetwork, Run
from fbamatte.models.fast_cpu import HostRun
from fbamatte.models.fast_distance import searched, squared_distances
from fbamatte.models.fast_planes import Planes
from fbamatte.models.tiles import WHOLE, Strips

SMALL = Strips(1, head=1)


def planes(height, width, dtype=torch.float32, seed=0):
    rng = np.random.default_rng(seed)
    trimap = np.full((height, width), 0.5, np.float32)
    trimap[:, : width // 3], trimap[:, width - width // 4 :] = 0, 1
    arrays = (rng.random((3, height, width), np.float32), trimaps.masks(trimap), trimaps.encode(trimap))
    return tuple(torch.from_numpy(x)[None].to(dtype) for x in arrays)


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("strips", [WHOLE, SMALL, Strips(30_000, head=50_000)], ids=["whole", "smallest", "some"])
@pytest.mark.parametrize("size", [(96, 120), (33, 47), (7, 13), (1, 1), (70, 1)])
@pytest.mark.parametrize("runner", [Run, HostRun])
def test_strips_are_the_whole_network_to_rounding(narrow, size, strips, runner):
    """In float64 only a mistake could differ: a halo, a border, a statistic."""
    network = narrow.double()
    given = planes(*size, torch.float64)
    expected = network(*given)
    found = runner(FastNetwork(network, torch.float64), Planes(*given), strips).output()
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-10


@pytest.mark.parametrize("size", [(33, 47), (50, 64)])
def test_tiles_of_the_head_are_the_whole_head(narrow, monkeypatch, size):
    monkeypatch.setattr(fast_cpu, "TILE", 16)
    network, given = narrow.double(), planes(*size, torch.float64)
    found = HostRun(FastNetwork(network, torch.float64), Planes(*given), SMALL).output()
    assert (found - network(*given)).abs().max() < 1e-10


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.bf16)])
def test_leaving_out_what_is_known_changes_nothing_that_is_not(narrow, monkeypatch, dtype):
    monkeypatch.setattr(fast_cpu, "TILE", 16)
    image, masks, encoding = planes(50, 90)
    masks[:, 0], masks[:, 1] = torch.arange(90) < 40, torch.arange(90) >= 55
    given, unknown = Planes(image, masks, encoding), masks.sum(1)[0] == 0
    whole = FastNetwork(narrow, dtype)(given, SMALL)[0]
    found = FastNetwork(narrow, dtype, only_unknown=True)(given, SMALL)[0]
    assert torch.equal(found[:, unknown], whole[:, unknown])
    for known in (slice(0, 32), slice(64, 90)):  # tiles without an unknown pixel
        assert torch.equal(found[0, :, known], masks[0, 1, :, known])
        assert torch.equal(found[1:4, :, known], image[0, :, :, known])
        assert torch.equal(found[4:7, :, known], image[0, :, :, known])
    assert not torch.equal(found[1:], whole[1:])


def test_strips_of_the_published_network_reach_the_published_output(published, reference):
    from fbamatte.models.checkpoint import load_checkpoint

    data = np.load(reference / "fba_oracle.npz")
    trimap = data["a_trimap"] / np.float32(255)
    image = torch.from_numpy((data["a_image"].transpose(2, 0, 1) / 255).astype(np.float32))[None]
    masks = torch.from_numpy(trimaps.masks(trimap))[None]
    network = FastNetwork(load_checkpoint(published), torch.float32, consume=True)
    found = network(Planes(image, masks, squared_distances(masks)), SMALL)[0].numpy()
    error = np.abs(found - data["a_output"])
    assert error[0].max() <= 1e-3
    assert error[1:].max() <= 2e-4


VARIANTS = {
    "batch norm": NetworkConfig(width=0.125, norm="batch", standardise=False),
    "sigmoid alpha": NetworkConfig(width=0.125, alpha="sigmoid"),
    "alpha alone": NetworkConfig(width=0.125, outputs="alpha", fusion=False),
}


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("runner", [Run, HostRun])
def test_a_variant_is_the_same_in_strips(make_network, config, runner):
    network = make_network(config).double()
    given = planes(40, 56, torch.float64)
    found = runner(FastNetwork(network, torch.float64), Planes(*given), SMALL).output()
    assert (found - network(*given)).abs().max() < 1e-10


def test_maps_in_files_are_maps_in_memory_and_leave_nothing_behind(narrow, tmp_path):
    network = FastNetwork(narrow, torch.float32)
    given = Planes(*planes(64, 80))
    in_files = network(given, Strips(1, str(tmp_path), head=1))
    assert torch.equal(in_files, network(given, SMALL))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.bf16
def test_bf16_in_strips_is_bf16_whole(narrow):
    network = FastNetwork(narrow, torch.bfloat16)
    given = Planes(*planes(64, 80))
    exact = narrow(*planes(64, 80))
    found = network(given, SMALL)
    assert found.dtype == torch.float32
    assert 0 < (found - exact)[:, 1:].abs().mean() < 0.02


@pytest.mark.bf16
@pytest.mark.parametrize("size", [(64, 8), (37, 1), (8, 64)])
def test_bf16_of_a_narrow_picture_is_finite(narrow, size):
    """A strided bf16 convolution one column wide is broken in oneDNN 3.12."""
    given = planes(*size)
    found = FastNetwork(narrow, torch.bfloat16)(Planes(*given))
    assert (found - narrow(*given)).abs().mean() < 0.05


@pytest.mark.parametrize(("runner", "kind"), [(Run, fast_maps.FeatureMap), (HostRun, fast_host.HostMap)])
def test_a_map_goes_as_soon_as_it_is_read(narrow, monkeypatch, runner, kind):
    """When the head begins, the doubled map alone lives: encoder and skips are gone."""
    made = []
    original = kind.__init__

    def remember(self, *arguments):
        original(self, *arguments)
        made.append(weakref.ref(self))

    monkeypatch.setattr(kind, "__init__", remember)
    alive = {}

    def look(name, method):
        def run(self, *arguments):
            gc.collect()
            alive.setdefault(name, sum(each() is not None for each in made))
            return method(self, *arguments)

        return run

    monkeypatch.setattr(runner, "_head", look("head", runner._head))
    monkeypatch.setattr(runner, "_behind_pyramid", look("pyramid", runner._behind_pyramid))
    runner(FastNetwork(narrow, torch.float32), Planes(*planes(64, 64)), SMALL).output()
    assert alive["pyramid"] <= 4  # stem, shallow, deep and the shortcut that deep still needs
    assert alive["head"] <= 3


@pytest.mark.parametrize(("length", "bins"), [(1, 6), (5, 3), (6, 6), (13, 6), (20, 1)])
def test_pooling_and_enlargement_are_torchs(length, bins):
    x = torch.randn(1, 4, length, dtype=torch.float64)
    expected = torch.nn.functional.adaptive_avg_pool1d(x, bins)
    assert torch.allclose(x @ fast_pyramid.averages(length, bins).T, expected)
    enlarged = torch.nn.functional.interpolate(expected, size=length, mode="linear", align_corners=False)
    assert torch.allclose(expected @ fast_pyramid.enlargement(length, bins), enlarged)


@pytest.mark.parametrize("size", [(1, 1), (40, 61), (9, 700)])
@pytest.mark.parametrize("share", [0.0, 0.002, 0.3])
def test_distances_by_search_encode_as_the_trimaps_own(size, share):
    rng = np.random.default_rng(1)
    trimap = np.full(size, 0.5, np.float32)
    trimap[rng.random(size) < share] = 0
    trimap[rng.random(size) < share] = 1
    masks = torch.from_numpy(trimaps.masks(trimap))[None]
    image = torch.zeros(1, 3, *size)
    expected = trimaps.encode(trimap)
    for squared in (searched(masks), squared_distances(masks)):
        found = Planes(image, masks, squared).encoder_input(0, size[0])[0, 3:9, :, : size[1]]
        assert np.abs(found.numpy() - expected).max() < 1e-5


def test_normalising_in_one_pass_changes_nothing(narrow, monkeypatch):
    """What a GPU does, on the CPU."""
    monkeypatch.setattr(fast_maps, "IN_ONE_PASS", {"cpu"})
    network = narrow.double()
    given = planes(33, 47, torch.float64)
    for strips in (WHOLE, SMALL):
        found = FastNetwork(network, torch.float64)(Planes(*given), strips)
        assert (found - network(*given)).abs().max() < 1e-10


def test_a_head_of_half_precision_is_near(narrow):
    given = planes(33, 47)
    found = FastNetwork(narrow, torch.float32, torch.float16)(Planes(*given))
    assert found.dtype == torch.float32
    assert 0 < (found - narrow(*given)).abs().max() < 5e-3
