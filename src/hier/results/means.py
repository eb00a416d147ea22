"""Means over the seeds of a setting, and which method's is the highest.

Every sentence and every bold value that names a best comes from here. Only methods of one dataset,
backbone and dimension are held against each other.
"""

from collections.abc import Iterable, Sequence
from math import nan, sqrt
from statistics import mean, stdev
from typing import Any, NamedTuple, Self

import pandas as pd

from hier.results.grades import worst
from hier.results.measures import HEADLINE, measure_of, show

GROUP = ["dataset", "backbone", "dim"]
SETTING = [*GROUP, "method", "measure"]
RULE = (
    "Two means are told apart where Welch's 95 % interval of their difference, over the seeds, does not "
    "hold 0."
)


class Mean(NamedTuple):
    """A method's mean of a measure over `seeds` runs, as it is shown. `mean` is NaN of none, `sd`
    (the sample standard deviation) of fewer than two."""

    method: str
    mean: float
    sd: float
    seeds: int

    @classmethod
    def of(cls, method: str, values: Sequence[float]) -> Self:
        n = len(values)
        return cls(method, mean(values) if n else nan, stdev(values) if n > 1 else nan, n)

    def describe(self, measure: str) -> str:
        seeds = "one seed" if self.seeds == 1 else f"{self.seeds} seeds"
        return f"{self.show(measure)} ({seeds})"

    def show(self, measure: str) -> str:
        """As a table shows it."""
        spread = f" ± {show(measure, self.sd)}" if self.seeds > 1 else ""
        return show(measure, self.mean) + spread


class Standing(NamedTuple):
    """The methods of a dataset, backbone and dimension by their means: `first` have the highest, to the two
    decimals that are shown; `alike` are not told apart from it, `lower` are, and of `unknown` that is
    not known, since one side has one seed. `above` are those of other dimensions that have a higher one."""

    dataset: str
    backbone: str
    dim: int
    first: list[Mean]
    alike: list[Mean]
    lower: list[Mean]
    unknown: list[Mean]
    above: list[tuple[Mean, int]]  # with their dimensions


def means(cells: pd.DataFrame) -> pd.DataFrame:
    """A row per setting, as the cells come: SETTING, mean, sd, seeds, paper, grade (the worst)."""
    rows = []
    for keys, group in cells.groupby(SETTING, sort=False):
        found = Mean.of(keys[3], group["value"].dropna().tolist())
        paper = group["paper"].iloc[0] if "paper" in group else nan
        rows.append([*keys, *found[1:], paper, worst(group["grade"])])
    return pd.DataFrame(rows, columns=[*SETTING, *Mean._fields[1:], "paper", "grade"])


def swept_keys(cells: pd.DataFrame) -> list[str]:
    """The columns that hold what a suite sweeps: no other has a dot in its name."""
    return [name for name in cells if "." in name]


def swept_columns(rows: Sequence[dict[str, Any]], keys: Iterable[str]) -> dict[str, pd.Series]:
    """Columns of what is swept, as objects: pandas would make 5 a 5.0 where a run has no such key, and a CSV
    would round 1e-05."""
    return {key: pd.Series([row[key] for row in rows], dtype=object) for key in keys}


def mean_of(row: pd.Series) -> Mean:
    """The Mean of a row of :func:`means`."""
    return Mean(*row[[*Mean._fields]])


def statuses(cells: pd.DataFrame) -> list[Standing]:
    """Who stands where by HEADLINE, for each group in which two methods or more have a value."""
    had = means(cells[(cells["measure"] == HEADLINE) & cells["value"].notna()])
    found = []
    for (dataset, backbone, dim), group in had.groupby(GROUP, sort=False):
        if len(group) > 1:
            first, alike, lower, unknown = _places([mean_of(row) for _, row in group.iterrows()])
            others = had[(had["dataset"] == dataset) & (had["backbone"] == backbone) & (had["dim"] != dim)]
            pairs = [(mean_of(row), int(row["dim"])) for _, row in others.iterrows()]
            above = [(other, d) for other, d in pairs if round(other.mean, 2) > round(first[0].mean, 2)]
            group_of = (str(dataset), str(backbone), int(dim))
            found.append(Standing(*group_of, first, alike, lower, unknown, above))
    return found


def _places(methods: list[Mean]) -> tuple[list[Mean], ...]:
    highest = max(round(method.mean, 2) for method in methods)
    first = [method for method in methods if round(method.mean, 2) == highest]
    alike, lower, unknown = list[Mean](), list[Mean](), list[Mean]()
    for method in sorted(methods, key=lambda method: -method.mean):
        if method not in first:
            verdicts = {told_apart(best, method) for best in first}
            place = unknown if None in verdicts else alike if False in verdicts else lower
            place.append(method)
    return first, alike, lower, unknown


def told_apart(one: Mean, other: Mean) -> bool | None:
    """Whether Welch's 95 % interval of the difference of two means leaves out 0; None where one side
    has a single value, which has no spread."""
    if min(one.seeds, other.seeds) < 2:
        return None
    apart = abs(one.mean - other.mean)
    parts = [(of.sd**2 / of.seeds, of.seeds - 1) for of in (one, other)]
    error = sum(part for part, _ in parts)
    if error == 0:
        return apart > 0
    from scipy.special import stdtrit

    freedom = error**2 / sum(part**2 / n for part, n in parts)
    return bool(apart > stdtrit(freedom, 0.975) * sqrt(error))


def best(values: pd.Series, groups: Iterable[pd.Series], measure: str) -> pd.Series:
    """Whether each value shows as the best of its group, in which there is another."""
    of = measure_of(measure)
    shown = values.round(of.digits)
    by = shown.groupby(list(groups), sort=False)
    top = by.transform("max" if of.higher_is_better else "min")
    return (shown == top) & (by.transform("count") > 1)


def best_in_words(cells: pd.DataFrame) -> list[str]:
    """For each group of statuses by HEADLINE a sentence, and where means were compared, the rule."""
    found = statuses(cells)
    datasets = [status.dataset for status in found]
    sentences = [_sentence(s, several=datasets.count(s.dataset) > 1) for s in found]
    sentences = [text + _beyond(status) for text, status in zip(sentences, found, strict=True)]
    return [*sentences, RULE] if any(s.alike or s.lower for s in found) else sentences


def _beyond(status: Standing) -> str:
    """What is not held against a group, and higher: a frozen network at full length, say."""
    told = [f"{of.method} {of.describe(HEADLINE)} at D {dim}" for of, dim in status.above]
    return f" Higher still, at another dimension: {', '.join(told)}." if told else ""


def _sentence(status: Standing, several: bool) -> str:
    first, rest = status.first, status.unknown
    setting = f" ({status.backbone}, D {status.dim})" if several else ""
    names = " and ".join(score.method for score in first)
    has = "has" if len(first) == 1 else "have"
    start = f"{HEADLINE} on {status.dataset}'s unseen classes{setting}: {names} {has} the highest "
    if any(score.seeds == 1 for score in first):
        own = show(HEADLINE, first[0].mean)
        following = ""
        if rest:
            how = rest[0].show if rest[0].seeds == 1 else rest[0].describe
            following = f"; the next is {rest[0].method} with {how(HEADLINE)}"
        return (
            f"{start}figure, {own} (one seed, no spread known){following}. "
            "One seed does not tell methods apart."
        )
    text = f"{start}mean, {' and '.join(score.describe(HEADLINE) for score in first)}."
    for words, scores in (
        ("Not told apart from it", status.alike),
        ("Lower", status.lower),
        ("Not known, for want of a spread", rest),
    ):
        if scores:
            told = ", ".join(f"{score.method} {score.describe(HEADLINE)}" for score in scores)
            text += f" {words}: {told}."
    return text
