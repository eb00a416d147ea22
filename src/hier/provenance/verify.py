"""Grade every cell of a suite against what the reference run gave (expected/<suite>.csv).

A cell is one figure of one run. Its grade:

    identical          the metrics file is the same bytes as the reference run's
    within tolerance   the figure is as near as the same code comes on another kind of machine
    out of tolerance   it is not
    not run            there is no metrics file, or its record says that it is of other settings
    no data            there is no metrics file, and `hier download` noted that the run's dataset
                       could not be had (data/<dataset>/no-data.txt); this counts as no failure
    no reference       the run's settings are not those of the reference run, or it had none
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

from hier.config.run import Run
from hier.config.suite import Suite
from hier.errors import MissingInputError
from hier.pipeline import EXPECTED, METRICS, STAGES, job, no_data
from hier.provenance.atomic import atomic_file
from hier.provenance.hashing import hash_file
from hier.provenance.record import of_other_settings
from hier.stages.inputs import read_metrics

GRADES = (
    "identical", "within tolerance", "out of tolerance", "not run", "no data", "no reference",
)  # fmt: skip
PAPER = Path(EXPECTED) / "paper.csv"
PAPER_NAMES = {
    "hier": "HIER",
    "hyp": "Hyp",
    "pa": "PA",
    "ms": "MS",
    "pnca": "ProxyNCA++",
    "nsoftmax": "NSoftmax",
    "softtriple": "SoftTriple",
    "xbm": "XBM",
    "pretrained": "pretrained",
}
KEYS = ["run", "measure"]
NAN = float("nan")

# Points (of 100) by which the same code may differ on another kind of processor or GPU: rounding
# differs, and training amplifies it. An untrained network amplifies little. README says how it was measured.
TOLERANCE_TRAINED = 5.0
TOLERANCE_UNTRAINED = 0.5


def verify_suite(suite: Suite) -> pd.DataFrame:
    """One row per cell: run, dataset, method, backbone, dim, seed, measure, value, best_on_test,
    expected, tolerance, paper, grade. Figures are percentages; missing ones are NaN.

    `best_on_test` is the R@K of the epoch chosen on the test classes, for comparison only.
    """
    rows = [row for run in suite.runs.values() for row in _cells(suite, run)]
    cells = pd.DataFrame(rows).merge(_expected(suite), on=KEYS, how="left")
    cells["grade"] = [_grade(row) for row in cells.to_dict("records")]
    cells["paper"] = _paper(cells)
    columns = ["run", "dataset", "method", "backbone", "dim", "seed", "measure"]
    figures = ["value", "best_on_test", "expected", "tolerance", "paper"]
    return cells[[*columns, *figures, "grade"]]


def record_expected(suite: Suite) -> Path:
    """Write the present results as expected/<suite>.csv; runs without metrics are left out.

    Raises:
        MissingInputError: no run has metrics; what was recorded before stays.
    """
    rows = []
    for run in suite.runs.values():
        for cell in _cells(suite, run):
            if pd.notna(cell["value"]):
                rows.append(
                    {
                        "run": cell["run"],
                        "measure": cell["measure"],
                        "expected": round(cell["value"], 4),
                        "tolerance": TOLERANCE_TRAINED
                        if run.schedule.epochs
                        else TOLERANCE_UNTRAINED,
                        "metrics_sha256": cell["metrics_sha256"],
                        "settings_sha256": cell["settings_sha256"],
                        "environment": _environment(run),
                    }
                )
    if not rows:
        raise MissingInputError(METRICS.format(run="*"), "snakemake --cores all")
    path = expected_path(suite)
    with atomic_file(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, lineterminator="\n")
    return path


def expected_path(suite: Suite) -> Path:
    """The committed table of what the reference run gave."""
    return Path(EXPECTED) / f"{suite.suite}.csv"


def figures(metrics: dict[str, Any]) -> dict[str, float]:
    """The figures of a metrics file, in percent, by the names of the table's columns."""
    named = {f"R@{k}": share for k, share in metrics["recall"].items()}
    named |= {f"super-class R@{k}": v for k, v in metrics.get("superclass_recall", {}).items()}
    named["MAP@R"] = metrics["map_at_r"]
    return {name: 100 * share for name, share in named.items()}


def _best_on_test(metrics: dict[str, Any]) -> dict[str, float]:
    """R@K of the best epoch on the test classes, in percent; empty where none was looked at."""
    recall = metrics.get("best_on_test", {}).get("recall", {})
    return {f"R@{k}": 100 * share for k, share in recall.items()}


def _cells(suite: Suite, run: Run) -> list[dict[str, Any]]:
    path = Path(METRICS.format(run=run.name))
    dataset = suite.dataset(run.dataset)
    done = path.exists() and not _of_other_settings(suite, run)
    common = {
        "run": run.name,
        "dataset": run.dataset,
        "method": run.method,
        "backbone": run.backbone.name,
        "dim": run.dim,
        "seed": run.seed,
        "settings_sha256": settings_hash(suite, run),
        "metrics_sha256": hash_file(path) if done else None,
        "no_data": not path.exists() and no_data(run.dataset).exists(),
    }
    best: dict[str, float] = {}
    if done:
        metrics = read_metrics(path)
        found, best = figures(metrics), _best_on_test(metrics)
    else:
        names = [f"R@{k}" for k in dataset.ks]
        found = dict.fromkeys([*names, "MAP@R"], NAN)
    return [
        common | {"measure": name, "value": value, "best_on_test": best.get(name, NAN)}
        for name, value in found.items()
    ]


def _of_other_settings(suite: Suite, run: Run) -> bool:
    """Whether a record says that a step towards the run's figures was made with other settings."""
    params = suite.model_dump()
    keys = {"dataset": run.dataset, "run": run.name}
    return any(
        of_other_settings(job(stage.name, keys[stage.each], params), params)
        for stage in STAGES.values()
        if stage.each in keys
    )


def settings_hash(suite: Suite, run: Run) -> str:
    """A hash of all settings that a run's figures follow from; where its files come from is none.

    What stands at its default is left out, so that a new setting does not disown old results.
    """
    nowhere = {"sources", "mirrors", "by_hand", "limits"}
    dataset = suite.dataset(run.dataset).model_dump(exclude=nowhere, exclude_defaults=True)
    settings = [run.model_dump(exclude_defaults=True), dataset]
    return sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _expected(suite: Suite) -> pd.DataFrame:
    path = expected_path(suite)
    columns = [*KEYS, "expected", "tolerance", "metrics_sha256", "settings_sha256"]
    text = {"metrics_sha256": str, "settings_sha256": str}  # digits alone are no number
    table = (
        pd.read_csv(path, dtype=text)[columns] if path.exists() else pd.DataFrame(columns=columns)
    )
    return table.astype({"expected": float, "tolerance": float}).rename(columns=_theirs)


def _theirs(column: str) -> str:
    return f"expected_{column}" if column.endswith("_sha256") else column


def _grade(cell: dict[str, Any]) -> str:
    if pd.isna(cell["value"]):
        return "no data" if cell["no_data"] else "not run"
    if cell["settings_sha256"] != cell["expected_settings_sha256"]:
        return "no reference"
    if cell["metrics_sha256"] == cell["expected_metrics_sha256"]:
        return "identical"
    near = abs(cell["value"] - cell["expected"]) <= cell["tolerance"]
    return "within tolerance" if near else "out of tolerance"


def _paper(cells: pd.DataFrame) -> pd.Series:
    """The paper's figure for each cell that Table 1 has."""
    if not PAPER.exists():
        raise MissingInputError(PAPER, f"git checkout {EXPECTED}")
    published = pd.read_csv(PAPER)
    keys = ["method", "backbone", "dim", "dataset", "measure"]
    published["measure"] = "R@" + published["k"].astype(str)
    ours = cells.assign(method=cells["method"].map(PAPER_NAMES))
    return ours.merge(published, on=keys, how="left")["recall_percent"]


def _environment(run: Run) -> str:
    from hier.provenance.record import environment

    here = environment()
    packages = here["packages"]
    return (
        f"{here['processor']}; Python {here['python']}; torch {packages['torch']}; "
        f"timm {packages['timm']}; {run.runtime.threads} thread(s)"
    )
