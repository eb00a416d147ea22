"""Means over seeds: what the runs of one setting, which differ in the seed alone, come to."""

from collections.abc import Sequence
from math import nan
from statistics import mean, stdev
from typing import NamedTuple, Self

import pandas as pd

from hier.results.grades import worst
from hier.results.measures import show

GROUP = ["dataset", "backbone", "dim"]
SETTING = [*GROUP, "method", "measure"]


class Mean(NamedTuple):
    """A method's mean of a measure over `seeds` runs, as it is shown. `mean` is NaN of none, `sd`
    (the sample standard deviation) of fewer than two."""

    method: str
    mean: float
    sd: float
    seeds: int

    @classmethod
    def of(cls, method: str, values: Sequence[float]) -> Self:
        seeds = len(values)
        return cls(
            method, mean(values) if seeds else nan, stdev(values) if seeds > 1 else nan, seeds
        )

    def describe(self, measure: str) -> str:
        seeds = "one seed" if self.seeds == 1 else f"{self.seeds} seeds"
        return f"{self.show(measure)} ({seeds})"

    def show(self, measure: str) -> str:
        """As a table shows it."""
        spread = f" ± {show(measure, self.sd)}" if self.seeds > 1 else ""
        return show(measure, self.mean) + spread


def means(cells: pd.DataFrame) -> pd.DataFrame:
    """A row per setting, as the cells come: SETTING, mean, sd, seeds, paper, grade (the worst)."""
    rows = []
    for keys, group in cells.groupby(SETTING, sort=False):
        found = Mean.of(keys[3], group["value"].dropna().tolist())
        more = {"paper": group["paper"].iloc[0]} if "paper" in group else {}
        rows.append(
            dict(zip(SETTING, keys, strict=True)) | found._asdict() | more
            | {"grade": worst(group["grade"])}
        )  # fmt: skip
    columns = [*SETTING, "mean", "sd", "seeds", "paper", "grade"]
    return pd.DataFrame(rows, columns=columns)


def mean_of(row: pd.Series) -> Mean:
    """The Mean of a row of :func:`means`."""
    return Mean(*(row[name] for name in Mean._fields))
