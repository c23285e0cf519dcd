"""One pass over the features: the same numbers as torch's own three, eager and compiled."""

import logging
import shutil

import pytest
import torch
from torch.nn import functional

from fbamatte.models import fused
from fbamatte.models.decoder import SLOPE
from fbamatte.models.fused import Fused, normalised

CASES = ((0, False), (0, True), (SLOPE, False), (1, False))


def given(dtype, channels=6, height=5, width=7):
    torch.manual_seed(1)
    x, shortcut = (
        torch.randn(1, channels, height, width).to(dtype).contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    )
    kind = torch.float64 if dtype == torch.float64 else torch.float32
    mean, variance, weight, bias = torch.rand(4, channels, dtype=kind)
    return x, mean, variance + 0.1, weight, bias, shortcut


def in_three_passes(x, mean, variance, weight, bias, slope, shortcut):
    out = functional.batch_norm(x.double(), mean.double(), variance.double(), weight.double(), bias.double(), eps=1e-5)
    out = out + shortcut.double() if shortcut is not None else out
    return functional.leaky_relu(out, slope)


@pytest.mark.parametrize(("slope", "joined"), CASES)
@pytest.mark.parametrize(
    ("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 2e-6), (torch.bfloat16, 0.02), (torch.float16, 3e-3)]
)
def test_normalising_in_one_pass_is_normalising(dtype, error, slope, joined):
    x, mean, variance, weight, bias, shortcut = given(dtype)
    shortcut = shortcut if joined else None
    found = normalised(x, mean, variance, weight, bias, 1e-5, slope, shortcut)
    expected = in_three_passes(x, mean, variance, weight, bias, slope, shortcut)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert (found - expected).abs().max() <= error


def test_what_cannot_be_compiled_is_computed_all_the_same(caplog, monkeypatch):
    def none(*_, **__):
        raise RuntimeError("no Triton here\nand a long story")

    monkeypatch.setattr(torch, "compile", none)
    double = Fused(lambda x: x * 2, frozenset({"cpu"}))
    with caplog.at_level(logging.WARNING):
        assert double(torch.ones(1)) == 2
        assert double(torch.ones(1)) == 2
    assert len(caplog.records) == 1
    assert caplog.text.rstrip().endswith("RuntimeError: no Triton here")


def test_memory_that_runs_out_is_not_taken_for_a_compiler_that_fails(monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: full)
    double = Fused(lambda x: x * 2, frozenset({"cpu"}))
    with pytest.raises(torch.OutOfMemoryError):
        double(torch.ones(1))


def test_compiled_code_is_kept_where_the_user_says_else_in_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setenv("TRITON_CACHE_DIR", "elsewhere")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    fused.keep_compiled_code()
    import os

    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(fused.user_cache() / "inductor")
    assert os.environ["TRITON_CACHE_DIR"] == "elsewhere"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("c++"), reason="torch.compile needs a compiler")
@pytest.mark.parametrize(("slope", "joined"), CASES)
def test_compiled_is_eager(monkeypatch, slope, joined):
    on_cpu = frozenset({"cpu"})
    monkeypatch.setattr(fused, "_JOINED", Fused(fused._JOINED.function, on_cpu))
    monkeypatch.setattr(fused, "_BY_SLOPE", {k: Fused(f.function, on_cpu) for k, f in fused._BY_SLOPE.items()})
    with torch.inference_mode():
        for height, width in ((5, 7), (8, 3), (16, 16)):
            x, mean, variance, weight, bias, shortcut = given(torch.bfloat16, 8, height, width)
            shortcut = shortcut if joined else None
            found = normalised(x, mean, variance, weight, bias, 1e-5, slope, shortcut)
            expected = in_three_passes(x, mean, variance, weight, bias, slope, shortcut)
            assert (found - expected).abs().max() <= 0.02
    used = fused._JOINED if joined else fused._BY_SLOPE[slope]
    assert not used._refused


@pytest.mark.cuda
@pytest.mark.parametrize(("slope", "joined"), CASES)
def test_compiled_on_a_gpu(slope, joined):
    with torch.inference_mode():
        x, mean, variance, weight, bias, shortcut = (each.cuda() for each in given(torch.float16, 64, 33, 45))
        shortcut = shortcut if joined else None
        found = normalised(x, mean, variance, weight, bias, 1e-5, slope, shortcut)
        expected = in_three_passes(x, mean, variance, weight, bias, slope, shortcut)
        assert (found - expected).abs().max() <= 5e-3
