"""Data in folders: what is bad is named; what is good becomes crops that recompose."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from fbamatte.compositing import trimap as trimaps
from fbamatte.errors import ImageReadError, UsageError
from fbamatte.imaging import curve
from fbamatte.training import extension, light, samples
from fbamatte.training.folders import read_alpha, scan
from fbamatte.training.recipe import load_recipe, tiny
from fbamatte.training.samples import FolderSource

WIDTH, HEIGHT = 70, 54
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.round(np.asarray(pixels) * 255).astype(np.uint8)).save(path)


def soft_disc(radius):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.clip((radius - np.hypot(x - 35, y - 27)) / 6, 0, 1)


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(3)
    for n, name in enumerate("abc"):
        alpha = soft_disc(14 + 3 * n)
        colors = np.full((HEIGHT, WIDTH, 3), (0.8, 0.3 + 0.2 * n, 0.1)) * (alpha > 0)[..., None]
        write(tmp_path / "fg" / f"{name}.png", colors)
        write(tmp_path / "alpha" / f"{name}.png", alpha)
    for n in range(4):
        write(tmp_path / "bg" / f"{n}.jpg", rng.random((40 + 30 * n, 60, 3)))
    return tmp_path


def recipe(**more):
    base = tiny(load_recipe("paper"), crop=32)
    return replace(base, **{"extend": "none", "light": "linear", "batch": 2, "epoch_samples": 12, **more})


BAD = {
    "missing": (lambda root: (root / "alpha/b.png").unlink(), "no alpha for"),
    "truncated": (lambda root: truncate(root / "fg/b.png"), r"fg/b\.png: cannot be read"),
    "mismatched": (lambda root: write(root / "alpha/b.png", soft_disc(9)[:-1]), "alpha is 70×53, its foreground 70×54"),
    "opaque": (lambda root: write(root / "alpha/b.png", np.ones((HEIGHT, WIDTH))), "alpha is 1 everywhere"),
    "empty": (lambda root: (root / "fg/b.png").write_bytes(b""), r"fg/b\.png: cannot be read"),
}


def truncate(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_picture_is_named_and_refused_or_skipped(root, kind):
    spoil, message = BAD[kind]
    spoil(root)
    with pytest.raises(ImageReadError, match=message):
        scan(root)
    folders = scan(root, bad_data="skip")
    assert [pair.name for pair in folders.pairs] == ["a", "c"]
    assert len(folders.skipped) == 1


def test_a_background_that_is_no_picture_is_named(root):
    (root / "bg/9.jpg").write_bytes(b"not a picture")
    with pytest.raises(ImageReadError, match=r"bg/9\.jpg"):
        scan(root)
    assert len(scan(root, bad_data="skip").backgrounds) == 4


def test_nothing_left_is_refused(root):
    for path in (root / "alpha").iterdir():
        write(path, np.ones((HEIGHT, WIDTH)))
    with pytest.raises(UsageError, match="no foreground with an alpha is left to train on; 3 pictures were skipped"):
        scan(root, bad_data="skip")
    with pytest.raises(UsageError, match="no such folder; a data folder has fg, alpha and bg"):
        scan(root / "elsewhere")


@pytest.mark.parametrize("method", extension.METHODS)
def test_extension_keeps_what_is_covered_and_continues_the_rest(root, method):
    pairs = scan(root).pairs
    told = []
    assert extension.prepare(pairs, root / "cache", method, lambda *a: told.append(a)) == 3
    assert extension.prepare(pairs, root / "cache", method) == 0
    assert told[-1] == (3, 3, "c")
    kept = np.load(extension.extended_path(pairs[0], root / "cache", method)).astype(float)
    assert np.abs(kept - (0.8, 0.3, 0.1)).max() < 0.02, "one colour inside is that colour everywhere"


def test_an_edited_alpha_is_extended_anew(root):
    pairs = scan(root).pairs
    extension.prepare(pairs, root / "cache", "multilevel")
    write(root / "alpha/b.png", soft_disc(11))
    assert extension.prepare(pairs, root / "cache", "multilevel") == 1


def test_unprepared_foregrounds_are_asked_for(root):
    with pytest.raises(UsageError, match=r"3 of 3 foregrounds are not extended yet, 'a' first; .*--prepare"):
        FolderSource(recipe(extend="levin"), scan(root), root / "cache")


@pytest.mark.parametrize("way", ["linear", "display"])
def test_crops_recompose_in_the_light_they_were_composited_in(root, way):
    batch = FolderSource(recipe(light=way), scan(root), root).batch(0)
    f, a, b = (x.double().numpy() for x in (batch.foreground, batch.alpha, batch.background))
    if way == "display":
        expected = a * f + (1 - a) * b
    else:
        expected = curve.encode(a * curve.decode(f) + (1 - a) * curve.decode(b))
    np.testing.assert_allclose(batch.image, expected, atol=3e-6)
    assert batch.image.shape == (2, 3, 32, 32)
    assert float(batch.unknown.mean(dim=(1, 2, 3)).min()) > 0
    soft = (batch.alpha > 0) & (batch.alpha < 1)
    assert bool((batch.unknown[soft] == 1).all())


def test_a_step_is_the_same_each_time_and_each_epoch_another_order(root):
    source = FolderSource(recipe(rescale=1.0), scan(root), root)
    assert torch.equal(source.batch(5).image, source.batch(5).image)
    first, second = ([n for step in steps for n in source.batch(step).names] for steps in (range(6), range(6, 12)))
    assert first != second
    used = [sum(f"fg/{name}.png over" in n for n in first) for name in "abc"]
    assert used == [4, 4, 4], "an epoch uses each foreground equally often"


def test_every_second_batch_shows_the_pictures_before_it_enlarged(root):
    source = FolderSource(recipe(second_foreground=0.0), scan(root), root)
    pairs = [(source.batch(s), source.batch(s + 1)) for s in (0, 2, 4)]
    for small, large in pairs:
        assert small.names == large.names
    steep = [[float(b.alpha.diff(dim=3).abs().amax()) for b in pair] for pair in pairs]
    assert np.mean([s for s, _ in steep]) > 1.5 * np.mean([e for _, e in steep]), "enlarged edges are softer"


def test_two_processes_share_an_epoch(root):
    sources = [FolderSource(recipe(rescale=1.0), scan(root), root, rank=r, world=2) for r in (0, 1)]
    names = [n for s in sources for step in range(3) for n in s.batch(step).names]
    alone = FolderSource(recipe(rescale=1.0), scan(root), root)
    assert sorted(names) == sorted(n for step in range(6) for n in alone.batch(step).names)


def test_a_second_foreground_covers_what_the_first_leaves(root):
    a, b = (torch.from_numpy(read_alpha(p.alpha))[None] for p in scan(root).pairs[:2])
    red, blue = (torch.tensor(c)[:, None, None].expand(3, HEIGHT, WIDTH) for c in ([1.0, 0, 0], [0, 0, 1.0]))
    alpha, colors = samples.joined((a, red), (b, blue))
    torch.testing.assert_close(1 - alpha, (1 - a) * (1 - b))
    torch.testing.assert_close(alpha * colors, a * red + (1 - a) * b * blue)


def test_radii_of_trimaps_are_the_recipes(root):
    batch = FolderSource(recipe(trimap_radii=(5, 5), second_foreground=0.0), scan(root), root).batch(0)
    for alpha, trimap in zip(batch.alpha[:, 0].numpy(), batch.trimap[:, 0].numpy(), strict=True):
        for known, sure in ((trimap == 0, alpha <= 0), (trimap == 1, alpha >= 1)):
            if known.any():
                depth = trimaps.distance_transform_edt(sure)
                assert depth[known].min() > min(5, 0.7 * depth.max())


def test_the_command_prepares_and_trains(root, tmp_path):
    def fbamatte(*arguments):
        command = [sys.executable, "-m", "fbamatte.cli.train", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, env=ONE_THREAD)

    recipe = tmp_path / "mine.toml"
    recipe.write_text('base = "paper"\nwidth = 0.125\ncrops = [32]\ncrop_to = 32\nepoch_samples = 4\nepochs = 1\n'
                      'trimap_radii = [1, 4]\nextend = "multilevel"\nlearning_rate = 1e-3\n')  # fmt: skip
    common = (recipe, "--data", root, "--device", "cpu", "-o", tmp_path / "run", "--log-every", 1)
    prepared = fbamatte(*common, "--prepare")
    assert prepared.returncode == 0, prepared.stderr
    assert "3 foregrounds extended" in prepared.stdout
    done = fbamatte(*common)
    assert "4 of 4 steps" in done.stdout, done.stderr
    assert "left" in done.stderr
    first = [line.split(",")[0] for line in (tmp_path / "run/log.csv").read_text().splitlines()]
    assert first == ["step", *"0123"]
    assert (tmp_path / "run/mine.safetensors").is_file()


def test_display_light_of_a_crop_is_not_its_linear_light():
    colors = [torch.full((1, 3, 1, 1), v) for v in (0.9, 0.1)]
    half = torch.full((1, 1, 1, 1), 0.5)
    assert float(light.composite(colors[0], half, colors[1], display_light=True).mean()) == pytest.approx(0.5)
    assert float(light.composite(colors[0], half, colors[1], display_light=False).mean()) > 0.6
