"""The entities of a Provenance Run Crate: the workflow, its tools and parameters, every job, every file.

The profile (https://w3id.org/ro/wfrun/provenance/0.5) is one of RO-Crate 1.1. What was left out for
its size stands in the metadata with its hash and its address, under a name that begins with `#`.
"""

import json
import mimetypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hier import __version__, yaml12
from hier.audit.audit import Audit
from hier.audit.lineage import Origin, leaves, origins_of, without_names
from hier.config.params import PARAMS, files
from hier.errors import ConfigError
from hier.files.hashing import files_in
from hier.ledger.record import Record
from hier.pipeline import ARCHIVE, EMBEDDINGS, METRICS, MODEL, PROXIES, STAGES, STORE, Job, Stage

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
WFRUN = "https://w3id.org/ro/terms/workflow-run#"
# Terms that the context of RO-Crate 1.1 lacks, spelled out so that no second context is fetched.
TERMS = {
    name: WFRUN + name
    for name in (
        "ParameterConnection", "connection", "environment", "resourceUsage", "sourceParameter",
        "targetParameter",
    )
} | {"sha256": "http://schema.org/sha256"}  # fmt: skip
BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
CITATION = Path("CITATION.cff")
WORKFLOW = ("Snakefile", "dvc.yaml", "requirements.lock", "LICENSE", str(CITATION))
# DVC takes every dvc.yaml below the project for its own, one in a crate as well.
PUT_AS = {"dvc.yaml": "dvc.yaml.txt"}
NEVER = {ARCHIVE, STORE}
FOLDERS = {stage.outputs[0] for stage in STAGES.values() if stage.directory}
MODELS = {MODEL, PROXIES, EMBEDDINGS}
KINDS = {
    ".smk": "text/x-python", ".py": "text/x-python", ".md": "text/markdown", ".j2": "text/plain",
    ".rst": "text/x-rst", ".webp": "image/webp", ".LICENSE": "text/plain",
    ".yaml": "application/yaml", ".parquet": "application/vnd.apache.parquet",
    ".tex": "application/x-tex", ".lock": "text/plain", ".cff": "application/yaml",
}  # fmt: skip
README = """# {name}

This folder is an RO-Crate (https://w3id.org/ro/crate): results, and where they come from. All that is
known stands in `ro-crate-metadata.json` (JSON-LD); `ro-crate-preview.html` shows it in a browser.
It follows the profile Provenance Run Crate 0.5 (https://w3id.org/ro/wfrun/provenance/0.5).

| here | what it is |
|---|---|
| `runs/<run>/metrics.json` | the figures of a run, as shares of 1 (below `hierarchy` in percent) |
| `runs/<run>/views.json` | what its page shows: places on a disk, a tree, neighbours (rows of the index) |
| `runs/<run>/history.csv` | its losses, epoch by epoch |
| `results/` | the table and the page of all runs (only where all runs were exported) |
| `data/<dataset>/index.parquet` | the images: path, class, side |
| `*.record.json` | what each job read and wrote (SHA-256, MD5, size), settings, packages, machine, times |
| `results/report/index.html` | pages that show the results: open it in a browser |
| `params.yaml`, `params/` | the runs, and every setting of each |
| `Snakefile`, `workflow/`, `dvc.yaml.txt`, `src/` | the workflow and the code that ran |

Each job is a `CreateAction`: `instrument` is its code, `object` what it read, `result` what it wrote.
Files whose name in the metadata begins with `#` are too large and not here: {left_out}
They have `sha256`, `contentSize` and, where one is known, `url`.

To check a file: `sha256sum FILE`, and compare with its `sha256` in the metadata. A record is itself
proved by its `seal`, the SHA-256 of its text with 64 zeros in place of the seal.
`environment` of a job holds the machine's facts (processor, Python, threads), not only variables.
"""


def outputs_of(job: Job) -> Iterator[tuple[str, str]]:
    """Each output and its path in hier.pipeline."""
    return zip(job.outputs, job.stage.outputs, strict=True)


def _ref(identifier: str) -> dict[str, str]:
    return {"@id": identifier}


def _authors(path: Path) -> list[str]:
    """The names of those whom a citation file names.

    Raises:
        ConfigError: it is no citation file.
    """
    try:
        authors = yaml12.load(path.read_text(encoding="utf-8"))["authors"]
        return [a.get("name") or f"{a['given-names']} {a['family-names']}" for a in authors]
    except (yaml12.Error, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} names no authors ({reason}); git checkout {path}") from error


class Crate:
    """Makes the entities of one crate."""

    def __init__(
        self, params: dict[str, Any], audit: Audit, work: list[Job], records: dict[str, Record],
        away: set[str],
    ) -> None:  # fmt: skip
        self.params, self.audit, self.work, self.records = params, audit, work, records
        self.away = away
        own = {job.key for job in work}  # of the runs that are not exported, nothing is told
        self.settings = [path for path in files(params) if path == PARAMS or path.stem in own]
        self.stages = list(dict.fromkeys(job.stage.name for job in work))
        self.templates = {p: t for job in audit.jobs for p, t in outputs_of(job)}
        self.makers = {t: stage.name for stage in STAGES.values() for t in stage.outputs}
        self.origins = {j.name: origins_of(j, records[j.name], audit) for j in work}
        self.examples: dict[str, list[str]] = {}
        self.done: set[str] = set()

    def write(self, folder: Path) -> None:
        """Write the crate into an empty folder."""
        from rocrate.rocrate import ROCrate

        self.crate = ROCrate(version="1.1", gen_preview=True)
        self.crate.metadata.extra_terms.update(TERMS)
        self.examples, self.done = {}, set()
        self._root()
        self._workflow()
        self._data()
        self._code()
        actions = [self._action(job) for job in self.work]
        self._run_of_workflow(actions)
        for identifier, parameters in self.examples.items():
            refs = [_ref(p) for p in sorted(set(parameters))]
            self.crate.get(identifier)["exampleOfWork"] = refs
        readme = folder / "README.md"
        readme.write_text(README.format(name=self._name(), left_out=self._left_out()), "utf-8")
        about = {"name": "README", "about": _ref("./")}
        self._file(readme, "README.md", about)
        self._single_values()
        self.crate.write(folder)

    def _single_values(self) -> None:
        """RO-Crate 1.1 wants a single value to stand alone, not in a list."""
        for entity in self.crate.get_entities():
            for name, value in list(entity.properties().items()):
                if isinstance(value, list) and len(value) == 1 and name[0] != "@":
                    entity[name] = value[0]

    def _name(self) -> str:
        runs = sum(job.stage.name == "evaluate" for job in self.work)
        return f"HIER: suite {self.params['suite']}, {runs} runs"

    def _left_out(self) -> str:
        return ", ".join(sorted(template.rpartition("/")[2] for template in self.away)) + "."

    def _add(self, identifier: str, kind: str | list[str], /, **properties: Any) -> str:
        """Enter an entity that is no file here; its identifier."""
        from rocrate.model.contextentity import ContextEntity

        if identifier not in self.done:
            self.done.add(identifier)
            kept = {name: value for name, value in properties.items() if value not in (None, [])}
            self.crate.add(ContextEntity(self.crate, identifier, {"@type": kind, **kept}))
        return identifier

    def _file(
        self, source: Path, name: str, properties: dict[str, Any] | None = None,
        kind: str | list[str] = "File",
    ) -> str:  # fmt: skip
        """Enter a file that is copied, with its size and hash."""
        if name not in self.done:
            self.done.add(name)
            digest = self.audit.hasher.file(source)
            mime = KINDS.get(source.suffix) or mimetypes.guess_type(source.name)[0]
            known = {
                "@type": kind,
                "contentSize": str(digest.size),
                "sha256": digest.sha256,
                "encodingFormat": mime or "text/plain",
                **(properties or {}),
            }
            self.crate.add_file(source, name, properties=known)
        return name

    def _root(self) -> None:
        root = self.crate.root_dataset
        root["name"] = self._name()
        root["description"] = (
            "Results of a reproduction of HIER (CVPR 2023), with what each of them follows from: "
            "data, settings, code, packages and machine, job by job."
        )
        license_ = self._add("https://spdx.org/licenses/MIT", "CreativeWork", name="MIT License")
        root["license"] = _ref(license_)
        root["datePublished"] = max(record["ended"] for record in self.records.values())
        for identifier, (name, version) in PROFILES.items():
            self._add(identifier, "CreativeWork", name=name, version=version)
        root["conformsTo"] = [_ref(identifier) for identifier in PROFILES]
        if CITATION.exists():
            who = self._add("#authors", "Organization", name=", ".join(_authors(CITATION)))
            root["author"] = root["publisher"] = _ref(who)

    def _workflow(self) -> None:
        """The workflow, its steps, the tools that they use, and how their parameters connect."""
        workflow = self.crate.add_workflow(
            "Snakefile", "Snakefile", main=True, lang="snakemake",
            properties={
                "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
                "name": "HIER: from archives to the table of results",
                "conformsTo": _ref(BIOSCHEMAS),
                "description": "Stages are the same for Snakemake, DVC and `hier run`.",
                "version": __version__,
                "sha256": self.audit.hasher.file(Path("Snakefile")).sha256,
                "contentSize": str(Path("Snakefile").stat().st_size),
                "encodingFormat": "text/x-python",
            },
        )  # fmt: skip
        workflow["hasPart"] = [_ref(self._tool(STAGES[name])) for name in self.stages]
        workflow["step"] = [_ref(self._step(i, n)) for i, n in enumerate(self.stages)]
        settings = "#workflow/input/params.yaml"
        self._add(settings, "FormalParameter", name="params.yaml", additionalType="File")
        workflow["input"] = [_ref(settings)]
        self.examples |= {str(path): [settings] for path in self.settings}
        results = [t for t in self.makers if self._is_result(t) and self.makers[t] in self.stages]
        workflow["output"] = [_ref(self._parameter("workflow", "output", t)) for t in results]
        workflow["connection"] = [_ref(self._connection(t, "workflow", "output")) for t in results]

    def _is_result(self, template: str) -> bool:
        return template == METRICS or STAGES[self.makers[template]].each == "suite"

    def _tool(self, stage: Stage) -> str:
        """A stage's own module, with the packages that it computes with."""
        name = stage.versioned()[0]
        packages = {
            (package, version)
            for job in self.work
            if job.stage is stage
            for package, version in self.records[job.name]["packages"].items()
        }
        properties = {
            "name": stage.command(stage.each.upper() if stage.each != "suite" else ""),
            "description": Path(name).read_text(encoding="utf-8").split('"""')[1].strip(),
            "version": __version__,
            "programmingLanguage": "Python",
            "softwareRequirements": [_ref(self._package(*p)) for p in sorted(packages, key=str)],
            "input": [
                *(_ref(self._parameter(stage.name, "input", t)) for t in self._read(stage)),
                *(_ref(self._setting(stage, key)) for key in self._settings(stage)),
            ],
            "output": [_ref(self._parameter(stage.name, "output", t)) for t in stage.outputs],
        }
        return self._file(Path(name), name, properties, ["File", "SoftwareSourceCode"])

    def _read(self, stage: Stage) -> list[str]:
        return [*stage.inputs, *stage.gathers]

    def _settings(self, stage: Stage) -> list[str]:
        """The parameters of a stage, by their names within the run or dataset."""
        return [] if stage.each == "suite" else list(without_names(dict.fromkeys(stage.params)))

    def _package(self, name: str, version: str | None) -> str:
        address = f"pkg:pypi/{name}" + (f"@{version}" if version else "")  # a package URL
        return self._add(address, "SoftwareApplication", name=name, softwareVersion=version)

    def _step(self, position: int, name: str) -> str:
        stage = STAGES[name]
        connections = [
            _ref(self._connection(template, name, "input"))
            for template in self._read(stage)
            if self.makers[template] in self.stages
        ]
        return self._add(
            f"Snakefile#{name}", "HowToStep", name=name, position=str(position),
            workExample=_ref(stage.versioned()[0]), connection=connections,
        )  # fmt: skip

    def _parameter(self, owner: str, side: str, template: str) -> str:
        """The formal parameter for the files of one path in hier.pipeline."""
        name = template.rpartition("/")[2]
        return self._add(
            f"#{owner}/{side}/{name}", "FormalParameter", name=name, description=template,
            additionalType="Dataset" if template in FOLDERS else "File",
        )  # fmt: skip

    def _setting(self, stage: Stage, key: str) -> str:
        return self._add(
            f"#{stage.name}/setting/{key}", "FormalParameter", name=key, additionalType="Text"
        )

    def _connection(self, template: str, owner: str, side: str) -> str:
        source = self._parameter(self.makers[template], "output", template)
        target = self._parameter(owner, side, template)
        return self._add(
            f"#connection{source[1:].replace('/output/', '-')}-to-{owner}-{side}",
            "ParameterConnection", sourceParameter=_ref(source), targetParameter=_ref(target),
        )  # fmt: skip

    def _data(self) -> None:
        """What belongs to the workflow but is code of no stage."""
        for path in map(Path, WORKFLOW[1:]):
            if path.exists():
                self._file(path, PUT_AS.get(path.name, path.name), {"name": path.name})
        for path in self.settings:
            self._file(path, path.as_posix(), {"name": path.name})
        for path in files_in(Path("workflow")):
            self._file(path, path.as_posix(), {"name": path.name})

    def _code(self) -> None:
        """Everything under version control that the stages depend on."""
        for path in dict.fromkeys(p for name in self.stages for p in STAGES[name].versioned()):
            for file in files_in(Path(path)) if Path(path).is_dir() else [Path(path)]:
                self._file(file, file.as_posix(), {"name": file.name})

    def _artifact(self, path: str, digest: dict[str, Any]) -> str:
        """An input or output of a job: the file itself, or what is known of it."""
        template = self.templates[path]
        if template not in self.away:
            named = {"name": path}
            return (
                self._folder(path) if template in FOLDERS else self._file(Path(path), path, named)
            )
        if template == ARCHIVE:
            return self._archive(path, digest)
        return self._absent(path, digest["sha256"], digest["size"])

    def _folder(self, path: str) -> str:
        """A folder that is copied file by file."""
        if f"{path}/" not in self.done:
            files = [file.as_posix() for file in files_in(Path(path))]
            members = [_ref(self._file(Path(file), file, {"name": file})) for file in files]
            self._add(f"{path}/", "Dataset", name=path, hasPart=members)
            self.crate.root_dataset.append_to("hasPart", _ref(f"{path}/"))
        return f"{path}/"

    def _absent(self, name: str, sha256: str | None, size: int | None, **more: Any) -> str:
        """A file that is not in the crate."""
        new = f"#{name}" not in self.done
        identifier = self._add(
            f"#{name}", "File", name=name, sha256=sha256,
            contentSize=None if size is None else str(size),
            encodingFormat=mimetypes.guess_type(name)[0] or "application/octet-stream",
            description="Not in this crate; sha256 says which bytes are meant.", **more,
        )  # fmt: skip
        if new:
            self.crate.root_dataset.append_to("hasPart", _ref(identifier))
        return identifier

    def _archive(self, path: str, digest: dict[str, Any]) -> str:
        """An archive's folder, and each of its files with the address that it came from."""
        dataset = path.split("/")[1]
        if f"#{path}/" not in self.done:
            members = [self._origin(f"{path}/", o) for o in self.origins[f"download@{dataset}"]]
            self.crate.root_dataset.append_to("hasPart", _ref(f"#{path}/"))
            self._add(
                f"#{path}/", "Dataset", name=path, hasPart=[_ref(member) for member in members],
                identifier=f"sha256:{digest['sha256']}",
                description="Not in this crate. Its identifier is the SHA-256 of the sorted lines "
                "`<sha256>  <file>` of its files.",
            )  # fmt: skip
        return f"#{path}/"

    def _origin(self, folder: str, origin: Origin) -> str:
        told = [f"drawn from seed {origin.seed}"] if origin.seed is not None else []
        told += [f"from the package {origin.package}"] if origin.package else []
        told += [f"promised {kind}: {value}" for kind, value in origin.promised.items()]
        return self._absent(
            folder + origin.name, origin.sha256, origin.size, url=origin.addresses,
            disambiguatingDescription="; ".join(told) or None,
        )  # fmt: skip

    def _action(self, job: Job) -> str:
        """A job that was done."""
        record = self.records[job.name]
        read = [self._used(job, "input", p, d) for p, d in record["inputs"].items()]
        made = [self._used(job, "output", p, d) for p, d in record["outputs"].items()]
        settings = [self._value(job, key, value) for key, value in self._given(job, record)]
        if job.stage.name == "train":
            read += [self._origin("weights/", origin) for origin in self.origins[job.name]]
        if job.stage.each == "suite":
            read += map(str, self.settings)
        kept = self._file(job.record, str(job.record), {"name": f"record of {job.name}"})
        identifier = self._add(
            f"#action/{job.name}", "CreateAction", name=job.name, description=job.command,
            instrument=_ref(job.stage.versioned()[0]), startTime=record["started"],
            endTime=record["ended"], actionStatus="http://schema.org/CompletedActionStatus",
            object=[_ref(i) for i in [*read, *settings]], result=[_ref(i) for i in made],
            subjectOf=_ref(kept), resourceUsage=[_ref(i) for i in self._usage(job, record)],
            environment=[_ref(i) for i in self._environment(record)],
        )  # fmt: skip
        return self._add(
            f"#control/{job.name}", "ControlAction", name=f"orchestrate {job.name}",
            instrument=_ref(f"Snakefile#{job.stage.name}"), object=_ref(identifier),
        )  # fmt: skip

    def _used(self, job: Job, side: str, path: str, digest: dict[str, Any]) -> str:
        identifier = self._artifact(path, digest)
        template = self.templates[path]
        parameters = [self._parameter(job.stage.name, side, template)]
        if side == "output" and self._is_result(template):
            parameters.append(self._parameter("workflow", "output", template))
        self.examples.setdefault(identifier, []).extend(parameters)
        return identifier

    def _given(self, job: Job, record: Record) -> Iterator[tuple[str, Any]]:
        if job.stage.each != "suite":
            yield from record["params"].items()

    def _value(self, job: Job, key: str, value: Any) -> str:
        """A setting with its value; mappings and lists as JSON."""
        short = next(iter(without_names({key: None})))
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        identifier = self._add(f"#setting/{key}", "PropertyValue", name=short, value=text)
        parameter = self._setting(job.stage, short)
        self.examples.setdefault(identifier, []).append(parameter)
        return identifier

    def _usage(self, job: Job, record: Record) -> Iterator[str]:
        """Seconds and memory that a job took."""
        amounts = {"seconds": (record["seconds"], "SEC")} | {
            f"peak memory ({name.removesuffix('_bytes')})": (value, "AD")
            for name, value in record.get("peak_memory", {}).items()
        }
        for name, (value, unit) in amounts.items():
            yield self._add(
                f"#usage/{job.name}/{name.replace(' ', '-')}", "PropertyValue", name=name,
                propertyID=f"hier:{name.split(' ')[0]}", value=str(value),
                unitCode=f"https://vocab.unece.org/rec20#{unit}",
            )  # fmt: skip

    def _environment(self, record: Record) -> Iterator[str]:
        """The machine's facts, each value once for all jobs."""
        for name, value in leaves(record.get("environment", {})).items():
            if value is not None:
                identifier = f"#environment/{name}/{quote(str(value), safe='')}"
                yield self._add(identifier, "PropertyValue", name=name, value=str(value))

    def _run_of_workflow(self, controls: list[str]) -> None:
        """The whole: from settings and archives to metrics and tables."""
        records = [self.records[job.name] for job in self.work]
        results = [
            f"{path}/" if template in FOLDERS else path
            for job in self.work
            for path, template in outputs_of(job)
            if self._is_result(template)
        ]
        archives = [f"#{path}/" for job in self.work for path, t in outputs_of(job) if t == ARCHIVE]
        when = {
            "startTime": min(record["started"] for record in records),
            "endTime": max(record["ended"] for record in records),
        }
        run = self._add(
            "#action/workflow", "CreateAction", name=f"suite {self.params['suite']}",
            description=self._name(), instrument=_ref("Snakefile"),
            object=[_ref(i) for i in [*map(str, self.settings), *archives]],
            result=[_ref(i) for i in results], **when,
            actionStatus="http://schema.org/CompletedActionStatus",
        )  # fmt: skip
        engine = self._add(
            "#hier", "SoftwareApplication", name="hier", softwareVersion=__version__,
            description="Ran each job as its command, called by Snakemake, by DVC, by `hier run` or "
            "by hand; records do not say by which.",
        )  # fmt: skip
        self._add(
            "#organize", "OrganizeAction", name="the jobs, one after the other", **when,
            instrument=_ref(engine), object=[_ref(i) for i in controls], result=_ref(run),
        )  # fmt: skip
        actions = [f"#action/{job.name}" for job in self.work]
        self.crate.root_dataset["mentions"] = [_ref(i) for i in [run, "#organize", *actions]]
