import numpy as np
import pytest
import torch
from structlog.testing import capture_logs

from fbamatte.errors import CheckpointError, ModelNotFoundError
from fbamatte.models import registry
from fbamatte.models.checkpoint import save_checkpoint
from fbamatte.models.config import NetworkConfig
from fbamatte.models.network import FBANetwork
from fbamatte.rpc.client import Client
from fbamatte.serving.catalogue import Catalogue
from fbamatte.testing import NULL, Sources, serve_in_process
from serving.helpers import frame, messages, raw

ABOUT = {"title": "t", "licence": "CC0-1.0", "commercial": True, "source": "s", "description": "d"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of imported models, empty."""
    monkeypatch.setenv("FBAMATTE_MODELS", str(tmp_path))
    return tmp_path


def add_model(folder, name, seed=0):
    """Put a model there as an import does: complete, under another name first."""
    torch.manual_seed(seed)
    save_checkpoint(FBANetwork(NetworkConfig(width=0.125)).eval(), folder / f".{name}.safetensors", ABOUT)
    (folder / f".{name}.safetensors").rename(folder / f"{name}.safetensors")


def test_without_a_wish_every_registered_model_is_offered_the_default_first():
    catalogue = Catalogue.of_registry()
    assert set(catalogue.names()) == set(registry.names())
    assert catalogue.default == catalogue.resolve("") == registry.DEFAULT


def test_with_a_wish_only_those_are():
    catalogue = Catalogue.of_registry(["closed-form", NULL], Sources())
    assert catalogue.names() == ["closed-form", NULL]
    with pytest.raises(ModelNotFoundError, match="this server has: closed-form, testing-null"):
        catalogue.resolve("testing-wire")


def test_a_model_is_asked_for_by_the_name_that_it_gives_itself():
    assert Catalogue.of_registry(["testing-large-64"], Sources()).bytes_of("testing-large-64") == 64 * 2**20


def test_a_damaged_model_is_left_out_unless_it_was_asked_for(folder):
    (folder / "damaged.safetensors").write_bytes(b"torn")
    with capture_logs() as lines:
        assert "damaged" not in Catalogue.of_registry().names()
    assert [line["model"] for line in lines] == ["damaged"]
    assert "damaged" in lines[0]["reason"]
    with pytest.raises(CheckpointError):
        Catalogue.of_registry(["damaged"])


def test_a_model_that_is_imported_later_is_there_without_a_restart(folder):
    with serve_in_process() as wished, serve_in_process(models=()) as server:
        with Client(server.addresses[0]) as client:
            before = {model.name for model in client.list_models()}
            add_model(folder, "late")
            assert {model.name for model in client.list_models()} == before | {"late"}
        # Nobody has listed this one; its own name is enough.
        add_model(folder, "later")
        with raw(server.addresses[0]) as stream:
            stream.send(*messages(frame(1), model="later"), *messages(frame(2), model="latest"))
            answers = stream.answers(2)
        assert answers["k1"] == "OK"
        assert answers["k2"].code == "NOT_FOUND"
        assert "late, later" in answers["k2"].message
        # What an operator names is all that he offers.
        with Client(wished.addresses[0]) as client:
            assert [model.name for model in client.list_models()] == [NULL]


def test_of_a_damaged_file_that_lies_there_it_is_said_once(folder):
    catalogue = Catalogue.of_registry()
    (folder / "torn.safetensors").write_bytes(b"torn")
    with capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(ModelNotFoundError):
                catalogue.resolve("torn")
    assert [line["model"] for line in lines] == ["torn"]


def test_a_model_that_is_replaced_under_its_name_is_the_one_that_answers(folder):
    add_model(folder, "own")
    with serve_in_process(models=("own",)) as server, Client(server.addresses[0]) as client:
        pool = server.scheduler.workers[0].pool
        (first,) = client.matte([frame(1)])
        add_model(folder, "own", seed=1)
        (second,) = client.matte([frame(1)])
        (listed,) = client.list_models()
        assert second.provenance["model_sha256"] == listed.sha256 == registry.describe("own").sha256
        assert first.provenance["model_sha256"] != listed.sha256
        assert not np.array_equal(first.alpha, second.alpha)
        # The one before is not kept.
        assert [(key.model, key.version) for key in pool.loaded()] == [("own", listed.sha256)]


def test_a_file_that_is_gone_or_damaged_replaces_nothing_and_is_said_once(folder):
    add_model(folder, "own")
    catalogue = Catalogue.of_registry(["own"])
    before = catalogue.version("own")
    with capture_logs() as lines:
        (folder / "own.safetensors").rename(folder / "elsewhere")
        assert catalogue.version("own") == before
        (folder / "own.safetensors").write_bytes(b"torn")
        assert [catalogue.version("own") for _ in range(3)] == [before] * 3
    assert [line["event"] for line in lines] == ["model not replaced"]
    (folder / "elsewhere").replace(folder / "own.safetensors")
    assert catalogue.version("own") == before
