"""Methods held against each other in pairs, on made-up figures."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hier.config.compose import compose
from hier.errors import DamagedInputError
from hier.results.classes import read_classes
from hier.results.comparisons import (
    COLUMNS,
    compared,
    in_words,
    left_out,
    markdown,
    opponent,
    read_comparisons,
    verdict,
)

CONF = Path(__file__).parents[2] / "conf"
QUERIES = np.array([10, 20, 30, 40])
MEASURES = ("R@1", "super-class R@1", "MAP@R")


def suite_of(*overrides):
    return compose(["suite=smoke", *overrides], CONF, say=lambda _: None)


def made_up(suite, shift):
    """Cells and classes of every run: noise of its seed, of its own, and a `shift` by method."""
    cells, classes = [], {}
    for number, run in enumerate(suite.runs.values()):
        seed, own = np.random.default_rng(run.seed), np.random.default_rng(100 + number)
        tables = []
        for measure in MEASURES:
            of_classes = 50 + seed.normal(0, 5, 4) + own.normal(0, 0.5, 4) + shift.get(run.method, 0.0)
            tables.append(
                pd.DataFrame({"label": range(4), "measure": measure, "queries": QUERIES, "value": of_classes})
            )
            value = np.average(of_classes, weights=QUERIES)
            keys = {"run": run.name, "dataset": run.dataset, "method": run.method, "seed": run.seed}
            cells.append(keys | {"measure": measure, "value": value})
        classes[run.name] = pd.concat(tables, ignore_index=True)
    return pd.DataFrame(cells), classes


def test_a_comparison_is_the_t_test_of_pairs_and_the_bootstrap_of_classes():
    suite = suite_of("methods=[untrained,pa,ms,hier]", "seeds=[0,1,2,3,4]")
    cells, classes = made_up(suite, {"hier": 3.0})
    rows = compared(suite, cells, classes.__getitem__)
    assert [*rows] == COLUMNS
    assert [*zip(rows["method"], rows["against"], rows["measure"], strict=True)] == [
        *(("ms", "pa", measure) for measure in MEASURES),
        *(("hier", "pa", measure) for measure in MEASURES),
    ]
    values = cells[cells["measure"] == "R@1"].set_index(["method", "seed"])["value"]
    row = rows[(rows["method"] == "hier") & (rows["measure"] == "R@1")].iloc[0]
    test = stats.ttest_rel(values["hier"], values["pa"])
    interval = test.confidence_interval()
    assert row["pairs"] == 5
    assert row["p"] == pytest.approx(test.pvalue)
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert row["mean"] == pytest.approx((values["hier"] - values["pa"]).mean())
    assert row["classes_low"] < row["mean"] < row["classes_high"]
    assert row["p_holm"] == pytest.approx(
        max(p * (6 - rank) for rank, p in enumerate(sorted(rows["p"])) if p <= row["p"])
    )
    assert verdict(row) == "higher"
    assert verdict(rows.iloc[0]) == "not told apart"


def test_the_interval_over_classes_is_of_the_mean_over_seeds():
    suite = suite_of("methods=[pa,hier]", "seeds=[0,1]")
    cells, classes = made_up(suite, {})
    gaps = {0: [1.0, 0, 0, 0], 1: [3.0, 0, 0, 0]}
    for run in suite.runs.values():
        table = classes[run.name]
        table["value"] = 50.0
        if run.method == "hier":
            table.loc[table["measure"] == "R@1", "value"] += gaps[run.seed]
    row = compared(suite, cells, classes.__getitem__).iloc[0]
    # Class 0 has 10 of 100 queries and a mean gap of 2; drawn k times of 4 it counts for k, others for 0.
    assert row["classes_low"] == 0
    drawn = np.random.default_rng(0).integers(4, size=(100_000, 4))
    means = (2.0 * 10 * (drawn == 0).sum(1)) / QUERIES[drawn].sum(1)
    assert row["classes_high"] == pytest.approx(np.quantile(means, 0.975), abs=0.05)


def test_with_one_seed_or_one_method_there_is_nothing_to_hold_against():
    for overrides in (["methods=[pa,hier]"], ["methods=[pa]", "seeds=[0,1]"]):
        suite = suite_of(*overrides)
        cells, classes = made_up(suite, {})
        rows = compared(suite, cells, classes.__getitem__)
        assert (len(rows), [*rows], markdown(rows), in_words(rows)) == (0, COLUMNS, [], [])


def test_pairs_are_of_seeds_that_both_have_with_values():
    suite = suite_of("methods=[pa,hier]", "seeds=[0,1,2,3]")
    cells, classes = made_up(suite, {})
    cells.loc[(cells["method"] == "pa") & (cells["seed"] == 2), "value"] = np.nan
    rows = compared(suite, cells, classes.__getitem__)
    assert rows["pairs"].tolist() == [3, 3, 3]


def test_where_the_table_has_no_r_at_1_the_other_measures_are_compared():
    suite = suite_of("methods=[pa,hier]", "seeds=[0,1]")
    cells, classes = made_up(suite, {})
    rows = compared(suite, cells[cells["measure"] != "R@1"], classes.__getitem__)
    assert rows["measure"].tolist() == ["super-class R@1", "MAP@R"]
    assert in_words(rows) == []


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ("hier_ms ms pa hier", {"hier_ms": "ms", "ms": None, "pa": "ms", "hier": "pa"}),
        ("ms pa", {"ms": None, "pa": "ms"}),
        ("hier hier_ms", {"hier": None, "hier_ms": "hier"}),
    ],
)
def test_a_method_is_held_against_its_loss_alone_or_the_first(methods, expected):
    known = {run.method: run for run in suite_of("methods=[pa,ms,hier]").runs.values()}
    both = {"loss": known["ms"].loss, "method": "hier_ms"}
    known["hier_ms"] = known["hier"].model_copy(update=both)
    firsts = [known[name] for name in methods.split()]
    found = {run.method: opponent(run, firsts) for run in firsts}
    assert {name: other and other.method for name, other in found.items()} == expected


def test_of_variants_the_one_alike_or_the_first():
    suite = suite_of("methods=[pa,hier]")
    (pa, hier) = suite.runs.values()

    def variant(run, label, rate):
        optimizer = run.optimizer.model_copy(update={"lr": rate})
        return run.model_copy(update={"method": f"{run.method}_{label}", "optimizer": optimizer})

    slow, fast = (variant(pa, *each) for each in (("slow", 1e-4), ("fast", 1e-2)))
    quick = variant(hier, "fast", 1e-2)
    assert opponent(quick, [slow, fast, quick]).method == "pa_fast"
    assert opponent(fast, [slow, fast, quick]).method == "pa_slow"
    assert opponent(quick, [hier, quick]).method == "hier"  # no loss alone


def test_the_words_say_what_the_figures_show():
    suite = suite_of("methods=[pa,hier]", "seeds=[0,1,2,3,4]")

    def said(shift):
        cells, classes = made_up(suite, {"hier": shift})
        rows = compared(suite, cells, classes.__getitem__)
        return in_words(rows)[0], "\n".join(markdown(rows))

    words, table = said(5.0)
    assert words.startswith("R@1 on smoke's unseen classes: hier minus pa is +")
    assert words.endswith("It is higher, for other seeds as for other classes.")
    assert words in table
    assert table.count("\n| smoke | hier | pa |") == 3
    assert said(-5.0)[0].endswith("It is lower, for other seeds as for other classes.")
    assert "They are not told apart; a difference would have been found from " in said(0.0)[0]


def test_differences_that_are_all_alike_show_nothing():
    suite = suite_of("methods=[pa,hier]", "seeds=[0,1]")
    cells, classes = made_up(suite, {})
    cells["value"] = 50.0 + 3.125 * (cells["method"] == "hier")
    rows = compared(suite, cells, classes.__getitem__)
    assert set(rows["verdict"]) == {"not told apart"}
    assert "+3.12 points over 2 seeds (– for other seeds" in in_words(rows)[0]
    assert in_words(rows)[0].endswith("there is no spread to judge by: not told apart.")


def test_runs_without_a_result_are_named():
    suite = suite_of("methods=[untrained,pa,hier]", "seeds=[0,1]")
    cells, _ = made_up(suite, {})
    assert left_out(suite, cells) == []
    cells.loc[cells["run"].str.contains("hier|untrained"), "value"] = np.nan
    said = "for want of a result: smoke-hier-test_resnet-16-s0, smoke-hier-test_resnet-16-s1."
    assert left_out(suite, cells) == [f"Left out of the differences, {said}"]


@pytest.mark.parametrize(
    ("p", "mean", "low", "high", "says"),
    [
        (0.049, 1.0, 0.1, 2.0, "higher"),
        (0.049, 1.0, -0.1, 2.0, "higher for other seeds"),
        (0.05, 1.0, 0.1, 2.0, "not told apart"),
        (0.01, -1.0, -2.0, -0.1, "lower"),
        (0.01, -1.0, -2.0, 0.1, "lower for other seeds"),
        (0.01, 1.0, np.nan, np.nan, "higher for other seeds"),
        (np.nan, 1.0, 0.5, 2.0, "not told apart"),
    ],
)
def test_a_verdict_needs_the_corrected_p_and_for_classes_their_interval(p, mean, low, high, says):
    assert verdict({"p_holm": p, "mean": mean, "classes_low": low, "classes_high": high}) == says


GOOD = "label,measure,queries,value\n0,R@1,10,50.0000\n1,R@1,30,70.0000\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("70", "71"), "its R@1 comes to 65.7500, the run's is 65.0000"),
        (GOOD.replace("queries", "images"), "its columns are not"),
        (GOOD + "1,R@1,30,70\n", "a class occurs twice"),
        (GOOD.replace("50.0", "150.0"), "no number from 0 to 100"),
        (GOOD.replace("30", "0"), "a class has no query"),
    ],
)
def test_a_damaged_table_of_classes_is_named(tmp_path, text, message):
    path = tmp_path / "classes.csv"
    path.write_text(GOOD)
    assert read_classes(path, {"R@1": 65.0})["value"].tolist() == [50.0, 70.0]
    path.write_text(text)
    with pytest.raises(DamagedInputError, match=message):
        read_classes(path, {"R@1": 65.0})


def test_comparisons_are_read_as_they_were_written(tmp_path):
    suite = suite_of("methods=[pa,hier]", "seeds=[0,1,2]")
    cells, classes = made_up(suite, {})
    rows, path = compared(suite, cells, classes.__getitem__), tmp_path / "comparisons.csv"
    rows.to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_comparisons(path), rows)
    rows.head(0).to_csv(path, index=False)
    assert read_comparisons(path).empty
    for change, message in ({"mean": np.nan}, "lacks its mean"), ({"high": np.inf}, "is infinite"):
        rows.assign(**change).to_csv(path, index=False)
        with pytest.raises(DamagedInputError, match=message):
            read_comparisons(path)
