"""The loop for real: tiny networks, a few steps, on the CPU in float32."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fbamatte.errors import CheckpointError, FrameError, UsageError
from fbamatte.training.batch import Batch
from fbamatte.training.generator import ProceduralSource
from fbamatte.training.loop import train
from fbamatte.training.recipe import load_recipe, tiny

CPU = torch.device("cpu")


def small(name="table3-fba", **more):
    return replace(tiny(load_recipe(name), crop=32), **more)


def tensors(result):
    return {**result.network.state_dict(), **{f"ema.{k}": v for k, v in result.average.state.items()}}


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_resumed_run_equals_an_unbroken_one(tmp_path, ema, quiet):
    recipe = small(ema=ema, clip=1.0)
    source = ProceduralSource(recipe, CPU, families=("blob", "net"))
    whole = train(recipe, source, quiet(tmp_path / "whole", stop_after=6), CPU)
    train(recipe, source, quiet(tmp_path / "broken", stop_after=2), CPU)
    resumed = train(recipe, source, quiet(tmp_path / "broken", stop_after=6), CPU)
    assert len(resumed.losses) == 4
    assert whole.losses[2:] == resumed.losses
    for key, value in tensors(whole).items():
        assert torch.equal(value, tensors(resumed)[key]), key
    assert (tmp_path / "whole/log.csv").read_text() == (tmp_path / "broken/log.csv").read_text()


def test_batches_made_ahead_change_nothing(tmp_path, quiet):
    recipe = small()
    source = ProceduralSource(recipe, CPU, families=("blob",))
    one = train(recipe, source, quiet(tmp_path / "a", stop_after=3), CPU)
    two = train(recipe, source, quiet(tmp_path / "b", stop_after=3, workers=2), CPU)
    assert one.losses == two.losses


class Poisoned:
    samples_per_epoch = 64

    def __init__(self, good):
        self.only = good.only

    def batch(self, step):
        b = self.only
        if step < 2:
            return b
        return Batch(b.image, b.alpha, b.foreground * float("nan"), b.background, b.trimap, ("bad.png",))


def test_a_loss_that_is_no_number_names_step_and_picture_and_keeps_what_was_before(tmp_path, one_batch, quiet):
    recipe = small()
    source = Poisoned(one_batch(recipe))
    with pytest.raises(FrameError, match=r"step 2: the loss is nan .*bad\.png") as caught:
        train(recipe, source, quiet(tmp_path / "run", stop_after=6), CPU)
    assert str(tmp_path / "run") in str(caught.value)
    before = train(recipe, source, quiet(tmp_path / "short", stop_after=2), CPU)
    kept = train(recipe, one_batch(recipe), quiet(tmp_path / "run", stop_after=2), CPU)  # nothing left to do
    assert (kept.step, kept.losses) == (2, [])
    for key, value in tensors(before).items():
        assert torch.equal(value, tensors(kept)[key]), key
        assert torch.isfinite(value).all(), key


def test_a_state_of_another_recipe_is_refused(tmp_path, one_batch, quiet):
    recipe = small()
    source = one_batch(recipe)
    train(recipe, source, quiet(tmp_path, stop_after=1), CPU)
    with pytest.raises(UsageError, match=r"learning_rate = 0\.001, not 0\.002"):
        train(replace(recipe, learning_rate=0.002), source, quiet(tmp_path, stop_after=2), CPU)


def test_a_damaged_state_is_refused(tmp_path, one_batch, quiet):
    recipe = small()
    train(recipe, one_batch(recipe), quiet(tmp_path, stop_after=1), CPU)
    piece = next(tmp_path.glob("state-*.000"))
    data = bytearray(piece.read_bytes())
    data[len(data) // 2] ^= 1
    piece.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"state\.json: .*damaged"):
        train(recipe, one_batch(recipe), quiet(tmp_path, stop_after=2), CPU)


def test_pieces_of_a_state_are_small_and_old_ones_go(tmp_path, monkeypatch, one_batch, quiet):
    monkeypatch.setattr("fbamatte.training.state.PIECE", 200_000)
    recipe = small()
    result = None
    for stop in (1, 2):
        result = train(recipe, one_batch(recipe), quiet(tmp_path, stop_after=stop), CPU)
    pieces = sorted(tmp_path.glob("state-*.*"))
    assert len(pieces) > 3
    assert {p.name.split(".")[0] for p in pieces} == {"state-00000002"}
    assert max(p.stat().st_size for p in pieces) <= 200_000
    again = train(recipe, one_batch(recipe), quiet(tmp_path, stop_after=2), CPU)
    assert torch.equal(again.network.state_dict()["encoder.conv1.weight"],
                       result.network.state_dict()["encoder.conv1.weight"])  # fmt: skip


def test_two_processes_share_their_gradients(tmp_path):
    script = Path(__file__).with_name("two_processes.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script, tmp_path]
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert one["losses"] != two["losses"], "both processes saw the same pictures"
    for key, value in one["network"].items():
        assert torch.equal(value, two["network"][key]), key
    assert len((tmp_path / "run/log.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("name", ["fba-small", "refine"])
def test_bf16_autocast_trains_weights_that_stay_float32(tmp_path, one_batch, quiet, name):
    recipe = small(name, precision="bf16", batch=1, learning_rate=5e-3)
    result = train(recipe, one_batch(recipe), quiet(tmp_path, stop_after=4), CPU)
    exact = train(replace(recipe, precision="fp32"), one_batch(recipe), quiet(tmp_path / "e", stop_after=4), CPU)
    assert result.losses == pytest.approx(exact.losses, rel=0.05)
    assert result.losses != exact.losses
    assert {v.dtype for v in result.network.parameters()} == {torch.float32}
