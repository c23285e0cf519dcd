"""``fbamatte train`` of every recipe: from a folder or from made pictures to a checkpoint that the registry loads."""

import csv
import math

import numpy as np
import pytest
from PIL import Image

from fbamatte.cli import main
from fbamatte.models import registry
from fbamatte.training import recipe as recipes

SIDE = 72


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two soft discs and a background, as `--data` takes them."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:SIDE, :SIDE]
    for name, radius in (("a", 20), ("b", 26)):
        alpha = np.clip((radius - np.hypot(x - SIDE / 2, y - SIDE / 2)) / 5, 0, 1)
        save(root / "alpha" / f"{name}.png", alpha)
        save(root / "fg" / f"{name}.png", rng.random((SIDE, SIDE, 3)) * (alpha > 0)[..., None])
    save(root / "bg" / "c.png", rng.random((SIDE, SIDE, 3)))
    return root


def save(path, picture):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.round(picture * 255).astype(np.uint8)).save(path)


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_trains_by_the_command(name, data, tmp_path, capsys):
    root = data if recipes.load_recipe(name).data == "folders" else tmp_path / "made"
    command = ["train", name, "--tiny", "--steps", "1", "--device", "cpu", "--data", str(root), "-o", str(tmp_path)]
    assert main([*command, "--prepare"]) == 0
    assert main([*command, "--workers", "0"]) == 0
    assert f"{name}.safetensors: 1 of" in capsys.readouterr().out
    with (tmp_path / "log.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert set(recipes.load_recipe(name).weights) <= set(row)
    assert all(math.isfinite(float(value)) for value in row.values())
    image = np.full((16, 16, 3), 0.5, np.float32)
    trimap = np.tile(np.linspace(0, 1, 16, dtype=np.float32), (16, 1))
    found = registry.load(str(tmp_path / f"{name}.safetensors"), "cpu").estimate(image, trimap)
    assert np.isfinite(found.alpha).all()
    assert np.isfinite(found.foreground).all()
