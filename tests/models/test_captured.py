"""Recorded programs: the same numbers, few of them kept. On a CPU a recording runs its program anew."""

import logging

import numpy as np
import pytest
import torch

from fbamatte.compositing import trimap as trimaps
from fbamatte.models.captured import CudaGraphs, Recorded, Shapes
from fbamatte.models.fast import FastNetwork
from fbamatte.models.fast_cpu import HostRun
from fbamatte.models.fast_distance import squared_distances
from fbamatte.models.fast_planes import Planes
from fbamatte.models.tiles import WHOLE


@pytest.fixture(autouse=True)
def inference(monkeypatch):
    monkeypatch.setattr(HostRun, "can", lambda *_: False)  # what a GPU runs, on the CPU
    with torch.inference_mode():
        yield


def inputs(height, width, seed=0):
    rng = np.random.default_rng(seed)
    trimap = np.full((height, width), 0.5, np.float32)
    trimap[:, : 2 + seed], trimap[:, -3:] = 0, 1
    masks = torch.from_numpy(trimaps.masks(trimap))[None]
    return torch.from_numpy(rng.random((1, 3, height, width), np.float32)), masks, squared_distances(masks)


def program_of(network, dtype=torch.float32):
    fast = FastNetwork(network, dtype)
    return lambda *planes: fast(Planes(*planes), WHOLE)


class Freed(Recorded):
    """Remembers which were freed."""

    freed: list = []  # noqa: RUF012

    def free(self):
        self.freed.append(self._inputs[0].shape[-2:])


def test_a_recording_is_its_program_for_every_picture_of_its_shape(narrow):
    program = program_of(narrow)
    recorded = Recorded(program, inputs(40, 56))
    for seed in (1, 2):
        given = inputs(40, 56, seed)
        assert torch.equal(recorded(*given), program(*given))


def test_a_recording_writes_to_the_same_place():
    recorded = Recorded(lambda x: x * 2, (torch.ones(1, 2, 3, 3),))
    first = recorded(torch.ones(1, 2, 3, 3))
    assert recorded(torch.full((1, 2, 3, 3), 4.0)).data_ptr() == first.data_ptr()
    assert (first == 8).all()


def test_a_shape_is_recorded_when_it_comes_again(narrow):
    program = program_of(narrow)
    shapes = Shapes(program, Recorded)
    for seed, recorded in ((0, 0), (1, 1), (2, 1)):
        given = inputs(24, 32, seed)
        assert torch.equal(shapes(*given), program(*given))
        assert shapes.recorded == recorded


def test_the_shape_unused_for_longest_goes_and_frees_its_memory(monkeypatch):
    monkeypatch.setattr(Freed, "freed", [])
    shapes = Shapes(lambda x: x + 1, Freed, capacity=2)

    def run(width):
        return shapes(torch.zeros(1, 1, 1, width))

    for width in (1, 1, 2, 2, 1, 3):
        assert run(width).shape[-1] == width
    assert Freed.freed == [(1, 2)]
    run(2), run(2)
    assert Freed.freed == [(1, 2), (1, 1)]
    shapes.clear()
    assert sorted(Freed.freed) == [(1, 1), (1, 2), (1, 2)]
    assert shapes.recorded == 0


def test_types_are_kept_apart():
    shapes = Shapes(lambda x: x * 3, Recorded)
    for _ in range(3):
        for dtype in (torch.float32, torch.float64):
            assert shapes(torch.ones(1, 1, 2, 2, dtype=dtype)).dtype == dtype
    assert shapes.recorded == 2


def test_what_cannot_be_recorded_runs_as_it_is_and_is_not_tried_again(caplog):
    tried = []

    def refuse(program, examples):
        tried.append(examples)
        raise torch.OutOfMemoryError("it needs 9.0 GB")

    shapes = Shapes(lambda x: x + 1, refuse)
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            assert (shapes(torch.zeros(1, 1, 5, 7)) == 1).all()
    assert len(tried) == 1
    assert "7×5 is computed kernel by kernel, it cannot be recorded: it needs 9.0 GB" in caplog.text


def test_another_mistake_is_not_hidden():
    shapes = Shapes(lambda x: x.nothing, Recorded)
    with pytest.raises(AttributeError):
        shapes(torch.zeros(1, 1, 2, 2))


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_graph_gives_what_its_kernels_give(narrow, dtype):
    program = program_of(narrow.fold().cuda(), dtype)
    shapes = Shapes(program, CudaGraphs(torch.device("cuda:0"), lambda *_: 0, lambda: 1))
    for size in ((40, 56), (64, 64), (40, 56)):
        for seed in range(3):
            given = tuple(x.cuda() for x in inputs(*size, seed))
            assert torch.allclose(shapes(*given), program(*given), atol=1e-3)
    assert shapes.recorded == 2
    shapes.clear()


@pytest.mark.cuda
def test_without_memory_nothing_is_recorded(narrow, caplog):
    shapes = Shapes(program_of(narrow.fold().cuda()), CudaGraphs(torch.device("cuda:0"), lambda *_: 2, lambda: 1))
    given = tuple(x.cuda() for x in inputs(24, 24))
    shapes(*given), shapes(*given)
    assert shapes.recorded == 0
    assert "cannot be recorded" in caplog.text


@pytest.mark.cuda
def test_memory_of_freed_graphs_comes_back(narrow):
    shapes = Shapes(
        program_of(narrow.fold().cuda()), CudaGraphs(torch.device("cuda:0"), lambda *_: 0, lambda: 1), capacity=2
    )
    reserved = []
    for width in range(256, 512, 16):
        given = tuple(x.cuda() for x in inputs(256, width))
        shapes(*given), shapes(*given)
        reserved.append(torch.cuda.memory_reserved())
    shapes.clear()
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() < max(reserved) / 2
