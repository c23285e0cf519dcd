"""The judge, the card and the start from other people's weights."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fbamatte.errors import CheckpointError, UsageError
from fbamatte.evaluation.metrics import mse, sad
from fbamatte.models import refinement
from fbamatte.models.card import read_refinement, recognises_refinement
from fbamatte.models.closed_form import ClosedForm
from fbamatte.models.evidence import between_lights
from fbamatte.training.export import export
from fbamatte.training.judge import photographs_judge
from fbamatte.training.loop import train
from fbamatte.training.recipe import load_recipe, tiny
from fbamatte.training.students import load_encoder, make_network

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two made pictures in the layout of the photographs."""
    root, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(1)
    y, x = np.mgrid[:40, :52]
    for n in range(2):
        alpha = np.clip((16 + n - np.hypot(x - 26, y - 20) + rng.normal(0, 1, x.shape)) / 8, 0, 1)
        image = alpha[..., None] * (0.8, 0.4, 0.2) + (1 - alpha[..., None]) * rng.uniform(0.1, 0.6, (40, 52, 3))
        wide = [np.where(alpha <= 0, 0, np.where(alpha >= 1, 255, 128))]
        wide.append(np.where(np.hypot(x - 26, y - 20) > 22, 0, np.where(np.hypot(x - 26, y - 20) < 4, 255, 128)))
        planes = {"image": image * 255, "alpha": alpha * 255, "trimap1": wide[0], "trimap2": wide[1]}
        for kind, plane in planes.items():
            (root / kind).mkdir(exist_ok=True)
            Image.fromarray(np.round(plane).astype(np.uint8)).save(root / kind / f"{n}.png")
    return root


def test_a_refinement_that_believes_closed_form_alone_is_judged_as_that(folder):
    recipe = tiny(load_recipe("refine"))
    network = make_network(recipe).eval()
    network.head.bias.data.copy_(torch.tensor((60.0, 0.0, 0.0, 0.0, 0.0)))
    row = photographs_judge(folder, recipe, CPU)(network, 0)
    for kind in ("trimap1", "trimap2"):
        figures = []
        for n in range(2):
            image, truth, trimap = (np.asarray(Image.open(folder / k / f"{n}.png")) for k in ("image", "alpha", kind))
            drawn = np.where(trimap == 0, 0, np.where(trimap == 255, 1, 0.5)).astype(np.float32)
            alpha = ClosedForm().estimate(between_lights((image / 255).astype(np.float32)), drawn).alpha
            figures.append((sad(alpha, truth / 255, trimap), 1000 * mse(alpha, truth / 255, trimap)))
        assert row[f"{kind}_sad"] == pytest.approx(np.mean(figures, axis=0)[0], rel=1e-4)
        assert row[f"{kind}_mse"] == pytest.approx(np.mean(figures, axis=0)[1], rel=1e-4)


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no pictures"):
        photographs_judge(tmp_path, tiny(load_recipe("refine")), CPU)


def test_judging_leaves_the_run_as_it_would_be(folder, tmp_path, one_batch, quiet):
    recipe = replace(tiny(load_recipe("table3-fba"), crop=32), ema=0.9)
    judge = photographs_judge(folder, recipe, CPU)
    judged = train(recipe, one_batch(recipe), quiet(tmp_path / "a", stop_after=3, judge_every=1), CPU, judge)
    alone = train(recipe, one_batch(recipe), quiet(tmp_path / "b", stop_after=3), CPU)
    assert judged.losses == alone.losses
    assert len((tmp_path / "a/judged.csv").read_text().splitlines()) == 4


def test_a_trained_refinement_is_an_estimator(tmp_path, one_batch, quiet):
    recipe = replace(tiny(load_recipe("refine"), crop=32), batch=1, learning_rate=5e-3)
    source = one_batch(recipe)
    result = train(recipe, source, quiet(tmp_path, stop_after=3), CPU)
    path = export(result, recipe, tmp_path / "refine.safetensors", licence="MIT", commercial=True)
    estimator = refinement.RefinementEstimator(path, device="cpu")
    assert recognises_refinement(path)
    assert read_refinement(path) == estimator.info
    assert not recognises_refinement(__file__)
    with pytest.raises(CheckpointError, match=r"test_judge\.py"):
        refinement.load(__file__)
    image = source.only.image[0].permute(1, 2, 0).numpy()
    trimap = source.only.trimap[0, 0].numpy()
    estimate = estimator.estimate(image, trimap)
    assert (estimator.info.licence, estimator.info.commercial) == ("MIT", True)
    assert (estimate.alpha[trimap == 0] == 0).all()
    assert (estimate.alpha[trimap == 1] == 1).all()
    np.testing.assert_array_equal(estimate.foreground[trimap == 1], image[trimap == 1])
    plain = ClosedForm().estimate(image, trimap)
    assert 0 < np.abs(estimate.alpha - plain.alpha).max() < 1, "it refines, and not wildly after three steps"


def test_the_card_says_what_was_measured(folder, tmp_path, one_batch, quiet):
    recipe = replace(tiny(load_recipe("refine"), crop=32), batch=1)
    result = train(recipe, one_batch(recipe), quiet(tmp_path, stop_after=1), CPU)
    export(result, recipe, tmp_path / "refine.safetensors", licence="MIT", commercial=True)
    command = [sys.executable, ROOT / "benchmarks/training_card.py", "refine", tmp_path, folder]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "card.md").read_text()
    assert "commercial use permitted" in text
    assert result.average.half()["head.bias"].shape == (5,)
    # Two pictures with two trimaps each: the network alone, and with its last solve.
    assert len((tmp_path / "figures.csv").read_text().splitlines()) == 1 + 2 * 4
    assert "| trimap1 |" in text
    assert "| trimap1, last solve included |" in text


def test_an_encoder_starts_from_weights_that_the_user_has(tmp_path):
    recipe = tiny(load_recipe("table2-1"))
    network, other = make_network(recipe), make_network(replace(recipe, seed=9))
    state = dict(other.encoder.state_dict())
    state["conv1.weight"] = state["conv1.weight"][:, :3]
    state["fc.weight"] = torch.zeros(1000, 8)
    torch.save(state, tmp_path / "resnet.pth")
    assert load_encoder(network, str(tmp_path / "resnet.pth")) > 100
    mine = network.encoder.state_dict()
    assert torch.equal(mine["layer4.2.conv3.weight"], state["layer4.2.conv3.weight"])
    assert torch.equal(mine["conv1.weight"][:, :3], state["conv1.weight"])
    assert not mine["conv1.weight"][:, 3:].any()
    torch.save({**state, "layer1.0.conv2.weight": torch.zeros(3, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: does not fit this encoder: 'layer1\.0\.conv2\.weight'"):
        load_encoder(network, str(tmp_path / "other.pth"))


def test_procedural_training_needs_torch_numpy_scipy_and_safetensors_alone(tmp_path):
    blocked = ("OpenEXR", "OpenImageIO", "PyOpenColorIO", "pymatting", "numba", "fileseq", "grpc", "structlog", "tqdm",
               "matplotlib", "skimage", "PIL", "prometheus_client", "psutil")  # fmt: skip
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r}));"
        "import torch, runpy; torch.set_num_threads(1);"
        f"sys.argv = ['train', 'fba-small', '--tiny', '--steps', '1', '--device', 'cpu', '-o', {str(tmp_path)!r},"
        "'--sheet-every', '1']; runpy.run_module('fbamatte.cli.train', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list((tmp_path / "sheets").glob("*.png"))
