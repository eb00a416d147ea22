"""What differs between two runs: what went in first, then how, then what came out.

Names are compared without the run's and the dataset's own, so that the seed of one is held against
the seed of the other.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from hier.audit.audit import LedgerAudit
from hier.audit.lineage import leaves
from hier.audit.origins import without_names
from hier.config.settings import Settings
from hier.errors import UnknownNameError
from hier.jobs import Job, job
from hier.ledger.record import Record, believed, same
from hier.pipeline import STAGES
from hier.results.metrics import read_values

STEPS = tuple(name for name, stage in STAGES.items() if stage.scope != "suite")
MADE_BY = {path: name for name in STEPS for path in STAGES[name].outputs}


class Side(NamedTuple):
    """One stage of a run: its record (None: there is none that can be believed), its parameters."""

    run: str
    dataset: str
    record: Record | None
    params: dict[str, Any]

    def of(self, kind: str) -> dict[str, Any]:
        """What the record says, of files by the paths of hier.pipeline (`runs/{run}/metrics.json`)."""
        run, dataset = f"runs/{self.run}/", f"data/{self.dataset}/"
        return {
            path.replace(run, "runs/{run}/", 1).replace(dataset, "data/{dataset}/", 1): said
            for path, said in (self.record or {}).get(kind, {}).items()
        }


# What is held against each other, in the order in which a difference is told.
KINDS: dict[str, Callable[[Side], dict[str, Any]]] = {
    "inputs": lambda side: side.of("inputs"),
    "parameters": lambda side: leaves(without_names(side.params)),
    "code": lambda side: side.of("versioned"),
    "packages": lambda side: side.of("packages"),
    "environment": lambda side: leaves(side.of("environment")),
    "outputs": lambda side: side.of("outputs"),
}


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
    """Two runs, what keeps them from being compared in full, and how they differ, by kind."""

    one: str
    other: str
    notes: list[str]
    differences: dict[str, list[Difference]]


def compare(one: str, other: str, settings: Settings) -> Comparison:
    """Hold the records of two runs of params.yaml against each other, stage by stage.

    Raises:
        UnknownNameError: no such run.
    """
    audit = LedgerAudit(settings)
    for name in (one, other):
        if name not in settings.runs:
            raise UnknownNameError("run", name, list(settings.runs))
    notes: list[str] = []
    mine, theirs = (_sides(name, audit, notes) for name in (one, other))
    audit.hasher.save()
    found = {kind: _differences(kind, mine, theirs) for kind in KINDS}
    found["figures"] = _unlike(read_values(one), read_values(other), ["evaluate"])
    return Comparison(one, other, [*dict.fromkeys(notes)], found)


def as_data(found: Comparison) -> dict[str, Any]:
    """A comparison for machines."""
    data = asdict(found)
    kinds = data.pop("differences")
    return data | kinds | {"identical": not any(kinds.values())}


def _sides(run: str, audit: LedgerAudit, notes: list[str]) -> dict[str, Side]:
    """What is known of each stage of a run; notes are made of what keeps it from being all."""
    dataset, sides = audit.settings.runs[run]["dataset"], {}
    for name in STEPS:
        work = job(name, run if STAGES[name].scope == "run" else dataset, audit.settings)
        record, note = _record(work, audit)
        notes += [note] if note else []
        sides[name] = Side(run, dataset, record, record["params"] if record else work.params)
    return sides


def _record(work: Job, audit: LedgerAudit) -> tuple[Record | None, str]:
    """A job's record, and what keeps it from being the whole truth."""
    finding = audit.finding(work) if work.name in {j.name for j in audit.jobs} else None
    if record := believed(work):
        return record, finding.describe() if finding and finding.reason else ""
    because = f" ({finding.reason})" if finding and finding.status == "tampered" else ""
    return None, (
        f"{work.name} has no record that can be believed{because}; its parameters are those of "
        f"params.yaml, the rest is not known. Make it with: {work.command}"
    )


def _differences(kind: str, one: dict[str, Side], other: dict[str, Side]) -> list[Difference]:
    """What differs in some kind of thing, over all stages; the same difference is told once.

    Of a stage of which one run has no record, only the parameters are known.
    """
    found: dict[str, Difference] = {}
    for stage in STEPS:
        if kind != "parameters" and not (one[stage].record and other[stage].record):
            continue
        for told in _unlike(KINDS[kind](one[stage]), KINDS[kind](other[stage]), []):
            told.through = MADE_BY.get(told.name) if kind == "inputs" else None
            found.setdefault(f"{told.name} {told.one!r} {told.other!r}", told).stages.append(stage)
    return list(found.values())


def _unlike(mine: dict[str, Any], theirs: dict[str, Any], stages: list[str]) -> list[Difference]:
    return [
        Difference(name, mine.get(name), theirs.get(name), [*stages])
        for name in dict.fromkeys([*mine, *theirs])
        if not same(mine.get(name), theirs.get(name))
    ]
