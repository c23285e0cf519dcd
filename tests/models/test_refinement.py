"""A refining network from its file to a matte: names, hashes, the command, what it does to alpha and may not."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

import bundled_picture
from fbamatte.cli import main
from fbamatte.errors import CheckpointError, FrameError, ModelNotFoundError
from fbamatte.evaluation import procedural
from fbamatte.imaging.curve import encode
from fbamatte.imaging.exr import read_exr
from fbamatte.models import evidence, refinement, registry
from fbamatte.models import folder as folders
from fbamatte.models.base import ModelInfo
from fbamatte.models.checkpoint import weights_digest
from fbamatte.models.closed_form import ClosedForm
from fbamatte.models.evidence import NAMES, PLANES, between_lights
from made import write_sequence

CLOSED_FORM, FITTED = (60.0, 0.0, 0.0, 0.0, 0.0), (0.0, 60.0, 0.0, 0.0, 0.0)
"""Biases of a head that believes one of the four alone."""


def write_network(path, believes=FITTED, **more):
    torch.manual_seed(0)
    network = refinement.RefinementNetwork(0.25)
    network.head.bias.data.copy_(torch.tensor(believes))
    state = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    about = {"name": path.stem, "title": "t", "licence": "MIT", "commercial": True, "sha256": weights_digest(state),
             "parameters": 1, "description": "d", **more}  # fmt: skip
    refinement.save(network, path, asdict(ModelInfo(**about)), state)
    return path


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("FBAMATTE_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def file(tmp_path):
    return write_network(tmp_path / "refined.safetensors")


def test_a_network_that_believes_closed_form_alone_is_closed_form(tmp_path):
    truth = bundled_picture.make()
    path = write_network(tmp_path / "plain.safetensors", CLOSED_FORM)
    found = registry.load(path, "cpu").estimate(truth.image, truth.trimap)
    plain = ClosedForm().estimate(between_lights(truth.image), truth.trimap)
    # but where the solution left the range and was cut
    assert np.abs(found.alpha - plain.alpha).mean() < 5e-4
    assert np.abs(found.alpha - plain.alpha).max() < 0.05
    assert found.fitted


def test_sampled_alpha_is_another_and_the_known_stays(file):
    truth = bundled_picture.make()
    model = registry.load(file, "cpu")
    found, plain = (m.estimate(truth.image, truth.trimap) for m in (model, ClosedForm()))
    unknown = (truth.trimap > 0) & (truth.trimap < 1)
    assert np.abs(found.alpha - plain.alpha)[unknown].mean() > 1e-3
    assert np.abs(found.alpha - truth.alpha)[unknown].mean() < 0.1, "and no nonsense"
    np.testing.assert_array_equal(found.alpha[~unknown], truth.trimap[~unknown])
    np.testing.assert_array_equal(found.foreground[truth.trimap == 1], truth.image[truth.trimap == 1])
    np.testing.assert_array_equal(found.background[truth.trimap == 0], truth.image[truth.trimap == 0])
    model.close()


def test_whatever_the_weights_it_chooses_between_the_four():
    torch.manual_seed(1)
    network = refinement.RefinementNetwork(0.5).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=3)
    gathered = torch.rand(1, PLANES, 24, 30)
    with torch.inference_mode():
        chosen = network(gathered)[0, 0]
    start, fitted = (gathered[0, NAMES.index(n)] for n in ("closed-form alpha", "sampled alpha, fitted"))
    four = torch.stack([start, fitted, refinement.snapped(start), refinement.snapped(fitted)])
    assert (chosen >= four.amin(dim=0) - 1e-6).all()
    assert (chosen <= four.amax(dim=0) + 1e-6).all()
    assert float((chosen - start).abs().max()) > 0.01


def test_in_training_a_correction_stands_beside_and_does_not_move_the_choice():
    torch.manual_seed(1)
    network = refinement.RefinementNetwork(0.25)
    torch.nn.init.normal_(network.head.weight)
    gathered = torch.rand(2, PLANES, 32, 48)
    chosen, corrected = network(gathered).split(1, dim=1)
    assert float((corrected - chosen).abs().max().detach()) > 0.01
    corrected.sum().backward()
    assert not network.head.weight.grad[:4].any(), "the choice is learned from the choice alone"
    assert network.head.weight.grad[4].any()
    assert network.stem[0].weight.grad.any(), "the layers that both share learn from it"


@pytest.mark.parametrize("shape", [(71, 89), (9, 128), (33, 1), (1, 1)])
def test_any_size(file, shape):
    truth = bundled_picture.make()
    image, trimap = truth.image[: shape[0], : shape[1]], truth.trimap[: shape[0], : shape[1]]
    found = registry.load(file, "cpu").estimate(image, trimap)
    assert found.alpha.shape == shape
    assert np.isfinite(found.foreground).all()


@pytest.mark.parametrize("known", [0.0, 0.5, 1.0])
def test_a_trimap_of_one_kind(file, known):
    truth = bundled_picture.make()
    found = registry.load(file, "cpu").estimate(truth.image, np.full_like(truth.trimap, known))
    assert np.isfinite(found.alpha).all()
    assert known == 0.5 or (found.alpha == known).all()


def test_nan_is_refused(file):
    truth = bundled_picture.make()
    image = truth.image.copy()
    image[3, 4, 1] = np.nan
    with pytest.raises(FrameError, match="NaN or Inf"):
        registry.load(file, "cpu").estimate(image, truth.trimap)


def test_the_registry_knows_it_by_path_and_by_name(file, models, capsys):
    assert registry.describe(file).licence == "MIT"
    assert main(["models", "import", str(file), "--name", "mine"]) == 0
    assert registry.names()[-1] == "mine"
    assert registry.describe("mine").name == registry.load("mine", "cpu").info.name == "mine"
    assert main(["models", "verify", "mine"]) == 0
    assert "as recorded" in capsys.readouterr().out
    data = bytearray((models / "mine.safetensors").read_bytes())
    data[-100] ^= 4
    (models / "mine.safetensors").write_bytes(data)
    assert main(["models", "verify", "mine"]) == 2
    assert "SHA-256" in capsys.readouterr().err


def test_a_model_of_the_package_is_listed_and_its_name_is_taken(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(folders, "SHIPPED", tmp_path / "package")
    write_network((tmp_path / "package").mkdir() or tmp_path / "package" / "soft.safetensors")
    assert "soft" in registry.names()
    assert main(["models", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["soft"]["commercial"] is True
    assert rows["soft"]["sha256"]
    assert main(["models", "import", str(file), "--name", "soft"]) == 2
    assert "comes with the program" in capsys.readouterr().err


def test_the_command_mattes_with_it(file, tmp_path):
    shot = write_sequence(tmp_path / "shot", numbers=(1001,))
    alphas = []
    for model in ("closed-form", file):
        out = shot / f"{len(alphas)}.####.exr"
        arguments = [
            "matte",
            shot / "plate.####.exr",
            "--trimap",
            shot / "trimap.####.exr",
            "-o",
            out,
            "--model",
            model,
        ]
        assert main([str(a) for a in arguments]) == 0
        alphas.append(read_exr(shot / f"{len(alphas)}.1001.exr"))
    a, b = (x.channels["A"] for x in alphas)
    assert np.isfinite(b).all()
    assert 0 < np.abs(a - b).max() < 1


def test_other_evidence_and_other_files_are_refused(file, tmp_path, monkeypatch):
    monkeypatch.setattr(refinement, "NAMES", ("other",))
    with pytest.raises(CheckpointError, match="other evidence"):
        refinement.load(file)
    with pytest.raises(CheckpointError, match=r"test_refinement\.py"):
        refinement.load(__file__)
    with pytest.raises(ModelNotFoundError):
        registry.load(tmp_path / "nothing.safetensors")


def test_tiles_give_what_the_whole_gives(file, monkeypatch):
    """No norm over positions, and a halo that holds all a pixel sees."""
    truth = bundled_picture.make()
    image, trimap = (np.tile(x, (2, 2) + (1,) * (x.ndim - 2)) for x in (truth.image, truth.trimap))
    picture = evidence.prepare(image, trimap)
    model = registry.load(file, "cpu")
    torch.manual_seed(1)
    for parameter in model._network.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    model._network.train()  # so that the norms keep signals alive through all layers
    with torch.no_grad():
        for _ in range(30):
            model._network(torch.from_numpy(evidence.gather(image, trimap))[None])
    model._network.eval()
    whole = model._chosen(picture)
    monkeypatch.setattr(refinement, "TILE", 64)
    np.testing.assert_allclose(model._chosen(picture), whole, atol=1e-5)
    monkeypatch.setattr(refinement, "HALO", 16)
    assert np.abs(model._chosen(picture) - whole).max() > 1e-2, "the network looks farther than that"


def test_the_shipped_model_is_free_and_better_than_closed_form_on_what_it_never_saw():
    assert registry.describe("refined").commercial
    assert main(["models", "verify", "refined"]) == 0
    pictures = [
        procedural.sample(seed=seed, size=128, family=family) for seed, family in enumerate(procedural.FAMILIES)
    ]
    error = {}
    for name in ("refined", "closed-form"):
        model = registry.load(name, "cpu")
        found = [model.estimate(encode(picture.plate), picture.trimap).alpha for picture in pictures]
        error[name] = np.mean([mse(alpha, picture) for alpha, picture in zip(found, pictures)])
    assert error["refined"] < 0.85 * error["closed-form"]


def mse(alpha, picture):
    unknown = (picture.trimap > 0) & (picture.trimap < 1)
    return np.square(alpha - picture.alpha)[unknown].mean()
