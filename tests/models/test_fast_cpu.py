"""The CPU's compiled loops against torch in float64; strips on threads give what one thread gives."""

import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch.nn import functional

from fbamatte.errors import CancelledError
from fbamatte.models import fast_loops
from fbamatte.models.fast import FastNetwork
from fbamatte.models.fast_cpu import HostRun
from fbamatte.models.fast_host import HUGE, Arena
from fbamatte.models.fast_layers import Convolution
from fbamatte.models.fast_loops import array
from fbamatte.models.fast_planes import Planes
from fbamatte.models.fast_pyramid import PoolingMatrices
from fbamatte.models.fast_workers import each, led
from fbamatte.models.interruption import check, interruptible
from fbamatte.models.tiles import Strips

SLOPE = np.float32(0.01)
KINDS = [torch.float32, torch.bfloat16]
CONVOLVED = [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.bf16)]


def features(kind, channels=37, height=5, width=7, seed=0):
    """Channels that fill no whole vector, of large mean."""
    x = torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(seed)) + 20
    return x.to(kind).contiguous(memory_format=torch.channels_last)


def per_channel(channels=37, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(1, 0.1, channels).astype(np.float32), rng.normal(-20, 1, channels).astype(np.float32)


def column(values):
    return torch.from_numpy(values).double()[None, :, None, None]


def near(found, expected):
    """Equal up to one rounding of the type and float32 arithmetic."""
    step = 2**-8 if found.dtype == torch.bfloat16 else 1e-6
    return (found.double() - expected).abs().max() <= step * expected.abs().max()


@pytest.mark.parametrize("kind", KINDS)
def test_stored_rows_are_the_same_and_their_sums_the_picture_s(kind):
    x = features(kind)
    out, pivot, sums = torch.empty_like(x), np.empty(37, np.float32), np.zeros((2, 37))
    fast_loops.store(array(x), array(out), pivot, sums)
    assert torch.equal(out, x)
    count = x.shape[2] * x.shape[3]
    variance, mean = torch.var_mean(x.double(), (0, 2, 3), correction=0)
    assert np.allclose(pivot + sums[0] / count, mean, rtol=1e-7)
    assert np.allclose(sums[1] / count - (sums[0] / count) ** 2, variance, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_moments_of_strips_are_those_of_the_picture_s_groups(kind):
    x, strips = features(kind, 36, 13), []
    for first, last in ((0, 4), (4, 5), (5, 13)):
        part, pivot, sums = x[:, :, first:last], np.empty(36, np.float32), np.zeros((2, 36))
        fast_loops.store(array(part), array(torch.empty_like(part)), pivot, sums)
        strips.append(((last - first) * 7.0, pivot, sums))
    mean, variance = np.empty((2, 36))
    fast_loops.moments(*(np.array(part) for part in zip(*strips)), mean, variance, 9)
    groups = x.double().reshape(4, -1)
    assert np.allclose(mean, groups.mean(1).repeat_interleave(9), rtol=1e-7)
    assert np.allclose(variance, groups.var(1, correction=0).repeat_interleave(9), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slope", [0, SLOPE, 1])
def test_normalised_rows_are_torchs(kind, slope):
    x, (scale, shift) = features(kind), per_channel()
    expected = functional.leaky_relu(x.double() * column(scale) + column(shift), float(slope))
    out = torch.empty_like(x)
    fast_loops.apply(array(x), 0, scale, shift, np.float32(slope), array(out))
    assert near(out, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_shortcut_joins_before_it_is_rectified(kind):
    x, other, (scale, shift), its = features(kind), features(kind, seed=2), per_channel(), per_channel(seed=3)
    sums = x.double() * column(scale) + column(shift) + other.double() * column(its[0]) + column(its[1])
    fast_loops.join(array(x), scale, shift, np.float32(0), array(other), *its)
    assert near(x, functional.relu(sums))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (5, 7)])
def test_doubled_rows_and_a_skip_are_torchs_own(kind, size):
    x, skip = features(kind, 19, *size), features(kind, 5, 2 * size[0], 2 * size[1], seed=4)
    scale, shift = per_channel(5)
    enlarged = functional.interpolate(x.double(), scale_factor=2.0, mode="bilinear", align_corners=False)
    behind = functional.leaky_relu(skip.double() * column(scale) + column(shift), float(SLOPE))
    out = torch.empty_like(torch.cat([enlarged, behind], dim=1).to(kind), memory_format=torch.channels_last)
    fast_loops.double(array(x), 0, 0, *size, 0, 0, array(out))
    fast_loops.put(array(skip), scale, shift, SLOPE, 19, array(out))
    assert near(out[:, :19], enlarged)
    assert near(out[:, 19:], behind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (13, 12)])
def test_pooled_strips_are_torchs_averages(kind, size):
    x = features(kind, 37, *size)
    pooling = PoolingMatrices(*size, (1, 3, 6), x.device, torch.float32)
    total = np.zeros((10, 10, 37), np.float32)
    for first in range(0, size[0], 4):
        down = np.ascontiguousarray(pooling.down.numpy()[:, first : first + 4])
        fast_loops.pool(array(x[:, :, first : first + 4]), pooling.across.numpy(), down, total)
    for k, picture in zip((1, 3, 6), pooling.pictures(torch.from_numpy(total))):
        assert near(picture, functional.adaptive_avg_pool2d(x.double(), k))


def test_bfloat16_is_rounded_to_nearest_even():
    x = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-12, -1 - 2**-8, 0.0])[None, :, None, None]
    out = torch.empty_like(x, dtype=torch.bfloat16)
    one, zero = np.ones(5, np.float32), np.zeros(5, np.float32)
    wide = x.contiguous(memory_format=torch.channels_last)
    fast_loops.apply(array(wide), 0, one, zero, np.float32(1), array(out))
    assert torch.equal(out, x.bfloat16())


@pytest.mark.parametrize("kind", CONVOLVED)
def test_threads_change_nothing(narrow, kind):
    """Sums are added in the order of the picture, whoever was first."""
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.random((1, 3, 104, 88), np.float32))
    masks = torch.from_numpy((rng.random((1, 2, 104, 88)) < 0.1).astype(np.float32))
    planes = Planes(image, masks, torch.full((1, 2, 104, 88), 100.0))
    network, before = FastNetwork(narrow, kind), torch.get_num_threads()
    found = []
    try:
        with torch.inference_mode():
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                found.append(HostRun(network, planes, Strips(20_000, head=20_000)).output())
                assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.bf16
def test_weights_in_two_terms_lose_nothing():
    """Of 16 equal weights 1 + 2⁻⁸, which bfloat16 rounds to 1."""
    module = torch.nn.Conv2d(16, 16, 1, bias=False)
    torch.nn.init.constant_(module.weight, 1 + 2**-8)
    x = features(torch.bfloat16, 16)
    expected = functional.conv2d(x.double(), module.weight.detach().double()).bfloat16()
    with torch.inference_mode():
        found, rounded = (Convolution(module, torch.bfloat16, exact=exact)(x, pad_rows=True) for exact in (True, False))
    assert torch.equal(found, expected)
    assert not torch.equal(rounded, expected)


@pytest.mark.parametrize("kind", CONVOLVED)
def test_a_picture_finds_every_loop_compiled(narrow, kind):
    loops = [
        fast_loops.moments,
        fast_loops.store,
        fast_loops.apply,
        fast_loops.join,
        fast_loops.put,
        fast_loops.double,
        fast_loops.pool,
    ]
    for loop in loops:
        loop._reset_overloads()  # other tests have called them with types of their own
    fast_loops.compile_loops.__wrapped__(kind)
    before = [loop.signatures for loop in loops]
    assert all(before)
    planes = Planes(torch.rand(1, 3, 41, 24), torch.zeros(1, 2, 41, 24), torch.full((1, 2, 41, 24), 100.0))
    with torch.inference_mode():
        HostRun(FastNetwork(narrow, kind), planes, Strips(20_000, head=20_000)).output()
    assert [loop.signatures for loop in loops] == before


def test_strips_are_computed_on_threads_that_stay_alone_in_theirs():
    before, seen, mode = torch.get_num_threads(), {}, set()

    def work(first, last):
        seen[first, last] = (threading.get_ident(), torch.get_num_threads())
        mode.add(torch.is_inference_mode_enabled())

    strips = [(k, k + 1) for k in range(20)]
    try:
        torch.set_num_threads(2)
        with torch.inference_mode():
            led(lambda: each(work, strips))
    finally:
        torch.set_num_threads(before)
    assert set(seen) == set(strips)
    assert {threads for _, threads in seen.values()} == {1}
    assert threading.get_ident() not in {thread for thread, _ in seen.values()}
    assert mode == {True}


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("strip", [0, 3, 5])
def test_an_error_in_a_strip_is_the_callers_once_nobody_works_any_more(two_threads, strip):
    begun, ended = [], []

    def work(first, last):
        begun.append(first)
        if first == strip:
            raise MemoryError(f"strip {strip}")
        time.sleep(0.01)
        ended.append(first)

    with pytest.raises(MemoryError, match=f"strip {strip}"):
        led(lambda: each(work, [(k, k + 1) for k in range(6)]))
    assert sorted(begun) == sorted([*ended, strip])
    assert len(begun) <= strip + 2  # nobody began another


def test_more_pictures_than_threads_wait_for_none_of_each_other(two_threads):
    """Every thread leads a picture, so none is left to help."""
    done = []

    def picture():
        for layer in range(20):
            each(lambda *strip: done.append(strip), [(layer, k) for k in range(8)])
        return True

    with ThreadPoolExecutor(4) as callers:
        pictures = [callers.submit(led, picture) for _ in range(8)]
        assert all(p.result(timeout=60) for p in pictures)
    assert sorted(done) == sorted([(layer, k) for layer in range(20) for k in range(8)] * 8)


def test_a_leader_asks_what_its_caller_was_to_ask(two_threads):
    def nobody_waits():
        raise CancelledError("nobody waits")

    with pytest.raises(CancelledError, match="nobody waits"), interruptible(nobody_waits):
        led(check)


@pytest.mark.skipif(sys.platform == "win32", reason="a signal to a thread")
def test_an_interrupted_caller_leaves_no_picture_behind(two_threads):
    begun, ended = threading.Event(), threading.Event()

    def picture():
        begun.set()
        try:
            for _ in range(5000):
                check()
                time.sleep(0.001)
        finally:
            ended.set()

    def interrupt():
        begun.wait()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    with ThreadPoolExecutor(1) as other:
        other.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            led(picture)
    assert ended.is_set()


def test_an_arena_hands_on_what_fits():
    arena = Arena()
    large = arena.take(3 * HUGE)
    place = large.data_ptr()
    arena.give(large)
    small = arena.take(HUGE)
    assert small.data_ptr() != place
    again = arena.take(3 * HUGE - 100)
    assert again.data_ptr() == place
    assert arena.take(3 * HUGE).data_ptr() != place
