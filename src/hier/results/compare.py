"""Two reports held against each other: which figures moved, and by more than another seed would move them?"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hier.errors import ConfigError
from hier.git import refuse_conflicts
from hier.results.grades import PAPER_NAMES

KEYS = ["dataset", "backbone", "dim", "method", "measure"]
NEEDED = {*KEYS, "run", "seed", "value", "grade"}

VERDICTS = {
    "moved": "by more than the seeds' spread",
    "within": "within the seeds' spread",
    "unknown": "moved; with one seed on each side, the spread is not known",
    "same": "the same",
    "here": "only here",
    "there": "only there",
}


def table_at(place: Path) -> Path:
    """The table.csv that `place` is or holds: a file, a report, a folder of results, a project.

    Raises:
        ConfigError: there is none.
    """
    inside = ("table.csv", "tables/table.csv", "results/table.csv")
    for path in (place, *(place / name for name in inside)):
        if path.is_file():
            return path
    raise ConfigError(
        f"{place} holds no table to compare with; give a table.csv, a folder of results that has "
        "one, or a report"
    )


def read_cells(path: Path) -> pd.DataFrame:
    """A table.csv.

    Raises:
        ConfigError: it is no table, or lacks columns.
        ConflictError: it has the marks of an unfinished merge.
    """
    refuse_conflicts([path])
    try:
        cells = pd.read_csv(path)
    except ValueError as error:  # what pandas raises on a file that is no table, and on no text
        raise ConfigError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if lacking := sorted(NEEDED - set(cells.columns)):
        raise ConfigError(f"{path} is no table of results: it lacks {', '.join(lacking)}")
    for name in ("value", "seed", "dim"):
        found = pd.to_numeric(cells[name], errors="coerce")
        if wrong := [*cells.loc[cells[name].notna() & ~np.isfinite(found), name]]:
            raise ConfigError(f"{path} is no table of results: {name} {wrong[0]} is no number")
    return cells


def compare(here: pd.DataFrame, there: pd.DataFrame) -> list[dict[str, Any]]:
    """A row per setting and measure of two tables, what moved most first: the keys, `name` of the
    method in the paper, `here` and `there` (means over seeds, percent, or None), `moved` (here −
    there), `spread` (the larger sample standard deviation over seeds, or None), the worst `grade` on
    each side, and `verdict`, a key of VERDICTS.
    """
    sides = _means(here).add_suffix("_here"), _means(there).add_suffix("_there")
    table = sides[0].join(sides[1], how="outer")
    rows = []
    for keys, cell in zip(table.index, table.to_dict("records"), strict=True):
        here_, there_ = _known(cell["value_here"]), _known(cell["value_there"])
        spreads = [s for s in (_known(cell["sd_here"]), _known(cell["sd_there"])) if s is not None]
        row = dict(zip(KEYS, keys, strict=True)) | {
            "name": PAPER_NAMES.get(keys[3], keys[3]),
            "here": here_,
            "there": there_,
            "moved": None if here_ is None or there_ is None else here_ - there_,
            "spread": max(spreads, default=None),
            "grades": [
                None if pd.isna(g) else g for g in (cell["grade_here"], cell["grade_there"])
            ],
        }
        rows.append(row | {"verdict": verdict_on(row)})
    return sorted(rows, key=lambda row: -abs(row["moved"] or 0.0))


def in_words(rows: list[dict[str, Any]]) -> str:
    """How many figures moved, and how."""
    counts = {key: sum(row["verdict"] == key for row in rows) for key in VERDICTS}
    told = [f"{count} {VERDICTS[key]}" for key, count in counts.items() if count]
    return f"{len(rows)} figures: {', '.join(told)}."


def _means(cells: pd.DataFrame) -> pd.DataFrame:
    """By KEYS: mean and sample standard deviation over the seeds, and the grades that there are."""
    by = cells.groupby(KEYS, sort=False)
    return pd.DataFrame(
        {
            "value": by["value"].mean(),
            "sd": by["value"].std(ddof=1),
            "grade": by["grade"].agg(lambda grades: ", ".join(dict.fromkeys(grades))),
        }
    )


def _known(value: float) -> float | None:
    return None if pd.isna(value) else float(value)


def verdict_on(row: dict[str, Any]) -> str:
    """Which of VERDICTS a row with `here`, `there`, `moved` and `spread` is."""
    if row["moved"] is None:
        return (
            "here" if row["here"] is not None else "there" if row["there"] is not None else "same"
        )
    if abs(row["moved"]) < 0.005:  # what two decimals show
        return "same"
    if row["spread"] is None:
        return "unknown"
    return "moved" if abs(row["moved"]) > row["spread"] else "within"
