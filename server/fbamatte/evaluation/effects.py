"""Whether a difference between trained networks is more than the luck of their seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from fbamatte.errors import UsageError


@dataclass(frozen=True)
class Effect:
    """What one row's error is of another's.

    Parameters
    ----------
    ratio : float
        Of geometric means over the seeds; below 1: the second row is better.
    low, high : float
        Of the interval of confidence.
    """

    ratio: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out that there is no difference."""
        return self.low > 1 or self.high < 1


def effects(
    errors: Mapping[str, Sequence[float]], pairs: Sequence[tuple[str, str]], confidence: float = 0.95
) -> list[Effect]:
    """Return the effect of each pair of rows, all intervals right together with the confidence asked for.

    Errors are compared as logarithms, in blocks: a seed decides weights and order of samples in every row, so what it
    does to all rows is taken out first. What remains is one spread for all rows; the intervals are Student's, with
    Bonferroni's correction for the number of pairs.

    Parameters
    ----------
    errors : mapping of str to sequence of float
        A row's error for each seed, the same seeds in the same order for all; above 0.
    pairs : sequence of (str, str)
        From which row to which.
    confidence : float
        Between 0 and 1.

    Raises
    ------
    UsageError
        If there are fewer than two rows or seeds, if rows differ in their seeds, or if an error is not above 0.

    Notes
    -----
    Source: randomised complete blocks, Box, Hunter and Hunter, Statistics for Experimenters, chapter 4.
    """
    names = list(errors)
    counts = {len(values) for values in errors.values()}
    if len(names) < 2 or len(counts) != 1 or min(counts) < 2:
        raise UsageError("effects want at least two rows and two seeds, and the same seeds for every row")
    table = np.array([errors[name] for name in names], np.float64)
    if not (table > 0).all():
        raise UsageError("effects are ratios: every error must be above 0")
    logs = np.log(table)
    means = logs.mean(axis=1)
    left = logs - means[:, None] - logs.mean(axis=0) + logs.mean()
    freedom = (len(names) - 1) * (logs.shape[1] - 1)
    spread = np.sqrt(2 * np.square(left).sum() / freedom / logs.shape[1])
    reach = spread * stats.t.ppf(1 - (1 - confidence) / 2 / len(pairs), freedom)
    found = []
    for one, other in pairs:
        difference = means[names.index(other)] - means[names.index(one)]
        found.append(Effect(*(float(np.exp(x)) for x in (difference, difference - reach, difference + reach))))
    return found
