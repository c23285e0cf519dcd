"""The engine's light on a device: torch against numpy's definition, and a whole frame through both ways."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from fbamatte.compositing.recomposition import recomposition_error
from fbamatte.engine import Engine
from fbamatte.engine.device_light import LinearLight, decoded, encoded, solved
from fbamatte.engine.solve import in_linear_light
from fbamatte.frame import Frame
from fbamatte.imaging import curve
from fbamatte.models.base import Estimate, ModelInfo
from fbamatte.models.config import NetworkConfig
from fbamatte.models.fast_cpu import HostRun
from fbamatte.models.fba import NetworkEstimator
from fbamatte.models.fused import Fused
from fbamatte.models.network import FBANetwork
from fbamatte.models.tiles import Strips

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


def every_light():
    edges = [curve.TOE_END, 0, curve.BEND_END, curve.SHOULDER_START, 64, 65504, curve.LARGEST]
    around = [np.nextafter(np.float32(e), np.float32(way)) for e in edges for way in (-1e9, 1e9)]
    return np.concatenate([np.linspace(-0.125, 1, 5001), np.geomspace(1e-6, 65504, 5000), edges, around]).astype("f4")


@pytest.mark.parametrize("device", DEVICES)
def test_the_curve_is_the_one_curve(device):
    light = every_light()
    there = torch.from_numpy(light).to(device)
    seen = np.clip(curve.encode(light), 0, 1)
    assert np.abs(encoded(there).cpu().numpy() - seen).max() < 3e-7
    back = decoded(torch.from_numpy(seen).to(device)).cpu().numpy()
    assert (np.abs(back - curve.decode(seen)) / np.maximum(np.abs(light), 0.01)).max() < 2e-5


def scene(seed=0, size=(40, 52)):
    rng = np.random.default_rng(seed)
    plate = (rng.random((*size, 3)) ** 6 * 66 - 0.05).astype(np.float32)
    trimap = np.tile(np.clip(np.linspace(-1, 2, size[1], dtype=np.float32), 0, 1), (size[0], 1))
    alpha = np.where(trimap <= 0, 0, np.where(trimap >= 1, 1, rng.random(size))).astype(np.float32)
    return plate, alpha, *(rng.random((*size, 3)).astype(np.float32) for _ in range(2))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("light", ["linear", "display"])
@pytest.mark.parametrize("seed", range(3))
def test_solving_is_the_engines_own(seed, light, device):
    """α to single precision, colours to what an α that differs so much makes of them."""
    plate, alpha, foreground, background = scene(seed)
    seen = np.clip(curve.encode(plate), 0, 1)
    expected = in_linear_light(plate, seen, Estimate(alpha, foreground, background, light=light))
    colours = np.concatenate([foreground, background], axis=-1).transpose(2, 0, 1).copy()
    there = [torch.from_numpy(x).to(device) for x in (plate, seen, alpha, colours)]
    found = [x.cpu().numpy() for x in LinearLight().solve(*there, light)]
    assert np.abs(found[0] - expected[0]).max() < 1e-4
    for mine, theirs in zip(found[1:], expected[1:]):
        assert (np.abs(mine - theirs) / np.maximum(1, np.abs(theirs))).max() < 5e-3
    assert recomposition_error(plate, *found).max() < 1e-5
    assert np.array_equal(found[1][alpha == 1], plate[alpha == 1])
    assert np.array_equal(found[2][alpha == 0], plate[alpha == 0])


def frame(number=1001, height=36, width=48):
    """A bright disc that moves; written out here, since where GPUs are tested there is no library for files."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    alpha = np.clip((height / 3.5 - np.hypot(x - width / 2 - (number - 1001) / 4, y - height / 2)) / 3 + 0.5, 0, 1)
    foreground = np.stack([4 + x / 2.4, 0.8 + y / 40, np.full_like(x, 0.3)], axis=-1)
    background = np.stack([x / 200 - 0.02, 0.1 + y / 300, np.full_like(x, 0.4)], axis=-1)
    plate = alpha[..., None] * foreground + (1 - alpha[..., None]) * background
    trimap = np.where(alpha <= 0, 0, np.where(alpha >= 1, 1, 0.5))
    return Frame(plate.astype(np.float32), trimap.astype(np.float32), number=number)


def estimator(**config):
    torch.manual_seed(3)
    network = FBANetwork(NetworkConfig(width=0.125, **config)).eval().fold()
    info = ModelInfo("small", "", "", commercial=True, sha256="", parameters=0, description="")
    return NetworkEstimator(network, info, "fp32", torch.float32)


@pytest.fixture
def two_ways(monkeypatch):
    """The same network behind an engine that solves on the processor and one that solves on the device."""
    monkeypatch.setattr(HostRun, "can", lambda *_: False)  # what a GPU runs, on the CPU
    device_engine = estimator()
    device_engine.overlaps = True
    with Engine(estimator=estimator()) as one, Engine(estimator=device_engine) as other:
        yield one, other


def test_a_frame_comes_out_the_same_both_ways(two_ways):
    one, other = ([engine.matte_one(f) for f in (frame(1001), frame(1002))] for engine in two_ways)
    for expected, found in zip(one, other):
        assert np.abs(expected.alpha - found.alpha).max() < 1e-4
        for name in ("foreground", "background"):
            error = np.abs(getattr(expected, name) - getattr(found, name))
            assert (error / np.maximum(1, np.abs(getattr(expected, name)))).max() < 1e-2
    for given, found in zip((frame(1001), frame(1002)), other):
        assert recomposition_error(given.plate, found.alpha, found.foreground, found.background).max() <= 1e-5
        assert found.provenance["estimate_seconds"] > 0


def test_a_stream_of_frames_of_two_sizes(two_ways):
    small = [frame(1001 + k) for k in range(4)]
    cropped = [Frame(f.plate[:30, :40].copy(), f.trimap[:30, :40].copy(), number=f.number) for f in small]
    frames = [f for pair in zip(small, cropped) for f in pair]
    one, other = (list(engine.matte(frames)) for engine in two_ways)
    assert [m.number for m in other] == [f.number for f in frames]
    assert max(np.abs(a.alpha - b.alpha).max() for a, b in zip(one, other)) < 1e-4


def test_a_frame_without_anything_unknown_asks_no_device(two_ways):
    known = Frame(frame().plate, np.zeros_like(frame().trimap))
    matte = two_ways[1].matte_one(known)
    assert np.array_equal(matte.background, known.plate)


def test_memory_that_runs_out_on_the_way_is_tried_in_strips(two_ways, monkeypatch):
    engine = two_ways[1]
    network, tried = engine._estimator._network, []

    def scarce(planes, strips):
        tried.append(strips)
        if len(tried) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(planes, strips)

    expected = engine.matte_one(frame()).alpha
    monkeypatch.setattr(engine._estimator, "_network", scarce)
    assert np.abs(engine.matte_one(frame()).alpha - expected).max() < 1e-4
    assert [bool(strips.budget) for strips in tried] == [False, True]
    assert isinstance(tried[1], Strips)


def test_only_a_gpu_with_all_seven_channels_solves_for_itself():
    assert not estimator().overlaps
    alone = estimator(outputs="alpha", fusion=False)
    assert not alone.overlaps


def test_the_engine_needs_no_colour_library_for_the_curve():
    """GPU machines that only measure have none."""
    code = "import sys; sys.modules['PyOpenColorIO'] = None; import fbamatte.engine.device_light"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("c++"), reason="torch.compile needs a compiler")
def test_compiled_light_is_eager_light():
    """The very functions that a GPU compiles, compiled for this processor, for two sizes."""
    seen_by, solve = (Fused(f, frozenset({"cpu"})) for f in (encoded, solved))
    with torch.inference_mode():
        for size in ((40, 52), (31, 17)):
            plate, alpha, foreground, background = scene(1, size)
            there = torch.from_numpy(plate)
            seen = seen_by(there)
            assert (seen - encoded(there)).abs().max() < 3e-7
            colours = torch.from_numpy(np.concatenate([foreground, background], axis=-1)).permute(2, 0, 1)
            given = (there, seen.amin(), seen.amax(), torch.from_numpy(alpha), colours)
            found = [x.numpy() for x in solve(*given)]
            assert np.abs(found[0] - solved(*given)[0].numpy()).max() < 2e-5
            assert recomposition_error(plate, *found).max() <= 1e-5
    assert not seen_by._refused
    assert not solve._refused
