"""Summary, the paper's tables, plots and the contact sheet."""

import numpy as np
import pytest
from PIL import Image

from fbamatte.evaluation.plots import all_plots, svg, write_plots
from fbamatte.evaluation.results import Row
from fbamatte.evaluation.sheet import worst, write_sheet
from fbamatte.evaluation.summary import mean, summary
from fbamatte.evaluation.tables import NUMBERS, published, table_text
from fbamatte.evaluation.views import folder_name


def rows(models=("one", "two"), count=6):
    rng = np.random.default_rng(3)
    keys = ("sad", "mse", "gradient", "connectivity", "premultiplied_sad", "premultiplied_mse", "seconds_per_megapixel")
    return [
        Row(model, f"{'ab'[k % 2]}-{k:03d}", 40, 30, {key: float(rng.random()) for key in keys})
        for model in models
        for k in range(count)
    ]


def test_means_are_means_and_the_worst_recomposition():
    table = [Row("m", f"x-{k}", 4, 4, {"mse": k / 1000, "recomposition": 10.0**-k}) for k in (3, 5)]
    assert mean(table, "m", "mse") == pytest.approx(0.004)
    assert mean(table, "m", "recomposition") == pytest.approx(1e-3)
    assert mean(table, "other", "mse") is None


def test_the_summary_names_every_model_group_and_failure():
    table = [*rows(), Row("two", "b-777", problem="no alpha/b-777.png")]
    text = summary(table, "a title")
    assert "a title" in text
    assert "6 pictures" in text
    assert f"{1000 * mean(table, 'one', 'mse'):.2f}" in text
    assert f"{1000 * mean(table, 'one', 'mse', 'a'):.2f}" in text
    assert "b-777: no alpha/b-777.png" in text


def test_the_summary_shows_what_augmentation_gains_and_costs():
    table = [
        Row("m", "x-1", 4, 4, {"mse": 0.010, "seconds_per_megapixel": 2.0}),
        Row("m+tta", "x-1", 4, 4, {"mse": 0.009, "seconds_per_megapixel": 17.0}),
    ]
    text = summary(table, "t")
    assert "-10.0 %" in text
    assert "×8.5" in text


@pytest.mark.parametrize(("table", "count"), [("2", 32), ("3", 18), ("4", 14), ("5", 4)])
def test_the_papers_tables_are_all_there(table, count):
    numbers = published(table)
    assert len(numbers) == count
    assert all(number.value > 0 for number in numbers)


def test_table_4_prints_ours_and_the_difference():
    common = {"mse": 0.005, "gradient": 10.6, "connectivity": 21}
    table = [Row("fba", f"x_{k}", 4, 4, {"sad": 26.0 + k, **common}) for k in (0, 1)]
    lines = [line.split() for line in table_text("4", table, "composition-1k").splitlines()]
    assert ["fba", "SAD", "26.4", "26.50", "+0.10"] in lines
    assert ["fba", "MSE", "5.4", "5.00", "-0.40"] in lines
    assert ["fba-tta", "Conn", "20.8", "21.00", "+0.20"] in lines
    assert "another data set" not in table_text("4", table, "composition-1k")
    assert "another data set" in table_text("4", table, "procedural")


def test_table_3_takes_the_colours_too():
    table = [Row("m", "x", 4, 4, {"premultiplied_sad": 40.0, "premultiplied_mse": 0.0062, "sad": 161.3})]
    lines = [line.split() for line in table_text("3", table, "composition-1k").splitlines()]
    assert ["fba", "alphaF", "SAD", "39.21", "40.00", "+0.79"] in lines
    assert ["fba", "alphaF", "MSE", "6.19", "6.20", "+0.01"] in lines
    assert ["closed-form", "alpha", "MSE", "85.3", "–", "–"] in lines


def test_table_5_says_where_ranks_come_from():
    assert "the benchmark's site" in table_text("5", rows(), "alphamatting-test")


def test_every_table_prints_with_nothing_measured():
    for number in NUMBERS:
        assert table_text(number, [], "folder")


def test_a_plot_for_each_figure_and_one_of_speed(tmp_path):
    written = write_plots(rows(), tmp_path)
    names = {path.stem for path in written}
    assert names == {"quality-speed", *rows()[0].figures}
    for path in written:
        picture = np.asarray(Image.open(path).convert("L"))
        assert picture.std() > 5, path


def test_plots_as_svg_hold_everything_themselves_and_are_the_same_again():
    canvas = all_plots(rows())["mse"]
    text = svg(canvas)
    assert text.startswith("<svg")
    assert 'href="http' not in text
    assert text == svg(all_plots(rows())["mse"])


def test_plots_of_rows_without_truth():
    table = [Row("m", f"x-{k}", 4, 4, {"recomposition": 1e-7 * k, "seconds_per_megapixel": 1.0}) for k in (1, 2)]
    assert set(all_plots(table)) == {"quality-speed", "recomposition", "seconds_per_megapixel"}


def test_the_worst_come_first():
    table = rows(("one",))
    order = worst(table, "one", 3)
    assert [r.figures["mse"] for r in order] == sorted((r.figures["mse"] for r in table), reverse=True)[:3]


def test_the_contact_sheet_shows_the_worst(tmp_path):
    table = rows(("one",), 3)
    colors = {"a-000": (255, 0, 0), "b-001": (0, 255, 0), "a-002": (0, 0, 255)}
    for row in table:
        folder = tmp_path / "pictures" / folder_name(row.item)
        (folder / "one").mkdir(parents=True)
        for name in ("plate.webp", "one/alpha.webp"):
            Image.new("RGB", (40, 30), colors[row.item]).save(folder / name, lossless=True)
    path = write_sheet(table, "one", 2, tmp_path)
    sheet = Image.open(path).convert("RGB")
    shown = {color for _, color in sheet.getcolors(1 << 20)}
    kept = {row.item for row in worst(table, "one", 2)}
    assert {item for item, color in colors.items() if color in shown} == kept


def test_no_sheet_without_truth(tmp_path):
    assert write_sheet([Row("m", "x", 4, 4, {"recomposition": 0.0})], "m", 4, tmp_path) is None
