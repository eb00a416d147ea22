"""Grade every cell of a suite against what the reference run gave (expected/<suite>.csv).

A cell is one figure of one run. Its grade:

    identical          the metrics file is the same bytes as the reference run's
    within tolerance   the figure is as near as the same code comes on another kind of machine
    out of tolerance   it is not
    not run            there is no metrics file, or its record (of a file that git brought without
                       one: dvc.lock) says that it is of other settings
    no data            there is no metrics file, and `hier download` noted that the run's dataset
                       could not be had (data/<dataset>/no-data.txt); this counts as no failure
    no reference       the run's settings are not those of the reference run, or it had none

`hier verify` adds what the ledger says (see proof.py): stale, tampered, refuted, committed but not here.
"""

import json
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

from hier.config.run import Run
from hier.config.suite import Suite
from hier.errors import DamagedInputError, MissingInputError, TamperedError
from hier.files.atomic import atomic_file
from hier.files.hashing import hash_file
from hier.ledger.artifacts import reading
from hier.ledger.dvc_lock import Entry, Ledger, other_setting
from hier.ledger.record import of_other_settings, read_record, settings_of
from hier.pipeline import EXPECTED, METRICS, STAGES, Job, job, no_data
from hier.results.measures import REFERENCE, figures, judged, read_metrics, references

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
COUNTS = ["queries", "unmatched", "left_out"]
NAN = float("nan")

# Points (of 100) by which the same code may differ on another kind of processor or GPU: rounding
# differs, and training amplifies it. An untrained network amplifies little. README says how it was measured.
TOLERANCE_TRAINED = 5.0
TOLERANCE_UNTRAINED = 0.5


def verify_suite(suite: Suite, damaged_too: bool = False) -> pd.DataFrame:
    """One row per cell: run, dataset, method, backbone, dim, seed, measure, value, best_on_test,
    expected, tolerance, paper, queries, unmatched, left_out, grade. Figures are percentages; missing
    ones are NaN.

    `best_on_test` is the R@K of the epoch chosen on the test classes, for comparison only.
    `queries`, `unmatched` and `left_out` are integers, see :func:`hier.results.measures.judged`;
    NA where there are no metrics.

    Args:
        damaged_too: let a metrics file that cannot be read pass as not run.

    Raises:
        DamagedInputError: a metrics file cannot be read.
    """
    params = suite.model_dump()
    ledger = cache(_ledger)
    rows = [
        row
        for run in suite.runs.values()
        for row in _cells(suite, params, run, ledger, damaged_too)
    ]
    cells = pd.DataFrame(rows).merge(_expected(suite), on=KEYS, how="left")
    cells["grade"] = [_grade(row) for row in cells.to_dict("records")]
    cells["paper"] = _paper(cells)
    columns = ["run", "dataset", "method", "backbone", "dim", "seed", "measure"]
    figures = ["value", "best_on_test", "expected", "tolerance", "paper"]
    cells[COUNTS] = cells[COUNTS].astype("Int64")
    return cells[[*columns, *figures, *COUNTS, "grade"]]


def record_expected(suite: Suite) -> Path:
    """Write the present results as expected/<suite>.csv; runs without metrics are left out.

    Raises:
        MissingInputError: no run has metrics; what was recorded before stays.
    """
    rows, params, ledger = [], suite.model_dump(), cache(_ledger)
    for run in suite.runs.values():
        for cell in _cells(suite, params, run, ledger):
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
                        "metrics_md5": hash_file(Path(METRICS.format(run=run.name))).md5,
                        "settings_sha256": cell["settings_sha256"],
                        "environment": _environment(run, params),
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


def _best_on_test(metrics: dict[str, Any]) -> dict[str, float]:
    """R@K of the best epoch on the test classes, in percent; empty where none was looked at."""
    recall = metrics.get("best_on_test", {}).get("recall", {})
    return {f"R@{k}": 100 * share for k, share in recall.items()}


def _cells(
    suite: Suite,
    params: dict[str, Any],
    run: Run,
    ledger: Callable[[], Ledger | None],
    damaged_too: bool = False,
) -> list[dict[str, Any]]:
    path = Path(METRICS.format(run=run.name))
    dataset = suite.dataset(run.dataset)
    done = path.exists() and not _of_other_settings(params, run, ledger)
    done = done and not (damaged_too and _is_damaged(path, run))
    common = {
        "run": run.name,
        "dataset": run.dataset,
        "method": run.method,
        "backbone": run.backbone.name,
        "dim": run.dim,
        "seed": run.seed,
        "settings_sha256": settings_hash(suite, run),
        "metrics_sha256": hash_file(path).sha256 if done else None,
        "no_data": not path.exists() and no_data(run.dataset).exists(),
    }
    best: dict[str, float] = {}
    counts: dict[str, dict[str, int]] = {}
    if done:
        found, best, counts = _read(path, run)
    else:
        names = [f"R@{k}" for k in dataset.ks]
        found = dict.fromkeys([*names, "MAP@R"], NAN)
    return [
        common
        | {"measure": name, "value": value, "best_on_test": best.get(name, NAN)}
        | counts.get(name.partition("@")[0], dict.fromkeys(COUNTS, pd.NA))
        for name, value in found.items()
    ]


def _read(
    path: Path, run: Run
) -> tuple[dict[str, float], dict[str, float], dict[str, dict[str, int]]]:
    """Of a metrics file: its figures, those of the best epoch on the test classes, and of how many
    queries they are."""
    with reading(path):
        metrics = read_metrics(path)
        counts = judged(metrics, run.evaluate.unmatched == "leave_out")
        return figures(metrics), _best_on_test(metrics), counts


def _is_damaged(path: Path, run: Run) -> bool:
    try:
        _read(path, run)
    except DamagedInputError:
        return True
    return False


def _ledger() -> Ledger | None:
    """dvc.lock; None where it cannot be read."""
    try:
        return Ledger()
    except TamperedError:
        return None


def _of_other_settings(
    params: dict[str, Any], run: Run, ledger: Callable[[], Ledger | None]
) -> bool:
    """Whether a step towards the run's figures was made with other settings, as its record says, or
    else dvc.lock."""
    keys = {"dataset": run.dataset, "run": run.name}
    steps = [
        job(stage.name, keys[stage.each], params) for stage in STAGES.values() if stage.each in keys
    ]
    if any(of_other_settings(step, params) for step in steps):
        return True
    entries = ((step, _entry(step, ledger)) for step in steps if not step.record.exists())
    return any(entry and other_setting(entry, settings_of(step, params)) for step, entry in entries)


def _entry(step: Job, ledger: Callable[[], Ledger | None]) -> Entry | None:
    found = ledger()
    return found.entry(step) if found else None


def settings_hash(suite: Suite, run: Run) -> str:
    """A hash of all settings that a run's figures follow from; where its files come from is none,
    nor is the size that its images must have.

    What stands at its default is left out, so that a new setting does not disown old results.
    """
    nowhere = {"sources", "mirrors", "by_hand", "limits", "image_size"}
    dataset = suite.dataset(run.dataset).model_dump(exclude=nowhere, exclude_defaults=True)
    own = run.model_dump(exclude_defaults=True)
    own["runtime"]["workers"] = 0  # how many load the images changes no figure
    return sha256(json.dumps([own, dataset], sort_keys=True).encode()).hexdigest()[:16]


def _expected(suite: Suite) -> pd.DataFrame:
    columns = [*KEYS, "expected", "tolerance", "metrics_sha256", "settings_sha256"]
    return read_expected(suite)[columns].rename(columns=_theirs)


def read_expected(suite: Suite) -> pd.DataFrame:
    """What the reference run gave: run, measure, expected, tolerance, metrics_sha256, metrics_md5,
    settings_sha256, environment; no rows where there was none."""
    return pd.DataFrame(references(suite.suite), columns=list(REFERENCE)).astype(
        {"expected": float, "tolerance": float}
    )


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
    keys = ["method", "backbone", "dim", "dataset", "measure"]
    ours = cells.assign(method=cells["method"].map(PAPER_NAMES))
    with reading(PAPER):
        published = pd.read_csv(PAPER)
        published["measure"] = "R@" + published["k"].astype(str)
        found = ours.merge(published, on=keys, how="left", validate="many_to_one")
        return found["recall_percent"].astype(float)


def _environment(run: Run, params: dict[str, Any]) -> str:
    """Where a run was trained, in words; empty where there is no record of it."""
    record = read_record(job("train", run.name, params))
    return "" if record is None else environment_of(record, run)


def environment_of(record: dict[str, Any], run: Run) -> str:
    """Processor or GPU, Python, packages and threads of a training's record, in words."""
    environment, packages = record["environment"], record["packages"]
    torch = environment["torch"] or {}
    device = torch.get("gpu") or environment["processor"]
    build = torch.get("build") or packages["torch"]
    return (
        f"{device}; Python {environment['python']}; torch {build}; timm {packages['timm']}; "
        f"{run.runtime.threads} thread(s)"
    )
