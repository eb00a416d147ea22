"""The graded table in the layout of the paper's Table 1: groups of backbone and dimension, methods
as rows, datasets × R@K as columns; as CSV, Markdown and LaTeX.

Each cell shows, from the top, the paper's value, ours (mean ± sample standard deviation over the
seeds that were run), ours − paper, and the worst grade over the seeds. Methods of the paper that
the suite has not are left out.
"""

from collections.abc import Hashable, Iterable
from typing import Any

import pandas as pd

from hier.results.means import means
from hier.results.measures import RECALL
from hier.results.paper import name_of
from hier.results.table import row_of, unmatched

GROUPS = [
    ("resnet50", 512),
    *((name, dim) for dim in (128, 384) for name in ("deit_small", "dino_vits16", "vit_small")),
]
METHODS = ["pretrained", "nsoftmax", "pnca", "softtriple", "xbm", "ms", "pa", "hyp", "hier"]
DATASETS = ["cub", "cars", "sop", "inshop"]
KEYS = ["backbone", "dim", "method", "dataset", "measure"]
CAPTION = (
    "Each cell, from the top: the paper; ours (mean ± sample standard deviation over the seeds); "
    "ours − paper; the worst grade over the seeds."
)
ESCAPES = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


def rows(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per backbone × dim × method × dataset × R@K, in the paper's order: these keys, paper,
    ours, sd, seeds, difference, grade. Values are percentages; missing ones are NaN.

    Of a dataset that the paper has values for, only its K are kept.
    """
    columns = columns_of(cells)
    table = means(cells[[pair in columns for pair in _pairs(cells)]]).rename(
        columns={"mean": "ours"}
    )
    table["difference"] = table["ours"] - table["paper"]
    order = _order(table, columns)
    table = table.iloc[sorted(range(len(table)), key=order.__getitem__)].reset_index(drop=True)
    return table[[*KEYS, "paper", "ours", "sd", "seeds", "difference", "grade"]]


def csv(cells: pd.DataFrame) -> str:
    """results/SUITE/paper_layout.csv; missing values are empty."""
    text: str = rows(cells).to_csv(index=False, float_format="%.4f", lineterminator="\n")
    return text


def markdown(cells: pd.DataFrame) -> str:
    """results/SUITE/paper_layout.md: one table, the lines of a cell apart by <br>."""
    columns = columns_of(cells)
    lines = ["# In the layout of the paper's Table 1", "", CAPTION, ""]
    lines.append(row_of(["backbone", "D", "method", *map(" ".join, columns)]))
    lines.append(row_of(["---", "---:", "---", *["---:"] * len(columns)]))
    for (backbone, dim, method), found in _by_method(rows(cells)):
        shown = ["<br>".join(_lines(found[c])) if c in found else "–" for c in columns]
        lines.append(row_of([backbone, str(dim), name_of(method), *shown]))
    lines += [line for sentence in unmatched(cells) for line in ("", sentence)]
    return "\n".join(lines) + "\n"


def latex(cells: pd.DataFrame) -> str:
    """results/SUITE/paper_layout.tex: a tabular for a document that uses booktabs."""
    columns = columns_of(cells)
    lines = [
        r"% Needs \usepackage{booktabs}. " + CAPTION.replace("±", "+-").replace("−", "-"),
        *(f"% {sentence}" for sentence in unmatched(cells)),
        rf"\begin{{tabular}}{{lrl{'r' * len(columns)}}}",
        r"\toprule",
        *_latex_header(columns),
    ]
    before = None
    for (backbone, dim, method), found in _by_method(rows(cells)):
        if (backbone, dim) != before:
            lines.append(r"\midrule")
        shown = [_shortstack(_lines(found[c])) if c in found else "--" for c in columns]
        name = name_of(method)
        names = [backbone, str(dim), name] if (backbone, dim) != before else ["", "", name]
        lines.append(" & ".join([*map(_escaped, names), *shown]) + r" \\")
        before = (backbone, dim)
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def columns_of(cells: pd.DataFrame) -> list[tuple[str, str]]:
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


def _pairs(table: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(table["dataset"], table["measure"], strict=True))


def _order(table: pd.DataFrame, columns: list[tuple[str, str]]) -> list[tuple[int, int, int]]:
    """Where each row stands: by group, method, column."""
    pairs = list(zip(table["backbone"], table["dim"], strict=True))
    groups, methods = _ranks(GROUPS, pairs), _ranks(METHODS, table["method"])
    return [
        (groups[pair], methods[method], columns.index(column))
        for pair, method, column in zip(pairs, table["method"], _pairs(table), strict=True)
    ]


def _ranks(known: Iterable[Hashable], found: Iterable[Hashable]) -> dict[Hashable, int]:
    """Rank of everything known, and after it of what else is found, as it comes."""
    return {name: i for i, name in enumerate(dict.fromkeys([*known, *found]))}


def _by_method(
    table: pd.DataFrame,
) -> list[tuple[tuple[str, int, str], dict[tuple[str, str], dict[Hashable, Any]]]]:
    """Per backbone, dim and method: its cells by dataset and measure."""
    return [
        (
            (str(keys[0]), int(keys[1]), str(keys[2])),
            dict(zip(_pairs(group), group.to_dict("records"), strict=True)),
        )
        for keys, group in table.groupby(KEYS[:3], sort=False)
    ]


def _lines(cell: dict[Hashable, Any]) -> list[str]:
    """The four lines of a cell: paper, ours, difference, grade."""
    ours = _value(cell["ours"], f".{RECALL.digits}f")
    if pd.notna(cell["sd"]):
        ours += f" ± {RECALL.show(cell['sd'])}"
    return [_value(cell["paper"], ".1f"), ours, _value(cell["difference"], "+.2f"), cell["grade"]]


def _value(value: float, form: str) -> str:
    return "–" if pd.isna(value) else format(round(value, 2) + 0.0, form)  # + 0.0: no -0.00


def _latex_header(columns: list[tuple[str, str]]) -> list[str]:
    """Two lines of heads, datasets above their R@K, with a rule between."""
    datasets = [dataset for dataset, _ in columns]
    heads, rules = ["", "", ""], []
    for dataset in dict.fromkeys(datasets):
        width, first = datasets.count(dataset), datasets.index(dataset) + 4
        heads.append(rf"\multicolumn{{{width}}}{{c}}{{{_escaped(dataset)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
    names = ["backbone", "$D$", "method", *(_escaped(measure) for _, measure in columns)]
    return [" & ".join(heads) + r" \\", " ".join(rules), " & ".join(names) + r" \\"]


def _shortstack(lines: list[str]) -> str:
    paper, ours, difference, grade = lines
    stacked = r" \\ ".join([*map(_maths, (paper, ours, difference)), _escaped(grade)])
    return rf"\shortstack[r]{{{stacked}}}"


def _maths(value: str) -> str:
    return "--" if value == "–" else "$" + value.replace("±", r"\pm") + "$"


def _escaped(text: str) -> str:
    return text.translate(ESCAPES)
