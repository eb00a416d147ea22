"""Methods held against each other in pairs of runs that share a seed: start and batches are the same then."""

from collections.abc import Callable, Iterator, Sequence
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hier.config.run import Run
from hier.config.suite import Suite
from hier.ledger.artifacts import reading
from hier.results.means import GROUP
from hier.results.measures import HEADLINE
from hier.results.paired import difference, holm, over_classes

LEVEL = 0.05
NUMBERS = ["mean", "sd", "low", "high", "classes_low", "classes_high", "p", "p_holm", "detectable"]
COLUMNS = [*GROUP, "method", "against", "measure", "pairs", *NUMBERS, "verdict"]
RULE = (
    "Differences are of pairs of runs with the same seed, which begin with the same weights and, with the "
    "same sampler, see the same batches. What a seed does to both methods alike falls out of them, much or "
    "little. The first interval (Student's t) is for other seeds with the same classes, the second "
    "(bootstrap) for other unseen classes, searched among the same images, with the same seeds, both of "
    "95 %. p is of the paired t-test, corrected by Holm's method over all rows. The last figure is the "
    "smallest difference that the test finds with 80 % power before that correction, which asks for more. "
    "Where this and a sentence on means disagree, this counts: the runs are pairs."
)

Classes = Callable[[str], pd.DataFrame]
"""classes.csv of a run, by the run's name."""


def compared(suite: Suite, cells: pd.DataFrame, classes: Classes) -> pd.DataFrame:
    """A row for each comparison of two methods and each measure that is known class by class, with COLUMNS:
    the method minus the one it is held `against` (see :func:`opponent`), in points. There is none for a
    method that shares fewer than two seeds, with values, with the other."""
    done = cells[cells["value"].notna()]
    values = {str(measure): of.set_index("run")["value"].to_dict() for measure, of in done.groupby("measure")}
    rows = [row for runs in _groups(suite, {*done["run"]}) for row in _of_group(runs, values, classes)]
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
        row["verdict"] = verdict(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def read_comparisons(path: Path) -> pd.DataFrame:
    """A comparisons.csv; DamagedInputError where it is no such table."""
    with reading(path):
        table = pd.read_csv(path)
        if [*table] != COLUMNS:
            raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
        if table[NUMBERS].astype(float).isin([np.inf, -np.inf]).any(axis=None):
            raise ValueError("a number is infinite")
        if table[["mean", "sd", "verdict"]].isna().any(axis=None):
            raise ValueError("a difference lacks its mean, its deviation or its verdict")
        return table


def opponent(run: Run, others: Sequence[Run]) -> Run | None:
    """What a method is held against, of `others`, the first run of each method in the suite's order: its loss
    without the regulariser, of several the one that differs in the fewest settings; else the first with the
    same loss and regulariser; else the first loss alone, or the first of all. None for that itself."""
    alone = [other for other in others if other.regularizer.name == "none"]
    own = [other for other in alone if other.loss.name == run.loss.name]
    if run.regularizer.name != "none" and own:
        return min(own, key=lambda other: len(_settings(run) ^ _settings(other)))
    alike = [o for o in others if (o.loss.name, o.regularizer.name) == (run.loss.name, run.regularizer.name)]
    for first in (alike[0], (alone or others)[0]):
        if first.method != run.method:
            return first
    return None


def _groups(suite: Suite, done: set[str]) -> Iterator[dict[str, dict[int, Run]]]:
    """For each dataset, backbone and dimension the runs that are trained and done, by method and seed."""
    groups = dict[tuple[Any, ...], dict[str, dict[int, Run]]]()
    for run in suite.runs.values():
        if run.schedule.epochs and run.name in done:
            groups.setdefault(_group_of(run), {}).setdefault(run.method, {})[run.seed] = run
    yield from groups.values()


def _of_group(
    runs: dict[str, dict[int, Run]], values: dict[str, dict[str, float]], classes: Classes
) -> Iterator[dict[str, Any]]:
    firsts = [next(iter(seeds.values())) for seeds in runs.values()]
    for first in firsts:
        if (other := opponent(first, firsts)) is not None:
            mine, theirs = runs[first.method], runs[other.method]
            pairs = [(mine[seed].name, theirs[seed].name) for seed in mine if seed in theirs]
            keys = dict(zip(GROUP, _group_of(first), strict=True))
            keys |= {"method": first.method, "against": other.method}
            if len(pairs) > 1:
                yield from (keys | row for row in _measured(pairs, values, classes))


def _group_of(run: Run) -> tuple[Any, ...]:
    return run.dataset, run.backbone.name, run.dim


def _settings(run: Run) -> set[tuple[str, str]]:
    """All settings, flat, but for what a method's name and regulariser say."""
    return {*_flat(run.model_dump(exclude={"method", "seed", "regularizer"}))}


def _flat(settings: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, repr(value)


def _measured(
    pairs: list[tuple[str, str]], values: dict[str, dict[str, float]], classes: Classes
) -> Iterator[dict[str, Any]]:
    """A row for each measure that the table has and classes.csv has of each class."""
    tables = [[classes(run).set_index("label") for run in pair] for pair in pairs]
    for measure in tables[0][0]["measure"].unique():
        if measure not in values:  # R@1, where `ks` has no 1
            continue
        of_seeds = difference([values[measure][one] - values[measure][other] for one, other in pairs])
        low, high = _over_classes([[t[t["measure"] == measure] for t in pair] for pair in tables])
        found = of_seeds._asdict() | {"classes_low": low, "classes_high": high, "measure": measure}
        yield {"pairs": found.pop("n")} | found


def _over_classes(tables: list[list[pd.DataFrame]]) -> tuple[float, float]:
    """The bootstrap interval of the mean difference over pairs; NaN where their queries are not the same."""
    queries = tables[0][0]["queries"]
    if not all(table["queries"].equals(queries) for pair in tables for table in pair):
        return nan, nan
    sums = np.mean([(one["value"] - other["value"]) * queries for one, other in tables], axis=0)
    return over_classes(sums, queries.to_numpy())


def in_words(rows: pd.DataFrame) -> list[str]:
    """One sentence for each comparison by HEADLINE, and the rule by which they are made."""
    headline = [row for row in rows.to_dict("records") if row["measure"] == HEADLINE]
    return [*map(_sentence, headline), RULE] if headline else []


def left_out(suite: Suite, cells: pd.DataFrame) -> list[str]:
    """A sentence that names the trained runs without a result, which take no part in comparisons; none where
    all have one, or the suite has one seed."""
    done = {*cells.loc[cells["value"].notna(), "run"]}
    runs = [run.name for run in suite.runs.values() if run.schedule.epochs and run.name not in done]
    if len({run.seed for run in suite.runs.values()}) < 2:
        return []
    named = ", ".join(runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
    return [f"Left out of the differences, for want of a result: {named}."] if runs else []


def verdict(row: dict[Any, Any]) -> str:
    """What a row of :func:`compared` shows: `higher` or `lower` for other seeds and for other classes, that
    `for other seeds` alone, or `not told apart`."""
    side = "higher" if row["mean"] > 0 else "lower"
    if not row["p_holm"] < LEVEL:  # nor where it is NaN
        return "not told apart"
    both = row["classes_low"] > 0 if side == "higher" else row["classes_high"] < 0
    return side if both else f"{side} for other seeds"


def _sentence(row: dict[Any, Any]) -> str:
    start = (
        f"{row['measure']} on {row['dataset']}'s unseen classes: {row['method']} minus {row['against']} is "
        f"{row['mean']:+.2f} points over {row['pairs']} seeds ({interval(row['low'], row['high'])} for other "
        f"seeds, {interval(row['classes_low'], row['classes_high'])} for other classes, "
        f"p {p_value(row['p_holm'])})."
    )
    found = row["verdict"]
    if np.isnan(row["p"]):
        return f"{start} All pairs differ alike, so that there is no spread to judge by: not told apart."
    if found == "not told apart":
        least = f"from {row['detectable']:.2f} points on (80 % power, before Holm's correction)"
        return f"{start} They are not told apart; a difference would have been found {least}."
    if found.endswith("seeds"):
        return f"{start} It is {found}; other classes could say otherwise."
    return f"{start} It is {found}, for other seeds as for other classes."


def markdown(rows: pd.DataFrame) -> list[str]:
    """The lines of a Markdown table with the sentences below it; none without rows."""
    if rows.empty:
        return []
    heads = [
        "dataset",
        "method",
        "against",
        "measure",
        "pairs",
        "difference",
        "other seeds",
        "other classes",
        "p (Holm)",
        "80 % power",
    ]
    lines = [
        "Differences of pairs, in points:",
        "",
        f"| {' | '.join(heads)} |",
        "|---|---|---|---|" + "---:|" * 6,
    ]
    for row in rows.to_dict("records"):
        names = [row[key] for key in ("dataset", "method", "against", "measure")]
        intervals = interval(row["low"], row["high"]), interval(row["classes_low"], row["classes_high"])
        figures = f"{row['mean']:+.2f}", *intervals, p_value(row["p_holm"]), points(row["detectable"])
        shown = [*names, str(row["pairs"]), *figures]
        lines.append(f"| {' | '.join(shown)} |")
    for sentence in in_words(rows):
        lines += ["", sentence]
    return [*lines, ""]


def interval(low: float, high: float) -> str:
    """As tables and pages show it."""
    return "–" if np.isnan(low) else f"{low:+.2f} to {high:+.2f}"


def points(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"


def p_value(p: float) -> str:
    if np.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
