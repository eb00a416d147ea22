"""The graded table: one row per run, in Markdown and on the terminal."""

from collections.abc import Sequence

import pandas as pd

from hier.provenance.verify import GRADES

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
    """results/table.md: the table, the best method per column in bold, and which is best in words."""
    table = wide(cells)
    measures = list(dict.fromkeys(cells["measure"]))
    header = ["dataset", "method", "backbone", "D", "seed", *measures, "grade"]
    lines = [
        f"# Suite {suite}",
        "",
        row_of(header),
        row_of(["---"] * 5 + ["---:"] * len(measures) + ["---"]),
    ]
    best = table.groupby("dataset")[measures].transform("max")
    for i, row in table.iterrows():
        figures = []
        for measure in measures:
            value = row[measure]
            text = "–" if pd.isna(value) else f"{value:.2f}"
            figures.append(f"**{text}**" if value == best.loc[i, measure] else text)
        lines.append(row_of([*(str(row[key]) for key in RUN_KEYS), *figures, row["grade"]]))
    lines += ["", *best_in_words(cells), "", counts_in_words(cells), ""]
    lines += [line for sentence in unmatched_in_words(cells) for line in (sentence, "")]
    lines += [*_published(cells), *_best_on_test(cells)]
    return "\n".join(lines).rstrip() + "\n"


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


def best_in_words(cells: pd.DataFrame) -> list[str]:
    """Per dataset, which run has the highest R@1, and by how much."""
    sentences = []
    for dataset, group in cells[cells["measure"] == "R@1"].groupby("dataset", sort=False):
        ranked = group.dropna(subset=["value"])
        ranked = ranked.sort_values("value", ascending=False, kind="stable")
        if len(ranked) < 2:
            continue
        first, second = ranked.iloc[0], ranked.iloc[1]
        rival = second["method"]
        if rival == first["method"]:
            rival += f" (seed {second['seed']})"
        start = (
            f"Best R@1 on {dataset}'s unseen classes: {first['method']} (seed {first['seed']}) with "
            f"{first['value']:.2f}, "
        )
        ahead = first["value"] - second["value"]
        sentences.append(
            f"{start}{ahead:.2f} points above {rival} ({second['value']:.2f})."
            if ahead > 0
            else f"{start}level with {rival}."
        )
    return sentences


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
    colours |= dict.fromkeys(("no reference", "no data", "not pulled"), "yellow")
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
