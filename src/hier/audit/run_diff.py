"""What differs between two runs: what went in first, then how, then what came out.

Names are compared without the run's and the dataset's own, so that the seed of one is held against
the seed of the other.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from hier.audit.audit import Audit
from hier.audit.lineage import leaves, without_names
from hier.config.params import select
from hier.errors import TamperedError, UnknownNameError
from hier.ledger.record import Record, read_record, same
from hier.pipeline import STAGES, Job, job
from hier.results.measures import read_figures

STEPS = tuple(name for name, stage in STAGES.items() if stage.each != "suite")
Side = dict[str, Any]
What = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass
class Difference:
    """One thing that is not the same. `one` and `other` are None where it is lacking.

    Attributes:
        stages: which stages read or used it (of an output: which one made it).
        through: of an input, the stage that made it.
    """

    name: str
    one: Any
    other: Any
    stages: list[str] = field(default_factory=list)
    through: str | None = None


@dataclass
class Comparison:
    """Two runs, and how they differ, in the order in which a difference is told."""

    one: str
    other: str
    notes: list[str]
    inputs: list[Difference]
    parameters: list[Difference]
    code: list[Difference]
    packages: list[Difference]
    environment: list[Difference]
    outputs: list[Difference]
    figures: list[Difference]

    def kinds(self) -> Iterator[tuple[str, list[Difference]]]:
        for kind in KINDS:
            yield kind, getattr(self, kind)


KINDS = ("inputs", "parameters", "code", "packages", "environment", "outputs", "figures")


def compare(one: str, other: str, params: dict[str, Any]) -> Comparison:
    """Hold the records of two runs of params.yaml against each other, stage by stage.

    Raises:
        UnknownNameError: no such run.
    """
    audit = Audit(params)
    for name in (one, other):
        if name not in params["runs"]:
            raise UnknownNameError("run", name, list(params["runs"]))
    notes: list[str] = []
    mine, theirs = (_side(name, audit, notes) for name in (one, other))
    audit.hasher.save()

    def found(what: What) -> list[Difference]:
        return _found(mine, theirs, what)

    return Comparison(
        one, other, notes,
        inputs=_inputs(mine, theirs),
        parameters=found(_parameters),
        code=found(lambda step: dict(step["record"]["versioned"])),
        packages=found(lambda step: dict(step["record"]["packages"])),
        environment=found(lambda step: leaves(step["record"].get("environment", {}))),
        outputs=found(lambda step: _anonymous(step["record"]["outputs"], step)),
        figures=_figures(one, other),
    )  # fmt: skip


def as_data(found: Comparison) -> dict[str, Any]:
    """A comparison for machines."""
    return asdict(found) | {"identical": not any(differences for _, differences in found.kinds())}


def _side(run: str, audit: Audit, notes: list[str]) -> Side:
    """What is known of each stage of a run: its record ({} where there is none), its parameters."""
    side: Side = {}
    for name in STEPS:
        stage = STAGES[name]
        key = run if stage.each == "run" else audit.params["runs"][run]["dataset"]
        work = job(name, key, audit.params)
        record = _record(work, audit, notes)
        present = {k: select(audit.params, k) for k in work.params}
        side[name] = {
            "record": record or {},
            "params": record["params"] if record else present,
            "run": run,
            "dataset": audit.params["runs"][run]["dataset"],
        }
    return side


def _record(work: Job, audit: Audit, notes: list[str]) -> Record | None:
    """A job's record; a note is made of whatever keeps it from being the whole truth."""
    finding = audit.finding(work) if work.name in {j.name for j in audit.jobs} else None
    try:
        record = read_record(work)
    except TamperedError:
        record = None
    if record is None:
        because = f" ({finding.reason})" if finding and finding.standing == "tampered" else ""
        note = (
            f"{work.name} has no record that can be believed{because}; its parameters are those of "
            f"params.yaml, the rest is not known. Make it with: {work.command}"
        )
    elif finding and finding.reason:
        note = finding.in_words()
    else:
        return record
    if note not in notes:
        notes.append(note)
    return record


def _found(one: Side, other: Side, what: What) -> list[Difference]:
    """What differs in some kind of thing, over all stages; the same difference is told once.

    Of a stage of which one run has no record, only the parameters are known.
    """
    found: dict[str, Difference] = {}
    for name in STEPS:
        if what is not _parameters and not (one[name]["record"] and other[name]["record"]):
            continue
        mine, theirs = what(one[name]), what(other[name])
        for key in [*mine, *(key for key in theirs if key not in mine)]:
            values = mine.get(key), theirs.get(key)
            if same(*values):
                continue
            seen = found.setdefault(f"{key} {values}", Difference(key, *values))
            seen.stages.append(name)
    return list(found.values())


def _inputs(one: Side, other: Side) -> list[Difference]:
    """Inputs that are not the same bytes, with the stage that each came from."""
    found = _found(one, other, lambda s: _anonymous(s["record"]["inputs"], s))
    makers = {path: name for name in STEPS for path in STAGES[name].outputs}
    for difference in found:
        difference.through = makers.get(difference.name)
    return found


def _parameters(step: dict[str, Any]) -> dict[str, Any]:
    return leaves(without_names(step["params"]))


def _anonymous(files: dict[str, Any], step: dict[str, Any]) -> dict[str, Any]:
    """Files by the paths of hier.pipeline, such as `runs/{run}/model.safetensors`."""
    run, dataset = f"runs/{step['run']}/", f"data/{step['dataset']}/"
    return {
        path.replace(run, "runs/{run}/", 1).replace(dataset, "data/{dataset}/", 1): digest
        for path, digest in files.items()
    }


def _figures(one: str, other: str) -> list[Difference]:
    mine, theirs = read_figures(one), read_figures(other)
    return [
        Difference(name, mine.get(name), theirs.get(name), ["evaluate"])
        for name in [*mine, *(name for name in theirs if name not in mine)]
        if mine.get(name) != theirs.get(name)
    ]
