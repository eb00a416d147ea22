"""Entities of an RO-Crate, and of them the workflow as it can run: tools, steps, formal parameters.

Each is entered once, files with their size and hash. What was left out for its size stands in the metadata
all the same, under a name that begins with `#`.
"""

import mimetypes
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rocrate.model.contextentity import ContextEntity
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from hier import __version__
from hier.audit.origins import without_names
from hier.config.settings import PARAMS
from hier.files.hashing import Hasher, files_in
from hier.ledger.record import Record
from hier.pipeline import METRICS, STAGES, Stage

TERMS = dict.fromkeys(
    ("ParameterConnection", "connection", "environment", "resourceUsage", "sourceParameter",
     "targetParameter"), "https://w3id.org/ro/terms/workflow-run#",
) | {"sha256": "http://schema.org/"}  # fmt: skip
"""What the context of RO-Crate 1.1 lacks, spelled out so that no second context is fetched."""
KINDS = {
    ".smk": "text/x-python", ".py": "text/x-python", ".md": "text/markdown", ".j2": "text/plain",
    ".rst": "text/x-rst", ".webp": "image/webp", ".LICENSE": "text/plain",
    ".yaml": "application/yaml", ".parquet": "application/vnd.apache.parquet",
    ".tex": "application/x-tex", ".lock": "text/plain", ".cff": "application/yaml",
}  # fmt: skip
BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
BESIDE = ("dvc.yaml", "requirements.lock", "LICENSE", "CITATION.cff")
"""What belongs to the workflow but is code of no stage."""
PUT_AS = {"dvc.yaml": "dvc.yaml.txt"}
"""DVC takes every dvc.yaml below the project for its own, one in a crate as well."""
FOLDERS = {stage.outputs[0] for stage in STAGES.values() if stage.directory}
MAKERS = {template: stage for stage in STAGES.values() for template in stage.outputs}


class Entities:
    """What a crate holds. A second call with the same identifier gives the first one's entity."""

    def __init__(self, hasher: Hasher) -> None:
        self.hasher = hasher
        self.crate = ROCrate(version="1.1", gen_preview=True)
        self.crate.metadata.extra_terms.update({name: at + name for name, at in TERMS.items()})
        self.known: dict[str, Entity] = {}

    @property
    def root(self) -> Entity:
        return self.crate.root_dataset

    def add(self, identifier: str, kind: str, part: bool = False, /, **properties: Any) -> Entity:
        """Enter an entity that is no file here, with those of its properties that are known, and
        perhaps as a part of the whole."""
        if identifier not in self.known:
            known = {name: value for name, value in properties.items() if value not in (None, [])}
            entity = ContextEntity(self.crate, identifier, {"@type": kind} | known)
            self.known[identifier] = self.crate.add(entity)
            if part:
                self.root.append_to("hasPart", entity)
        return self.known[identifier]

    def file(self, source: Path, name: str | None = None, /, **properties: Any) -> Entity:
        """Enter a file that is copied, by default under its own path."""
        name = name or source.as_posix()
        if name not in self.known:
            properties = self.described(source) | {"name": source.name} | properties
            self.known[name] = self.crate.add_file(source, name, properties=properties)
        return self.known[name]

    def described(self, source: Path) -> dict[str, Any]:
        """A file's size, hash and kind."""
        kind = KINDS.get(source.suffix) or mimetypes.guess_type(source.name)[0] or "text/plain"
        of = self.hasher.file(source)
        return {"contentSize": str(of.size), "sha256": of.sha256, "encodingFormat": kind}

    def folder(self, path: str) -> Entity:
        """Enter a folder that is copied file by file."""
        members = [self.file(file, name=file.as_posix()) for file in files_in(Path(path))]
        return self.add(f"{path}/", "Dataset", True, name=path, hasPart=members)

    def absent(self, name: str, sha256: str | None, size: int | None, /, **more: Any) -> Entity:
        """Enter a file that is not in the crate."""
        return self.add(
            f"#{name}", "File", True, name=name, sha256=sha256,
            contentSize=None if size is None else str(size),
            encodingFormat=mimetypes.guess_type(name)[0] or "application/octet-stream",
            description="Not in this crate; sha256 says which bytes are meant.", **more,
        )  # fmt: skip

    def example(self, entity: Entity, parameters: Iterable[Entity]) -> Entity:
        """Note of which formal parameters something is a value."""
        before = {of["@id"] for of in entity.properties().get("exampleOfWork", [])}
        every = sorted(before | {parameter.id for parameter in parameters})
        entity["exampleOfWork"] = [{"@id": identifier} for identifier in every]
        return entity

    def write(self, folder: Path) -> None:
        """Write the crate; RO-Crate 1.1 wants a single value to stand alone, not in a list."""
        for entity in self.crate.get_entities():
            for name, value in list(entity.properties().items()):
                if isinstance(value, list) and len(value) == 1 and name[0] != "@":
                    entity[name] = value[0]
        self.crate.write(folder)


def is_result(template: str) -> bool:
    """Whether the files of a path in hier.pipeline are what the whole workflow is run for."""
    return template == METRICS or MAKERS[template].scope == "suite"


class Workflow:
    """The Snakefile with all that it names; `records` are those of the jobs in the crate by their stages,
    `settings` the files that go into the whole."""

    def __init__(
        self, to: Entities, records: dict[Stage, list[Record]], settings: list[Path], code: list[str]
    ) -> None:
        self.to, self.records, stages = to, records, list(records)
        source = Path("Snakefile")
        properties = to.described(source) | {
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
            "name": "HIER: from archives to the table of results",
            "conformsTo": {"@id": BIOSCHEMAS},
            "description": "Stages are the same for Snakemake and DVC.",
            "version": __version__,
        }
        self.entity = to.crate.add_workflow(
            source, source.name, main=True, lang="snakemake", properties=properties
        )
        identifier = "#workflow/input/params.yaml"
        given = to.add(identifier, "FormalParameter", name=PARAMS.name, additionalType="File")
        results = [t for t, maker in MAKERS.items() if is_result(t) and maker in stages]
        self.entity["hasPart"] = [self.tool(stage) for stage in stages]
        self.entity["step"] = [self._step(*step) for step in enumerate(stages)]
        self.entity["input"] = [given]
        self.entity["output"] = [self.parameter("workflow", "output", t) for t in results]
        self.entity["connection"] = [self._connection(t, "workflow", "output") for t in results]
        for path in settings:
            to.example(to.file(path), [given])
        for path in [*map(Path, BESIDE), *files_in(Path("workflow"))]:
            if path.exists():
                to.file(path, PUT_AS.get(path.name))
        for own in map(Path, dict.fromkeys(code)):
            for path in files_in(own) if own.is_dir() else [own]:
                to.file(path)

    def tool(self, stage: Stage) -> Entity:
        """A stage's own module, with the packages that it computes with."""
        module = Path(stage.read_from_git()[0])
        if found := self.to.known.get(module.as_posix()):
            return found
        used = {of for record in self.records[stage] for of in record["packages"].items()}
        settings = without_names(dict.fromkeys(stage.params)) if stage.scope != "suite" else {}
        properties = {
            "@type": ["File", "SoftwareSourceCode"],
            "name": stage.command(stage.scope.upper()),
            "description": module.read_text(encoding="utf-8").split('"""')[1].strip(),
            "version": __version__,
            "programmingLanguage": "Python",
            "softwareRequirements": [self._package(*of) for of in sorted(used, key=str)],
            "input": [
                *(self.parameter(stage.name, "input", t) for t in (*stage.inputs, *stage.fan_in)),
                *(self.setting(stage, key) for key in settings),
            ],
            "output": [self.parameter(stage.name, "output", t) for t in stage.outputs],
        }
        return self.to.file(module, **properties)

    def parameter(self, owner: str, side: str, template: str) -> Entity:
        """The formal parameter for the files of one path in hier.pipeline: an `input` or `output` of
        the `workflow` or of a stage."""
        name = template.rpartition("/")[2]
        return self.to.add(
            f"#{owner}/{side}/{name}", "FormalParameter", name=name, description=template,
            additionalType="Dataset" if template in FOLDERS else "File",
        )  # fmt: skip

    def setting(self, stage: Stage, key: str) -> Entity:
        """The formal parameter of a setting, by its name within the run or dataset."""
        identifier = f"#{stage.name}/setting/{key}"
        return self.to.add(identifier, "FormalParameter", name=key, additionalType="Text")

    def _step(self, position: int, stage: Stage) -> Entity:
        read = [t for t in (*stage.inputs, *stage.fan_in) if MAKERS[t] in self.records]
        return self.to.add(
            f"Snakefile#{stage.name}", "HowToStep", name=stage.name, position=str(position),
            workExample=self.tool(stage),
            connection=[self._connection(template, stage.name, "input") for template in read],
        )  # fmt: skip

    def _package(self, name: str, version: str | None) -> Entity:
        address = f"pkg:pypi/{name}" + (f"@{version}" if version else "")  # a package URL
        return self.to.add(address, "SoftwareApplication", name=name, softwareVersion=version)

    def _connection(self, template: str, owner: str, side: str) -> Entity:
        source = self.parameter(MAKERS[template].name, "output", template)
        return self.to.add(
            f"#connection{source.id[1:].replace('/output/', '-')}-to-{owner}-{side}",
            "ParameterConnection", sourceParameter=source,
            targetParameter=self.parameter(owner, side, template),
        )  # fmt: skip
