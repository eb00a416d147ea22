"""The way back from a number of the table to the archive that it came from, as plain data.

A trace is a chain of steps (jobs with their records) and the files between them. Each file says
whether its bytes are now those of the record that speaks of it, each step how it stands.
"""

import difflib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hier.audit.audit import STANDINGS, Audit, ByRecords
from hier.errors import TamperedError, UnknownNameError
from hier.files.hashing import Hasher
from hier.ledger.dvc_lock import AWAY as NOT_HERE
from hier.ledger.record import Record, read_record, same
from hier.pipeline import ARCHIVE, METRICS, MODEL, Job
from hier.results.measures import Figure, figures_of

AS_RECORDED, OTHER, AWAY, UNKNOWN = "as recorded", "other bytes", "not here", "no record"


@dataclass(frozen=True)
class File:
    """A file or folder as a record speaks of it, and whether its bytes are that now."""

    path: str
    digest: dict[str, Any]
    state: str


@dataclass(frozen=True)
class Origin:
    """A file of an archive or of pretrained weights, and where it comes from.

    Attributes:
        seed: from which it was drawn, if it was.
        addresses: where it can be had, the canonical one first.
        package: the installed package that it lies in, if any.
        promised: the proof of its content that the configuration gives, by its kind.
        kept: whether the bytes are what was promised; None where that cannot be seen here.
        since: the day on which they were taken, as the record says, if there is one.
    """

    name: str
    sha256: str | None
    size: int | None = None
    seed: int | None = None
    addresses: list[str] = field(default_factory=list)
    package: str | None = None
    promised: dict[str, str] = field(default_factory=dict)
    kept: bool | None = None
    since: str | None = None


@dataclass(frozen=True)
class Step:
    """A job, its record (None: there is none that can be believed) and how it stands."""

    job: Job
    standing: str
    reason: str
    record: Record | None
    inputs: list[File]
    outputs: list[File]
    origins: list[Origin]

    @property
    def settings(self) -> dict[str, Any]:
        """The parameters by their names within the run or dataset, down to single values."""
        return {} if self.record is None else leaves(without_names(self.record["params"]))


@dataclass
class Trace:
    """What `asked` follows from.

    Attributes:
        steps: by the names of their jobs, from the result to the archive.
        makers: by the path of a file, the name of the job that makes it.
        start: the job that made what was asked for.
        wanted: which of its outputs; all of them where its record was asked for.
        figures: the numbers that were asked for.
        runs: of a table of all runs, each run's figures.
    """

    asked: str
    start: str
    wanted: tuple[str, ...]
    figures: list[Figure] = field(default_factory=list)
    steps: dict[str, Step] = field(default_factory=dict)
    makers: dict[str, str] = field(default_factory=dict)
    runs: dict[str, list[Figure]] = field(default_factory=dict)

    def worst(self, name: str) -> Step:
        """The worst standing on the way to a job's result; of equals the earliest, the cause."""
        return max(self._upstream(name), key=lambda step: STANDINGS.index(step.standing))

    def _upstream(self, name: str) -> Iterator[Step]:
        for file in self.steps[name].inputs:
            if file.path in self.makers:
                yield from self._upstream(self.makers[file.path])
        yield self.steps[name]


def trace(asked: str, params: dict[str, Any], audit: ByRecords | None = None) -> Trace:
    """The way back from `asked`: a run, `<run>:<measure>`, an output, a record or an archive's file.

    Args:
        params: the content of params.yaml.
        audit: says how each job stands; by default, records and dvc.lock together.

    Raises:
        UnknownNameError: there is nothing of that name; the nearest names are listed.
    """
    audit = audit or Audit(params)
    job, wanted, measure = _find(asked, audit)
    makers = {path: job.name for path, job in audit.maker.items()}
    found = Trace(asked, job.name, wanted, makers=makers)
    _walk(job, audit, found)
    if wanted == (METRICS.format(run=job.key),):
        found.figures = _chosen(_figures(job.key, audit, found), measure)
    if job.stage.each == "suite":
        found.runs = {run: _figures(run, audit, found) for run in _runs(audit)}
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


def leaves(value: Any, name: str = "") -> dict[str, Any]:
    """A nested mapping as dotted keys and single values (lists stay whole)."""
    if not isinstance(value, dict) or not value:
        return {name: value}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= leaves(item, f"{name}.{key}" if name else str(key))
    return found


def without_names(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a record without `runs.<run>.` and `datasets.<dataset>.` before them."""
    return {
        key.split(".", 2)[2] if key.startswith(("runs.", "datasets.")) else key: value
        for key, value in params.items()
    }


def metadata_of(path: Path) -> dict[str, str]:
    """What stands in a safetensors file's header beside its tensors."""
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(min(length, path.stat().st_size)))
        return dict(header.get("__metadata__", {}))
    except (OSError, ValueError, TypeError, struct.error, AttributeError, RecursionError):
        return {}


def _find(asked: str, audit: ByRecords) -> tuple[Job, tuple[str, ...], str]:
    """The job that made what is asked for, which of its outputs is meant, and the measure."""
    run, _, measure = asked.partition(":")
    if run in audit.params["runs"]:
        path = METRICS.format(run=run)
        if path not in audit.maker:
            raise UnknownNameError("run with data", run, _near(run, _runs(audit)))
        return audit.maker[path], (path,), measure
    path = os.path.normpath(os.path.relpath(asked) if Path(asked).is_absolute() else asked)
    for job in audit.jobs:
        if path in job.outputs:
            return job, (path,), ""
        archive = job.stage.directory and path.startswith(f"{job.outputs[0]}/")
        if path == str(job.record) or (archive and Path(path).exists()):
            return job, job.outputs, ""
    known = [path for job in audit.jobs for path in (*job.outputs, str(job.record))]
    raise UnknownNameError("cell or file", asked, _near(asked, [*_runs(audit), *known]))


def _runs(audit: ByRecords) -> list[str]:
    return [job.key for job in audit.jobs if job.stage.name == "evaluate"]


def _near(name: str, names: list[str]) -> list[str]:
    """The names most like a mistaken one, or else the first few."""
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.5)
    return near or [*names[:5], *(["…"] if len(names) > 5 else [])]


def _chosen(figures: list[Figure], measure: str) -> list[Figure]:
    chosen = [f for f in figures if measure in ("", f.measure)]
    if not chosen:
        raise UnknownNameError("measure", measure, [f.measure for f in figures])
    return chosen


def _figures(run: str, audit: ByRecords, found: Trace) -> list[Figure]:
    path, digest = METRICS.format(run=run), dict[str, Any]()
    if Path(path).exists():
        digest = audit.hasher(Path(path)).as_dict()
    elif found.worst(audit.maker[path].name).standing == NOT_HERE:
        digest = audit.known_of(path)
    return figures_of(run, audit.params, digest)


def _walk(job: Job, audit: ByRecords, found: Trace) -> None:
    """Enter a job and all that it follows from."""
    if job.name in found.steps:
        return
    found.steps[job.name] = _step(job, audit)
    for path in job.inputs:
        if path in audit.maker:
            _walk(audit.maker[path], audit, found)


def _step(job: Job, audit: ByRecords) -> Step:
    finding = audit.finding(job)
    try:
        record = read_record(job)
    except TamperedError:
        record = None
    said_in = record["inputs"] if record else {}
    said_out = record["outputs"] if record else {}
    return Step(
        job,
        finding.standing,
        finding.reason,
        record,
        [_file(path, said_in.get(path), audit.hasher) for path in job.inputs],
        [_file(path, said_out.get(path), audit.hasher) for path in job.outputs],
        origins_of(job, record, audit),
    )


def _file(path: str, said: dict[str, Any] | None, hasher: Hasher) -> File:
    there = hasher(Path(path)).as_dict() if Path(path).exists() else None
    if said is None:
        return File(path, there or {}, UNKNOWN if there else AWAY)
    if there is None:
        return File(path, said, AWAY)
    return File(path, said, AS_RECORDED if same(there, said) else OTHER)


def origins_of(job: Job, record: Record | None, audit: ByRecords) -> list[Origin]:
    """Where the files of an archive, or the weights that a training starts from, come from."""
    if job.stage.name == "download":
        settings = record["params"] if record else _present(job, audit)
        since = (record or {}).get("ended", "")[:10] or None
        found = _archive(job, without_names(settings), audit.hasher)
        return [replace(origin, since=since) for origin in found]
    if job.stage.name == "train":
        settings = record["params"] if record else _present(job, audit)
        weights = without_names(settings)["backbone"]["weights"]
        return [_weights(weights, job.key)] if weights else []
    return []


def _present(job: Job, audit: ByRecords) -> dict[str, Any]:
    return dict(audit.what_goes_in(job)["params"])


def _archive(job: Job, settings: dict[str, Any], hasher: Hasher) -> Iterator[Origin]:
    """Each file of the archive with its promise; files of the first source where none is here."""
    folder = Path(ARCHIVE.format(dataset=job.key))
    there = {p.name: p for p in sorted(folder.glob("*")) if p.is_file() and p.name[0] != "."}
    if settings["generate"]:
        seed = settings["generate"]["seed"]
        for name, path in there.items() or {f"{job.key}.tgz": None}.items():
            digest = hasher.file(path) if path else None
            size = digest.size if digest else None
            yield Origin(name, digest.sha256 if digest else None, size, seed=seed)
        return
    for promise in _source(settings["sources"], set(there)):
        path = there.get(promise["name"])
        digest = hasher.file(path) if path else None
        yield _fetched(promise, digest.as_dict() if digest else {})


def _source(sources: list[dict[str, Any]], there: set[str]) -> list[dict[str, Any]]:
    """The files of the source that the archive came from; of the first where there is no archive."""
    lists: list[list[dict[str, Any]]] = [source["files"] for source in sources]
    complete = (files for files in lists if {file["name"] for file in files} <= there)
    return next(complete, lists[0])


def _fetched(promise: dict[str, Any], digest: dict[str, Any]) -> Origin:
    kinds = ("sha256", "md5", "contents", "unproved")
    promised = {kind: promise[kind] for kind in kinds if promise.get(kind)}
    tested = [digest[kind] == value for kind, value in promised.items() if kind in digest]
    addresses = [a for a in (promise.get("url"), *promise.get("alternates", [])) if a]
    return Origin(
        promise["name"], digest.get("sha256"), digest.get("size"),
        addresses=addresses, promised=promised, kept=tested[0] if tested else None,
    )  # fmt: skip


def _weights(weights: dict[str, Any], run: str) -> Origin:
    """Pretrained weights; which bytes a training started from, it wrote into the model's header."""
    started_from = metadata_of(Path(MODEL.format(run=run))).get("weights_sha256")
    promised = weights.get("sha256")
    addresses = [a for a in (weights.get("url"), *weights.get("alternates", [])) if a]
    return Origin(
        weights["file"], started_from, addresses=addresses, package=weights.get("package"),
        promised={"sha256": promised} if promised else {},
        kept=started_from.startswith(promised) if started_from and promised else None,
    )  # fmt: skip


def _step_as_data(step: Step, found: Trace) -> dict[str, Any]:
    record = step.record or {}
    told = ("key", "started", "ended", "seconds", "params", "versioned", "packages")
    return {
        "job": step.job.name,
        "command": step.job.command,
        "record": str(step.job.record),
        "standing": step.standing,
        "reason": step.reason,
        **{name: record.get(name) for name in (*told, "environment", "peak_memory", "seal")},
        "inputs": [asdict(f) | {"made_by": found.makers.get(f.path)} for f in step.inputs],
        "outputs": [asdict(f) for f in step.outputs],
        "origins": [asdict(origin) for origin in step.origins],
    }
