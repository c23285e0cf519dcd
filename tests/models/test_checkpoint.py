"""Checkpoints read, written, converted; and every file that is not what it says refused by name."""

import os
import pickle
import struct
from pathlib import Path

import pytest
import torch

from fbamatte.errors import CheckpointError, OutputError, UsageError
from fbamatte.models.base import ModelInfo
from fbamatte.models.card import read_card
from fbamatte.models.checkpoint import (
    file_digest,
    import_checkpoint,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
    weights_digest,
)
from fbamatte.models.config import NetworkConfig

DESCRIPTION = {
    "title": "A test network",
    "licence": "CC0-1.0",
    "commercial": True,
    "source": "made by a test",
    "description": "Says nothing.",
}


def test_the_published_file_is_converted_with_hash_and_licence(published, tmp_path):
    made = import_checkpoint(published, tmp_path / "models")
    card = read_card(made)
    assert made.name == "fba.safetensors"
    assert card.config == NetworkConfig()
    assert not card.commercial
    assert card.light == card.info().light == "display", "its authors composite encoded values"
    assert "non-commercial" in card.licence
    assert card.parameters == 34_693_031
    assert file_digest(published) in card.source
    before, after = read_checkpoint(published), read_checkpoint(made)
    assert before.card.sha256 == after.card.sha256 == weights_digest(after.state)
    assert all(torch.equal(before.state[key], after.state[key]) for key in before.state)


def test_what_is_loaded_is_folded_for_use_and_not_for_training(narrow_file):
    assert load_checkpoint(narrow_file).folded
    network = load_checkpoint(narrow_file, fold=False)
    assert not network.folded
    assert not network.training
    assert torch.equal(network.encoder.conv1.weight, torch.load(narrow_file)["encoder.conv1.weight"])


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(width=0.125, alpha="sigmoid", groups=16, fusion=False),
        NetworkConfig(width=0.125, norm="batch"),
        NetworkConfig(width=0.125, norm="batch", standardise=False, outputs="alpha"),
    ],
)
def test_a_network_of_ours_comes_back_as_it_was(make_network, config, tmp_path):
    network = make_network(config)
    card = save_checkpoint(network, tmp_path / "ours.safetensors", DESCRIPTION)
    again = load_checkpoint(tmp_path / "ours.safetensors", fold=False)
    assert again.config == config
    assert read_card(tmp_path / "ours.safetensors") == card
    for key, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
        assert value.dtype == again.state_dict()[key].dtype, key
    assert isinstance(card.info("shown"), ModelInfo)
    assert card.info("shown").name == "shown"


def test_half_precision_weights_are_computed_in_float32(narrow, tmp_path):
    save_checkpoint(narrow.half(), tmp_path / "half.safetensors", DESCRIPTION)
    assert load_checkpoint(tmp_path / "half.safetensors").encoder.conv1.weight.dtype == torch.float32


def test_wrappers_of_training_programs_are_taken_off(narrow, tmp_path):
    wrapped = {f"module.{key}": value for key, value in narrow.state_dict().items()}
    torch.save({"state_dict": wrapped, "epoch": 45}, tmp_path / "wrapped.pth")
    torch.save(narrow.state_dict(), tmp_path / "plain.pth")
    digests = {weights_digest(read_checkpoint(tmp_path / name).state) for name in ("wrapped.pth", "plain.pth")}
    assert len(digests) == 1


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("kind", ["pickle", "torch", "torch inside", "old torch"])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(narrow, tmp_path, kind):
    proof, path = tmp_path / "proof", tmp_path / "evil.pth"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb(proof)))
    else:
        content = Bomb(proof) if kind == "torch" else {**narrow.state_dict(), "encoder.bn1.bias": Bomb(proof)}
        torch.save(content, path, _use_new_zipfile_serialization=kind != "old torch")
    with pytest.raises(CheckpointError, match=r"evil\.pth.*refused") as refused:
        load_checkpoint(path)
    assert "weights_only" not in str(refused.value), "torch's advice how to run it after all"
    assert not proof.exists()
    pickle.loads(pickle.dumps(Bomb(proof)))  # it would have: the bomb is a live one
    assert proof.exists()


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04", b"RIFF not this", pickle.dumps({"a": 1}), pickle.dumps([1, 2]), pickle.dumps(None)]
)
def test_what_is_no_checkpoint_is_refused_by_name(tmp_path, content):
    for name in ("odd.pth", "odd.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            load_checkpoint(tmp_path / name)


def test_tensors_that_are_no_network_are_refused(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: not an FBA network"):
        load_checkpoint(tmp_path / "other.pth")
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match=r"list\.pth: holds a list"):
        load_checkpoint(tmp_path / "list.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(narrow, narrow_file, tmp_path, suffix, kept):
    whole = narrow_file
    if suffix == ".safetensors":
        save_checkpoint(narrow, whole := tmp_path / "whole.safetensors", DESCRIPTION)
    data = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(CheckpointError, match="cut"):
        load_checkpoint(cut)


def test_the_first_tensor_that_differs_is_named(narrow, tmp_path):
    state = narrow.state_dict()
    key = "encoder.layer1.0.conv2.weight"
    changes = {
        rf"{key}' is 8×8×1×1, its network needs 8×8×3×3": {**state, key: torch.zeros(8, 8, 1, 1)},
        rf"{key}' is missing": {name: value for name, value in state.items() if name != key},
        r"extra\.weight' is of no network": {**state, "extra.weight": torch.zeros(1)},
    }
    for message, changed in changes.items():
        torch.save(changed, tmp_path / "changed.pth")
        with pytest.raises(CheckpointError, match=rf"changed\.pth: tensor '.*{message}"):
            load_checkpoint(tmp_path / "changed.pth")


def test_a_single_changed_byte_is_found_by_the_hash(narrow, tmp_path):
    path = tmp_path / "ours.safetensors"
    save_checkpoint(narrow, path, DESCRIPTION)
    data = bytearray(path.read_bytes())
    header = struct.unpack("<Q", data[:8])[0]
    data[8 + header + 1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"ours\.safetensors: its weights have SHA-256 .* saved with"):
        load_checkpoint(path)


def test_a_file_without_our_description_says_what_to_do(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="says nothing about its network"):
        load_checkpoint(tmp_path / "foreign.safetensors")
    save_file({"x": torch.zeros(2)}, tmp_path / "odd.safetensors", {"fbamatte": '{"config": {"depth": 9}}'})
    with pytest.raises(CheckpointError, match=r"odd\.safetensors: its description cannot be read.*depth"):
        load_checkpoint(tmp_path / "odd.safetensors")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.pth: no such file"):
        load_checkpoint(tmp_path / "nowhere.pth")


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "", "a b\n", "closed-form"])
def test_an_import_takes_no_name_that_leads_elsewhere(narrow_file, tmp_path, name):
    if not name:
        narrow_file = narrow_file.rename(narrow_file.with_name("+.pth"))
    with pytest.raises(UsageError):
        import_checkpoint(narrow_file, tmp_path / "models", name=name)
    assert not (tmp_path / "models").exists()


def test_an_import_leaves_nothing_half_written(narrow_file, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        import_checkpoint(narrow_file, tmp_path / "file")
    (tmp_path / "models" / "narrow.safetensors").mkdir(parents=True)  # the final name cannot be taken
    with pytest.raises(OutputError, match=r"narrow\.safetensors"):
        import_checkpoint(narrow_file, tmp_path / "models")
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["narrow.safetensors"]


def test_a_bad_file_imports_nothing(tmp_path):
    (tmp_path / "bad.pth").write_bytes(b"no")
    with pytest.raises(CheckpointError):
        import_checkpoint(tmp_path / "bad.pth", tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_an_import_again_replaces(narrow_file, tmp_path):
    first = import_checkpoint(narrow_file, tmp_path / "models", name="mine")
    again = import_checkpoint(first, tmp_path / "models", name="mine")
    assert first == again
    assert read_card(again).name == "mine"
    assert len(list((tmp_path / "models").iterdir())) == 1
