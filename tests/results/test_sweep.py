"""A measure at each swept value: means and intervals against SciPy's, methods as they were before."""

import math
from statistics import mean, stdev

import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from hier.results.sweep import interval, swept_values

KEY = "regularizer.weight"
VALUES = {
    ("pa", None): [50.0, 52.0, 51.0],
    ("hier_weight_0_1", 0.1): [60.0, 61.0, 65.0],
    ("hier_weight_1", 1.0): [62.5],
    ("hier_weight_1e_05", 1e-05): [40.0, 40.0],
}


def cells(values=VALUES, **more):
    """Cells of R@1 from values of each seed by method and swept value."""
    rows = [
        {
            "run": f"d-{method}-net-64-s{seed}", "dataset": "d", "method": method, "backbone": "net",
            "dim": 64, "seed": seed, "measure": "R@1", "value": value, "grade": "identical", KEY: swept,
            **more,
        }
        for (method, swept), of_seeds in values.items()
        for seed, value in enumerate(of_seeds)
    ]  # fmt: skip
    return pd.DataFrame(rows).astype({KEY: object})


@given(st.lists(st.floats(0, 100), min_size=2, max_size=9))
def test_the_interval_of_a_mean_is_students(values):
    m, sd, n = mean(values), stdev(values), len(values)
    expected = scipy.stats.t.interval(0.95, n - 1, m, sd / math.sqrt(n)) if sd else (m, m)
    assert interval(m, sd, n) == pytest.approx(expected)


def test_one_value_has_no_interval():
    assert all(map(math.isnan, interval(3.0, math.nan, 1)))


def test_a_row_per_method_and_value_with_the_mean_over_seeds():
    table = swept_values(cells(), [KEY])
    assert list(table) == [
        "dataset", "backbone", "dim", "method", KEY, "measure", "mean", "sd", "n", "low", "high",
    ]  # fmt: skip
    assert table["method"].tolist() == ["pa", "hier", "hier", "hier"]
    assert table[KEY].fillna(-1).tolist() == [-1, 0.1, 1.0, 1e-05]
    assert table["n"].tolist() == [3, 3, 1, 2]
    for row, values in zip(table.to_dict("records"), VALUES.values(), strict=True):
        assert row["mean"] == pytest.approx(mean(values))
        if len(values) == 1:
            assert all(math.isnan(row[key]) for key in ("sd", "low", "high"))
        else:
            assert row["sd"] == pytest.approx(stdev(values))
            spread = scipy.stats.sem(values)
            of_t = scipy.stats.t.interval(0.95, len(values) - 1, mean(values), spread) if spread else (40, 40)
            assert (row["low"], row["high"]) == pytest.approx(of_t)


def test_a_table_that_was_read_has_its_values_as_text():
    text = cells().assign(**{KEY: cells()[KEY].map(lambda value: None if pd.isna(value) else str(value))})
    pd.testing.assert_frame_equal(swept_values(text, [KEY]), swept_values(cells(), [KEY]))


def test_of_two_keys_each_has_a_column_and_words_stay_words():
    values = {
        ("pa_norm_none", None): [50.0],
        ("hier_weight_0_1_norm_none", 0.1): [60.0],
        ("hier_weight_0_1_norm_layer_norm", 0.1): [70.0],
    }
    of_two = cells(values)
    of_two["head.norm"] = ["none", "none", "layer_norm"]
    table = swept_values(of_two, [KEY, "head.norm"])
    assert table[["method", "head.norm", "mean"]].to_numpy().tolist() == [
        ["pa", "none", 50.0], ["hier", "none", 60.0], ["hier", "layer_norm", 70.0],
    ]  # fmt: skip
    assert table[KEY].dtype == float
    assert table[KEY].tolist()[1:] == [0.1, 0.1]


def test_what_was_not_run_is_left_out_and_datasets_stay_apart():
    both = pd.concat([cells(), cells(dataset="e", value=None)], ignore_index=True)
    both = both.astype({"value": float})
    pd.testing.assert_frame_equal(swept_values(both, [KEY]), swept_values(cells(), [KEY]))
    assert len(swept_values(both[both["dataset"] == "e"], [KEY])) == 0
    twice = pd.concat([cells(), cells(dataset="e")], ignore_index=True)
    assert swept_values(twice, [KEY])["dataset"].tolist() == ["d"] * 4 + ["e"] * 4
