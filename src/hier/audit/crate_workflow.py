"""The workflow of a crate as it can run: its tools, its steps, their formal parameters and connections."""

from pathlib import Path

from rocrate.model.entity import Entity

from hier import __version__
from hier.audit.crate_entities import Entities
from hier.audit.origins import without_names
from hier.config.settings import PARAMS
from hier.files.hashing import files_in
from hier.ledger.record import Record
from hier.pipeline import METRICS, STAGES, Stage

BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
BESIDE = ("dvc.yaml", "requirements.lock", "LICENSE", "CITATION.cff")
"""What belongs to the workflow but is code of no stage."""
PUT_AS = {"dvc.yaml": "dvc.yaml.txt"}
"""DVC takes every dvc.yaml below the project for its own, one in a crate as well."""
FOLDERS = {stage.outputs[0] for stage in STAGES.values() if stage.directory}
MAKERS = {template: stage for stage in STAGES.values() for template in stage.outputs}


def is_result(template: str) -> bool:
    """Whether the files of a path in hier.pipeline are what the whole workflow is run for."""
    return template == METRICS or MAKERS[template].scope == "suite"


class Workflow:
    """The Snakefile with all that it names; `records` are those of the exported jobs by their stages,
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

    def step(self, stage: Stage) -> Entity:
        return self.to.known[f"Snakefile#{stage.name}"]

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
