"""What a measure was at each value that a suite sweeps: the mean over seeds, and where it may lie."""

from collections.abc import Sequence
from math import nan, sqrt
from typing import Any

import pandas as pd

from hier.config.sweep import without_labels
from hier.results.means import GROUP, means

NUMBERS = ["mean", "sd", "n", "low", "high"]


def swept_values(cells: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """A row per method, value and measure, as the cells come: GROUP, `method` (as it was before it was
    swept), a column per key, `measure`, NUMBERS.

    `low` and `high` are the 95 % t-interval of the mean over `n` seeds; these and `sd`, the sample standard
    deviation, are NaN of one. Values of a key are numbers where all are; missing ones are of runs that have
    no such key. Cells without a value are left out.
    """
    found = cells[cells["value"].notna()]
    settings = found.drop_duplicates([*GROUP, "method"]).set_index([*GROUP, "method"])[[*keys]]
    rows: list[dict[str, Any]] = []
    for row in means(found).to_dict("records"):
        own = settings.loc[tuple(row[key] for key in (*GROUP, "method"))]
        values = {key: own[key] for key in keys if pd.notna(own[key])}
        low, high = interval(row["mean"], row["sd"], row["seeds"])
        method = without_labels(row["method"], values)
        rows.append(row | values | {"method": method, "n": row["seeds"], "low": low, "high": high})
    table = pd.DataFrame(rows, columns=[*GROUP, "method", *keys, "measure", *NUMBERS])
    return table.assign(**{key: _numbers(table[key]) for key in keys})


def interval(mean: float, sd: float, n: int) -> tuple[float, float]:
    """The 95 % interval of the mean of n values with the sample standard deviation sd: mean ± t · sd / √n, t
    of Student's distribution with n − 1 degrees of freedom. NaN of fewer than two."""
    if n < 2:
        return nan, nan
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, 0.975)) * sd / sqrt(n)
    return mean - half, mean + half


def _numbers(values: pd.Series) -> pd.Series:
    """Values as numbers, if all are; a table that was read has them as text."""
    found = pd.to_numeric(values, errors="coerce")
    return found.astype(float) if found.notna().equals(values.notna()) else values
