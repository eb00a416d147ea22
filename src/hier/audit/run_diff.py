"""What differs between two runs: what went in first, then how, then what came out.

Names are compared without the run's and the dataset's own, so that the seed of one is held against
the seed of the other.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from hier.audit.audit import LedgerAudit
from hier.audit.lineage import leaves
from hier.audit.origins import without_names
from hier.config.settings import Settings
from hier.errors import UnknownNameError
from hier.jobs import job
from hier.ledger.record import believed, same
from hier.pipeline import STAGES
from hier.results.expected import read_values

STEPS = tuple(name for name, stage in STAGES.items() if stage.scope != "suite")
MADE_BY = {path: name for name in STEPS for path in STAGES[name].outputs}
KINDS = ("inputs", "parameters", "code", "packages", "environment", "outputs")
"""What is held against each other, in the order in which a difference is told."""
Side = dict[str, dict[str, dict[str, Any]]]
"""Of a run, by stage and kind, names and values; of a stage without a record, parameters alone."""


@dataclass
class Difference:
    """One thing that is not the same. `one` and `other` are None where it is lacking."""

    name: str
    one: Any
    other: Any
    stages: list[str] = field(default_factory=list)  # which read or used it (of an output: which made it)
    through: str | None = None  # of an input, the stage that made it


@dataclass
class Comparison:
    """Two runs, what keeps them from being compared in full, and how they differ, by kind."""

    one: str
    other: str
    notes: list[str]
    differences: dict[str, list[Difference]]


def compare(one: str, other: str, settings: Settings) -> Comparison:
    """Hold the records of two runs against each other, stage by stage; UnknownNameError where params.yaml
    has no such run."""
    audit = LedgerAudit(settings)
    for name in (one, other):
        if name not in settings.runs:
            raise UnknownNameError("run", name, list(settings.runs))
    notes: list[str] = []
    mine, theirs = (_side(name, audit, notes) for name in (one, other))
    audit.hasher.save()
    found = {kind: _differences(kind, mine, theirs) for kind in KINDS}
    found["figures"] = _unlike(read_values(one), read_values(other), ["evaluate"])
    return Comparison(one, other, [*dict.fromkeys(notes)], found)


def as_data(found: Comparison) -> dict[str, Any]:
    """A comparison for machines."""
    data = asdict(found)
    kinds = data.pop("differences")
    return data | kinds | {"identical": not any(kinds.values())}


def _side(run: str, audit: LedgerAudit, notes: list[str]) -> Side:
    """What is known of each stage of a run; notes are made of what keeps it from being all."""
    dataset, side = audit.settings.runs[run]["dataset"], Side()
    for name in STEPS:
        work = job(name, run if STAGES[name].scope == "run" else dataset, audit.settings)
        finding = audit.finding(work) if work.name in {j.name for j in audit.jobs} else None
        if record := believed(work):
            notes += [finding.describe()] if finding and finding.reason else []
            side[name] = {
                "inputs": _anonymous(record["inputs"], run, dataset),
                "parameters": leaves(without_names(record["params"])),
                "code": record["versioned"],
                "packages": record["packages"],
                "environment": leaves(record.get("environment", {})),
                "outputs": _anonymous(record["outputs"], run, dataset),
            }
            continue
        side[name] = {"parameters": leaves(without_names(work.params))}
        because = f" ({finding.reason})" if finding and finding.status == "tampered" else ""
        notes.append(
            f"{work.name} has no record that can be believed{because}; its parameters are those of "
            f"params.yaml, the rest is not known. Make it with: {work.command}"
        )
    return side


def _anonymous(files: dict[str, Any], run: str, dataset: str) -> dict[str, Any]:
    """Files by the paths of hier.pipeline, such as `runs/{run}/metrics.json`."""
    runs, data = (f"runs/{run}/", "runs/{run}/", 1), (f"data/{dataset}/", "data/{dataset}/", 1)
    return {path.replace(*runs).replace(*data): digest for path, digest in files.items()}


def _differences(kind: str, one: Side, other: Side) -> list[Difference]:
    """What differs in some kind of thing, over all stages; the same difference is told once."""
    found: dict[str, Difference] = {}
    for stage in STEPS:
        if kind not in one[stage] or kind not in other[stage]:
            continue
        for told in _unlike(one[stage][kind], other[stage][kind], []):
            told.through = MADE_BY.get(told.name) if kind == "inputs" else None
            found.setdefault(f"{told.name} {told.one!r} {told.other!r}", told).stages.append(stage)
    return list(found.values())


def _unlike(mine: dict[str, Any], theirs: dict[str, Any], stages: list[str]) -> list[Difference]:
    return [
        Difference(name, mine.get(name), theirs.get(name), [*stages])
        for name in dict.fromkeys([*mine, *theirs])
        if not same(mine.get(name), theirs.get(name))
    ]
