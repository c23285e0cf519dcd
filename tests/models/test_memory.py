"""What a picture will take is known before; what does not fit is tried once more, then refused by name."""

import sys

import numpy as np
import pytest
import torch

from fbamatte.errors import ResourceError
from fbamatte.models import fast_distance, fba, memory
from fbamatte.models.base import ModelInfo
from fbamatte.models.captured import Recorded, Shapes
from fbamatte.models.tiles import WHOLE

INFO = ModelInfo("narrow", "", "", True, "", 0, "")


@pytest.fixture
def model(narrow):
    return fba.NetworkEstimator(narrow.fold(), INFO, "fp32", torch.float32)


def picture(height=48, width=64):
    trimap = np.full((height, width), 0.5, np.float32)
    trimap[:, :9], trimap[:, -9:] = 0, 1
    return np.random.default_rng(0).random((height, width, 3), np.float32), trimap


@pytest.mark.parametrize(
    ("free", "kind"), [(64e9, "whole"), (1.6e9, "strips"), (1.3e9, "files")], ids=["plenty", "little", "hardly any"]
)
def test_the_plan_follows_the_memory_there_is(monkeypatch, free, kind):
    monkeypatch.setattr(memory, "available", lambda _: free)
    monkeypatch.setattr(memory, "COSTS", {
        ("cpu", "fp32", "whole"): memory.Cost(0, 900), ("cpu", "fp32", "strips"): memory.Cost(0, 500),
    })  # fmt: skip
    monkeypatch.setattr(memory, "FILES", memory.Cost(0, 80))
    strips = memory.plan(1080, 1920 if kind != "files" else 3000, "cpu", "fp32")
    assert kind == ("files" if strips.folder else "strips" if strips.budget else "whole")


def test_what_fits_in_no_way_is_refused_with_both_figures(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda _: 1e8)
    with pytest.raises(ResourceError, match=r"7680×4320 takes .* GB on cpu in fp32, but 0\.1 GB"):
        memory.plan(4320, 7680, "cpu", "fp32")


def test_buffers_grow_until_they_are_full():
    cost = memory.Cost(10, 3, filling=2, full=100)
    assert [cost.of(pixels) for pixels in (0, 10, 50, 1000)] == [10, 60, 260, 3110]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_uhd_on_a_cpu_is_planned_below_six_gigabytes(monkeypatch, precision):
    monkeypatch.setattr(memory, "available", lambda _: 1e12)
    mode = "strips" if memory.plan(2160, 3840, "cpu", precision).budget else "whole"
    assert memory.cost("cpu", precision, mode).of(2160 * 3840) < 6e9


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA"), RuntimeError("not enough memory: you")]
)
def test_out_of_memory_is_tried_once_more_in_smaller_strips(model, monkeypatch, error):
    network, tried = model._network, []

    def scarce(planes, strips):
        tried.append(strips)
        if len(tried) == 1:
            raise error
        return network(planes, strips)

    expected = model.estimate(*picture()).alpha
    model._network = scarce
    assert np.abs(model.estimate(*picture()).alpha - expected).max() < 1e-3
    assert tried[0] == WHOLE
    assert tried[1].budget > 0


def test_out_of_memory_twice_is_an_error_that_names_the_size(model):
    def never(planes, strips):
        raise MemoryError

    model._network = never
    with pytest.raises(ResourceError, match=r"64×48 pixels with narrow on cpu"):
        model.estimate(*picture())


def test_another_runtime_error_is_not_taken_for_memory(model):
    def broken(planes, strips):
        raise RuntimeError("shapes differ")

    model._network = broken
    with pytest.raises(RuntimeError, match="shapes differ"):
        model.estimate(*picture())


def test_graphs_give_up_their_memory_before_a_picture_is_cut(model, monkeypatch):
    """With recordings that run anew each time, as they do on a CPU."""
    model._shapes = Shapes(model._whole, Recorded)
    network, tried = model._network, []
    for _ in range(2):
        expected = model.estimate(*picture()).alpha
    assert model._shapes.recorded == 1

    def scarce(planes, strips):
        tried.append((strips.budget, model._shapes.recorded))
        if model._shapes.recorded:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(planes, strips)

    model._network = scarce
    assert np.abs(model.estimate(*picture()).alpha - expected).max() < 1e-3
    assert tried == [(0, 1), (0, 0)]


def test_a_picture_with_more_values_than_gpus_count_is_cut(model, monkeypatch):
    model._shapes = Shapes(model._whole, Recorded)
    monkeypatch.setattr(fba, "plan", lambda *_: WHOLE)
    assert model._planned(4320, 7680).budget == 0
    assert model._planned(4320, 8192).budget > 0


def test_without_a_kernel_distances_are_searched_step_by_step(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "fbamatte.models.kernels", None)
    fast_distance._kernel.cache_clear()
    assert fast_distance._kernel(torch.device("cpu")) is None
    assert "step by step" in caplog.text
    fast_distance._kernel.cache_clear()
