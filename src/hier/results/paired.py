"""Statistics of paired differences: Student's t over seeds, the bootstrap over classes, Holm's correction."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
POWER = 0.8
DRAWS = 10_000
ROUNDING = 1e-9  # of differences of percentages


class Difference(NamedTuple):
    """The differences of n ≥ 2 pairs: mean, sample standard deviation, the 95 % t-interval of the mean, the
    two-sided p of the paired t-test, and `detectable`, the smallest mean difference that this test finds with
    80 % power at that deviation. Of differences that are all alike, which have no spread to judge by, these
    four are NaN."""

    n: int
    mean: float
    sd: float
    low: float
    high: float
    p: float
    detectable: float


def difference(pairs: Sequence[float]) -> Difference:
    """What the differences of pairs say of their mean, if they are normally distributed and independent.
    ValueError: there are fewer than two."""
    from scipy.special import stdtr, stdtrit

    n = len(pairs)
    if n < 2:
        raise ValueError(f"needs two pairs or more, not {n}")
    mean, sd = fmean(pairs), stdev(pairs)
    if sd <= ROUNDING:
        return Difference(n, mean, 0.0, *[math.nan] * 4)
    error = sd / math.sqrt(n)
    critical = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2))
    p = 2 * float(stdtr(n - 1, -abs(mean) / error))
    return Difference(n, mean, sd, mean - critical * error, mean + critical * error, p, error * _effect(n))


def _effect(n: int) -> float:
    """The mean, in standard errors, at which a two-sided t-test of n values at 5 % has 80 % power: the
    noncentrality of a t distribution of n − 1 degrees of freedom that leaves 20 % below the critical value.
    What it leaves below the negative one, less than 1e-4, counts for nothing."""
    from scipy.special import nctdtrinc, stdtrit

    critical = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2))
    return float(nctdtrinc(n - 1, 1 - POWER, critical))


def holm(ps: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's step-down method (Scandinavian Journal of Statistics 6,
    1979), in the order in which they came: the chance that any true null hypothesis is rejected stays below
    the level, however they depend on each other. A p that is NaN stays so, and counts among them as 1."""
    order = sorted(range(len(ps)), key=lambda i: 1.0 if math.isnan(ps[i]) else ps[i])
    corrected, highest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        if not math.isnan(ps[i]):
            highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        corrected[i] = math.nan if math.isnan(ps[i]) else highest
    return corrected


def over_classes(
    sums: NDArray[np.float64], queries: NDArray[np.int64], draws: int = DRAWS
) -> tuple[float, float]:
    """The 95 % bootstrap interval (percentiles) of Σ sums / Σ queries, where C classes are drawn anew with
    replacement: of each class (C) the sum over its queries of a difference, and how many they are (≥ 1)."""
    classes = len(queries)
    generator = np.random.default_rng(0)
    means = np.empty(draws)
    for draw in range(draws):
        drawn = np.bincount(generator.integers(classes, size=classes), minlength=classes)
        means[draw] = (drawn * sums).sum() / (drawn * queries).sum()
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
