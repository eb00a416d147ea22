"""The graded table of made-up cells: what is bold, which grade a row shows, what the words say."""

import pandas as pd
import pytest

from hier.results import paper as layout
from hier.results.grades import OF_LEDGER, Grade
from hier.results.table import describe, markdown, unmatched, wide

NAN = float("nan")


def cells_of(*rows, dataset="demo"):
    """Cells from rows (method, measure, value, grade[, paper[, seed]])."""
    cells = []
    for method, measure, value, grade, *more in rows:
        paper, seed = (*more, *(NAN, 0)[len(more) :])
        cells.append(
            {
                "run": f"{dataset}-{method}-net-64-s{seed}", "dataset": dataset, "method": method,
                "backbone": "net", "dim": 64, "seed": seed, "measure": measure, "value": value,
                "best_on_test": NAN, "expected": NAN, "mean": NAN, "tolerance": NAN, "paper": paper,
                "grade": grade,
            }
        )  # fmt: skip
    return pd.DataFrame(cells)


THREE = cells_of(
    ("pa", "R@1", 50.0, "identical"),
    ("pa", "MAP@R", 31.256, "within tolerance"),
    ("ms", "R@1", 41.5, "identical"),
    ("ms", "MAP@R", 20.0, "identical"),
    ("hier", "R@1", 62.5, "no reference"),
    ("hier", "MAP@R", 30.0, "out of tolerance"),
)


def rows_of(text, caption="dataset"):
    """A Markdown table as a list of dicts: the first whose first column is `caption`."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(f"| {caption} |"):
            break
    names = split(line)
    assert set(next(lines)) <= set("|-: ")
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        assert len(split(line)) == len(names)
        rows.append(dict(zip(names, split(line), strict=True)))
    return rows


def split(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


# --- one row per run -----------------------------------------------------------------------------


def test_one_row_per_run_in_the_order_of_the_cells():
    table = wide(THREE)
    assert list(table) == [
        "run", "dataset", "method", "backbone", "dim", "seed", "R@1", "MAP@R", "grade",
    ]  # fmt: skip
    assert table["method"].tolist() == ["pa", "ms", "hier"]
    assert table["R@1"].tolist() == [50.0, 41.5, 62.5]
    assert table["MAP@R"].tolist() == [31.256, 20.0, 30.0]


ORDER = [
    "not run", "differs", "out of tolerance", "no data", "no reference", "within tolerance", "identical",
]  # fmt: skip
"""From the worst to the best."""


@pytest.mark.parametrize("worse", range(7))
@pytest.mark.parametrize("better", range(7))
def test_a_row_shows_its_worst_grade(worse, better):
    assert ORDER[::-1] == [grade for grade in Grade if grade not in OF_LEDGER]
    if worse > better:
        worse, better = better, worse
    for grades in ((ORDER[worse], ORDER[better]), (ORDER[better], ORDER[worse])):
        cells = cells_of(("pa", "R@1", 1.0, grades[0]), ("pa", "R@2", 2.0, grades[1]))
        assert wide(cells)["grade"].tolist() == [ORDER[worse]]


def test_a_measure_that_a_run_lacks_is_nan():
    cells = cells_of(("pa", "R@1", 1.0, "identical"), ("ms", "R@2", 2.0, "identical"))
    assert wide(cells)["R@2"].isna().tolist() == [True, False]


def test_what_is_swept_stands_beside_the_method_in_both_tables():
    rows = [(m, "R@1", 50.0 + s, "identical", NAN, s) for m in ("pa", "hier_k_2", "hier_k_3") for s in (0, 1)]
    cells = cells_of(*rows)
    cells["a.k"] = pd.Series([None, None, 2, 2, 3, 3], dtype=object)
    table = wide(cells)
    assert list(table) == ["run", "dataset", "method", "backbone", "dim", "seed", "a.k", "R@1", "grade"]
    text = markdown(cells, "demo")
    assert "| dataset | method | a.k | backbone | D | seed | R@1 | grade |" in text
    assert [row["a.k"] for row in rows_of(text)] == ["–", "–", "2", "2", "3", "3"]
    means = rows_of(text[text.index("Mean ±") :])
    assert [(row["method"], row["a.k"], row["seeds"]) for row in means] == [
        ("pa", "–", "2"), ("hier_k_2", "2", "2"), ("hier_k_3", "3", "2"),
    ]  # fmt: skip
    without = cells.drop(columns="a.k")
    assert markdown(without, "demo").count("|") < text.count("|")
    assert "a.k" not in markdown(without, "demo")


# --- Markdown ------------------------------------------------------------------------------------


def test_markdown_shows_the_cells_figures_with_the_best_in_bold():
    text = markdown(THREE, "demo")
    assert text.startswith("# Suite demo\n\n| dataset | method | backbone | D | seed | R@1 |")
    assert [(row["method"], row["R@1"], row["MAP@R"], row["grade"]) for row in rows_of(text)] == [
        ("pa", "50.00", "**31.26**", "within tolerance"),
        ("ms", "41.50", "20.00", "identical"),
        ("hier", "**62.50**", "30.00", "out of tolerance"),
    ]
    assert rows_of(text)[0]["D"] == "64"
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert markdown(THREE, "demo") == text


def test_best_is_per_dataset_and_ties_are_all_bold():
    cells = pd.concat(
        [
            cells_of(("pa", "R@1", 10.0, "identical"), ("ms", "R@1", 10.0, "identical")),
            cells_of(("pa", "R@1", 90.0, "identical"), ("ms", "R@1", 80.0, "identical"),
                     dataset="omniglot"),
        ],
        ignore_index=True,
    )  # fmt: skip
    figures = [(row["dataset"], row["R@1"]) for row in rows_of(markdown(cells, "x"))]
    assert figures == [
        ("demo", "**10.00**"), ("demo", "**10.00**"), ("omniglot", "**90.00**"),
        ("omniglot", "80.00"),
    ]  # fmt: skip


def test_what_was_not_run_is_a_dash_and_never_best():
    cells = cells_of(("pa", "R@1", NAN, "not run"), ("ms", "R@1", 0.0, "identical"))
    rows = rows_of(markdown(cells, "x"))
    assert [(row["R@1"], row["grade"]) for row in rows] == [
        ("–", "not run"), ("0.00", "identical"),  # which has no rival
    ]  # fmt: skip


def test_nothing_at_all_was_run():
    cells = cells_of(("pa", "R@1", NAN, "not run"), ("ms", "R@1", NAN, "not run"))
    text = markdown(cells, "x")
    assert [row["R@1"] for row in rows_of(text)] == ["–", "–"]
    assert "highest" not in text
    assert "nan" not in text
    assert text.rstrip().endswith("2 cells: 2 not run")


def test_the_papers_figures_stand_beside_with_the_difference():
    cells = cells_of(
        ("hier", "R@1", 70.123, "identical", 75.2),
        ("hier", "MAP@R", 30.0, "identical"),
        ("pa", "R@1", 76.0, "identical", 75.2),
    )
    text = markdown(cells, "x")
    assert rows_of(text, "run") == [
        {"run": "demo-hier-net-64-s0", "measure": "R@1", "paper": "75.2", "ours": "70.12",
         "difference": "-5.08"},
        {"run": "demo-pa-net-64-s0", "measure": "R@1", "paper": "75.2", "ours": "76.00",
         "difference": "+0.80"},
    ]  # fmt: skip
    assert "| run | measure |" not in markdown(THREE, "x")


def test_a_published_cell_that_was_not_run_shows_dashes():
    cells = cells_of(("hier", "R@1", NAN, "not run", 75.2))
    text = markdown(cells, "x")
    assert "nan" not in text
    (row,) = rows_of(text, "run")
    assert (row["paper"], row["ours"], row["difference"]) == ("75.2", "–", "–")


def test_the_best_epoch_on_the_test_classes_stands_apart_and_is_marked():
    cells = cells_of(
        ("hier", "R@1", 70.0, "identical", 75.2),
        ("hier", "R@2", 80.0, "identical"),
        ("pa", "R@1", 60.0, "identical"),
        ("ms", "R@1", NAN, "not run"),
    )
    cells.loc[[0, 1], "best_on_test"] = [71.126, 79.0]
    text = markdown(cells, "x")
    caption = "Best epoch on the test classes (chosen on the test set, for comparison only):"
    before, _, after = text.partition(f"\n\n{caption}\n\n")
    assert rows_of(after, "run") == [
        {
            "run": "demo-hier-net-64-s0",
            "R@1 of the best epoch": "71.13",
            "R@1 of the reported epoch": "70.00",
        }
    ]
    assert before == markdown(cells.assign(best_on_test=NAN), "x").rstrip()
    assert "71.13" not in before
    assert "Best epoch" not in before


# --- words ---------------------------------------------------------------------------------------


def test_grades_are_counted_in_their_order():
    assert describe(THREE)[-1] == (
        "6 cells: 3 identical, 1 within tolerance, 1 no reference, 1 out of tolerance"
    )


def test_cells_without_data_are_counted():
    cells = cells_of(("pa", "R@1", NAN, "no data"), ("ms", "R@1", NAN, "not run"))
    assert describe(cells) == ["2 cells: 1 no data, 1 not run"]
    assert wide(cells)["grade"].tolist() == ["no data", "not run"]


# --- queries that can never be right ---------------------------------------------------------------


def counted(cells, queries, unmatched, left_out, measure="R@1"):
    return cells.assign(measure=measure, queries=queries, unmatched=unmatched, left_out=left_out)


@pytest.mark.parametrize("from_csv", [False, True])
def test_queries_that_can_never_be_right_are_told(from_csv):
    """Also of a table that was read from a file, where a missing count makes the others fractions."""
    cells = cells_of(("pa", "R@1", 50.0, "identical"), ("hier", "R@1", 60.0, "identical"))
    cells = pd.concat([counted(cells, 768, 12, 0), counted(cells, 768, 3, 0, "super-class R@1")])
    cells = pd.concat([cells, cells_of(("ms", "R@1", NAN, "not run"))], ignore_index=True)
    if not from_csv:
        cells[["queries", "unmatched", "left_out"]] = cells[["queries", "unmatched", "left_out"]].astype(
            "Int64"
        )
    said = [
        "On demo, 12 of 768 queries can never be right, having no other image of their class to find; "
        "they are counted as misses in R@K and left out of MAP@R (evaluate.unmatched).",
        "On demo, 3 of 768 queries can never be right, having no other image of their super-class to "
        "find; they are counted as misses in super-class R@K (evaluate.unmatched).",
    ]
    assert unmatched(cells) == said
    assert all(sentence in markdown(cells, "x") for sentence in said)
    assert all(sentence in layout.markdown(cells) for sentence in said)
    assert f"% {said[0]}" in layout.latex(cells)


def test_runs_that_differ_in_it_are_named():
    pa = counted(cells_of(("pa", "R@1", 50.0, "identical")), 768, 12, 0)
    hier = counted(cells_of(("hier", "R@1", 60.0, "identical")), 756, 0, 12)
    one, other = unmatched(pd.concat([pa, hier], ignore_index=True))
    assert "counted as misses in R@K and left out of MAP@R in demo-pa-net-64-s0 (" in one
    assert "12 of 768 " in other
    assert "left out of R@K and MAP@R in demo-hier-net-64-s0 (" in other


def test_where_each_query_can_be_right_or_the_table_is_older_nothing_is_said():
    assert unmatched(THREE) == []
    all_matched = THREE.assign(queries=768, unmatched=0, left_out=0)
    assert unmatched(all_matched) == []
    assert "never" not in markdown(all_matched, "x")


def test_an_epoch_that_was_chosen_on_the_test_classes_is_told():
    chosen = THREE.assign(choice=["best_on_test"] * 2 + ["last"] * 4)
    for text in (" ".join(describe(chosen)), markdown(chosen, "x"), layout.markdown(chosen)):
        assert (
            "The reported epoch was chosen by recall on the test classes, which flatters, in "
            "demo-pa-net-64-s0 (protocol.choose best_on_test)."
        ) in text
    assert "flatters" not in markdown(THREE.assign(choice="last"), "x") + markdown(THREE, "x")
