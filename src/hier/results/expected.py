"""What runs gave (metrics.json), and what the reference run of their suite gave (expected/<suite>.csv)."""

import csv
import json
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hier.config.settings import Settings
from hier.errors import MissingInputError
from hier.files.atomic import atomic_file
from hier.files.hashing import hash_file
from hier.jobs import Job, job, jobs_of
from hier.ledger.artifacts import reading
from hier.ledger.dvc_lock import other_setting, readable_ledger
from hier.ledger.record import Record, of_other_settings, read_record
from hier.pipeline import EXPECTED, METRICS
from hier.results.measures import measure_of, names_of_every_run, values

if TYPE_CHECKING:
    from hier.config.run import Run
    from hier.config.suite import Suite

COLUMNS = (
    "run", "measure", "expected", "tolerance", "metrics_sha256", "metrics_md5", "settings_sha256",
    "environment",
)  # fmt: skip
LATER = ("metrics_md5", "environment")  # which older references lack
Reference = dict[str, Any]


@dataclass(frozen=True)
class Value:
    """One value of the table, as it is shown; None where it was not made. `expected`, `tolerance` and
    `same_bytes` (as the reference run's metrics) are None where there is no reference, `same_bytes`
    also where no hash is known."""

    run: str
    measure: str
    value: float | None
    expected: float | None = None
    tolerance: float | None = None
    same_bytes: bool | None = None


def read_metrics(path: Path) -> dict[str, Any]:
    """A run's metrics.json; DamagedInputError where it cannot be read, lacks a measure, or has a value that
    is none."""
    with reading(path):
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(metrics, dict):
            raise ValueError("it holds no measures")
        values(metrics)
        return metrics


def read_values(run: str) -> dict[str, float]:
    """The values of a run by the names of columns; none where metrics.json is missing or damaged."""
    path = Path(METRICS.format(run=run))
    try:
        return values(json.loads(path.read_bytes())) if path.is_file() else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def runs_done(settings: Settings) -> set[str]:
    """The runs that have metrics of the present settings, as records say, or without one dvc.lock; but for
    the views, from which no number follows."""
    ledger = cache(lambda: readable_ledger()[0])

    def of_other(step: Job) -> bool:
        if step.record.exists():
            return of_other_settings(step)
        entry = ledger().entry(step)
        return bool(entry and other_setting(entry, step.params))

    return {
        run
        for run in settings.runs
        if Path(METRICS.format(run=run)).exists()
        and not any(of_other(s) for s in jobs_of(run, settings) if s.stage.name != "views")
    }


def values_of(run: str, settings: Settings, digest: dict[str, Any]) -> list[Value]:
    """Every value of a run; those that each run has, without a number, where it has no metrics. `digest` is
    of the metrics file, as it is here or else as dvc.lock has it; {} for neither."""
    found = read_values(run)
    known = {row["measure"]: row for row in references(settings.suite_of(run)) if row["run"] == run}
    ks = settings.datasets[settings.runs[run]["dataset"]]["ks"]
    kinds = [kind for kind in ("sha256", "md5") if kind in digest]  # dvc.lock has MD5 alone
    rows = []
    for name in found or names_of_every_run(ks):
        row = known.get(name, {})
        same = any(row.get(f"metrics_{kind}") == digest[kind] for kind in kinds)
        said = row.get("expected"), row.get("tolerance"), same if row and kinds else None
        rows.append(Value(run, name, found.get(name), *said))
    return rows


def expected_path(suite: str) -> Path:
    """The committed table of what the reference run gave."""
    return Path(EXPECTED) / f"{suite}.csv"


def references(suite: str) -> list[Reference]:
    """The rows of expected/<suite>.csv; none where there is no such file. ConflictError where it has the
    marks of an unfinished merge, DamagedInputError, which says where, where it is no such table. `expected`
    and `tolerance` are numbers, the other columns text, or None where nothing is said."""
    path, found = expected_path(suite), dict[tuple[str, str], Reference]()
    if not path.exists():
        return []
    with reading(path), path.open(encoding="utf-8-sig", newline="") as stream:
        table = csv.DictReader(stream, strict=True)
        names = table.fieldnames or ()
        if lacking := [name for name in COLUMNS if name not in {*names, *LATER}]:
            raise ValueError(f"it has no column {lacking[0]}")
        for row in table:
            cell = _reference(row, f"line {table.line_num}")
            if (of := (cell["run"], cell["measure"])) in found:
                raise ValueError(f"line {table.line_num}: {' '.join(of)} occurs twice")
            found[of] = cell
    return [*found.values()]


def _reference(row: dict[str, Any], where: str) -> Reference:
    if None in row or None in row.values():
        raise ValueError(f"{where} has not as many fields as the first line")
    found: Reference = {name: row.get(name) or None for name in COLUMNS}
    for name in ("expected", "tolerance"):
        with suppress(ValueError):
            found[name] = float(row[name])
        if not isinstance(found[name], float) or not 0 <= found[name] < math.inf:
            raise ValueError(f"{where}: {name} is {row[name][:40]!r}, which is no number from 0 on")
    return found


def record_expected(suite: "Suite") -> Path:
    """Write the present results as expected/<suite>.csv; runs without metrics are left out. Where no run
    has any, what was recorded before stays, and that is a MissingInputError."""
    settings = Settings.of(suite)
    done = runs_done(settings)
    if not done:
        raise MissingInputError(METRICS.format(run="*"), "snakemake --cores all")
    path, rows = expected_path(suite.suite), [COLUMNS]
    for run in suite.runs.values():
        if run.name in done:
            rows += _rows(run, settings_hash(suite, run), settings)
    with atomic_file(path) as new, new.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    return path


def _rows(run: "Run", of_run: str, settings: Settings) -> Iterator[tuple[Any, ...]]:
    """A run's rows, in the order of COLUMNS."""
    path = Path(METRICS.format(run=run.name))
    digest, record = hash_file(path), read_record(job("train", run.name, settings))
    said = digest.sha256, digest.md5, of_run, environment_of(record, run) if record else ""
    for name, value in values(read_metrics(path)).items():
        measure = measure_of(name)
        tolerance = measure.tolerance if run.schedule.epochs else measure.tolerance_untrained
        yield run.name, name, round(value, 4), tolerance, *said


def settings_hash(suite: "Suite", run: "Run") -> str:
    """A hash of all settings that a run's values follow from; where its files come from is none, nor
    is the size that its images must have. Nor what stands at its default, so that a new setting does
    not disown old results."""
    nowhere = {"sources", "mirrors", "by_hand", "limits", "image_size"}
    dataset = suite.dataset(run.dataset).model_dump(exclude=nowhere, exclude_defaults=True)
    own = run.model_dump(exclude_defaults=True)
    own["runtime"]["workers"] = 0  # how many load the images changes no value
    return sha256(json.dumps([own, dataset], sort_keys=True).encode()).hexdigest()[:16]


def environment_of(record: Record, run: "Run") -> str:
    """Processor or GPU, Python, packages and threads of a training's record, in words."""
    environment, packages = record.get("environment") or {}, record["packages"]
    torch = environment.get("torch") or {}
    device = torch.get("gpu") or environment.get("processor", "unknown")
    build = torch.get("build") or packages.get("torch", "unknown")
    python, timm = environment.get("python", "unknown"), packages.get("timm", "unknown")
    return f"{device}; Python {python}; torch {build}; timm {timm}; {run.runtime.threads} thread(s)"
