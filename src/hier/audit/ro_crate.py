"""`hier crate`: results as a Workflow Run RO-Crate (Provenance Run Crate profile, version 0.5).

The crate is a folder, or a zip file; its ro-crate-metadata.json says of every job what it read, what it
wrote, with which settings, code and packages, and when. The same results give the same bytes.
"""

import json
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from rocrate.model.entity import Entity

from hier import __version__, yaml12
from hier.audit.audit import LedgerAudit
from hier.audit.crate_entities import FOLDERS, Entities, Workflow, is_result
from hier.audit.lineage import leaves
from hier.audit.origins import Origin, origins_of, without_names
from hier.audit.rerun import refuted_by_rerun
from hier.config.settings import PARAMS, Settings
from hier.errors import ConfigError, StaleError, UnknownNameError
from hier.files.atomic import atomic_file, atomic_folder
from hier.jobs import Job
from hier.ledger.dvc_lock import AWAY
from hier.ledger.record import Record, read_record
from hier.pipeline import ARCHIVE, EMBEDDINGS, MODEL, PROXIES, STORE, Stage

OUT = Path("results/crate")
METADATA = "ro-crate-metadata.json"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
CITATION = Path("CITATION.cff")
NEVER = {ARCHIVE, STORE}
MODELS = {MODEL, PROXIES, EMBEDDINGS}
DONE = "http://schema.org/CompletedActionStatus"
README = Path(__file__).with_name("crate_readme.md")


def write_crate(
    settings: Settings, runs: Iterable[str] = (), out: Path = OUT, with_models: bool = False
) -> tuple[Path, int]:
    """Write a crate of some runs (none named: of all, and the tables); the path, and how many jobs.

    UnknownNameError where there is no such run, StaleError where a job is not current, and ConfigError where
    `out` is something else than an earlier crate.
    """
    audit = LedgerAudit(settings)
    work = _jobs(list(runs), audit)
    _refuse_to_replace(out)
    away = NEVER if with_models else NEVER | MODELS
    records = _records(work, audit, away)
    writer = Crate(audit, work, records, away)
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
        raise StaleError(f"no crate was written: a rerun gave other bytes for {refuted} (hier verify)")
    if wrong:
        more = f" (and {len(wrong) - 5} more)" if len(wrong) > 5 else ""
        raise StaleError(
            f"no crate was written: {'; '.join(f.describe() for f in wrong[:5])}{more}. "
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


def outputs_of(job: Job) -> Iterator[tuple[str, str]]:
    """Each output and its path in hier.pipeline."""
    return zip(job.outputs, job.stage.outputs, strict=True)


class Crate:
    """The crate of some jobs with their records; `away` are the paths in hier.pipeline of which no file
    is copied."""

    def __init__(
        self, audit: LedgerAudit, work: list[Job], records: dict[str, Record], away: set[str]
    ) -> None:
        self.work, self.records, self.away = work, records, away
        self.templates = {p: t for job in audit.jobs for p, t in outputs_of(job)}
        self.origins = {job.name: origins_of(job, records[job.name], audit.hasher) for job in work}
        own = {job.key for job in work}  # of the runs that are not in it, nothing is told
        self.settings = [path for path in audit.settings.files() if path == PARAMS or path.stem in own]
        runs = sum(job.stage.name == "evaluate" for job in work)
        self.suite = " and ".join(audit.settings.suites)
        self.name = f"HIER: suite {self.suite}, {runs} runs"
        self.to = Entities(audit.hasher)

    def write(self, folder: Path) -> None:
        """Write the crate into an empty folder."""
        self._root()
        of_stage: dict[Stage, list[Record]] = {}
        for job in self.work:
            of_stage.setdefault(job.stage, []).append(self.records[job.name])
        code = [path for job in self.work for path in job.code_paths]
        self.workflow = Workflow(self.to, of_stage, self.settings, code)
        self._whole([self._job(job) for job in self.work])
        left_out = ", ".join(sorted(template.rpartition("/")[2] for template in self.away)) + "."
        readme = folder / "README.md"
        text = README.read_text("utf-8").format(name=self.name, left_out=left_out)
        readme.write_text(text, "utf-8")
        self.to.file(readme, readme.name, name="README", about=self.to.root)
        self.to.write(folder)

    def _root(self) -> None:
        root, add = self.to.root, self.to.add
        root["name"] = self.name
        root["description"] = (
            "Results of a reproduction of HIER (CVPR 2023), with what each of them follows from: "
            "data, settings, code, packages and machine, job by job."
        )
        root["license"] = add("https://spdx.org/licenses/MIT", "CreativeWork", name="MIT License")
        root["datePublished"] = max(record["ended"] for record in self.records.values())
        for identifier, (name, version) in PROFILES.items():
            add(identifier, "CreativeWork", name=name, version=version)
        root["conformsTo"] = [{"@id": identifier} for identifier in PROFILES]
        if CITATION.exists():
            who = add("#authors", "Organization", name=", ".join(_authors(CITATION)))
            root["author"] = root["publisher"] = who

    def _job(self, job: Job) -> tuple[Entity, Entity]:
        """A job that was done, and the step of the workflow that ordered it."""
        record, stage, add = self.records[job.name], job.stage, self.to.add
        read = [self._used(job, "input", *file) for file in record["inputs"].items()]
        if stage.name == "train":
            read += [self._origin("weights/", origin) for origin in self.origins[job.name]]
        read += [self._setting(job, *setting) for setting in record["params"].items()]
        read += map(self.to.file, self.settings if stage.scope == "suite" else [])
        action = add(
            f"#action/{job.name}", "CreateAction", name=job.name, description=job.command,
            instrument=self.workflow.tool(stage), startTime=record["started"],
            endTime=record["ended"], actionStatus=DONE, object=read,
            result=[self._used(job, "output", *file) for file in record["outputs"].items()],
            subjectOf=self.to.file(job.record, name=f"record of {job.name}"),
            resourceUsage=list(self._usage(job, record)),
            environment=list(self._environment(record)),
        )  # fmt: skip
        control = add(
            f"#control/{job.name}", "ControlAction", name=f"orchestrate {job.name}",
            instrument=self.to.known[f"Snakefile#{stage.name}"], object=action,
        )  # fmt: skip
        return action, control

    def _used(self, job: Job, side: str, path: str, digest: dict[str, Any]) -> Entity:
        """An input or output of a job, as a value of its formal parameters."""
        template = self.templates[path]
        parameters = [self.workflow.parameter(job.stage.name, side, template)]
        if side == "output" and is_result(template):
            parameters.append(self.workflow.parameter("workflow", "output", template))
        return self.to.example(self._artifact(path, digest), parameters)

    def _artifact(self, path: str, digest: dict[str, Any]) -> Entity:
        """The file itself, or what is known of it."""
        template = self.templates[path]
        if template == ARCHIVE:
            return self._archive(path, digest)
        if template in self.away:
            return self.to.absent(path, digest["sha256"], digest["size"])
        return self.to.folder(path) if template in FOLDERS else self.to.file(Path(path), name=path)

    def _archive(self, path: str, digest: dict[str, Any]) -> Entity:
        """An archive's folder, and each of its files with the address that it came from."""
        origins = self.origins[f"download@{path.split('/')[1]}"]
        return self.to.add(
            f"#{path}/", "Dataset", True, name=path,
            hasPart=[self._origin(f"{path}/", origin) for origin in origins],
            identifier=f"sha256:{digest['sha256']}",
            description="Not in this crate. Its identifier is the SHA-256 of the sorted lines "
            "`<sha256>  <file>` of its files.",
        )  # fmt: skip

    def _origin(self, folder: str, origin: Origin) -> Entity:
        told = [f"drawn from seed {origin.seed}"] if origin.seed is not None else []
        told += [f"from the package {origin.package}"] if origin.package else []
        told += [f"promised {kind}: {value}" for kind, value in origin.promised.items()]
        return self.to.absent(
            folder + origin.name, origin.sha256, origin.size,
            url=[address for address in origin.addresses if address.startswith(("http", "ftp"))],
            disambiguatingDescription="; ".join(told) or None,
        )  # fmt: skip

    def _setting(self, job: Job, key: str, value: Any) -> Entity:
        """A setting with its value; mappings and lists as JSON."""
        (short,) = without_names({key: None})
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        entity = self.to.add(f"#setting/{key}", "PropertyValue", name=short, value=text)
        return self.to.example(entity, [self.workflow.setting(job.stage, short)])

    def _usage(self, job: Job, record: Record) -> Iterator[Entity]:
        """Seconds and memory that a job took."""
        amounts = [("seconds", record["seconds"], "SEC")]
        for name, value in record.get("peak_memory", {}).items():
            amounts.append((f"peak memory ({name.removesuffix('_bytes')})", value, "AD"))
        for name, value, unit in amounts:
            yield self.to.add(
                f"#usage/{job.name}/{name.replace(' ', '-')}", "PropertyValue", name=name,
                propertyID=f"hier:{name.split(' ')[0]}", value=str(value),
                unitCode=f"https://vocab.unece.org/rec20#{unit}",
            )  # fmt: skip

    def _environment(self, record: Record) -> Iterator[Entity]:
        """The machine's facts, each value once for all jobs."""
        for name, value in leaves(record.get("environment", {})).items():
            if value is not None:
                identifier = f"#environment/{name}/{quote(str(value), safe='')}"
                yield self.to.add(identifier, "PropertyValue", name=name, value=str(value))

    def _whole(self, jobs: list[tuple[Entity, Entity]]) -> None:
        """The run of the workflow: from settings and archives to metrics and tables."""
        made = [of for job in self.work for of in outputs_of(job)]
        archives = [self.to.known[f"#{path}/"] for path, template in made if template == ARCHIVE]
        results = [path + "/" * (t in FOLDERS) for path, t in made if is_result(t)]
        when = {
            "startTime": min(record["started"] for record in self.records.values()),
            "endTime": max(record["ended"] for record in self.records.values()),
        }
        run = self.to.add(
            "#action/workflow", "CreateAction", name=f"suite {self.suite}", description=self.name,
            instrument=self.workflow.entity, actionStatus=DONE, **when,
            object=[*map(self.to.file, self.settings), *archives],
            result=[self.to.known[name] for name in results],
        )  # fmt: skip
        engine = self.to.add(
            "#hier", "SoftwareApplication", name="hier", softwareVersion=__version__,
            description="Ran each job as its command, called by Snakemake, by DVC or by hand; "
            "records do not say by which.",
        )  # fmt: skip
        whole = self.to.add(
            "#organize", "OrganizeAction", name="the jobs, one after the other", **when,
            instrument=engine, object=[control for _, control in jobs], result=run,
        )  # fmt: skip
        self.to.root["mentions"] = [run, whole, *(action for action, _ in jobs)]


def _authors(path: Path) -> list[str]:
    """The names of those whom a citation file names."""
    try:
        authors = yaml12.load(path.read_text(encoding="utf-8"))["authors"]
        return [a.get("name") or f"{a['given-names']} {a['family-names']}" for a in authors]
    except (yaml12.Error, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} names no authors ({reason}); git checkout {path}") from error
