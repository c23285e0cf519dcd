"""A run: what it writes, how it goes on where it stopped, several models and processes, and what goes wrong."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import dataset_trees as trees
from fbamatte.errors import ModelNotFoundError, OutputError, UsageError
from fbamatte.evaluation import metrics
from fbamatte.evaluation.baselines import NAMES, baseline_parts, load_model
from fbamatte.evaluation.datasets import open_dataset
from fbamatte.evaluation.figures import FIGURES
from fbamatte.evaluation.measure import in_light, measure
from fbamatte.evaluation.results import Results, Row
from fbamatte.evaluation.run import Plan, run
from fbamatte.evaluation.views import folder_name
from fbamatte.models import devices
from fbamatte.models.base import Estimate, ModelInfo

DISPLAY = {"sad", "mse", "gradient", "connectivity", "recomposition", "seconds_per_megapixel"}


class Oracle:
    """Answers with the truth that it was given."""

    info = ModelInfo("oracle", "Knows", "MIT", True, "", 0, "")
    device, precision = "cpu", "fp32"

    def __init__(self, case):
        self.case = case

    def estimate(self, image, trimap):
        return Estimate(self.case.alpha, self.case.foreground, self.case.background)

    def close(self):
        pass


def plan_for(root, output, **settings):
    return Plan("folder", str(root), settings.pop("models", ("closed-form",)), output, **settings)


def told():
    lines = []
    return lines, lambda row, done, total: lines.append((row.model, row.item, done, total))


def test_the_truth_has_no_error(tmp_path):
    shot = open_dataset("folder", trees.folder(tmp_path, ("trimap",), fg=True)).load("p0")
    figures, solved = measure(shot, Oracle(shot.frames[0]))
    assert {figures[key] for key in ("sad", "mse", "gradient", "connectivity", "premultiplied_sad")} == {0.0}
    assert figures["foreground_error"] == 0
    assert figures["edge_halo"] == 0
    # The picture was rounded to 8 bits when the tree was made.
    assert figures["recomposition"] <= 1.1 / 255
    assert np.array_equal(solved[0].alpha, shot.frames[0].alpha)


def test_figures_are_those_of_the_metrics(tmp_path):
    shot = open_dataset("folder", trees.folder(tmp_path, ("trimap",), fg=True)).load("p1")
    case = shot.frames[0]
    figures, (solved,) = measure(shot, load_model("closed-form"))
    assert figures["sad"] == metrics.sad(solved.alpha, case.alpha, case.trimap)
    assert figures["mse"] == metrics.mse(solved.alpha, case.alpha, case.trimap)
    assert figures["foreground_error"] == metrics.foreground_error(solved.foreground, case.foreground, case.alpha)
    pixels = case.alpha.size
    assert figures["seconds_per_megapixel"] == pytest.approx(solved.seconds / pixels * 1e6)


def test_linear_solves_display_pictures_in_linear_light(tmp_path):
    shot = open_dataset("folder", trees.folder(tmp_path, ("trimap",), fg=True)).load("p0")
    figures, (solved,) = measure(shot, load_model("closed-form"), linear=True)
    assert solved.case.light == "linear"
    # The engine's contract, not 8-bit rounding.
    assert figures["recomposition"] < 1e-5
    linear = in_light(shot.frames[0], "linear")
    np.testing.assert_allclose(linear.image[0, 0], ((shot.frames[0].image[0, 0] + 0.055) / 1.055) ** 2.4, atol=1e-5)


def test_clips_are_measured_in_time():
    shot = open_dataset("procedural-clips", "1@64").load("fur-0001")
    figures, solved = measure(shot, load_model("closed-form"))
    assert len(solved) == 8
    alphas, truth = np.stack([s.alpha for s in solved]), np.stack([c.alpha for c in shot.frames])
    trimaps = np.stack([c.trimap for c in shot.frames])
    assert figures["dtssd"] == metrics.dtssd(alphas, truth, trimaps)
    assert figures["messddt"] == metrics.messddt(alphas, truth, trimaps, shot.motion)
    assert figures["sad"] == pytest.approx(np.mean([metrics.sad(*one) for one in zip(alphas, truth, trimaps)]))


@pytest.mark.parametrize("name", [*NAMES, "pymatting-cf+cf"])
def test_baselines_answer_like_any_estimator(name):
    case = open_dataset("procedural", "1@64").load("fur-0001").frames[0]
    image = np.clip(case.image, 0, 1)
    model = load_model(name)
    estimate = model.estimate(image, case.trimap)
    assert model.info.name == name
    assert estimate.alpha.dtype == np.float32
    assert metrics.mse(estimate.alpha, case.alpha, case.trimap) < 0.25
    assert estimate.foreground.shape == estimate.background.shape == image.shape


def test_a_baseline_keeps_its_own_colours_in_linear_light():
    shot = open_dataset("procedural", "1@64").load("fur-0001")
    errors = {}
    for name in ("pymatting-cf", "pymatting-cf+cf"):
        figures, _ = measure(shot, load_model(name))
        assert figures["recomposition"] < 1e-5
        errors[name] = figures["mse"], figures["foreground_error"]
    # The same alpha with colours of another method.
    assert errors["pymatting-cf"][0] == errors["pymatting-cf+cf"][0]
    assert errors["pymatting-cf"][1] != errors["pymatting-cf+cf"][1]


def test_names_that_are_no_baselines_go_to_the_registry():
    assert baseline_parts("closed-form") is None
    assert baseline_parts("pymatting-deep") is None
    with pytest.raises(ModelNotFoundError):
        load_model("pymatting-deep")


def test_a_run_writes_a_table_and_pictures(tmp_path):
    root, out = trees.folder(tmp_path / "data"), tmp_path / "out"
    lines, tell = told()
    rows = run(plan_for(root, out), tell)
    assert [line[2:] for line in lines] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with (out / "results.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [line["item"] for line in table] == ["trimap1/p0", "trimap1/p1", "trimap2/p0", "trimap2/p1"]
    assert {key for key in DISPLAY if not table[0][key]} == set()
    assert table[0]["premultiplied_sad"] == ""
    assert [row.figures["sad"] for row in rows] == [float(line["sad"]) for line in table]
    pictures = out / "pictures" / folder_name("trimap1/p0")
    assert {p.name for p in pictures.glob("*.webp")} == {"plate.webp", "trimap.webp", "truth.webp"}
    mine = {p.name for p in (pictures / "closed-form").iterdir()}
    assert mine == {"alpha.webp", "foreground.webp", "background.webp", "comp.webp", "error.webp"}


def test_a_second_run_measures_nothing_again(tmp_path):
    root, out = trees.folder(tmp_path / "data"), tmp_path / "out"
    first = run(plan_for(root, out), told()[1])
    lines, tell = told()
    assert run(plan_for(root, out), tell) == first
    assert lines == []


def test_a_run_that_was_cut_off_goes_on(tmp_path):
    root, out = trees.folder(tmp_path / "data"), tmp_path / "out"
    first = run(plan_for(root, out), told()[1])
    text = (out / "results.csv").read_text()
    # Killed in the middle of writing the third row.
    third = text.splitlines(keepends=True)[3]
    (out / "results.csv").write_text(text[: text.index(third) + len(third) // 2])
    lines, tell = told()
    again = run(plan_for(root, out), tell)
    assert [line[1] for line in lines] == ["trimap2/p0", "trimap2/p1"]
    assert [r.figures["sad"] for r in again] == [r.figures["sad"] for r in first]


def test_more_models_and_pictures_join_what_is_there(tmp_path):
    root, out = trees.folder(tmp_path / "data", ("trimap",)), tmp_path / "out"
    run(plan_for(root, out, limit=1), told()[1])
    lines, tell = told()
    rows = run(plan_for(root, out, models=("closed-form", "pymatting-cf")), tell)
    assert [line[:2] for line in lines] == [("closed-form", "p1"), ("pymatting-cf", "p0"), ("pymatting-cf", "p1")]
    assert [(r.model, r.item) for r in rows][2:] == [("pymatting-cf", "p0"), ("pymatting-cf", "p1")]


def test_other_settings_need_another_folder(tmp_path):
    root, out = trees.folder(tmp_path / "data", ("trimap",)), tmp_path / "out"
    run(plan_for(root, out, limit=1), told()[1])
    with pytest.raises(UsageError, match="light 'as composited', not 'linear'"):
        run(plan_for(root, out, linear=True), told()[1])
    other = trees.folder(tmp_path / "other", ("trimap",))
    with pytest.raises(UsageError, match="another folder"):
        run(plan_for(other, out), told()[1])


def test_what_failed_is_named_and_tried_again(tmp_path):
    root, out = trees.folder(tmp_path / "data", ("trimap",)), tmp_path / "out"
    kept = (root / "alpha/p0.png").read_bytes()
    (root / "alpha/p0.png").unlink()
    first, second = run(plan_for(root, out), told()[1])
    assert "alpha/p0" in first.problem
    assert not second.problem
    (root / "alpha/p0.png").write_bytes(kept)
    lines, tell = told()
    assert [row.problem for row in run(plan_for(root, out), tell)] == ["", ""]
    assert [line[1] for line in lines] == ["p0"]


def test_processes_find_what_one_finds(tmp_path):
    root = trees.folder(tmp_path / "data")
    alone = run(plan_for(root, tmp_path / "one"), told()[1])
    together = run(plan_for(root, tmp_path / "two", workers=2), told()[1])
    for one, other in zip(alone, together):
        assert (one.model, one.item) == (other.model, other.item)
        assert one.figures["mse"] == pytest.approx(other.figures["mse"], rel=1e-6)


def test_augmentation_is_measured_beside_the_plain_model(tmp_path):
    root, out = trees.folder(tmp_path / "data", ("trimap",), count=1), tmp_path / "out"
    rows = run(plan_for(root, out, augmentations="flip"), told()[1])
    assert [row.model for row in rows] == ["closed-form", "closed-form+tta"]
    assert rows[1].figures["seconds_per_megapixel"] > rows[0].figures["seconds_per_megapixel"]
    assert json.loads((out / "run.json").read_text())["augmentations"] == "flip"


def test_the_submission_folder_is_what_the_site_takes(tmp_path):
    root, out = trees.alphamatting(tmp_path / "data"), tmp_path / "out"
    rows = run(Plan("alphamatting-test", str(root), ("closed-form",), out), told()[1])
    assert all(set(row.figures) == {"recomposition", "seconds_per_megapixel"} for row in rows)
    sent = out / "submission/closed-form"
    assert {str(p.relative_to(sent)) for p in sent.rglob("*.png")} == {
        f"Trimap{n}/{name}.png" for n in (1, 2, 3) for name in ("doll", "troll")
    }
    alpha = np.asarray(Image.open(sent / "Trimap2/doll.png"))
    assert (alpha.dtype, alpha.shape) == (np.uint8, (36, 44))


def test_an_unknown_model_is_refused_before_anything_is_written(tmp_path):
    root, out = trees.folder(tmp_path / "data"), tmp_path / "out"
    with pytest.raises(ModelNotFoundError):
        run(plan_for(root, out, models=("closed-form", "no-such")), told()[1])
    assert not out.exists()


def test_a_precision_that_the_processor_lacks_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "computes_bf16", lambda: False)
    root, out = trees.folder(tmp_path / "data"), tmp_path / "out"
    with pytest.raises(UsageError, match="use --precision auto or fp32"):
        run(plan_for(root, out, device="cpu", precision="bf16"), told()[1])
    assert not out.exists()


def test_rows_survive_the_table(tmp_path):
    figures = {figure.key: 1 / (k + 3) for k, figure in enumerate(FIGURES)}
    row = Row("m", 'an "odd", name/ü', 7, 5, figures)
    results = Results(tmp_path, {"a": "b"})
    results.add(row)
    results.close()
    assert Results(tmp_path, {"a": "b"}).rows(["m"], [row.item]) == [row]


def test_two_runs_do_not_share_a_folder(tmp_path):
    first = Results(tmp_path, {"a": "b"})
    with pytest.raises(OutputError, match="another run"):
        Results(tmp_path, {"a": "b"})
    first.close()
    Results(tmp_path, {"a": "b"}).close()


@pytest.mark.parametrize(
    ("item", "group"), [("trimap1/GT01", "trimap1"), ("hair-0003", "hair"), ("fore0_3", ""), ("a-b", "")]
)
def test_groups(item, group):
    assert Row("m", item).group == group


def test_folders_of_pictures_never_meet():
    names = ["a/b", "a_b", "a b", "a:b", "é", "e"]
    assert len({folder_name(name) for name in names}) == len(names)
