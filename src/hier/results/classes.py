"""What each class adds to a run's measures, as the run's classes.csv has it."""

from pathlib import Path

import numpy as np
import pandas as pd

from hier.ledger.artifacts import reading

COLUMNS = ["label", "measure", "queries", "value"]
ROUNDED = 1e-3  # what the digits of a file can make of a mean, and more


def read_classes(path: Path, values: dict[str, float]) -> pd.DataFrame:
    """A run's classes.csv (see hier.evaluation.classes); DamagedInputError where it is no such table, or its
    means are not the `values` of the run in percent, by measure."""
    with reading(path):
        table = pd.read_csv(path)
        if [*table] != COLUMNS or table.duplicated(["label", "measure"]).any():
            raise ValueError(
                f"its columns are not {', '.join(COLUMNS)}, or a class occurs twice in a measure"
            )
        queries, value = table["queries"], table["value"]
        if not (np.isfinite(value).all() and value.between(0, 100).all() and (queries >= 1).all()):
            raise ValueError("a value is no number from 0 to 100, or a class has no query")
        for measure, of in table.groupby("measure"):
            mean = float(np.average(of["value"], weights=of["queries"]))
            if abs(mean - values[str(measure)]) > ROUNDED:
                raise ValueError(
                    f"its {measure} comes to {mean:.4f}, the run's is {values[str(measure)]:.4f}"
                )
        return table
