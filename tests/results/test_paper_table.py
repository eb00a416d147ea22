"""The paper's layout of made-up cells: order, means over seeds, and well-formed CSV and tables."""

import csv
import io
import re
from pathlib import Path

import pandas as pd
import pytest

from hier.config.compose import compose
from hier.config.settings import Settings
from hier.jobs import job
from hier.results import paper as layout
from hier.stages import tabulate

ROOT = Path(__file__).parents[2]
NAN = float("nan")
COLUMNS = [
    "backbone", "dim", "method", "dataset", "measure", "paper", "ours", "sd", "seeds",
    "difference", "grade",
]  # fmt: skip


def cell(value=50.0, paper=NAN, grade="identical", **keys):
    """One cell, of seed 0's R@1 of HIER on CUB with DeiT-S 384 unless `keys` say otherwise."""
    found = {
        "dataset": "cub", "method": "hier", "backbone": "deit_small", "dim": 384, "seed": 0,
        "measure": "R@1", "value": value, "best_on_test": NAN, "expected": NAN, "mean": NAN, "tolerance": NAN,
        "paper": paper, "grade": grade,
    } | keys  # fmt: skip
    run = "{dataset}-{method}-{backbone}-{dim}-s{seed}".format(**found)
    return {"run": run} | found


def cells_of(*cells):
    return pd.DataFrame(cells)


def three_seeds(**keys):
    return [
        cell(value, 75.0, grade, seed=seed, **keys)
        for seed, (value, grade) in enumerate(
            [(70.0, "identical"), (74.0, "out of tolerance"), (75.0, "within tolerance")]
        )
    ]


def markdown_rows(text):
    """The table's rows as lists, all of one length; the header first."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[part.strip() for part in line[1:-1].split("|")] for line in lines]
    assert all(line.endswith("|") for line in lines)
    assert {len(row) for row in rows} == {len(rows[0])}
    assert all(set(part) <= set("-:") for part in rows[1])
    return [rows[0], *rows[2:]]


# --- figures -------------------------------------------------------------------------------------


def test_seeds_come_together_as_mean_and_sample_deviation():
    (row,) = layout.rows(cells_of(*three_seeds())).to_dict("records")
    assert list(row) == COLUMNS
    assert (row["paper"], row["ours"], row["seeds"], row["difference"]) == (75, 73, 3, -2)
    assert row["sd"] == pytest.approx(7**0.5)  # (9 + 1 + 4) / (3 − 1)
    assert row["grade"] == "out of tolerance"


def test_one_seed_has_no_deviation_and_two_have():
    (one,) = layout.rows(cells_of(cell(70.0))).to_dict("records")
    assert (one["ours"], one["seeds"]) == (70.0, 1)
    assert pd.isna(one["sd"])
    (two,) = layout.rows(cells_of(cell(70.0), cell(72.0, seed=1))).to_dict("records")
    assert (two["ours"], two["seeds"], two["sd"]) == (71.0, 2, pytest.approx(2**0.5))


def test_a_seed_that_was_not_run_is_no_figure_but_is_the_grade():
    (row,) = layout.rows(cells_of(cell(70.0, 75.0), cell(NAN, 75.0, "not run", seed=1))).to_dict("records")
    assert (row["ours"], row["seeds"], row["grade"]) == (70.0, 1, "not run")
    assert pd.isna(row["sd"])
    (none,) = layout.rows(cells_of(cell(NAN, 75.0, "no data"))).to_dict("records")
    assert (none["paper"], none["seeds"], none["grade"]) == (75.0, 0, "no data")
    assert pd.isna(none["ours"])
    assert pd.isna(none["difference"])


# --- order ---------------------------------------------------------------------------------------


def test_rows_stand_in_the_papers_order_whatever_the_cells_order():
    groups = [
            ("resnet50", 128), ("resnet50", 512), ("deit_small", 128), ("dino_vits16", 128),
            ("vit_small", 128), ("deit_small", 384), ("dino_vits16", 384), ("vit_small", 384),
            ("vit_tiny", 64),
        ]  # fmt: skip
    methods = [
        "pretrained", "nsoftmax", "pnca", "softtriple", "xbm", "ms", "pa", "hyp", "hier", "mine",
    ]  # fmt: skip
    wanted = [(*group, method) for group in groups for method in methods]
    cells = [cell(backbone=b, dim=d, method=m) for b, d, m in reversed(wanted)]
    found = layout.rows(cells_of(*cells))[["backbone", "dim", "method"]]
    assert list(found.itertuples(index=False, name=None)) == wanted
    shown = [(r[0], int(r[1])) for r in markdown_rows(layout.markdown(cells_of(*cells)))[1:]]
    assert list(dict.fromkeys(shown)) == groups


def test_columns_are_datasets_by_k_as_the_paper_has_them():
    ks = {
        "mine": [10, 2],
        "inshop": [1, 10, 20, 30],
        "sop": [1, 10, 100, 1000],
        "cub": [1, 2, 4, 8],
    }
    cells = [
        cell(dataset=dataset, measure=f"R@{k}", paper=50.0 if k != ks[dataset][-1] else NAN)
        for dataset in ("inshop", "sop", "cub")
        for k in reversed(ks[dataset])
    ]
    cells += [cell(dataset="mine", measure=f"R@{k}") for k in ks["mine"]]
    cells += [cell(measure="MAP@R"), cell(measure="super-class R@1")]
    header = markdown_rows(layout.markdown(cells_of(*cells)))[0]
    assert header[3:] == [
        "cub R@1", "cub R@2", "cub R@4", "sop R@1", "sop R@10", "sop R@100", "inshop R@1",
        "inshop R@10", "inshop R@20", "mine R@2", "mine R@10",
    ]  # fmt: skip
    table = layout.rows(cells_of(*cells))
    assert [" ".join(pair) for pair in zip(table["dataset"], table["measure"], strict=True)] == (header[3:])


# --- texts ---------------------------------------------------------------------------------------

TWO_METHODS = cells_of(
    *three_seeds(),
    cell(80.0, 82.0, dataset="cars"),
    cell(61.0, method="pnca"),
    cell(10.004, 10.0, backbone="dino_vits16", dim=128, method="my_own"),
)


def test_csv_holds_a_row_per_cell():
    rows = list(csv.reader(io.StringIO(layout.csv(TWO_METHODS))))
    assert rows == [
        COLUMNS,
        ["dino_vits16", "128", "my_own", "cub", "R@1", "10.0000", "10.0040", "", "1", "0.0040",
         "identical"],
        ["deit_small", "384", "pnca", "cub", "R@1", "", "61.0000", "", "1", "", "identical"],
        ["deit_small", "384", "hier", "cub", "R@1", "75.0000", "73.0000", "2.6458", "3", "-2.0000",
         "out of tolerance"],
        ["deit_small", "384", "hier", "cars", "R@1", "82.0000", "80.0000", "", "1", "-2.0000",
         "identical"],
    ]  # fmt: skip


def test_markdown_shows_all_four_of_a_cell():
    assert markdown_rows(layout.markdown(TWO_METHODS)) == [
        ["backbone", "D", "method", "cub R@1", "cars R@1"],
        ["dino_vits16", "128", "my_own", "10.0<br>10.00<br>+0.00<br>identical", "–"],
        ["deit_small", "384", "ProxyNCA++", "–<br>61.00<br>–<br>identical", "–"],
        ["deit_small", "384", "HIER", "75.0<br>73.00 ± 2.65<br>-2.00<br>out of tolerance",
         "82.0<br>80.00<br>-2.00<br>identical"],
    ]  # fmt: skip
    assert layout.markdown(TWO_METHODS).endswith("|\n")


def test_a_difference_that_rounds_to_nothing_has_no_minus():
    assert "+0.00" in layout.markdown(cells_of(cell(9.999, 10.0)))


def test_latex_in_full():
    head, *lines = layout.latex(TWO_METHODS).splitlines()
    assert head.startswith(r"% Needs \usepackage{booktabs}")
    assert lines == [
        r"\begin{tabular}{lrlrr}",
        r"\toprule",
        r" &  &  & \multicolumn{1}{c}{cub} & \multicolumn{1}{c}{cars} \\",
        r"\cmidrule(lr){4-4} \cmidrule(lr){5-5}",
        r"backbone & $D$ & method & R@1 & R@1 \\",
        r"\midrule",
        r"dino\_vits16 & 128 & my\_own & "
        r"\shortstack[r]{$10.0$ \\ $10.00$ \\ $+0.00$ \\ identical} & -- \\",
        r"\midrule",
        r"deit\_small & 384 & ProxyNCA++ & "
        r"\shortstack[r]{-- \\ $61.00$ \\ -- \\ identical} & -- \\",
        r" &  & HIER & "
        r"\shortstack[r]{$75.0$ \\ $73.00 \pm 2.65$ \\ $-2.00$ \\ out of tolerance} & "
        r"\shortstack[r]{$82.0$ \\ $80.00$ \\ $-2.00$ \\ identical} \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


@pytest.mark.parametrize("evil", ["a_b", "50%", "a&b", "#1", "$x$", "{a", "b}", "a\\b", "a~b^c"])
def test_latex_is_balanced_whatever_the_names(evil):
    cells = [cell(dataset=evil, measure=f"R@{k}") for k in (1, 2, 4)] + [cell(method=evil)]
    text = layout.latex(cells_of(*cells, cell(backbone=evil, seed=1)))
    body = re.sub(r"\\[\\&%$#_{}]", "", "\n".join(text.splitlines()[1:]))
    depth = 0
    for sign in body:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0
    assert body.count("$") % 2 == 0
    assert not set("%#_~^") & set(body)
    assert text.isascii()
    (spec,) = re.findall(r"begin\{tabular\}\{(\w+)\}", text)
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    widths = [
        len(re.findall(r"(?<!\\)&", line))
        + 1
        + sum(int(n) - 1 for n in re.findall(r"multicolumn\{(\d+)\}", line))
        for line in rows
    ]
    assert set(widths) == {len(spec)}
    assert re.findall(r"cmidrule\(lr\)\{([\d-]+)\}", text) == ["4-4", "5-7"]


def test_without_any_published_cell_paper_and_difference_are_dashes():
    cells = cells_of(cell(50.0, dataset="demo"), cell(NAN, dataset="demo", grade="not run", dim=64))
    for text in (layout.markdown(cells), layout.latex(cells), layout.csv(cells)):
        assert "nan" not in text.lower()
    assert [row[3] for row in markdown_rows(layout.markdown(cells))[1:]] == [
        "–<br>50.00<br>–<br>identical", "–<br>–<br>–<br>not run",
    ]  # fmt: skip


# --- the stage -----------------------------------------------------------------------------------


def test_tabulate_writes_the_layout_of_a_suite_with_two_seeds(tmp_path, monkeypatch):
    suite = compose(["suite=smoke", "methods=[hier]", "seeds=[0,1]"], ROOT / "conf")
    monkeypatch.chdir(tmp_path)
    Path("expected").mkdir()
    Path("expected/paper.csv").write_bytes((ROOT / "expected/paper.csv").read_bytes())
    for name, share in zip(suite.runs, (0.5, 0.75), strict=True):
        path = Path("runs", name, "metrics.json")
        path.parent.mkdir(parents=True)
        path.write_text(f'{{"recall": {{"1": {share}, "2": 1.0}}, "map_at_r": 0.25}}')
    Path("results/smoke").mkdir(parents=True)
    work = job("tabulate", "smoke", Settings.of(suite))
    tabulate.run(work, suite, "")
    assert sorted(path.as_posix() for path in Path("results/smoke").iterdir()) == sorted(work.outputs)
    with Path("results/smoke/paper_layout.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["measure"], r["paper"], r["ours"], r["sd"], r["seeds"]) for r in rows] == [
        ("R@1", "", "62.5000", "17.6777", "2"), ("R@2", "", "100.0000", "0.0000", "2"),
    ]  # fmt: skip
    (row,) = markdown_rows(Path("results/smoke/paper_layout.md").read_text())[1:]
    assert row[3] == "–<br>62.50 ± 17.68<br>–<br>no reference"
    assert r"$62.50 \pm 17.68$" in Path("results/smoke/paper_layout.tex").read_text()
    header = Path("results/smoke/table.csv").read_text().splitlines()[0]
    assert ",value,best_on_test,expected," in header


def test_in_table_1_rows_that_cannot_be_run_stand_with_the_reason(monkeypatch):
    monkeypatch.chdir(ROOT)
    cells = cells_of(cell(), cell(dataset="cars", method="pa", backbone="resnet50", dim=512))
    (heads, *rows) = markdown_rows(text := layout.markdown(cells, "table1"))
    assert heads == ["backbone", "D", "method", "cub R@1", "cars R@1"]
    left = {tuple(row[:3]): row[3:] for row in rows if "not configured" in "".join(row)}
    assert left["bn_inception", "512", "MS"] == [
        f"{value}<br>–<br>–<br>not configured" for value in ("65.7", "84.1")
    ]
    assert set(left) == {
        *(("bn_inception", "512", name) for name in ("XBM", "HTL", "MS", "SoftTriple", "PA")),
        ("resnet50", "128", "MIC"),
        *(("deit_small", dim, "IRT_R") for dim in ("128", "384")),
    }
    assert left["deit_small", "128", "IRT_R"][1] == "–"  # the paper has none on Cars
    assert "(bn_inception): neither timm nor torchvision has BN-Inception" in text
    table = pd.read_csv(io.StringIO(layout.csv(cells, "table1")))
    assert (table["grade"] == "not configured").sum() == 5 * 2 + 2 + 2
    assert "not configured" in layout.latex(cells, "table1")
    assert not any("onfigured" in f(cells) for f in (layout.csv, layout.markdown, layout.latex))
