"""Two tables held against each other: what moved, and by more than another seed would move it?"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hier.errors import ConfigError
from hier.git import refuse_conflicts
from hier.pipeline import TABLE_CSV
from hier.results.means import SETTING, means, swept_keys
from hier.results.paper import name_of

NEEDED = {*SETTING, "run", "seed", "value", "grade"}

VERDICTS = {
    "moved": "by more than the seeds' spread",
    "within": "within the seeds' spread",
    "unknown": "moved; with one seed on each side, the spread is not known",
    "same": "the same",
    "here": "only here",
    "there": "only there",
}


def table_at(place: Path, suite: str) -> Path:
    """A suite's table.csv, which `place` is or holds: a file, a report, a folder of results, a project;
    ConfigError where there is none."""
    of_suite = TABLE_CSV.format(suite=suite)
    inside = ("table.csv", "tables/table.csv", f"{suite}/table.csv", of_suite)
    for path in (place, *(place / name for name in inside)):
        if path.is_file():
            return path
    said = "give a table.csv, a folder of results that has one, or a report"
    raise ConfigError(f"{place} holds no table to compare with; {said}")


def read_cells(path: Path) -> pd.DataFrame:
    """A table.csv, what is swept as text; ConfigError where it is no table, or lacks columns, ConflictError
    where it has the marks of an unfinished merge."""
    refuse_conflicts([path])
    try:
        cells = pd.read_csv(path)
        if swept := swept_keys(cells):  # pandas would make 5 a 5.0 where some run has no such key
            text = pd.read_csv(path, usecols=swept, dtype=object, keep_default_na=False, na_values=[""])
            cells = cells.assign(**text)
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
    method in the paper, the worst grade on each side (or None) as `grades`, and what :func:`against`
    says of the means over seeds."""
    table = means(here).merge(means(there), "outer", on=SETTING, suffixes=("_here", "_there"))
    rows = []
    for cell in table.astype(object).where(table.notna(), None).to_dict("records"):
        found = {key: cell[key] for key in SETTING} | {"name": name_of(cell["method"])}
        found["grades"] = [cell["grade_here"], cell["grade_there"]]
        spreads = [cell["sd_here"], cell["sd_there"]]
        rows.append(found | against(cell["mean_here"], cell["mean_there"], spreads))
    return sorted(rows, key=lambda row: -abs(row["moved"] or 0.0))


def against(here: float | None, there: float | None, spreads: list[float | None]) -> dict[str, Any]:
    """Two values, `here` and `there`: `moved` (here − there, or None), `spread` (the larger sample
    standard deviation over seeds, or None) and `verdict`, a key of VERDICTS."""
    spread = max((s for s in spreads if s is not None), default=None)
    moved = None if here is None or there is None else here - there
    if moved is None:
        verdict = "same" if here is there else "there" if here is None else "here"
    elif abs(moved) < 0.005:  # what two decimals show
        verdict = "same"
    elif spread is None:
        verdict = "unknown"
    else:
        verdict = "moved" if abs(moved) > spread else "within"
    return {"here": here, "there": there, "moved": moved, "spread": spread, "verdict": verdict}


def describe(rows: list[dict[str, Any]]) -> str:
    """How many values moved, and how."""
    counts = {key: sum(row["verdict"] == key for row in rows) for key in VERDICTS}
    told = [f"{count} {VERDICTS[key]}" for key, count in counts.items() if count]
    return f"{len(rows)} values: {', '.join(told)}."
