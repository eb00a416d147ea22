"""The graded table in the layout of the paper's Table 1: groups of backbone and dimension, methods
as rows, datasets × R@K as columns; as CSV, Markdown and LaTeX.

Each cell shows, from the top, the paper's figure, ours (mean ± sample standard deviation over the
seeds that were run), ours − paper, and the worst grade over the seeds. Methods of the paper that
the suite has not are left out.
"""

from collections.abc import Hashable, Iterable
from typing import Any

import pandas as pd

from hier.results.grades import PAPER_NAMES
from hier.results.table import WORST_FIRST, row_of, unmatched_in_words

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
    ours, sd, seeds, difference, grade. Figures are percentages; missing ones are NaN.

    Of a dataset that the paper has figures for, only its K are kept.
    """
    columns = set(columns_of(cells))
    kept = cells[[pair in columns for pair in _pairs(cells)]]
    table = pd.DataFrame(
        [
            dict(zip(KEYS, keys, strict=True)) | _summary(group)
            for keys, group in kept.groupby(KEYS, sort=False)
        ]
    )
    order = _order(table, list(columns_of(cells)))
    return table.iloc[sorted(range(len(table)), key=order.__getitem__)].reset_index(drop=True)


def csv(cells: pd.DataFrame) -> str:
    """results/paper_layout.csv; missing figures are empty."""
    text: str = rows(cells).to_csv(index=False, float_format="%.4f", lineterminator="\n")
    return text


def markdown(cells: pd.DataFrame) -> str:
    """results/paper_layout.md: one table, the lines of a cell apart by <br>."""
    columns = columns_of(cells)
    lines = ["# In the layout of the paper's Table 1", "", CAPTION, ""]
    lines.append(row_of(["backbone", "D", "method", *map(" ".join, columns)]))
    lines.append(row_of(["---", "---:", "---", *["---:"] * len(columns)]))
    for (backbone, dim, method), found in _by_method(rows(cells)):
        shown = ["<br>".join(_lines(found[c])) if c in found else "–" for c in columns]
        lines.append(row_of([backbone, str(dim), PAPER_NAMES.get(method, method), *shown]))
    lines += [line for sentence in unmatched_in_words(cells) for line in ("", sentence)]
    return "\n".join(lines) + "\n"


def latex(cells: pd.DataFrame) -> str:
    """results/paper_layout.tex: a tabular for a document that uses booktabs."""
    columns = columns_of(cells)
    lines = [
        r"% Needs \usepackage{booktabs}. " + CAPTION.replace("±", "+-").replace("−", "-"),
        *(f"% {sentence}" for sentence in unmatched_in_words(cells)),
        rf"\begin{{tabular}}{{lrl{'r' * len(columns)}}}",
        r"\toprule",
        *_latex_header(columns),
    ]
    before = None
    for (backbone, dim, method), found in _by_method(rows(cells)):
        if (backbone, dim) != before:
            lines.append(r"\midrule")
        shown = [_shortstack(_lines(found[c])) if c in found else "--" for c in columns]
        name = PAPER_NAMES.get(method, method)
        names = [backbone, str(dim), name] if (backbone, dim) != before else ["", "", name]
        lines.append(" & ".join([*map(_escaped, names), *shown]) + r" \\")
        before = (backbone, dim)
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def columns_of(cells: pd.DataFrame) -> list[tuple[str, str]]:
    """Pairs of dataset and R@K, in the paper's order."""
    recalls = cells[cells["measure"].str.startswith("R@")]
    found = []
    for dataset in _ranks(DATASETS, recalls["dataset"]):
        here = recalls[recalls["dataset"] == dataset]
        published = here[here["paper"].notna()]
        measures = set((published if len(published) else here)["measure"])
        found += [(str(dataset), m) for m in sorted(measures, key=lambda m: int(m[len("R@") :]))]
    return found


def _pairs(table: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(table["dataset"], table["measure"], strict=True))


def _summary(group: pd.DataFrame) -> dict[str, Any]:
    """What the runs of one cell, which differ in the seed alone, come to."""
    values = group["value"].dropna()
    ours, paper = values.mean(), group["paper"].iloc[0]
    return {
        "paper": paper,
        "ours": ours,
        "sd": values.std(ddof=1),  # NaN of one value
        "seeds": len(values),
        "difference": ours - paper,
        "grade": min(group["grade"], key=WORST_FIRST.index),
    }


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
    ours = _figure(cell["ours"], ".2f")
    if pd.notna(cell["sd"]):
        ours += f" ± {cell['sd']:.2f}"
    return [_figure(cell["paper"], ".1f"), ours, _figure(cell["difference"], "+.2f"), cell["grade"]]


def _figure(value: float, form: str) -> str:
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
    figures = [_maths(figure) for figure in (paper, ours, difference)]
    stacked = r" \\ ".join([*figures, _escaped(grade)])
    return rf"\shortstack[r]{{{stacked}}}"


def _maths(figure: str) -> str:
    return "--" if figure == "–" else "$" + figure.replace("±", r"\pm") + "$"


def _escaped(text: str) -> str:
    return text.translate(ESCAPES)
