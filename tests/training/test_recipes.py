"""Every recipe, made tiny: it runs, its loss falls, what it made can be read again."""

from dataclasses import replace

import pytest
import torch

from fbamatte.errors import UsageError
from fbamatte.models import refinement
from fbamatte.models.checkpoint import load_checkpoint
from fbamatte.training import recipe as recipes
from fbamatte.training.export import export
from fbamatte.training.loop import train

ROWS = [
    *(f"table2-{row}" for row in (1, 2, 3, 4, 5, 6, 7, "ours-alpha")),
    *(f"table3-{row}" for row in (8, 9, 10, 11, "11-45", "fba", "fba-tta")),
]


def test_there_is_a_recipe_for_every_trained_row_of_tables_2_and_3():
    assert set(ROWS) <= set(recipes.names())


@pytest.mark.parametrize("name", recipes.names())
def test_smoke(name, tmp_path, one_batch, quiet):
    whole = recipes.load_recipe(name)
    # RAdam's first five steps are plain momentum: a rate high enough to show within a few
    recipe = replace(recipes.tiny(whole, crop=32), batch=min(2, whole.batch), learning_rate=5e-3)
    result = train(recipe, one_batch(recipe), quiet(tmp_path, stop_after=10), torch.device("cpu"))
    assert min(result.losses[-3:]) < result.losses[0], result.losses
    path = export(result, recipe, tmp_path / "made.safetensors", licence="MIT", commercial=True)
    loaded = refinement.load(path).network if recipe.architecture == "refine" else load_checkpoint(path, fold=False)
    for key, value in loaded.state_dict().items():
        torch.testing.assert_close(value, result.average.half()[key].to(value.dtype), rtol=0, atol=0)


def test_recipes_differ_as_the_tables_say():
    rows = {name: recipes.load_recipe(name) for name in ROWS}
    assert [rows[f"table2-{n}"].norm for n in range(1, 8)] == ["batch"] * 4 + ["group"] * 3
    assert [rows[f"table2-{n}"].batch for n in range(1, 8)] == [6] * 5 + [1] * 2
    assert [len(rows[f"table2-{n}"].alpha_terms) for n in range(1, 8)] == [1, 2, 3, 4, 4, 4, 4]
    assert [rows[f"table2-{n}"].alpha_head for n in range(1, 8)] == ["sigmoid"] * 6 + ["clip"]
    assert [rows[f"table3-{n}"].alpha_head for n in range(8, 12)] == ["sigmoid"] * 2 + ["clip"] * 2
    assert ["fb_excl" in rows[f"table3-{n}"].color_terms for n in range(8, 12)] == [False, True, True, True]
    assert [rows[f"table3-{n}"].color_region for n in range(8, 12)] == ["unknown"] * 3 + ["whole"]
    assert [rows[n].epochs for n in ROWS] == [20] * 7 + [45] + [20] * 4 + [45] * 3
    assert [rows[n].fusion for n in ROWS[-3:]] == [False, True, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('title = "x"\nlerning_rate = 1', "no setting called 'lerning_rate'"),
        ('epochs = "many"', "epochs is 'many', not a int"),
        ('light = "dark"', "light is 'dark'; known: linear, display"),
        ('alpha_terms = ["alpha_l3"]', "no loss called 'alpha_l3'"),
        ("width = 9.0", "width 9.0"),
        ("batch = 0", "at least 1"),
        ("batch = ", "not a recipe"),
        ('base = "nothing"', "no recipe called 'nothing'"),
        ('base = "bad"', "its own base"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        recipes.load_recipe(path)


def test_an_unknown_recipe_lists_those_that_exist():
    with pytest.raises(UsageError, match=r"no recipe called 'paperr'; there are: .*paper"):
        recipes.load_recipe("paperr")
