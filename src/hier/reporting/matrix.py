"""The graded table as the page shows it: the paper's layout, each cell with the runs behind it."""

from typing import Any

import pandas as pd

from hier.results.means import best
from hier.results.measures import HEADLINE
from hier.results.paper import KEYS, columns_of, name_of, rows


def matrix(cells: pd.DataFrame, pages: set[str]) -> dict[str, Any]:
    """`columns` (dataset, measure) and `rows`: backbone, dim, method, `name` as in the paper, and a
    cell (or None) for each column.

    A cell has paper, ours, sd, difference (None where there is none), grade, `best` where its mean is the
    highest of its backbone, dimension and column, and `runs`: seed and name of each run among `pages`.
    """
    columns, table = columns_of(cells), rows(cells)
    group = [*KEYS[:2], *KEYS[3:]]
    table["best"] = best(table["ours"], [table[key] for key in group], HEADLINE)
    behind = {
        keys: [(int(s), r) for s, r in zip(of["seed"], of["run"], strict=True) if r in pages]
        for keys, of in cells.groupby(KEYS, sort=False)
    }
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for cell in table.to_dict("records"):
        keys = tuple(cell[key] for key in KEYS)
        row = found.setdefault(keys[:3], {"cells": [None] * len(columns)})
        row |= {
            "backbone": keys[0],
            "dim": int(keys[1]),
            "method": keys[2],
            "name": name_of(keys[2]),
        }
        row["cells"][columns.index(keys[3:])] = {
            **{name: _number(cell[name]) for name in ("paper", "ours", "sd", "difference")},
            "grade": cell["grade"],
            "best": bool(cell["best"]),
            "runs": behind[keys],
        }
    return {"columns": columns, "rows": list(found.values())}


def _number(value: float) -> float | None:
    return None if pd.isna(value) else round(float(value), 2) + 0.0  # + 0.0: no -0.00
