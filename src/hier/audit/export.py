"""`hier export`: results as a Workflow Run RO-Crate (Provenance Run Crate profile, version 0.5).

The crate is a folder, or a zip file; its ro-crate-metadata.json says of every job what it read, what it
wrote, with which settings, code and packages, and when. The same results give the same bytes.
"""

import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from hier.audit.audit import LedgerAudit
from hier.audit.rerun import refuted_by_rerun
from hier.audit.ro_crate import MODELS, NEVER, Crate, outputs_of
from hier.config.settings import Settings
from hier.errors import ConfigError, StaleError, UnknownNameError
from hier.files.atomic import atomic_file, atomic_folder
from hier.jobs import Job
from hier.ledger.dvc_lock import AWAY
from hier.ledger.record import Record, read_record

OUT = Path("results/crate")
METADATA = "ro-crate-metadata.json"


def export(
    settings: Settings, runs: Iterable[str] = (), out: Path = OUT, with_models: bool = False
) -> tuple[Path, int]:
    """Write a crate of some runs (none named: of all, and the tables); the path, and how many jobs.

    Raises:
        UnknownNameError: no such run.
        StaleError: a job is not current; names what is to be mended.
        ConfigError: `out` is something else than an earlier crate.
    """
    audit = LedgerAudit(settings)
    work = _jobs(list(runs), audit)
    _refuse_to_replace(out)
    away = NEVER if with_models else NEVER | MODELS
    records = _records(work, audit, away)
    writer = Crate(settings, audit, work, records, away)
    audit.hasher.save()
    if _is_zip(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent, prefix=".crate.") as folder:
            writer.write(Path(folder))
            with atomic_file(out) as temporary:
                _zip(Path(folder), temporary)
    else:
        with atomic_folder(out) as temporary:
            writer.write(temporary)
    return out, len(work)


def _jobs(named: list[str], audit: LedgerAudit) -> list[Job]:
    """The jobs that lead to the figures of some runs; those of the suite where it is all of them."""
    for run in named:
        if run not in audit.runs:
            raise UnknownNameError("run", run, audit.runs)
    runs = set(named or audit.runs)
    datasets = {audit.settings.runs[run]["dataset"] for run in runs}
    whole = {suite for suite, own in audit.settings.suites.items() if set(own) <= runs}
    keys = {"run": runs, "dataset": datasets, "suite": whole}
    return [job for job in audit.jobs if job.key in keys[job.stage.scope]]


def _records(work: list[Job], audit: LedgerAudit, away: set[str]) -> dict[str, Record]:
    """The record of each job; StaleError where one is not current, or a file that belongs into a crate
    is not here."""
    findings = [audit.finding(job) for job in work]
    wrong = [f for f in findings if f.status not in ("current", AWAY, "not run")]
    gone = (f for f in findings if f.status in (AWAY, "not run"))
    wrong += [f for f in gone if not _enough(f.job, away)]
    runs = (job.key for job in work if job.stage.name == "evaluate")
    if refuted := ", ".join(filter(refuted_by_rerun, runs)):
        said = f"a rerun gave other bytes for {refuted} (hier verify)"
        raise StaleError(f"nothing was exported: {said}")
    if wrong:
        more = f" (and {len(wrong) - 5} more)" if len(wrong) > 5 else ""
        raise StaleError(
            f"nothing was exported: {'; '.join(f.describe() for f in wrong[:5])}{more}. "
            "Run `snakemake --cores all` (or `dvc pull`), or name runs that are current"
        )
    return {job.name: record for job in work if (record := read_record(job))}


def _enough(job: Job, away: set[str]) -> bool:
    """Whether what a crate takes of a job is here, though large files of it were not pulled."""
    small = [path for path, template in outputs_of(job) if template not in away]
    return all(path.exists() for path in [job.record, *map(Path, small)])


def _refuse_to_replace(out: Path) -> None:
    """Raises ConfigError where `out` is there and is no crate."""
    crate = (out / METADATA).exists() or (_is_zip(out) and zipfile.is_zipfile(out))
    empty = out.is_dir() and not any(out.iterdir()) and not _is_zip(out)
    if out.exists() and not crate and not empty:
        raise ConfigError(f"{out} exists and is no crate; choose another --out")


def _is_zip(out: Path) -> bool:
    return out.suffix.lower() == ".zip"


def _zip(folder: Path, target: Path) -> None:
    """A zip file of a folder's files, the same bytes for the same files."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = path.relative_to(folder).as_posix()
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr, info.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as part:
                shutil.copyfileobj(source, part)
