"""The paper's Table 1 (expected/paper.csv), and ours in its layout, as CSV, Markdown and LaTeX: groups of
backbone and dimension, methods as rows, datasets × R@K as columns.

Methods of the paper that the suite has not are left out; but in the suite that is Table 1, rows that cannot
be run stand with the reason.
"""

import math
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from hier.errors import MissingInputError
from hier.ledger.artifacts import reading
from hier.pipeline import PAPER
from hier.registry import LOSSES
from hier.results.means import means
from hier.results.measures import RECALL
from hier.results.table import caveats, row_of

TABLE = Path(PAPER)
GROUPS = [
    ("bn_inception", 512),
    *(("resnet50", dim) for dim in (128, 512)),
    *((name, dim) for dim in (128, 384) for name in ("deit_small", "dino_vits16", "vit_small")),
]
METHODS = ["pretrained", "nsoftmax", "pnca", "softtriple", "xbm", "ms", "pa", "hyp", "hier"]
DATASETS = ["cub", "cars", "sop", "inshop"]
TABLE_1 = "table1"
NOT_CONFIGURED = {
    "bn_inception": "neither timm nor torchvision has BN-Inception, whose weights are of Caffe",
    **dict.fromkeys(("MIC", "HTL", "IRT_R"), "its code is not part of this project"),
}
"""Why rows of a backbone or method of the paper cannot be run."""
KEYS = ["backbone", "dim", "method", "dataset", "measure"]
CAPTION = (
    "Each cell, from the top: the paper; ours (mean ± sample standard deviation over the seeds); "
    "ours − paper; the worst grade over the seeds."
)
ESCAPES = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)

Cell = dict[Hashable, Any]
Column = tuple[str, str]


def name_of(method: str) -> str:
    """What the paper calls a method; its own name where the paper has none."""
    if LOSSES.has(method):
        return str(LOSSES.module(method).Settings.paper_name)
    return "HIER" if method == "hier" else method


def published(cells: pd.DataFrame) -> pd.Series:
    """The paper's value for each cell, NaN where Table 1 has none; MissingInputError where there is no
    expected/paper.csv, DamagedInputError where it is not the table."""
    table = _table_1()
    with reading(TABLE):
        ours = cells.assign(method=cells["method"].map(name_of))
        found = ours.merge(table, on=KEYS, how="left", validate="many_to_one")
        return found["recall_percent"].astype(float)


def _table_1() -> pd.DataFrame:
    if not TABLE.exists():
        raise MissingInputError(TABLE, f"git checkout {TABLE}")
    with reading(TABLE):
        table = pd.read_csv(TABLE)
        return table.assign(measure=table["k"].map(RECALL.name))


def not_configured() -> pd.DataFrame:
    """The paper's rows that cannot be run, as rows of ours without a value."""
    table = _table_1()
    reasons = table["backbone"].map(NOT_CONFIGURED).fillna(table["method"].map(NOT_CONFIGURED))
    left = table[reasons.notna()].rename(columns={"recall_percent": "paper"})
    return left.assign(ours=math.nan, sd=math.nan, seeds=0, grade="not configured", reason=reasons)


def rows(cells: pd.DataFrame, suite: str = "") -> pd.DataFrame:
    """One row per backbone × dim × method × dataset × R@K, in the paper's order: these keys, paper, ours, sd,
    seeds, difference, grade. Values are percentages; missing ones are NaN. Of a dataset that the paper has
    values for, only its K are kept."""
    columns = {column: rank for rank, column in enumerate(columns_of(cells))}
    table = means(cells).rename(columns={"mean": "ours"})
    if suite == TABLE_1:
        table = pd.concat([table, not_configured()], ignore_index=True)
    table["difference"] = table["ours"] - table["paper"]
    groups = _ranks(GROUPS, zip(table["backbone"], table["dim"], strict=True))
    methods = _ranks(METHODS, table["method"])

    def place(row: Cell) -> tuple[int, int, int]:
        return groups[row["backbone"], row["dim"]], methods[row["method"]], columns[_column(row)]

    found = [row for row in table.to_dict("records") if _column(row) in columns]
    shown = [*KEYS, "paper", "ours", "sd", "seeds", "difference", "grade"]
    return pd.DataFrame(sorted(found, key=place), columns=shown)


def csv(cells: pd.DataFrame, suite: str = "") -> str:
    """results/SUITE/paper_layout.csv; missing values are empty."""
    return rows(cells, suite).to_csv(index=False, float_format="%.4f", lineterminator="\n")


def markdown(cells: pd.DataFrame, suite: str = "") -> str:
    """results/SUITE/paper_layout.md: one table, the lines of a cell apart by <br>."""
    columns = columns_of(cells)
    lines = ["# In the layout of the paper's Table 1", "", CAPTION, ""]
    lines.append(row_of(["backbone", "D", "method", *map(" ".join, columns)]))
    lines.append(row_of(["---", "---:", "---", *["---:"] * len(columns)]))
    for names, found in _by_method(cells, columns, suite):
        lines.append(row_of([*names, *("<br>".join(cell or ["–"]) for cell in found)]))
    lines += [line for sentence in _sentences(cells, suite) for line in ("", sentence)]
    return "\n".join(lines) + "\n"


def latex(cells: pd.DataFrame, suite: str = "") -> str:
    """results/SUITE/paper_layout.tex: a tabular for a document that uses booktabs."""
    columns = columns_of(cells)
    lines = [
        r"% Needs \usepackage{booktabs}. " + CAPTION.replace("±", "+-").replace("−", "-"),
        *(f"% {sentence}" for sentence in _sentences(cells, suite)),
        rf"\begin{{tabular}}{{lrl{'r' * len(columns)}}}",
        r"\toprule",
        *_latex_header(columns),
    ]
    before: list[str] = []
    for (*group, method), found in _by_method(cells, columns, suite):
        if group != before:
            lines.append(r"\midrule")
        names = [*(["", ""] if group == before else group), method]
        shown = [_shortstack(cell) if cell else "--" for cell in found]
        lines.append(" & ".join([*(name.translate(ESCAPES) for name in names), *shown]) + r" \\")
        before = group
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _sentences(cells: pd.DataFrame, suite: str) -> list[str]:
    """Below the table: why rows are not configured, and which queries cannot be right."""
    found = not_configured() if suite == TABLE_1 else pd.DataFrame(columns=["reason"])
    return [
        f"Not configured are {', '.join(dict.fromkeys(group['method']))} "
        f"({', '.join(dict.fromkeys(group['backbone']))}): {reason}."
        for reason, group in found.groupby("reason", sort=False)
    ] + caveats(cells)


def columns_of(cells: pd.DataFrame) -> list[Column]:
    """Pairs of dataset and R@K, in the paper's order."""
    k = cells["measure"].map(RECALL.member)
    recalls = cells.assign(k=k)[k.notna()]
    found = []
    for dataset in _ranks(DATASETS, recalls["dataset"]):
        here = recalls[recalls["dataset"] == dataset]
        published = here[here["paper"].notna()]
        ks = set((published if len(published) else here)["k"])
        found += [(str(dataset), RECALL.name(k)) for k in sorted(ks, key=int)]
    return found


def _column(cell: Cell) -> Column:
    return cell["dataset"], cell["measure"]


def _ranks(known: Iterable[Hashable], found: Iterable[Hashable]) -> dict[Hashable, int]:
    """Ranks of all that is known, and after it of what else is found, as it comes."""
    return {name: i for i, name in enumerate(dict.fromkeys([*known, *found]))}


def _by_method(
    cells: pd.DataFrame, columns: list[Column], suite: str
) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Backbone, dim and method in words, and the lines of the cell in each column, [] for none."""
    for (backbone, dim, method), group in rows(cells, suite).groupby(KEYS[:3], sort=False):
        found = {_column(cell): _lines(cell) for cell in group.to_dict("records")}
        names = [backbone, str(dim), name_of(method)]
        yield names, [found.get(column, []) for column in columns]


def _lines(cell: Cell) -> list[str]:
    """The four lines of a cell: paper, ours, difference, grade."""
    ours = _value(cell["ours"], f".{RECALL.digits}f")
    if pd.notna(cell["sd"]):
        ours += f" ± {RECALL.show(cell['sd'])}"
    return [_value(cell["paper"], ".1f"), ours, _value(cell["difference"], "+.2f"), cell["grade"]]


def _value(value: float, form: str) -> str:
    return "–" if pd.isna(value) else format(round(value, 2) + 0.0, form)  # + 0.0: no -0.00


def _latex_header(columns: list[Column]) -> list[str]:
    """Two lines of heads, datasets above their R@K, with a rule between."""
    datasets = [dataset for dataset, _ in columns]
    heads, rules = ["", "", ""], []
    for dataset in dict.fromkeys(datasets):
        width, first = datasets.count(dataset), datasets.index(dataset) + 4
        heads.append(rf"\multicolumn{{{width}}}{{c}}{{{dataset.translate(ESCAPES)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
    names = ["backbone", "$D$", "method", *(measure.translate(ESCAPES) for _, measure in columns)]
    return [" & ".join(heads) + r" \\", " ".join(rules), " & ".join(names) + r" \\"]


def _shortstack(lines: list[str]) -> str:
    *values, grade = lines
    shown = ["--" if value == "–" else f"${value}$".replace("±", r"\pm") for value in values]
    stacked = r" \\ ".join([*shown, grade.translate(ESCAPES)])
    return rf"\shortstack[r]{{{stacked}}}"
