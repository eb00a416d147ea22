"""What the paper calls the methods, and what it says of them (expected/paper.csv, its Table 1)."""

from pathlib import Path

import pandas as pd

from hier.errors import MissingInputError
from hier.ledger.artifacts import reading
from hier.pipeline import EXPECTED
from hier.registry import LOSSES
from hier.results.measures import RECALL

PAPER = Path(EXPECTED) / "paper.csv"


def name_of(method: str) -> str:
    """What the paper calls a method; its own name where the paper has none."""
    if LOSSES.has(method):
        return str(LOSSES.module(method).Settings.paper_name)
    return "HIER" if method == "hier" else method


def published(cells: pd.DataFrame) -> pd.Series:
    """The paper's value for each cell, NaN where Table 1 has none.

    Raises:
        MissingInputError: there is no expected/paper.csv.
        DamagedInputError: it is not the table.
    """
    if not PAPER.exists():
        raise MissingInputError(PAPER, f"git checkout {EXPECTED}")
    with reading(PAPER):
        table = pd.read_csv(PAPER)
        table["measure"] = table["k"].map(RECALL.name)
        ours = cells.assign(method=cells["method"].map(name_of))
        keys = ["method", "backbone", "dim", "dataset", "measure"]
        found = ours.merge(table, on=keys, how="left", validate="many_to_one")
        return found["recall_percent"].astype(float)
