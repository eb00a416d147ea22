"""The graded table: one row per run, in Markdown and on the terminal."""

import math
from collections.abc import Sequence

import pandas as pd

from hier.ledger.dvc_lock import AWAY
from hier.results.best import GROUP, best_in_words, highest, means
from hier.results.grades import GRADES

# From what one would worry about most to least; a row shows its worst cell.
WORST_FIRST = (
    "not run", "out of tolerance", "no data", "no reference", "within tolerance", "identical",
)  # fmt: skip
RUN_KEYS = ["dataset", "method", "backbone", "dim", "seed"]


def wide(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per run: its keys, a column per measure (percent), the worst grade of its cells."""
    measures = list(dict.fromkeys(cells["measure"]))
    rows = []
    for run, group in cells.groupby("run", sort=False):
        values = group.set_index("measure")["value"]
        grade = min(group["grade"], key=WORST_FIRST.index)
        keys = group.iloc[0][RUN_KEYS].to_dict()
        rows.append({"run": run, **keys, **{m: values.get(m) for m in measures}, "grade": grade})
    return pd.DataFrame(rows)


def markdown(cells: pd.DataFrame, suite: str) -> str:
    """results/table.md: the table with the highest figures in bold (see :func:`marked`), means where
    there are several seeds, and which method is best in words.
    """
    table = wide(cells)
    measures = list(dict.fromkeys(cells["measure"]))
    header = ["dataset", "method", "backbone", "D", "seed", *measures, "grade"]
    lines = [
        f"# Suite {suite}",
        "",
        row_of(header),
        row_of(["---"] * 5 + ["---:"] * len(measures) + ["---"]),
    ]
    for row, bold in zip(table.to_dict("records"), marked(table, measures), strict=True):
        figures = ["–" if pd.isna(row[m]) else _bold(f"{row[m]:.2f}", m in bold) for m in measures]
        lines.append(row_of([*(str(row[key]) for key in RUN_KEYS), *figures, row["grade"]]))
    lines += _means(cells, measures)
    sentences = [*best_in_words(cells), counts_in_words(cells), *unmatched_in_words(cells)]
    lines += ["", *(line for sentence in sentences for line in (sentence, ""))]
    lines += [*_published(cells), *_best_on_test(cells)]
    return "\n".join(lines).rstrip() + "\n"


def marked(table: pd.DataFrame, measures: Sequence[str]) -> list[set[str]]:
    """For each row of :func:`wide` the measures in which it is the highest of its group.

    None where a method of the group has several runs: the highest of those may be so by chance, and
    what counts are their means.
    """
    groups = [table[key] for key in GROUP]
    several = table.duplicated([*GROUP, "method"], keep=False)
    by_means = several.groupby(groups).transform("any")
    marks = {m: highest(table[m], groups) & ~by_means for m in measures}
    return [{m for m in measures if marks[m].iloc[i]} for i in range(len(table))]


def _means(cells: pd.DataFrame, measures: Sequence[str]) -> list[str]:
    """A table of means over seeds, the highest in bold, where a method has several."""
    found = means(cells)
    if all(score.seeds == 1 for _, scores in found for score in scores.values()):
        return []
    table = pd.DataFrame([key for key, _ in found], columns=[*GROUP, "method"])
    groups = [table[key] for key in GROUP]
    for m in measures:
        table[m] = [scores[m].mean if m in scores else math.nan for _, scores in found]
    bold = {m: highest(table[m], groups) for m in measures}
    lines = ["", "Mean ± sample standard deviation over the seeds:", ""]
    lines.append(row_of(["dataset", "method", "backbone", "D", "seeds", *measures]))
    lines.append(row_of(["---"] * 5 + ["---:"] * len(measures)))
    for i, ((dataset, backbone, dim, method), scores) in enumerate(found):
        seeds = max(score.seeds for score in scores.values())
        figures = [
            _bold(scores[m].figure(), bold[m].iloc[i]) if m in scores else "–" for m in measures
        ]
        lines.append(row_of([dataset, method, backbone, str(dim), str(seeds), *figures]))
    return lines


def _bold(text: str, bold: bool) -> str:
    return f"**{text}**" if bold else text


def _published(cells: pd.DataFrame) -> list[str]:
    """A table of the cells that the paper has, with the difference."""
    published = cells[cells["paper"].notna()]
    if not len(published):
        return []
    return [
        "| run | measure | paper | ours | difference |",
        "|---|---|---:|---:|---:|",
        *(
            row_of([c["run"], c["measure"], f"{c['paper']:.1f}", *_against_paper(c)])
            for c in published.to_dict("records")
        ),
        "",
    ]


def _best_on_test(cells: pd.DataFrame) -> list[str]:
    """A table of the runs that looked at the test classes in training, said to be no result."""
    looked = cells[(cells["measure"] == "R@1") & cells["best_on_test"].notna()]
    if not len(looked):
        return []
    return [
        "Best epoch on the test classes (chosen on the test set, for comparison only):",
        "",
        "| run | R@1 of the best epoch | R@1 of the reported epoch |",
        "|---|---:|---:|",
        *(
            row_of([c["run"], f"{c['best_on_test']:.2f}", f"{c['value']:.2f}"])
            for c in looked.to_dict("records")
        ),
    ]


def counts_in_words(cells: pd.DataFrame) -> str:
    """How many cells have which grade."""
    counts = cells["grade"].value_counts()
    grades = [*GRADES, *sorted(set(counts.index) - set(GRADES))]  # those of the ledger come last
    return f"{len(cells)} cells: " + ", ".join(
        f"{counts[grade]} {grade}" for grade in grades if grade in counts
    )


def unmatched_in_words(cells: pd.DataFrame) -> list[str]:
    """Per dataset, how many queries can never be right, and what becomes of them; none where all can.

    Where runs of a dataset differ in it, they are named.
    """
    if "left_out" not in cells:  # a table of before they were counted
        return []
    kind = cells["measure"].str.partition("@")[0]
    found = cells.assign(kind=kind)[kind.isin(["R", "super-class R"]) & cells["queries"].notna()]
    found = found.drop_duplicates(["run", "kind"])
    counts = ["dataset", "kind", "queries", "unmatched", "left_out"]
    differing = found.drop_duplicates(counts).groupby(["dataset", "kind"]).size()
    sentences = []
    for keys, group in found.groupby(counts, sort=False):
        dataset, measure, queries, unmatched, left_out = keys
        without, every = int(unmatched + left_out), int(queries + left_out)
        if without:
            runs = f" in {', '.join(group['run'])}" if differing[dataset, measure] > 1 else ""
            sentences.append(
                f"On {dataset}, {without} of {every} queries can never be right, having no other image "
                f"of their {'class' if measure == 'R' else 'super-class'} to find; they are "
                f"{_fate(measure, bool(left_out))}{runs} (evaluate.unmatched)."
            )
    return sentences


def _fate(measure: str, left_out: bool) -> str:
    """What becomes of queries that can never be right, in R@K and with it in MAP@R."""
    fate = f"{'left out of' if left_out else 'counted as misses in'} {measure}@K"
    if measure == "R":
        fate += " and MAP@R" if left_out else " and left out of MAP@R"
    return fate


def print_grades(cells: pd.DataFrame) -> None:
    """Every cell with its grade, on the terminal."""
    from rich.console import Console
    from rich.table import Table

    colours = {"identical": "green", "within tolerance": "green"}
    colours |= dict.fromkeys(("no reference", "no data", AWAY), "yellow")
    table = Table()
    for column in ("run", "measure"):
        table.add_column(column, overflow="fold")
    for column in ("value", "expected", "± tolerance", "paper"):
        table.add_column(column, justify="right")
    table.add_column("grade")
    for cell in cells.to_dict("records"):
        colour = colours.get(cell["grade"], "red")
        table.add_row(
            cell["run"], cell["measure"], *_figures(cell), f"[{colour}]{cell['grade']}[/{colour}]"
        )
    console = Console(width=None if Console().is_terminal else 140)
    console.print(table)
    for sentence in [*best_in_words(cells), counts_in_words(cells), *unmatched_in_words(cells)]:
        console.print(sentence, highlight=False)


def _figures(cell: dict) -> list[str]:
    names = ("value", "expected", "tolerance", "paper")
    return ["–" if pd.isna(cell[name]) else f"{cell[name]:.2f}" for name in names]


def _against_paper(cell: dict) -> tuple[str, str]:
    if pd.isna(cell["value"]):
        return "–", "–"
    return f"{cell['value']:.2f}", f"{cell['value'] - cell['paper']:+.2f}"


def row_of(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"
