"""Every cell of a suite, graded against what the reference run gave. A cell is one value of one run."""

import json
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from hier.config.run import Run
from hier.config.settings import Settings
from hier.config.suite import Suite, setting_of
from hier.errors import DamagedInputError
from hier.files.hashing import hash_file
from hier.jobs import maker, no_data
from hier.ledger.artifacts import reading
from hier.pipeline import METRICS
from hier.results.expected import (
    Reference,
    environment_of,
    expected_path,
    promise,
    read_metrics,
    references,
    runs_done,
    settings_hash,
)
from hier.results.grades import Grade
from hier.results.means import swept_columns
from hier.results.measures import RECALL, judged, measure_of, names_of_every_run, values
from hier.results.paper import published

SHOWN = 1e-4  # to which references are rounded
COUNTS = ["queries", "unmatched", "left_out"]
NUMBERS = ["value", "best_on_test", "expected", "mean", "tolerance"]
COLUMNS = [
    "run", "dataset", "method", "backbone", "dim", "seed", "choice", "measure", *NUMBERS, "paper", *COUNTS,
    "grade",
]  # fmt: skip


def graded_cells(suite: Suite, damaged_too: bool = False) -> pd.DataFrame:
    """One row per cell, with COLUMNS and the keys that the suite sweeps, of which a run may lack some
    (None). Values are as they are shown; missing ones are NaN.

    `expected` is what the reference run gave; `mean` and `tolerance` are of its seeds (hier.results.spread).
    `choice` is how the reported epoch was chosen (`protocol.choose`), `best_on_test` the R@K of the best
    epoch on the test classes, for comparison only. COUNTS are integers (see `judged` of
    hier.results.measures), NA where there are no metrics. A metrics file that cannot be read is a
    DamagedInputError, or with `damaged_too` passes as not run.
    """
    known = {(row["run"], row["measure"]): row for row in references(suite.suite)}
    of_suite = Settings.of(suite)
    done = runs_done(of_suite)
    rows = []
    for run in suite.runs.values():
        found = _measured(run, damaged_too) if run.name in done else {}
        path, settings = Path(METRICS.format(run=run.name)), settings_hash(suite, run)
        digest = hash_file(path).sha256 if found else None
        no_file = not path.exists() and no_data(run.dataset).exists()
        missing = Grade.NO_DATA if no_file else Grade.NOT_RUN
        keys = {key: getattr(run, key) for key in ("dataset", "method", "dim", "seed")}
        keys |= {"run": run.name, "backbone": run.backbone.name, "choice": run.protocol.choose}
        keys |= {key: _swept(setting_of(run, key)) for key in suite.swept}
        for name in found or names_of_every_run(suite.dataset(run.dataset).ks):
            reference, cell = known.get((run.name, name), {}), found.get(name, {})
            grade = missing
            if cell:
                same_bytes = reference and same_bytes_promised(run, of_suite, reference)
                grade = _grade(cell["value"], digest, settings, reference, bool(same_bytes))
                if grade is Grade.IDENTICAL and abs(cell["value"] - reference["expected"]) > SHOWN:
                    _refuse(expected_path(suite.suite), cell["value"], reference)
            own = {"measure": name, **cell, "grade": grade.value}
            rows.append(keys | {of: reference.get(of) for of in NUMBERS[2:]} | own)
    cells = pd.DataFrame(rows, columns=COLUMNS).assign(**swept_columns(rows, suite.swept))
    cells[NUMBERS] = cells[NUMBERS].astype(float)
    cells[COUNTS] = cells[COUNTS].astype("Int64")
    return cells.assign(paper=published(cells.drop(columns="paper")))


def _swept(value: Any) -> Any:
    """A setting as a table has it: numbers and words as they are."""
    return json.dumps(value, separators=(",", ":")) if isinstance(value, bool | list) else value


def _measured(run: Run, damaged_too: bool) -> dict[str, dict[str, Any]]:
    """By column, what a run's metrics say: value, best_on_test and the counts of queries."""
    path = Path(METRICS.format(run=run.name))
    try:
        with reading(path):
            metrics = read_metrics(path)
            on_test = RECALL.values(metrics.get("best_on_test", {}).get(RECALL.key, {}))
            leaves_out = run.evaluate.unmatched == "leave_out"
            found = {}
            for name, value in values(metrics).items():
                counts = judged(measure_of(name), metrics, leaves_out)
                found[name] = {"value": value, "best_on_test": on_test.get(name)} | counts
            return found
    except DamagedInputError:
        if not damaged_too:
            raise
        return {}


def same_bytes_promised(run: Run, settings: Settings, reference: Reference) -> bool:
    """Whether a run must be the same bytes as the reference run; so also where no record says how it was
    made."""
    here = environment_of(run, settings)
    return here is None or promise(here, reference["environment"] or "")[0]


def _grade(value: float, digest: str | None, settings: str, reference: Reference, same_bytes: bool) -> Grade:
    """The grade of a value in metrics of a digest (SHA-256) under some settings (their hash)."""
    if reference.get("settings_sha256") != settings:
        return Grade.NO_REFERENCE
    if reference["metrics_sha256"] == digest:
        return Grade.IDENTICAL
    if same_bytes:
        return Grade.DIFFERS
    if reference["tolerance"] is None:
        return Grade.NO_REFERENCE
    near = abs(value - reference["mean"]) <= reference["tolerance"]
    return Grade.WITHIN if near else Grade.OUT


def _refuse(path: Path, value: float, reference: Reference) -> NoReturn:
    """A reference that says one number and, by the hash of its metrics file, another."""
    said = f"{reference['run']} {reference['measure']} is {reference['expected']}"
    wrong = ValueError(f"{said}, but {value:.4f} in the metrics file whose hash it names")
    raise DamagedInputError(path, maker(str(path)), wrong)


def rows_without_nan(cells: pd.DataFrame) -> list[dict[str, Any]]:
    """The cells as rows with None where there is no number, since JSON has no NaN."""
    return cells.astype(object).where(cells.notna(), None).to_dict("records")
