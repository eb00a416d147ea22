"""The way back from a number of the table to the archive that it came from, as plain data: steps (jobs
with their records) and the files between them."""

import difflib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hier.audit.audit import STATUSES, LedgerAudit, RecordAudit
from hier.audit.origins import Origin, origins_of, without_names
from hier.config.settings import Settings
from hier.errors import UnknownNameError
from hier.files.hashing import Hasher
from hier.jobs import Job
from hier.ledger.dvc_lock import AWAY as NOT_HERE
from hier.ledger.record import Record, believed, same
from hier.pipeline import METRICS
from hier.results.expected import Value, values_of

AS_RECORDED, OTHER, AWAY, UNKNOWN = "as recorded", "other bytes", "not here", "no record"


@dataclass(frozen=True)
class File:
    """A file or folder as a record speaks of it, and whether its bytes are that now."""

    path: str
    digest: dict[str, Any]
    state: str


@dataclass(frozen=True)
class Step:
    """A job, its record (None: there is none that can be believed) and its status."""

    job: Job
    status: str
    reason: str
    record: Record | None
    inputs: list[File]
    outputs: list[File]
    origins: list[Origin]

    @property
    def settings(self) -> dict[str, Any]:
        """The parameters by their names within the run or dataset, down to single values."""
        return {} if self.record is None else leaves(without_names(self.record["params"]))


@dataclass(frozen=True)
class Input:
    """A file that a step read: who made it, and how, unless another input tells that already."""

    file: File
    maker: str | None
    step: Step | None = None
    inputs: "tuple[Input, ...]" = ()


@dataclass
class Trace:
    """What `asked` follows from."""

    asked: str
    start: str  # the job that made what was asked for
    wanted: tuple[str, ...]  # which of its outputs; all of them where its record was asked for
    figures: list[Value] = field(default_factory=list)  # the numbers that were asked for
    steps: dict[str, Step] = field(default_factory=dict)  # by their jobs, from the result to the archive
    makers: dict[str, str] = field(default_factory=dict)  # by the path of a file, the job that makes it
    runs: dict[str, list[Value]] = field(default_factory=dict)  # of a table of all runs, each run's figures

    def worst(self, name: str) -> Step:
        """The worst status on the way to a job's result; of equals the earliest, the cause."""
        own = self.steps[name]
        before = [self.worst(self.makers[f.path]) for f in own.inputs if f.path in self.makers]
        return max([*before, own], key=lambda step: STATUSES.index(step.status))

    def shown(self, full: bool = True) -> list[Step]:
        """The steps; of a table of all runs those of the suite alone, unless `full`."""
        short = self.runs and not full
        return [s for s in self.steps.values() if s.job.stage.scope == "suite" or not short]

    def made(self) -> list[File]:
        """The files that were asked for."""
        return [file for file in self.steps[self.start].outputs if file.path in self.wanted]

    def inputs(self, full: bool = True) -> tuple[Input, ...]:
        """What the first step read, and on: every step is told once, where it is met first; of a table
        of all runs, those of each run only in `full`."""
        told = {self.start}

        def read_by(step: Step) -> Iterator[Input]:
            # The run's own files first, so that the dataset is told of at the training.
            for file in sorted(step.inputs, key=lambda file: not file.path.startswith("runs/")):
                maker = self.makers.get(file.path)
                if maker is None or maker in told:
                    yield Input(file, maker)
                elif full or not self.runs or self.steps[maker].job.stage.scope != "run":
                    told.add(maker)
                    before = self.steps[maker]
                    yield Input(file, maker, before, tuple(read_by(before)))

        return tuple(read_by(self.steps[self.start]))


def trace(asked: str, settings: Settings, audit: RecordAudit | None = None) -> Trace:
    """The way back from `asked`: a run, `<run>:<measure>`, an output, a record or an archive's file;
    UnknownNameError, with the nearest names, where there is nothing of that name. `audit` gives each
    job's status; by default, records and dvc.lock together."""
    audit = audit or LedgerAudit(settings)
    job, wanted, measure = _find(asked, audit)
    makers = {path: job.name for path, job in audit.maker.items()}
    found = Trace(asked, job.name, wanted, makers=makers)

    def walk(job: Job) -> None:
        if job.name not in found.steps:
            found.steps[job.name] = _step(job, audit)
            for path in filter(audit.maker.__contains__, job.inputs):
                walk(audit.maker[path])

    walk(job)
    if wanted == (METRICS.format(run=job.key),):
        every = _figures(job.key, audit, found)
        found.figures = [figure for figure in every if measure in ("", figure.measure)]
        if not found.figures:
            raise UnknownNameError("measure", measure, [figure.measure for figure in every])
    if job.stage.scope == "suite":
        found.runs = {run: _figures(run, audit, found) for run in audit.runs}
    audit.hasher.save()
    return found


def as_data(found: Trace) -> dict[str, Any]:
    """A trace for machines: everything, hashes in full."""
    return {
        "asked": found.asked,
        "start": found.start,
        "figures": [asdict(f) for f in found.figures],
        "runs": {run: [asdict(f) for f in figures] for run, figures in found.runs.items()},
        "steps": [_step_as_data(step, found) for step in found.steps.values()],
    }


def leaves(value: Any, name: str = "", nested: tuple[type[Any], ...] = (dict,)) -> dict[str, Any]:
    """The single values of a nested mapping by their dotted keys; with `list` among what is looked into,
    places in it (from 0) are keys too."""
    if not value or not isinstance(value, nested):
        return {name: value}
    found: dict[str, Any] = {}
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        found |= leaves(item, f"{name}.{key}" if name else str(key), nested)
    return found


def _find(asked: str, audit: RecordAudit) -> tuple[Job, tuple[str, ...], str]:
    """The job that made what is asked for, which of its outputs is meant, and the measure."""
    run, _, measure = asked.partition(":")
    if run in audit.settings.runs:
        path = METRICS.format(run=run)
        if path not in audit.maker:
            raise UnknownNameError("run with data", run, _near(run, audit.runs))
        return audit.maker[path], (path,), measure
    path = os.path.normpath(os.path.relpath(asked) if Path(asked).is_absolute() else asked)
    for job in audit.jobs:
        if path in job.outputs:
            return job, (path,), ""
        archive = job.stage.directory and path.startswith(f"{job.outputs[0]}/")
        if path == str(job.record) or (archive and Path(path).exists()):
            return job, job.outputs, ""
    known = [path for job in audit.jobs for path in (*job.outputs, str(job.record))]
    raise UnknownNameError("cell or file", asked, _near(asked, [*audit.runs, *known]))


def _near(name: str, names: list[str]) -> list[str]:
    """The names most like a mistaken one, or else the first few."""
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.5)
    return near or [*names[:5], *(["…"] if len(names) > 5 else [])]


def _figures(run: str, audit: RecordAudit, found: Trace) -> list[Value]:
    path = METRICS.format(run=run)
    if Path(path).exists():
        return values_of(run, audit.settings, audit.hasher(Path(path)).as_dict())
    away = found.worst(audit.maker[path].name).status == NOT_HERE
    return values_of(run, audit.settings, audit.known_of(path) if away else {})


def _step(job: Job, audit: RecordAudit) -> Step:
    finding, record = audit.finding(job), believed(job)
    said = record or {"inputs": {}, "outputs": {}}
    inputs = [_file(path, said["inputs"].get(path), audit.hasher) for path in job.inputs]
    outputs = [_file(path, said["outputs"].get(path), audit.hasher) for path in job.outputs]
    origins = origins_of(job, record, audit.hasher)
    return Step(job, finding.status, finding.reason, record, inputs, outputs, origins)


def _file(path: str, said: dict[str, Any] | None, hasher: Hasher) -> File:
    if not Path(path).exists():
        return File(path, said or {}, AWAY)
    there = hasher(Path(path)).as_dict()
    if said is None:
        return File(path, there, UNKNOWN)
    return File(path, said, AS_RECORDED if same(there, said) else OTHER)


def _step_as_data(step: Step, found: Trace) -> dict[str, Any]:
    record = step.record or {}
    told = (
        "key", "started", "ended", "seconds", "params", "versioned", "packages", "environment",
        "peak_memory", "seal",
    )  # fmt: skip
    return {
        "job": step.job.name,
        "command": step.job.command,
        "record": str(step.job.record),
        "status": step.status,
        "reason": step.reason,
        **{name: record.get(name) for name in told},
        "inputs": [asdict(f) | {"made_by": found.makers.get(f.path)} for f in step.inputs],
        "outputs": [asdict(f) for f in step.outputs],
        "origins": [asdict(origin) for origin in step.origins],
    }
