"""Effects of an ablation, against least squares with a column for every row and every seed, and against chance."""

import numpy as np
import pytest
from scipy import stats

from fbamatte.errors import UsageError
from fbamatte.evaluation.effects import effects

ROWS = ("a", "b", "c", "d")


def drawn(rng, seeds=3, effect=0.0, luck=0.05):
    """Errors whose seeds are far apart, as is the last row where asked for."""
    seed_luck = rng.normal(0, 0.5, seeds)
    shifts = {row: effect * (row == "d") for row in ROWS}
    return {row: np.exp(shifts[row] + seed_luck + rng.normal(0, luck, seeds)) for row in ROWS}


def test_intervals_are_those_of_least_squares():
    errors = drawn(np.random.default_rng(3), seeds=4)
    design, values = [], []
    for number, row in enumerate(ROWS):
        for seed in range(4):
            line = np.zeros(4 + 3)
            line[number] = 1
            if seed:
                line[3 + seed] = 1
            design.append(line)
            values.append(np.log(errors[row][seed]))
    design = np.array(design)
    solution, residual, *_ = np.linalg.lstsq(design, np.array(values), rcond=None)
    freedom = len(values) - design.shape[1]
    covariance = residual[0] / freedom * np.linalg.inv(design.T @ design)
    contrast = np.array([-1, 0, 1, 0, 0, 0, 0])
    deviation = np.sqrt(contrast @ covariance @ contrast)
    reach = deviation * stats.t.ppf(1 - 0.05 / 2 / 2, freedom)
    found = effects(errors, [("a", "c"), ("a", "b")])[0]
    expected = np.exp(contrast @ solution + np.array([0, -reach, reach]))
    assert (found.ratio, found.low, found.high) == pytest.approx(expected, rel=1e-9)


def test_nothing_is_rarely_found_where_there_is_nothing_and_something_where_there_is():
    rng = np.random.default_rng(11)
    pairs = [("a", "d"), ("b", "d"), ("c", "d")]
    false = sum(any(e.sure for e in effects(drawn(rng), pairs)) for _ in range(400))
    # 5 % asked for: at most 20 of 400 on average, and 35 is 3.3 deviations above that
    assert false <= 35
    true = sum(effects(drawn(rng, effect=-0.3), pairs)[0].sure for _ in range(50))
    assert true >= 45


def test_the_direction_is_that_of_the_pair():
    errors = {"a": [2.0, 4.0], "b": [1.0, 2.0]}
    there, back = (effects(errors, [pair])[0] for pair in (("a", "b"), ("b", "a")))
    assert there.ratio == pytest.approx(0.5)
    assert back.ratio == pytest.approx(2.0)
    assert there.sure


@pytest.mark.parametrize(
    "errors", [{"a": [1, 2]}, {"a": [1], "b": [1]}, {"a": [1, 2], "b": [1]}, {"a": [1, 2], "b": [0, 1]}]
)
def test_what_cannot_be_compared_is_refused(errors):
    with pytest.raises(UsageError):
        effects(errors, [("a", "a")])
