"""Which method is said, or marked, to be the highest: of means over seeds, against scipy's Welch test."""

import random
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind

from hier.reporting.site import matrix
from hier.results import measures
from hier.results.means import RULE, Mean, best, best_in_words, statuses
from hier.results.means import told_apart as rule
from hier.results.measures import Measure
from hier.results.table import markdown

from .test_table import NAN, cells_of, rows_of


def seeded(values, measure="R@1", dataset="demo", **changes):
    """Cells of methods with the values of their seeds."""
    rows = [
        (method, measure, value, "identical", NAN, seed)
        for method, of in values.items()
        for seed, value in enumerate(of)
    ]
    return cells_of(*rows, dataset=dataset).assign(**changes)


LUCKY = {"pa": [13.33, 7.5, 11.06], "hier": [13.67, 6.0, 9.76], "ms": [2.0, 2.1, 1.9]}
"""hier has the highest single run, pa the highest mean."""


def told_apart(one, other):
    return rule(Mean.of("one", one), Mean.of("other", other))


# --- the rule ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_two_are_told_apart_where_welchs_test_says_so(seed):
    rng = np.random.default_rng(seed)
    one = rng.normal(50, rng.uniform(0.1, 3), rng.integers(2, 6)).tolist()
    other = rng.normal(50 + rng.uniform(0, 8), rng.uniform(0.1, 3), rng.integers(2, 6)).tolist()
    expected = ttest_ind(one, other, equal_var=False).pvalue < 0.05
    assert told_apart(one, other) == told_apart(other, one) == expected


def test_both_verdicts_occur_above():
    assert told_apart([1.0, 2.0], [1.1, 2.1]) is False
    assert told_apart([1.0, 1.1], [9.0, 9.1]) is True


@pytest.mark.parametrize(("one", "other"), [([1.0], [9.0, 9.1]), ([1.0, 1.1], [9.0]), ([1.0], [9.0])])
def test_one_seed_tells_nothing(one, other):
    assert told_apart(one, other) is None


def test_seeds_that_all_give_the_same_are_told_apart_by_any_difference():
    assert told_apart([5.0, 5.0], [5.0, 5.0, 5.0]) is False
    assert told_apart([5.0, 5.0], [5.5, 5.5]) is True


# --- who stands where ----------------------------------------------------------------------------


def names(scores):
    return [score.method for score in scores]


def test_the_highest_mean_comes_first_whatever_the_highest_run_is():
    (found,) = statuses(seeded(LUCKY))
    (first,) = found.first
    values = LUCKY["pa"]
    assert (first.method, first.seeds) == ("pa", 3)
    assert first.mean == pytest.approx(np.mean(values))
    assert first.sd == pytest.approx(np.std(values, ddof=1))
    assert (names(found.alike), names(found.lower), found.unknown) == (["hier"], ["ms"], [])


def test_what_shows_the_same_figure_shares_the_first_place():
    cells = seeded({"pa": [60.001, 60.001], "hier": [60.004, 60.004], "ms": [59.0, 61.0]})
    (found,) = statuses(cells)
    assert names(found.first) == ["pa", "hier", "ms"]
    cells.loc[cells["method"] == "ms", "value"] -= 30
    (found,) = statuses(cells)
    assert (names(found.first), names(found.lower)) == (["pa", "hier"], ["ms"])


def test_missing_cells_are_of_no_seed():
    (found,) = statuses(seeded({"pa": [50.0, NAN], "hier": [NAN, NAN], "ms": [40.0, 41.0]}))
    assert [(s.method, s.seeds) for s in found.first] == [("pa", 1)]
    assert (names(found.unknown), found.alike, found.lower) == (["ms"], [], [])


def test_no_rival_no_standing():
    assert statuses(seeded({"pa": [50.0, 51.0]})) == []
    assert statuses(seeded({"pa": [50.0], "hier": [NAN]})) == []
    assert statuses(seeded({"pa": [50.0], "hier": [40.0]}, measure="R@2")) == []


def test_datasets_backbones_and_dimensions_are_apart():
    cells = [
        seeded({"pa": [50.0, 50.1], "hier": [40.0, 40.1]}),
        seeded({"pa": [60.0, 60.1], "hier": [90.0, 90.1]}, backbone="vit"),
        seeded({"pa": [10.0, 10.1], "hier": [20.0, 20.1]}, dim=128),
        seeded({"pa": [30.0, 30.1], "hier": [20.0, 20.1]}, dataset="cub"),
        seeded({"frozen": [99.0]}, dim=1280),
    ]
    found = statuses(pd.concat(cells, ignore_index=True))
    assert [(s.dataset, s.backbone, s.dim, *names(s.first), *names(s.lower)) for s in found] == [
        ("demo", "net", 64, "pa", "hier"),
        ("demo", "vit", 64, "hier", "pa"),
        ("demo", "net", 128, "hier", "pa"),
        ("cub", "net", 64, "pa", "hier"),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_each_method_stands_in_one_place_by_its_mean(seed):
    draw = random.Random(seed)
    values = {
        method: [draw.choice([draw.uniform(0, 100), NAN]) for _ in range(draw.randint(1, 5))]
        for method in ("pa", "ms", "hyp", "hier")
    }
    had = {m: [v for v in of if v == v] for m, of in values.items() if any(v == v for v in of)}
    found = statuses(seeded(values))
    assert len(found) == (len(had) > 1)
    for s in found:
        scores = [*s.first, *s.alike, *s.lower, *s.unknown]
        assert sorted(names(scores)) == sorted(had)
        assert s.first[0].mean == pytest.approx(max(map(np.mean, had.values())))
        assert all(score.seeds == len(had[score.method]) for score in scores)
        assert all(score.seeds > 1 for score in [*s.alike, *s.lower])
        for part in (s.alike, s.lower, s.unknown):
            assert all(a.mean >= b.mean for a, b in pairwise(part))


# --- words ---------------------------------------------------------------------------------------


def test_the_sentence_says_means_and_who_is_not_told_apart():
    assert best_in_words(seeded(LUCKY)) == [
        "R@1 on demo's unseen classes: pa has the highest mean, 10.63 ± 2.94 (3 seeds). Not told apart "
        "from it: hier 9.81 ± 3.84 (3 seeds). Lower: ms 2.00 ± 0.10 (3 seeds).",
        RULE,
    ]


def test_of_one_seed_each_nobody_wins():
    cells = seeded({"pa": [62.2], "hier": [62.5], "ms": [41.0]})
    assert best_in_words(cells) == [
        "R@1 on demo's unseen classes: hier has the highest figure, 62.50 (one seed, no spread known); "
        "the next is pa with 62.20. One seed does not tell methods apart."
    ]


def test_a_tie_of_one_seed_names_both():
    (sentence,) = best_in_words(seeded({"pa": [60.0], "hier": [60.0], "ms": [41.0]}))
    assert "pa and hier have the highest figure, 60.00 (one seed, no spread known)" in sentence


def test_a_tie_of_all_leaves_nobody_to_come_next():
    (sentence,) = best_in_words(seeded({"pa": [60.0], "hier": [60.0]}))
    assert sentence == (
        "R@1 on demo's unseen classes: pa and hier have the highest figure, 60.00 (one seed, no spread "
        "known). One seed does not tell methods apart."
    )


def test_a_method_with_one_seed_beside_others_with_several():
    cells = seeded({"pa": [50.0, 50.1, 50.2], "hier": [40.0, 40.1], "ms": [49.0]})
    assert best_in_words(cells)[0] == (
        "R@1 on demo's unseen classes: pa has the highest mean, 50.10 ± 0.10 (3 seeds). Lower: hier "
        "40.05 ± 0.07 (2 seeds). Not known, for want of a spread: ms 49.00 (one seed)."
    )
    cells = seeded({"pa": [50.0, 50.1], "ms": [51.0]})
    assert best_in_words(cells) == [
        "R@1 on demo's unseen classes: ms has the highest figure, 51.00 (one seed, no spread known); the "
        "next is pa with 50.05 ± 0.07 (2 seeds). One seed does not tell methods apart."
    ]


def test_several_backbones_are_named():
    cells = [
        seeded({"pa": [50.0], "hier": [40.0]}),
        seeded({"pa": [60.0], "hier": [90.0]}, backbone="vit"),
    ]
    one, other = best_in_words(pd.concat(cells, ignore_index=True))
    assert one.startswith("R@1 on demo's unseen classes (net, D 64): pa ")
    assert other.startswith("R@1 on demo's unseen classes (vit, D 64): hier ")


# --- bold ----------------------------------------------------------------------------------------


def test_bold_is_the_highest_of_what_is_shown_where_there_is_a_rival():
    values = pd.Series([60.001, 60.004, 59.0, NAN, 7.0, NAN, 3.0])
    groups = pd.Series(["a", "a", "a", "a", "b", "b", "c"])
    assert best(values, [groups], "R@1").tolist() == [True, True, False, False, False, False, False]


def test_bold_is_the_lowest_where_lower_is_better(monkeypatch):
    error = Measure("error", "error@1", lambda of: None, higher_is_better=False, digits=1)
    monkeypatch.setattr(measures, "MEASURES", (*measures.MEASURES, error))
    values, groups = pd.Series([60.0, 20.04, 20.01]), pd.Series(["a", "a", "a"])
    assert best(values, [groups], "error@1").tolist() == [False, True, True]


def test_the_page_marks_the_highest_mean():
    found = matrix(seeded(LUCKY), set())
    assert {row["method"]: row["cells"][0]["best"] for row in found["rows"]} == {
        "pa": True, "hier": False, "ms": False,
    }  # fmt: skip


def test_of_single_runs_none_is_marked_where_there_are_several_seeds():
    text = markdown(seeded(LUCKY), "x")
    runs = rows_of(text)
    assert len(runs) == 9
    assert not any("**" in row["R@1"] for row in runs)
    means = rows_of(text.partition("seeds:\n")[2])
    assert [(row["method"], row["R@1"]) for row in means] == [
        ("pa", "**10.63 ± 2.94**"), ("hier", "9.81 ± 3.84"), ("ms", "2.00 ± 0.10"),
    ]  # fmt: skip
    assert "seeds:" not in markdown(seeded({"pa": [50.0], "hier": [40.0]}), "x")


def test_what_is_higher_at_another_dimension_is_said():
    cells = [seeded({"pa": [50.0], "hier": [40.0]}), seeded({"frozen": [99.0]}, dim=1280)]
    (said,) = best_in_words(pd.concat(cells, ignore_index=True))
    assert said.endswith(" Higher still, at another dimension: frozen 99.00 (one seed) at D 1280.")
    lower = [cells[0], seeded({"frozen": [9.0]}, dim=1280)]
    assert "another dimension" not in best_in_words(pd.concat(lower, ignore_index=True))[0]
