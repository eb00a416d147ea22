"""The graded table with a row per run, in Markdown (results/SUITE/table.md), and what it says in words."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from hier.results.grades import Grade, worst
from hier.results.means import GROUP, best, best_in_words, mean_of, means, swept_columns, swept_keys
from hier.results.measures import HEADLINE, graded, measure_of, show, unmatched_in_words

RUN_KEYS = ["dataset", "method", "backbone", "dim", "seed"]


def wide(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per run: its keys, what is swept, a column per measure (as it is shown), the worst grade of
    its cells."""
    rows, swept = [], swept_keys(cells)
    for run, group in cells.groupby("run", sort=False):
        values = group.set_index("measure")["value"]
        columns = {measure: values.get(measure) for measure in cells["measure"].unique()}
        keys = group.iloc[0][[*RUN_KEYS, *swept]].to_dict()
        rows.append({"run": run, **keys, **columns, "grade": worst(group["grade"])})
    return pd.DataFrame(rows).assign(**swept_columns(rows, swept))


def markdown(cells: pd.DataFrame, suite: str, comparisons: Sequence[str] = ()) -> str:
    """results/SUITE/table.md: the table with the best values in bold (see :func:`marked`), means where
    there are several seeds, which method is best in words, and the lines of the `comparisons`."""
    table, measures, swept = wide(cells), list(cells["measure"].unique()), swept_keys(cells)
    lines = [f"# Suite {suite}", ""]
    lines += _head(["dataset", "method", *swept, "backbone", "D", "seed"], measures, ["grade"])
    for row, bold in zip(table.to_dict("records"), marked(table, measures), strict=True):
        shown = [_bold(show(m, row[m]), m in bold) for m in measures]
        keys = [_word(row[key]) for key in (*RUN_KEYS[:2], *swept, *RUN_KEYS[2:])]
        lines.append(row_of([*keys, *shown, row["grade"]]))
    lines += [*_means(cells, measures), ""]
    for sentence in describe(cells):
        lines += [sentence, ""]
    lines += [*comparisons, *_published(cells), *_best_on_test(cells)]
    return "\n".join(lines).rstrip() + "\n"


def describe(cells: pd.DataFrame) -> list[str]:
    """What the table says: the best methods, how many cells have which grade, what flatters, what cannot be
    right."""
    counts = cells["grade"].value_counts()
    grades = ", ".join(f"{counts[grade]} {grade}" for grade in Grade if grade in counts)
    return [*best_in_words(cells), f"{len(cells)} cells: {grades}", *caveats(cells)]


def caveats(cells: pd.DataFrame) -> list[str]:
    """Of which runs the reported epoch was chosen on the test classes, and what :func:`unmatched` says."""
    chosen = cells[cells["choice"] == "best_on_test"] if "choice" in cells else cells[:0]
    runs = chosen.loc[chosen["value"].notna(), "run"].unique()
    named = ", ".join(runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
    flatters = (
        f"The reported epoch was chosen by recall on the test classes, which flatters, in {named} "
        "(protocol.choose best_on_test)."
    )
    return [flatters] * bool(len(runs)) + unmatched(cells)


def marked(table: pd.DataFrame, measures: Sequence[str]) -> list[set[str]]:
    """For each row of :func:`wide` the measures in which it is the best of its group; none where a method
    of the group has several runs, of which the best may be so by chance."""
    groups = [table[key] for key in GROUP]
    several = table.duplicated([*GROUP, "method"], keep=False)
    by_means = several.groupby(groups).transform("any")
    marks = {m: best(table[m], groups, m) & ~by_means for m in measures}
    return [{m for m in measures if marks[m].iloc[i]} for i in range(len(table))]


def _means(cells: pd.DataFrame, measures: Sequence[str]) -> list[str]:
    """A table of means over seeds, the best in bold, where a method has several."""
    found = means(cells[cells["value"].notna()])
    if not (found["seeds"] > 1).any():
        return []
    groups = [found[key] for key in GROUP]
    bold = {m: best(found["mean"].where(found["measure"] == m), groups, m) for m in measures}
    lines = ["", "Mean ± sample standard deviation over the seeds:", ""]
    swept = swept_keys(cells)
    values = cells.drop_duplicates([*GROUP, "method"]).set_index([*GROUP, "method"])[swept]
    lines += _head(["dataset", "method", *swept, "backbone", "D", "seeds"], measures, [])
    for (dataset, backbone, dim, method), rows in found.groupby([*GROUP, "method"], sort=False):
        shown = dict.fromkeys(measures, "–")
        for i, row in rows.iterrows():
            name = row["measure"]
            shown[name] = _bold(mean_of(row).show(name), bold[name][i])
        own = map(_word, values.loc[dataset, backbone, dim, method])
        keys = [dataset, method, *own, backbone, str(dim), str(rows["seeds"].max())]
        lines.append(row_of([*keys, *shown.values()]))
    return lines


def _bold(text: str, bold: bool) -> str:
    return f"**{text}**" if bold else text


def _word(value: Any) -> str:
    """A key of a run, or a setting that it may lack."""
    return "–" if pd.isna(value) else str(value)


def _published(cells: pd.DataFrame) -> list[str]:
    """A table of the cells that the paper has, with the difference."""
    rows = []
    for cell in cells[cells["paper"].notna()].to_dict("records"):
        ours = show(cell["measure"], cell["value"])
        difference = "–" if ours == "–" else f"{cell['value'] - cell['paper']:+.2f}"
        rows.append([cell["run"], cell["measure"], f"{cell['paper']:.1f}", ours, difference])
    head = _head(["run", "measure"], ["paper", "ours", "difference"], [])
    return [*head, *map(row_of, rows), ""] if rows else []


def _best_on_test(cells: pd.DataFrame) -> list[str]:
    """A table of the runs that looked at the test classes in training, said to be no result."""
    looked = cells[(cells["measure"] == HEADLINE) & cells["best_on_test"].notna()]
    if not len(looked):
        return []
    lines = ["Best epoch on the test classes (chosen on the test set, for comparison only):", ""]
    lines += _head(["run"], [f"{HEADLINE} of the {of} epoch" for of in ("best", "reported")], [])
    for run, *values in looked[["run", "best_on_test", "value"]].to_numpy():
        lines.append(row_of([run, *(show(HEADLINE, value) for value in values)]))
    return lines


def unmatched(cells: pd.DataFrame) -> list[str]:
    """Per dataset, how many queries can never be right, and what becomes of them; none where all can. Runs
    of a dataset that differ in it are named."""
    if "left_out" not in cells:  # a table of before they were counted
        return []
    told = {m.key: m for m in graded() if not m.leaves_out}
    key = cells["measure"].map(lambda name: measure_of(name).key)
    found = cells.assign(key=key)[key.isin(told) & cells["queries"].notna()]
    found = found.drop_duplicates(["run", "key"])
    counts = ["dataset", "key", "queries", "unmatched", "left_out"]
    differing = found.drop_duplicates(counts).groupby(["dataset", "key"]).size()
    sentences = []
    for (dataset, of, queries, misses, out), group in found.groupby(counts, sort=False):
        if without := int(misses + out):
            runs = ", ".join(group["run"]) if differing[dataset, of] > 1 else ""
            said = unmatched_in_words(told[of], without, int(queries + out), bool(out), runs)
            sentences.append(f"On {dataset}, {said}.")
    return sentences


def _head(words: Sequence[str], numbers: Sequence[str], last: Sequence[str]) -> list[str]:
    """The two first lines of a Markdown table: columns of words, of numbers, of words again."""
    rule = ["---"] * len(words) + ["---:"] * len(numbers) + ["---"] * len(last)
    return [row_of([*words, *numbers, *last]), row_of(rule)]


def row_of(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"
