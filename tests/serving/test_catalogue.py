import pytest
from structlog.testing import capture_logs

from fbamatte.errors import CheckpointError, ModelNotFoundError
from fbamatte.models import registry
from fbamatte.serving.catalogue import Catalogue
from fbamatte.testing import NULL, Sources


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


def test_a_damaged_model_is_left_out_unless_it_was_asked_for(monkeypatch):
    real = registry.describe

    def describe(name):
        if name == "damaged":
            raise CheckpointError("damaged: no checkpoint")
        return real(name)

    monkeypatch.setattr(registry, "names", lambda: ["closed-form", "damaged"])
    monkeypatch.setattr(registry, "describe", describe)
    with capture_logs() as lines:
        assert Catalogue.of_registry().names() == ["closed-form"]
    assert lines[0]["reason"] == "damaged: no checkpoint"
    with pytest.raises(CheckpointError):
        Catalogue.of_registry(["damaged"])
