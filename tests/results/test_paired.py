"""Statistics of paired differences, against published figures, scipy.stats and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hier.results.paired import difference, holm, over_classes

# Hours of sleep that ten patients gained by one drug and by another (Student, "The probable error of a mean",
# Biometrika 6, 1908; R's data set `sleep`).
ONE = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
OTHER = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_students_own_example():
    found = difference([a - b for a, b in zip(ONE, OTHER, strict=True)])
    # R: t.test(extra ~ group, data = sleep, paired = TRUE)
    assert (found.n, found.mean) == (10, pytest.approx(-1.58))
    assert found.p == pytest.approx(0.002833, abs=1e-6)
    assert (found.low, found.high) == pytest.approx((-2.4598858, -0.7001142), abs=1e-7)


@pytest.mark.parametrize("n", [2, 3, 5, 8, 30])
def test_the_interval_and_p_are_scipys(n):
    pairs = np.random.default_rng(n).normal(0.4, 1.3, n)
    found, test = difference(pairs.tolist()), stats.ttest_1samp(pairs, 0.0)
    interval = test.confidence_interval(0.95)
    assert found.p == pytest.approx(test.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.sd == pytest.approx(pairs.std(ddof=1))


@pytest.mark.parametrize("n", [3, 5, 8, 30])
def test_the_detectable_difference_has_the_power_that_is_said(n):
    pairs = np.random.default_rng(n).normal(0.0, 2.0, n)
    found = difference(pairs.tolist())
    noncentrality = found.detectable / (found.sd / math.sqrt(n))
    critical = stats.t.ppf(0.975, n - 1)
    above = stats.nct.sf(critical, n - 1, noncentrality)
    assert above + stats.nct.cdf(-critical, n - 1, noncentrality) == pytest.approx(0.8, abs=1e-4)


@pytest.mark.parametrize("pairs", [[0.0] * 3, [2.0] * 3, [30.0 - 20.0, 20.0 - 10.0], [0.3 - 0.2, 0.2 - 0.1]])
def test_differences_that_are_all_alike_have_no_spread_to_judge_by(pairs):
    found = difference(pairs)
    assert (found.n, found.mean, found.sd) == (len(pairs), pytest.approx(pairs[0]), 0.0)
    assert all(map(math.isnan, found[3:]))


def test_one_pair_says_nothing():
    with pytest.raises(ValueError, match="two pairs or more, not 1"):
        difference([1.0])


@pytest.mark.parametrize("n", [3, 5, 8])
def test_the_interval_covers_the_true_mean_in_95_of_100_studies(n):
    """20,000 made-up studies: the share has a standard error of 0.15 %."""
    studies = np.random.default_rng(n).normal(0.7, 1.5, (20_000, n))
    half = stats.t.ppf(0.975, n - 1) * studies.std(axis=1, ddof=1) / math.sqrt(n)
    ours = [difference(pairs.tolist()) for pairs in studies[:2000]]
    np.testing.assert_allclose([of.high - of.mean for of in ours], half[:2000], rtol=1e-9)
    covered = np.abs(studies.mean(axis=1) - 0.7) <= half
    assert covered.mean() == pytest.approx(0.95, abs=0.005)
    assert np.mean([of.low <= 0.7 <= of.high for of in ours]) == pytest.approx(0.95, abs=0.015)


def test_holms_own_numbers():
    # By hand: 4 · 0.01, 3 · 0.02 (in the order of p: 0.01, 0.02, 0.03, 0.04), then never lower than before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    # R: p.adjust(c(0.001, 0.013, 0.021, 0.5, 0.9), "holm")
    assert holm([0.001, 0.013, 0.021, 0.5, 0.9]) == pytest.approx([0.005, 0.052, 0.063, 1.0, 1.0])
    assert holm([]) == []
    assert holm([0.02, math.nan]) == [0.04, pytest.approx(math.nan, nan_ok=True)]


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_rejects_what_its_definition_rejects(ps):
    """H₍₁₎, …, H₍ₖ₎ are rejected at 0.05 where p₍ᵢ₎ ≤ 0.05 / (m − i + 1) for every i ≤ k."""
    rejected = set()
    for i, number in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        if ps[number] * (len(ps) - i) > 0.05:
            break
        rejected.add(number)
    found = holm(ps)
    assert {i for i, p in enumerate(found) if p <= 0.05} == rejected
    assert all(p <= corrected <= 1 for p, corrected in zip(ps, found, strict=True))


def test_the_bootstrap_is_scipys():
    rng = np.random.default_rng(1)
    sums, queries = rng.normal(3.0, 8.0, 40), rng.integers(5, 30, 40)
    low, high = over_classes(sums, queries)
    theirs = stats.bootstrap(
        (sums, queries), lambda s, q, axis: s.sum(axis) / q.sum(axis), paired=True, vectorized=True,
        n_resamples=10_000, method="percentile", rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.02)
    assert over_classes(sums, queries) == (low, high)  # the same draws each time


def test_the_bootstrap_covers_the_mean_over_classes():
    """300 made-up sets of 60 classes: the share has a standard error of 1.3 %."""
    rng, covered = np.random.default_rng(3), 0
    for _ in range(300):
        low, high = over_classes(rng.normal(1.0, 2.0, 60) * 10, np.full(60, 10), draws=400)
        covered += low <= 1.0 <= high
    assert covered / 300 == pytest.approx(0.95, abs=0.04)
