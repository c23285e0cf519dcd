"""The ablation: rows see the same samples, a study goes on where it stopped, the page says what was measured."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fbamatte.errors import UsageError
from fbamatte.evaluation.tables import published
from fbamatte.training.recipe import load_recipe

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SETTINGS = {"samples": 12, "pool": 6, "width": 0.0625, "crop": 32, "measured": 2, "size": 64}


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import training_ablation

    return training_ablation


def study(bench, folder, **changes):
    return bench.Study(argparse.Namespace(out=folder, seeds=1, threads=1, **{**SETTINGS, **changes}))


def test_batches_of_one_and_of_six_show_the_same_samples(bench, tmp_path):
    made = study(bench, tmp_path)
    recipes = [replace(made.recipe("table3-fba", 3, 1e-3, 12), batch=batch) for batch in (1, 6)]
    singly, together = (bench.pictures.Shown(recipe, made.pool) for recipe in recipes)
    six = together.batch(1)
    for k in range(6):
        one = singly.batch(6 + k)
        for part in ("image", "alpha", "foreground", "background", "trimap"):
            assert torch.equal(getattr(six, part)[k], getattr(one, part)[0]), part
    mixed = six.alpha * six.foreground + (1 - six.alpha) * six.background
    torch.testing.assert_close(six.image, mixed)
    soft = (six.alpha > 0) & (six.alpha < 1)
    assert (six.trimap[soft] == 0.5).all()
    # Every picture once before any comes again; another seed has another order.
    shown = [singly.batch(n).alpha.sum() for n in range(6)]
    assert sorted(map(float, shown)) == pytest.approx(sorted(map(float, made.pool[:, 0].float().sum((1, 2)))))
    other = bench.pictures.Shown(replace(recipes[0], seed=4), made.pool)
    assert [float(other.batch(n).alpha.sum()) for n in range(6)] != list(map(float, shown))


def test_what_is_measured_on_is_not_what_is_trained_or_tuned_on(bench):
    test, validation = (make(6, 64) for make in (bench.pictures.test_pictures, bench.pictures.validation_pictures))
    assert not {case.name for case in test} & {case.name for case in validation}
    assert not {case.name.split("-")[0] for case in test} & set(bench.pictures.FAMILIES)
    for case in test:
        mixed = case.alpha[..., None] * case.foreground + (1 - case.alpha[..., None]) * case.background
        np.testing.assert_allclose(case.image, mixed, atol=1e-6)


def test_a_study_keeps_what_is_measured_and_goes_on(bench, tmp_path):
    task = bench.Task("table3-fba", 0, 1e-3, 12)
    first = study(bench, tmp_path)
    assert first.result(task) is None
    first.run(task)
    found = first.result(task)
    assert found["steps"] == 12
    assert len(found["pictures"]) == 2
    assert all({"mse", "connectivity", "premultiplied_mse"} <= set(each) for each in found["pictures"].values())
    assert not (tmp_path / "runs/table3-fba-0").exists()
    assert study(bench, tmp_path).result(task) == found
    with pytest.raises(UsageError, match="take another folder"):
        study(bench, tmp_path, crop=48)


def test_every_row_trains_on_as_much_and_by_its_own_recipe(bench, tmp_path):
    made = study(bench, tmp_path)
    for row in bench.ROWS:
        small, whole = made.recipe(row, 0, 1e-3, 12), load_recipe(row)
        assert small.epochs * small.epoch_samples == 12
        kept = ("norm", "standardise", "batch", "alpha_head", "outputs", "fusion", "alpha_terms", "color_terms")
        for setting in (*kept, "alpha_region", "color_region", "color_weight", "light"):
            assert getattr(small, setting) == getattr(whole, setting), (row, setting)


def test_the_guesses_know_the_trimap_alone(bench):
    trimap = np.full((1, 9), 0.5, np.float32)
    trimap[0, 0], trimap[0, -1] = 0, 1
    image = np.zeros((1, 9, 3), np.float32)
    np.testing.assert_allclose(bench.Guess("distance").estimate(image, trimap).alpha, np.arange(9)[None] / 8, atol=1e-6)
    assert bench.Guess("half").estimate(image, trimap).alpha[0].tolist() == [0, *[0.5] * 7, 1]


def test_the_page_shows_means_differences_and_the_paper(bench, tmp_path):
    rng = np.random.default_rng(5)
    (tmp_path / "settings.json").write_text(json.dumps(SETTINGS))
    keys = ("mse", "sad", "gradient", "connectivity", "premultiplied_sad", "premultiplied_mse")
    for row in bench.ROWS:
        for seed in range(3):
            factor = (0.5 if row == "table3-fba" else 1) * rng.uniform(0.98, 1.02)
            pictures = {name: dict.fromkeys(keys, level * factor) for name, level in (("a", 0.02), ("b", 0.04))}
            run = {"row": row, "seed": seed, "cpu_seconds": 1, "rate": 0.1, "steps": 2, "loss": [2, 1]}
            (tmp_path / f"{row}-{seed}.json").write_text(json.dumps({**run, "pictures": pictures}))
    page = bench.write_report(tmp_path)
    for table in ("2", "3"):
        of_rows = [n for n in published(table) if f"table{table}-{n.row}" in bench.ROWS]
        assert of_rows
        assert all(f"({n.value:g})" in page for n in of_rows)
    lines = {line.split(" | ")[0]: line for line in page.partition("## What differs")[2].splitlines()}
    assert lines["| fusion"].count("**-5") + lines["| fusion"].count("**-4") == len(keys)
    assert "**" not in lines["| exclusion"]
    assert (tmp_path / "ablation.png").stat().st_size > 10_000
    (tmp_path / "images").mkdir()
    (tmp_path / "ablation.md").write_text(
        "What it is.\n\n<!-- results: written by benchmarks/training_ablation.py --docs -->\nof yesterday\n"
    )
    for _ in range(2):
        bench.publish(tmp_path, tmp_path)
    published_page = (tmp_path / "ablation.md").read_text()
    assert published_page.startswith("What it is.\n")
    assert published_page.count("## Table 2") == 1
    assert "of yesterday" not in published_page
    assert (tmp_path / "images/ablation.png").is_file()
