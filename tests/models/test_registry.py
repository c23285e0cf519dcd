"""Models by name; and what each built-in one's error on one picture was when it was last looked at."""

import logging
import re

import numpy as np
import pytest

import bundled_picture
from fbamatte.errors import CheckpointError, ModelNotFoundError, UsageError
from fbamatte.models import card, devices, registry
from fbamatte.models.checkpoint import import_checkpoint, save_checkpoint
from fbamatte.models.config import NetworkConfig

# mean |Δ| of alpha, of F where the true alpha is above 0.1, of B where it is below 0.9; unknown region
RECORDED = {
    "closed-form": (0.016415, 0.023674, 0.005522),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FBAMATTE_MODELS", str(tmp_path / "models"))
    card.show_licence.cache_clear()
    return tmp_path / "models"


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_no_estimator_gets_worse(name):
    """A new estimator is recorded here; an old one may not lose 1 %."""
    truth = bundled_picture.make()
    model = registry.load(name)
    found = model.estimate(truth.image, truth.trimap)
    model.close()
    errors = bundled_picture.errors(truth, found)
    assert name in RECORDED, f"record {errors} for {name}"
    for what, error, recorded in zip(("alpha", "F", "B"), errors, RECORDED[name]):
        assert error <= 1.01 * recorded, f"{name}: {what} error {error:.6f}, recorded {recorded:.6f}"


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_every_estimator_keeps_the_protocol(name):
    truth = bundled_picture.make()
    model = registry.load(name, device="cpu")
    found = model.estimate(truth.image, truth.trimap)
    assert model.info == registry.describe(name)
    assert model.device == "cpu"
    assert model.precision == "fp32"
    for plane, shape in ((found.alpha, (96, 128)), (found.foreground, (96, 128, 3)), (found.background, (96, 128, 3))):
        assert plane.dtype == np.float32
        assert plane.shape == shape
        assert 0 <= plane.min() <= plane.max() <= 1
    known = (truth.trimap == 0) | (truth.trimap == 1)
    assert np.array_equal(found.alpha[known], truth.trimap[known])
    assert np.array_equal(found.foreground[truth.trimap == 1], truth.image[truth.trimap == 1])
    assert np.array_equal(found.background[truth.trimap == 0], truth.image[truth.trimap == 0])
    model.close()
    model.close()


def test_an_imported_model_is_found_by_name_path_and_in_the_list(narrow_file, folder):
    path = import_checkpoint(narrow_file, folder)
    assert registry.names() == ["closed-form", "refined", "narrow"]
    assert registry.describe("narrow") == registry.describe(path)
    assert registry.describe(narrow_file).sha256 == registry.describe("narrow").sha256
    assert registry.path_of("narrow") == path


def test_a_network_mattes_any_size_with_the_known_exact(narrow_file, folder):
    model = registry.load(narrow_file, device="cpu")
    truth = bundled_picture.make()
    for height, width in ((96, 128), (71, 89), (60, 1)):
        image, trimap = truth.image[-height:, -width:], truth.trimap[-height:, -width:]
        found = model.estimate(image, trimap)
        assert found.alpha.shape == trimap.shape
        assert np.isfinite(found.foreground).all()
        known = (trimap == 0) | (trimap == 1)
        assert np.array_equal(found.alpha[known], trimap[known])
        assert np.array_equal(found.foreground[trimap == 1], image[trimap == 1])
        assert np.array_equal(found.background[trimap == 0], image[trimap == 0])


def test_a_network_of_alpha_alone_has_its_colours_fitted(make_network, tmp_path):
    about = {"title": "t", "licence": "CC0-1.0", "commercial": True, "source": "s", "description": "d"}
    network = make_network(NetworkConfig(width=0.125, outputs="alpha", fusion=False))
    save_checkpoint(network, tmp_path / "alpha.safetensors", about)
    truth = bundled_picture.make()
    found = registry.load(tmp_path / "alpha.safetensors", device="cpu").estimate(truth.image, truth.trimap)
    assert found.fitted
    again = found.alpha[..., None] * found.foreground + (1 - found.alpha[..., None]) * found.background
    assert np.abs(again - truth.image).mean() < 0.02


@pytest.mark.bf16
def test_bf16_stays_near_float32(narrow_file):
    truth = bundled_picture.make()
    exact, low = (
        registry.load(narrow_file, device="cpu", precision=p).estimate(truth.image, truth.trimap)
        for p in ("fp32", "bf16")
    )
    assert 0 < np.abs(exact.foreground - low.foreground).mean() < 0.02


def test_a_licence_that_forbids_is_said_once(narrow_file, caplog):
    with caplog.at_level(logging.WARNING):
        registry.load(narrow_file, device="cpu")
        registry.load(narrow_file, device="cpu")
    said = [record for record in caplog.records if "non-commercial" in record.getMessage()]
    assert len(said) == 1
    assert "narrow" in said[0].getMessage()


def test_a_free_licence_is_not_warned_about(make_network, tmp_path, caplog):
    about = {"title": "t", "licence": "CC0-1.0", "commercial": True, "source": "s", "description": "d"}
    save_checkpoint(make_network(NetworkConfig(width=0.125)), tmp_path / "free.safetensors", about)
    with caplog.at_level(logging.WARNING):
        registry.load(tmp_path / "free.safetensors", device="cpu")
    assert caplog.records == []


@pytest.mark.parametrize("ask", [registry.load, registry.describe, registry.path_of])
@pytest.mark.parametrize("name", ["nothing", "nothing.safetensors", "closed form", "../closed-form", ""])
def test_an_unknown_name_is_answered_with_those_that_exist(ask, name):
    with pytest.raises(ModelNotFoundError, match="there are: closed-form"):
        ask(name)


def test_the_papers_name_says_how_to_get_it():
    with pytest.raises(ModelNotFoundError, match=r"fbamatte models import FBA\.pth"):
        registry.load("fba")


@pytest.mark.parametrize("name", ["closed-form", "file"])
@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        ("cuda:97", "auto", "no device 'cuda:97' in this machine; there are: cpu"),
        ("tpu", "auto", "unknown device 'tpu'"),
        ("cuda:x", "auto", "unknown device"),
        ("cpu", "int8", "unknown precision 'int8'"),
        ("cpu", "fp16", "fp16 is for GPUs"),
    ],
)
def test_a_device_or_precision_that_is_not_to_be_had_is_refused(narrow_file, name, device, precision, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        registry.load(narrow_file if name == "file" else name, device, precision)


@pytest.mark.parametrize("name", ["closed-form", "refined", "file"])
def test_bf16_that_the_processor_cannot_compute_is_refused_with_the_way_out(narrow_file, monkeypatch, name):
    monkeypatch.setattr(devices, "computes_bf16", lambda: False)
    message = f"bf16 takes {devices.BF16_TAKES}, which this processor lacks; use --precision auto or fp32"
    with pytest.raises(UsageError, match=re.escape(message)):
        registry.load(narrow_file if name == "file" else name, "cpu", "bf16")


def test_a_broken_file_in_the_folder_is_named_when_asked_for(folder):
    folder.mkdir()
    (folder / "broken.safetensors").write_bytes(b"no")
    assert registry.names() == ["closed-form", "refined", "broken"]
    with pytest.raises(CheckpointError, match=r"broken\.safetensors"):
        registry.describe("broken")


@pytest.mark.parametrize("name", ["closed-form", "file"])
def test_nan_is_refused_before_it_spreads(narrow_file, name):
    from fbamatte.errors import FrameError

    truth = bundled_picture.make()
    image = truth.image.copy()
    image[3, 4, 1] = np.nan
    with pytest.raises(FrameError, match="1 values that are NaN"):
        registry.load(narrow_file if name == "file" else name, device="cpu").estimate(image, truth.trimap)
