"""Two tables held against each other: what moved, and by more than the seeds' spread?"""

import pandas as pd
import pytest

from hier.errors import ConfigError
from hier.results.compare import compare, describe, read_cells, table_at


def cells(*rows):
    """Rows of (method, seed, value, grade) on one dataset and measure."""
    fixed = {"dataset": "cub", "backbone": "vit_small", "dim": 384, "measure": "R@1"}
    return pd.DataFrame(
        [
            {
                **fixed,
                "run": f"cub-{m}-s{s}",
                "method": m,
                "seed": s,
                "value": v,
                "grade": "no reference",
            }
            for m, s, v in rows
        ]
    )


def seeds(method, *values):
    return [(method, seed, value) for seed, value in enumerate(values)]


@pytest.mark.parametrize(
    ("here", "there", "moved", "spread", "verdict"),
    [
        ((70.0, 72.0), (65.0, 66.0), 5.5, 2**0.5, "moved"),
        ((70.0, 72.0), (70.0, 71.0), 0.5, 2**0.5, "within"),
        ((70.0,), (64.0, 76.0), 0.0, 72**0.5, "same"),
        ((71.0,), (64.0, 76.0), 1.0, 72**0.5, "within"),
        ((71.0,), (65.0,), 6.0, None, "unknown"),
        ((71.0,), (71.004,), -0.004, None, "same"),
    ],
)
def test_a_move_is_held_against_the_larger_spread(here, there, moved, spread, verdict):
    (row,) = compare(cells(*seeds("pa", *here)), cells(*seeds("pa", *there)))
    assert row["moved"] == pytest.approx(moved)
    assert row["spread"] == (None if spread is None else pytest.approx(spread))
    assert row["verdict"] == verdict
    assert row["name"] == "PA"


def test_what_moved_most_comes_first_and_what_is_on_one_side_is_told():
    here = cells(*seeds("pa", 70.0), *seeds("ms", 70.0), *seeds("hier", 70.0))
    there = cells(*seeds("pa", 71.0), *seeds("ms", 60.0), *seeds("hyp", 70.0))
    rows = compare(here, there)
    assert [row["method"] for row in rows[:2]] == ["ms", "pa"]
    assert {row["method"]: row["verdict"] for row in rows[2:]} == {"hier": "here", "hyp": "there"}
    assert describe(rows) == (
        "4 values: 2 moved; with one seed on each side, the spread is not known, 1 only here, 1 only there."
    )


def test_what_was_run_on_neither_side_did_not_move():
    nothing = cells(("pa", 0, float("nan")))
    (row,) = compare(nothing, nothing)
    assert (row["moved"], row["verdict"]) == (None, "same")


@pytest.mark.parametrize(
    "inside", ["table.csv", "tables/table.csv", "cub/table.csv", "results/cub/table.csv"]
)
def test_a_table_is_found_in_results_a_report_and_a_project(tmp_path, inside):
    path = tmp_path / inside
    path.parent.mkdir(parents=True, exist_ok=True)
    cells(*seeds("pa", 70.0)).to_csv(path, index=False)
    assert table_at(tmp_path, "cub") == table_at(path, "cub") == path
    assert len(read_cells(path)) == 1


def test_the_table_of_another_suite_is_not_taken(tmp_path):
    (tmp_path / "results/cars").mkdir(parents=True)
    (tmp_path / "results/cars/table.csv").touch()
    with pytest.raises(ConfigError, match="holds no table to compare with"):
        table_at(tmp_path, "cub")


def test_what_is_no_table_is_said_in_one_line(tmp_path):
    with pytest.raises(ConfigError, match="holds no table to compare with"):
        table_at(tmp_path, "cub")
    for content in (b"", b"a,b\n1,2\n", b"\xff\xfe\x00"):
        path = tmp_path / "table.csv"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"cannot be read|lacks backbone") as caught:
            read_cells(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "value"), [("value", "high"), ("value", "inf"), ("dim", "wide"), ("seed", "zero")]
)
def test_a_table_with_text_where_a_number_belongs_is_said_in_one_line(tmp_path, column, value):
    table = cells(*seeds("pa", 50.0))
    path = tmp_path / "table.csv"
    table.astype({column: object}).assign(**{column: value}).to_csv(path, index=False)
    with pytest.raises(ConfigError) as caught:
        read_cells(path)
    assert str(caught.value) == (f"{path} is no table of results: {column} {value} is no number")
