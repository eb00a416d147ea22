"""What runs gave (metrics.json), and what the reference run of their suite gave (expected/<suite>.csv)."""

import csv
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from hier.config.settings import Settings
from hier.errors import MissingInputError
from hier.files.atomic import atomic_file
from hier.files.hashing import hash_file
from hier.jobs import Job, job, jobs_of
from hier.ledger.artifacts import reading
from hier.ledger.dvc_lock import other_setting, readable_ledger
from hier.ledger.record import Record, believed, of_other_settings
from hier.pipeline import METRICS, REFERENCE
from hier.results.measures import measure_of, names_of_every_run, values
from hier.results.spread import half_width

if TYPE_CHECKING:
    from hier.config.run import Run
    from hier.config.suite import Suite

COLUMNS = (
    "run", "measure", "expected", "n", "mean", "sd", "metrics_sha256", "metrics_md5", "settings_sha256",
    "artifacts", "environment",
)  # fmt: skip
OF_RUN = COLUMNS[COLUMNS.index("metrics_sha256") :]  # what its rows have in common
LARGEST = 1_000_000  # seeds
DIGITS = 12  # of a hash, that the list of artifacts has
ARTIFACTS = re.compile(rf"(?:[\w.-]+:[0-9a-f]{{{DIGITS}}}(?: |$))*")
PORTABLE = "portable kernels"
COMPUTING = ("torch", "torchvision", "timm", "pytorch-metric-learning", "numpy", "scipy", "pandas", "pillow")
Reference = dict[str, Any]


@dataclass(frozen=True)
class Value:
    """One value of the table, as it is shown; None where it was not made. `expected` (what the reference
    run gave), `mean` (over its seeds), `tolerance` (around that) and `same_bytes` (as the reference run's
    metrics) are None where there is no reference, `tolerance` also of one seed, `same_bytes` also where no
    hash is known."""

    run: str
    measure: str
    value: float | None
    expected: float | None = None
    mean: float | None = None
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
        said = row.get("expected"), row.get("mean"), row.get("tolerance")
        rows.append(Value(run, name, found.get(name), *said, same if row and kinds else None))
    return rows


def expected_path(suite: str) -> Path:
    """The committed table of what the reference run gave."""
    return Path(REFERENCE.format(suite=suite))


def references(suite: str) -> list[Reference]:
    """The rows of expected/<suite>.csv; none where there is no such file. ConflictError where it has the
    marks of an unfinished merge, DamagedInputError, which says where, where it is no such table.

    `expected` is the value of the reference run; `n` (an integer), `mean` and `sd` are of its setting over
    the seeds, and `tolerance`, which the file does not have, is half of their prediction interval. `sd` and
    `tolerance` are None of one seed. The other columns are text, or None where nothing is said."""
    path, found = expected_path(suite), dict[tuple[str, str], Reference]()
    if not path.exists():
        return []
    with reading(path), path.open(encoding="utf-8-sig", newline="") as stream:
        table = csv.DictReader(stream, strict=True)
        names = table.fieldnames or ()
        if lacking := [name for name in COLUMNS if name not in names]:
            raise ValueError(f"it has no column {lacking[0]}")
        for row in table:
            cell = _reference(row, f"line {table.line_num}")
            if (of := (cell["run"], cell["measure"])) in found:
                raise ValueError(f"line {table.line_num}: {' '.join(of)} occurs twice")
            first = next((row for row in found.values() if row["run"] == cell["run"]), cell)
            if other := [name for name in OF_RUN if cell[name] != first[name]]:
                raise ValueError(f"line {table.line_num}: {cell['run']} has another {other[0]} than before")
            found[of] = cell
    return [*found.values()]


def _reference(row: dict[str, Any], where: str) -> Reference:
    if None in row or None in row.values():
        raise ValueError(f"{where} has not as many fields as the first line")
    found: Reference = {name: row[name] or None for name in COLUMNS}
    most = 100.0 if measure_of(found["measure"] or "").percent else math.inf
    for name in ("expected", "n", "mean", "sd"):
        if name == "sd" and found["n"] == 1 and not row["sd"]:
            continue
        with suppress(ValueError):
            found[name] = (int if name == "n" else float)(row[name])
        least, below = (1, LARGEST) if name == "n" else (0, most)
        if isinstance(found[name], str | None) or not least <= found[name] <= below:
            kind = "number of seeds" if name == "n" else f"number from 0 to {most:g}"
            raise ValueError(f"{where}: {name} is {row[name][:40]!r}, which is no {kind}")
    if found["n"] == 1 and (found["sd"] is not None or found["mean"] != found["expected"]):
        raise ValueError(f"{where}: of one seed the mean is its value, and there is no sd")
    if not ARTIFACTS.fullmatch(row["artifacts"]):
        raise ValueError(f"{where}: artifacts is {row['artifacts'][:40]!r}, which is no list of name:hash")
    return found | {"tolerance": half_width(found["n"], found["sd"])}


def record_expected(suite: "Suite", beside: Iterable["Suite"] = ()) -> Path:
    """Write the present results as expected/<suite>.csv; runs without metrics are left out. Seeds are those
    of the suite and of the suites `beside` it. Where no run of it has metrics, what was recorded before
    stays, and that is a MissingInputError."""
    settings, seeds = Settings.of(suite), defaultdict[str, dict[str, dict[str, float]]](dict)
    for each in (suite, *beside):
        for run in map(each.run, runs_done(Settings.of(each))):
            found = values(read_metrics(Path(METRICS.format(run=run.name))))
            seeds[_setting(each, run)][run.name] = found
    done = [run for run in suite.runs.values() if run.name in seeds[_setting(suite, run)]]
    if not done:
        raise MissingInputError(METRICS.format(run="*"), "snakemake --cores all")
    path, rows = expected_path(suite.suite), list[tuple[Any, ...]]([COLUMNS])
    for run in done:
        others = seeds[_setting(suite, run)]
        facts = _facts(run, settings_hash(suite, run), settings)
        for name, value in others[run.name].items():
            every = [of_seed[name] for of_seed in others.values()]
            sd = stdev(every) if len(every) > 1 else math.nan
            spread = len(every), round(fmean(every), 4), "" if math.isnan(sd) else round(sd, 4)
            rows.append((run.name, name, round(value, 4), *spread, *facts))
    with atomic_file(path) as new, new.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    return path


def _setting(suite: "Suite", run: "Run") -> str:
    """What a run has in common with those of other seeds alone."""
    return settings_hash(suite, run.model_copy(update={"seed": 0}))


def _facts(run: "Run", of_run: str, settings: Settings) -> tuple[str, ...]:
    """What all rows of a run have in common, in the order of COLUMNS."""
    digest, made = hash_file(Path(METRICS.format(run=run.name))), artifacts(run.name, settings)
    listed = " ".join(f"{name}:{sha256[:DIGITS]}" for name, sha256 in made.items())
    return digest.sha256, digest.md5, of_run, listed, environment_of(run, settings) or ""


def artifacts(run: str, settings: Settings) -> dict[str, str]:
    """The SHA-256 of every artifact that a run's numbers follow from, as the records say, by name and in
    the order in which they are made."""
    found = dict[str, str]()
    for step in jobs_of(run, settings):
        outputs = (believed(step) or {"outputs": {}})["outputs"] if step.stage.name != "views" else {}
        found |= {Path(path).name: outputs[path]["sha256"] for path in step.outputs if path in outputs}
    return found


def settings_hash(suite: "Suite", run: "Run") -> str:
    """A hash of all settings that a run's values follow from; where its files come from is none, nor
    is the size that its images must have. Nor what stands at its default, so that a new setting does
    not disown old results."""
    nowhere = {"sources", "mirrors", "by_hand", "limits", "image_size"}
    dataset = suite.dataset(run.dataset).model_dump(exclude=nowhere, exclude_defaults=True)
    own = run.model_dump(exclude_defaults=True)
    # How many load images or train changes no value; for kernels and threads there is the promise.
    for name in ("workers", "processes", "kernels", "threads"):
        own["runtime"].pop(name, None)
    return sha256(json.dumps([own, dataset], sort_keys=True).encode()).hexdigest()[:16]


def environment_of(run: "Run", settings: Settings) -> str | None:
    """What the records of a run's stages say that can change its bytes, in words: processor or GPU, kernels,
    Python, C library, packages, threads. None where no record says how it was trained."""
    train, evaluate = (believed(job(stage, run.name, settings)) for stage in ("train", "evaluate"))
    if train is None:
        return None
    environment = train.get("environment") or {}
    packages = (evaluate or train)["packages"] | train["packages"]
    kernels = [kernels_of(record, run) for record in (train, evaluate) if record]
    packages["torch"] = (environment.get("torch") or {}).get("build") or packages.get("torch")
    return "; ".join([
        _gpu_of(train, run) or environment.get("processor", "unknown"), " and ".join(dict.fromkeys(kernels)),
        f"Python {environment.get('python')}", str(environment.get("libc")),
        *(f"{name} {packages[name]}" for name in COMPUTING if name in packages),
        f"{run.runtime.threads} thread(s)",
    ])  # fmt: skip


def kernels_of(record: Record, run: "Run") -> str:
    """With whose kernels a stage worked, as its record says."""
    environment = record.get("environment") or {}
    if _gpu_of(record, run):
        return f"the GPU's kernels with {environment.get('driver')}"
    return f"{environment.get('kernels', 'unknown')} kernels"


def _gpu_of(record: Record, run: "Run") -> str | None:
    torch = (record.get("environment") or {}).get("torch") or {}
    return torch.get("gpu") if run.runtime.device != "cpu" and record["stage"].startswith("train") else None


def promise(here: str, there: str) -> tuple[bool, list[str]]:
    """Whether two environments, as :func:`environment_of` words them, must give the same bytes, and what
    differs in them. Python changes no bit of a result, and of portable kernels no processor does."""
    pairs = list(zip_longest(here.split("; "), there.split("; "), fillvalue="nothing"))
    portable = pairs[1:2] == [(PORTABLE, PORTABLE)]
    matters = [a != b for a, b in pairs[portable:] if not a.startswith("Python ")]
    return not any(matters), [f"{a} here, {b} there" for a, b in pairs if a != b]
