"""Made pictures: exact, endless, the same for a seed; distances and closed form on tensors."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fbamatte.compositing import trimap as trimaps
from fbamatte.imaging import curve
from fbamatte.training import distance, records
from fbamatte.training.generator import FAMILIES, ProceduralSource
from fbamatte.training.generator.layer import Layer
from fbamatte.training.generator.scene import separated
from fbamatte.training.recipe import load_recipe

CPU = torch.device("cpu")


def source(*families, **more):
    recipe = replace(load_recipe("fba-small"), **{"batch": 1, "crops": (64,), "pool": 0, **more})
    return ProceduralSource(recipe, CPU, families=families or FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_truth_recomposes_the_picture(family):
    batch = source(family, batch=2).batch(3)
    f, a, b = (x.double().numpy() for x in (batch.foreground, batch.alpha, batch.background))
    expected = curve.encode(a * curve.decode(f) + (1 - a) * curve.decode(b))
    np.testing.assert_allclose(batch.image, np.clip(expected, 0, 1), atol=3e-5)
    soft = (batch.alpha > 0) & (batch.alpha < 1)
    assert float(soft.float().mean()) > 0.005
    assert bool((batch.unknown[soft] == 1).all())
    for plane in (batch.image, batch.foreground, batch.background):
        assert bool(torch.isfinite(plane).all())
        assert 0 <= float(plane.min()) <= float(plane.max()) <= 1


def test_a_step_is_its_own():
    one, again, other = source().batch(4), source().batch(4), source().batch(5)
    assert torch.equal(one.image, again.image)
    assert not torch.equal(one.image, other.image)
    assert one.names != other.names


def test_a_pool_gives_a_step_the_same_pictures_whenever_it_is_asked():
    run = source("blob", "net", pool=6, fresh=2, batch=3, crops=(48,))
    steps = [run.batch(step) for step in range(6)]
    resumed = source("blob", "net", pool=6, fresh=2, batch=3, crops=(48,)).batch(5)
    assert torch.equal(steps[5].image, resumed.image)
    assert steps[5].names == resumed.names
    assert len(run._pool) <= 12
    used = {int(name.split()[1]) for batch in steps for name in batch.names}
    assert max(used) > 8, "new pictures come in"


def test_processes_draw_different_pictures():
    recipe = replace(load_recipe("fba-small"), batch=2, crops=(64,))
    made = [ProceduralSource(recipe, CPU, rank=r, world=2).batch(0).image for r in (0, 1)]
    assert not torch.equal(*made)


def test_straight_colors_go_on_where_nothing_is_covered():
    alpha = torch.zeros(32, 32)
    alpha[8:16, 8:16] = 0.5
    red = torch.tensor([0.6, 0.1, 0.2])[:, None, None]
    _, colors = separated(Layer.solid(alpha, red.expand(3, 32, 32)))
    torch.testing.assert_close(colors, red.expand(3, 32, 32), atol=1e-5, rtol=0)


@pytest.mark.parametrize("share", [0.0, 0.002, 0.3, 1.0])
def test_distances_searched_on_a_gpu_are_exact(share):
    mask = torch.from_numpy(np.random.default_rng(5).random((2, 37, 53)) < share)
    expected, got = distance.squared_distance(mask), distance.searched(mask)
    if share == 0:
        assert float(got.min()) >= distance.FAR
    else:
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-3)


def test_the_encoding_on_tensors_is_the_networks():
    rng = np.random.default_rng(2)
    trimap = rng.choice([0, 0.5, 1], (2, 1, 40, 30), p=[0.02, 0.96, 0.02]).astype(np.float32)
    trimap[1][trimap[1] == 1] = 0.5  # no foreground at all
    got = distance.encoding(torch.from_numpy(trimap))
    for planes, drawn in zip(got, trimap, strict=True):
        np.testing.assert_allclose(planes, trimaps.encode(drawn[0]), atol=1e-6)
    np.testing.assert_array_equal(distance.masks(torch.from_numpy(trimap))[0], trimaps.masks(trimap[0, 0]))


def test_a_sheet_is_a_png(tmp_path):
    from PIL import Image

    picture = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(1))
    (tmp_path / "a.png").write_bytes(records.png(picture))
    read = np.asarray(Image.open(tmp_path / "a.png"))
    np.testing.assert_array_equal(read, (picture * 255).round().byte().permute(1, 2, 0))
    batch = source("blob").batch(0)
    records.write_sheet(tmp_path / "b.png", batch, torch.cat([batch.alpha, batch.foreground, batch.background], dim=1))
    assert Image.open(tmp_path / "b.png").size == (8 * 64, 64)
