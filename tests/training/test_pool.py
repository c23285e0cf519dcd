"""Made pictures of objects and the pool of them: exact, like photographs, the same each time, refused when empty."""

import numpy as np
import pytest
import torch

from fbamatte.errors import UsageError
from fbamatte.models.closed_form.alpha import closed_form_alpha
from fbamatte.models.evidence import NAMES, PLANES
from fbamatte.models.refinement import SEEN
from fbamatte.training import objects, pool
from fbamatte.training import recipe as recipes
from fbamatte.training.generator.dice import Dice


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pool of two small objects."""
    path = tmp_path_factory.mktemp("pool")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "SIZE", 64)
        patch.setattr(pool, "USES", 1)
        assert pool.fill(path, 5, range(2)) == 2
        before = {file: file.stat().st_mtime_ns for file in path.iterdir()}
        assert pool.fill(path, 5, range(2)) == 0, "what is there stays"
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


def test_the_pool_keeps_the_solution_and_the_evidence(folder):
    path = sorted(folder.glob("*.npz"))[0]
    planes = pool.read(path)
    solved = closed_form_alpha(planes["image"], planes["trimap"])
    np.testing.assert_allclose(planes["closed_form"], solved, atol=1e-3)
    gathered = pool.evidence_of(path)
    assert gathered.shape == (PLANES, 64, 64)
    np.testing.assert_allclose(gathered[NAMES.index("closed-form alpha")], planes["closed_form"], atol=1e-3)


def test_a_mini_batch_is_pixels_of_the_pool_with_their_truth(folder):
    recipe = recipes.load_recipe("refine")
    source = pool.PoolSource(recipe, folder)
    batch, again, other = (source.batch(step) for step in (3, 3, 4))
    side = recipe.crops[0]
    assert batch.evidence.shape == (1, SEEN, side, side)
    torch.testing.assert_close(batch.evidence, again.evidence, rtol=0, atol=0)
    assert not torch.equal(batch.evidence, other.evidence)
    everything = [pool._pixels(path) for path in sorted(folder.glob("*.npz"))]
    known = {(*row[:3].tolist(), float(a)) for seen, alpha in everything for row, a in zip(seen, alpha)}
    drawn = batch.evidence[0, :3].reshape(3, -1).T.tolist()
    assert {(*row, a) for row, a in zip(drawn, batch.alpha.flatten().tolist())} <= known


def test_pictures_that_closed_form_solves_count_more():
    seen = np.zeros((10, 1), np.float16)
    easy, hard = pool.weights_of([(seen, np.zeros(10, np.float32)), (seen, np.full(10, 0.2, np.float32))])
    assert easy / hard == pytest.approx((pool.EASY + 0.04) / pool.EASY)


def test_an_empty_pool_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no prepared pictures"):
        pool.PoolSource(recipes.load_recipe("refine"), tmp_path)
