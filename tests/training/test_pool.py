"""Made pictures of objects and the pool of them: exact, like photographs, the same each time, refused when empty."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from fbamatte.cli import main
from fbamatte.errors import ResourceError, UsageError
from fbamatte.models import evidence
from fbamatte.models.evidence import COLORS, NAMES, PLANES
from fbamatte.training import folders, objects, pool
from fbamatte.training import recipe as recipes
from fbamatte.training.generator.dice import Dice
from made import write


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pool of two small objects."""
    path = tmp_path_factory.mktemp("pool")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "SIZE", 64)
        patch.setattr(pool, "USES", 1)
        told = []
        assert pool.fill(path, 5, pool.drawn(range(2)), lambda *a: told.append(a)) == 2
        assert told == [(1, 2, "0000000"), (2, 2, "0000001")]
        before = {file: file.stat().st_mtime_ns for file in path.iterdir()}
        assert pool.fill(path, 5, pool.drawn(range(2))) == 0, "what is there stays"
    assert before == {file: file.stat().st_mtime_ns for file in path.iterdir()}
    return path


def test_an_object_is_partly_solid_partly_absent_and_its_trimap_tells_the_truth():
    for picture in objects.draw(seed=3, number=4, size=96, uses=2):
        assert picture.image.shape == (96, 96, 3)
        assert 0 <= picture.image.min() < picture.image.max() <= 1
        assert min((picture.alpha <= 0).mean(), (picture.alpha >= 1).mean()) > 0.05
        assert (picture.alpha[picture.trimap == 0] == 0).all()
        assert (picture.alpha[picture.trimap == 1] == 1).all()
        assert set(np.unique(picture.trimap)) == {np.float32(v) for v in (0, 0.5, 1)}


def test_a_number_is_a_picture():
    first, again, other = (objects.draw(3, number, 64, uses=1)[0] for number in (4, 4, 5))
    for name in ("image", "alpha", "trimap"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert np.abs(first.image - other.image).mean() > 0.01


def test_a_camera_leaves_what_it_sees_nearly_as_it_is():
    light = torch.full((3, 48, 48), 0.4)
    seen = [objects.camera(Dice(n, torch.device("cpu")), light) for n in range(8)]
    assert all(abs(float(picture.mean()) - 0.4) < 0.01 for picture in seen)
    assert max(float(picture.std()) for picture in seen) > 0.002, "grain"
    np.testing.assert_allclose(np.stack(seen) * 255, np.round(np.stack(seen) * 255), atol=1e-3)


@pytest.fixture
def disc(tmp_path):
    """A folder with a soft disc whose F, linear, is bright outside where it means nothing."""
    y, x = np.mgrid[:90, :90].astype(np.float32)
    alpha = np.clip((25 - np.hypot(x - 45, y - 45)) / 6, 0, 1)
    colors = np.where(alpha[..., None] > 0, np.float32([0.5, 0.1, 0.02]), np.float32(7))
    for name in ("fg", "alpha"):
        (tmp_path / name).mkdir()
    Image.fromarray(np.round(alpha * 65535).astype(np.uint16)).save(tmp_path / "alpha" / "disc.png")
    write(tmp_path / "fg" / "disc.exr", dict(zip("RGB", colors.transpose(2, 0, 1))))
    return tmp_path


def test_cut_outs_become_pictures_of_the_pool(disc, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "SIZE", 64)
    pairs = folders.scan(disc, with_backgrounds=False).pairs
    assert pool.fill(tmp_path / "pool", 5, pool.cut_outs(pairs)) == pool.USES
    pictures = [pool.read(path) for path in sorted((tmp_path / "pool").glob("cut-out-disc-*.npz"))]
    assert len(pictures) == pool.USES
    for picture in pictures:
        inside, outside = (picture["image"][picture["alpha"] == value].mean(axis=0) for value in (1, 0))
        assert inside[0] > inside[1] > inside[2], "F is the file's, whatever the light"
        assert abs(inside - outside).max() > 0.02
        assert (picture["alpha"][picture["trimap"] == 1] == 1).all()
        assert (picture["alpha"][picture["trimap"] == 0] == 0).all()
    assert np.abs(pictures[0]["image"] - pictures[1]["image"]).mean() > 0.01, "each before a background of its own"


def test_the_command_makes_a_pool_of_cut_outs_in_processes_side_by_side(disc, tmp_path, capsys):
    command = ["train", "refine", "--prepare", "--data", str(tmp_path / "pool"), "--cut-outs", str(disc)]
    for name in ("fg/a.exr", "alpha/a.png"):
        (disc / name).write_bytes((disc / name.replace("a.", "disc.")).read_bytes())
    assert main([*command, "--workers", "2"]) == 0
    said = capsys.readouterr()
    assert "6 pictures made" in said.out
    assert "2/2 made" in said.err
    assert len(list((tmp_path / "pool").glob("cut-out-*.npy"))) == 6
    assert main(command) == 0
    assert "0 pictures made" in capsys.readouterr().out


def test_a_cut_out_without_its_alpha_is_refused_by_name(disc, tmp_path, capsys):
    (disc / "alpha" / "disc.png").unlink()
    assert main(["train", "refine", "--prepare", "--data", str(tmp_path / "pool"), "--cut-outs", str(disc)]) == 1
    assert "disc.png: no alpha for" in capsys.readouterr().err


def test_bad_cut_outs_may_be_skipped_and_are_counted(disc, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pool, "SIZE", 64)
    (tmp_path / "lenient.toml").write_text('base = "refine"\nbad_data = "skip"\n')
    (disc / "fg" / "torn.exr").write_bytes((disc / "fg" / "disc.exr").read_bytes()[:200])
    command = ["train", str(tmp_path / "lenient.toml"), "--prepare", "--workers", "1", "--cut-outs", str(disc)]
    assert main([*command, "--data", str(tmp_path / "pool")]) == 0
    assert "3 pictures made; 1 cut-outs skipped" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["refine"], ["fba-small", "--prepare"], ["table3-fba", "--prepare"]])
def test_cut_outs_are_for_making_a_pool(command, disc, tmp_path, capsys):
    assert main(["train", *command, "--data", str(tmp_path), "--cut-outs", str(disc)]) == 2
    assert "--cut-outs goes with --prepare" in capsys.readouterr().err


def killed(seed):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_is_named(tmp_path):
    with pytest.raises(ResourceError, match=r"was killed.*fewer --workers"):
        pool.fill(tmp_path, 5, {"a": killed, "b": killed}, workers=2)


def test_the_pool_keeps_the_evidence(folder):
    path = sorted(folder.glob("*.npz"))[0]
    planes, gathered = pool.read(path), pool.evidence_of(path)
    assert gathered.shape == (PLANES, 64, 64)
    expected = evidence.gather(planes["image"], planes["trimap"])
    np.testing.assert_allclose(gathered, expected, atol=2e-3, rtol=1e-3)


def test_a_mini_batch_is_turned_crops_of_the_pool_with_their_truth(folder):
    recipe = replace(recipes.load_recipe("refine"), crops=(32,), batch=4)
    source = pool.PoolSource(recipe, folder)
    batch, again, other = (source.batch(step) for step in (3, 3, 4))
    assert batch.evidence.shape == (4, PLANES, 32, 32)
    torch.testing.assert_close(batch.evidence, again.evidence, rtol=0, atol=0)
    assert not torch.equal(batch.evidence, other.evidence)
    assert float(batch.unknown.flatten(1).sum(dim=1).min()) > 0
    known = {name: at for at, name in enumerate(NAMES)}
    # evidence, alpha and trimap are turned together, and what the trimap knows is true
    for at, value in (("known background", 0), ("known foreground", 1)):
        marked = batch.evidence[:, known[at], None] > 0.5
        torch.testing.assert_close(marked, batch.trimap == value)
        assert (batch.alpha[marked] == value).all()


def test_colour_channels_change_places_together(folder):
    kept = pool.PoolSource(replace(recipes.load_recipe("refine"), crops=(64,)), folder)._kept[0]
    own, seen = kept.evidence.astype(np.float32), set()
    for seed in range(12):
        crop = pool._crop(kept, 64, np.random.default_rng(seed))[0]
        orders = []
        for group in COLORS:
            planes = [NAMES.index(name) for name in group]
            sums = [float(own[p].astype(np.float64).sum()) for p in planes]
            orders.append(
                tuple(int(np.argmin(np.abs(np.array(sums) - crop[p].astype(np.float64).sum()))) for p in planes)
            )
        assert len(set(orders)) == 1
        seen.add(orders[0])
    assert len(seen) > 2


def kept_at(alpha, closed_form):
    """A picture of one alpha everywhere, all of it unknown."""
    plane = np.full((4, 4), alpha, np.float32)
    return pool.Kept("", np.full((PLANES, 4, 4), closed_form, np.float16), plane, plane, np.argwhere(plane == alpha))


def test_pictures_that_closed_form_solves_count_more():
    easy, hard = (pool.share_of(kept_at(0.5, found)) for found in (0.5, 0.25))
    assert easy / hard == pytest.approx((pool.EASY + 0.0625) / pool.EASY)


def test_fuller_pictures_count_more():
    thin, full = (pool.share_of(kept_at(alpha, alpha)) for alpha in (0.25, 0.5))
    assert full / thin == pytest.approx(2**pool.FULL)


def test_crops_larger_than_the_pictures_are_refused(folder):
    with pytest.raises(UsageError, match="crops of 128 do not fit into its pictures of 64 pixels"):
        pool.PoolSource(recipes.load_recipe("refine"), folder)


def test_an_empty_pool_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no prepared pictures"):
        pool.PoolSource(recipes.load_recipe("refine"), tmp_path)
