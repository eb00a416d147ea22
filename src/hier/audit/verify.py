"""`hier verify`: each cell's grade against the reference, and whether the ledger vouches for it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from hier.audit.audit import STANDINGS, Audit, Finding
from hier.audit.rerun import proved_by_rerun, refuted_by_rerun, tampered_proof
from hier.config.run import Run
from hier.config.suite import Suite
from hier.errors import StaleError, TamperedError
from hier.files.checkpoint_names import FOLDER as CHECKPOINTS
from hier.files.checkpoint_names import damaged_checkpoints
from hier.ledger.dvc_lock import AWAY
from hier.ledger.record import read_record
from hier.pipeline import METRICS, job
from hier.results.grades import (
    environment_of,
    read_expected,
    record_expected,
    settings_hash,
    verify_suite,
)


@dataclass(frozen=True)
class LedgerState:
    """How far dvc.lock has the results of a suite.

    Attributes:
        stages: how many there are.
        entered: how many dvc.lock has as they should be.
        waiting: the names of those that are current, and that `hier adopt` would enter.
        uncommitted: of dvc.lock and the outputs that git keeps, what is not committed.
    """

    stages: int = 0
    entered: int = 0
    waiting: tuple[str, ...] = ()
    uncommitted: tuple[str, ...] = ()


@dataclass
class Proof:
    """What `hier verify` found.

    Attributes:
        cells: one row per cell, see `verify_suite`, and `reason` (why it is stale, tampered or not
            here), `by_hash` (of what is not here, whether dvc.lock has the bytes of the reference
            run's metrics file; else None), `proved` (the date on which a rerun gave the same bytes)
            and `promise`.
        findings: one per job that is not as it should be.
        damaged: checkpoints that are not what their names say.
        notices: by job, what one should know of results that are in order.
        refuted: by run, which bytes a rerun gave otherwise, and when.
        ledger: how far dvc.lock has the results.
    """

    cells: pd.DataFrame
    findings: list[Finding] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    notices: dict[str, str] = field(default_factory=dict)
    refuted: dict[str, str] = field(default_factory=dict)
    ledger: LedgerState = field(default_factory=LedgerState)

    @property
    def tampered(self) -> bool:
        return bool(self.damaged) or any(f.standing == "tampered" for f in self.findings)


def prove(suite: Suite, deep: bool = False) -> Proof:
    """Audit every job, grade every cell.

    Args:
        deep: read every byte instead of trusting sizes, times and inodes.
    """
    audit = Audit(suite.model_dump(), deep)
    found = {finding.job.name: finding for finding in audit.findings()}
    cells = verify_suite(suite, damaged_too=True)  # the audit names it
    expected = read_expected(suite)
    rows = []
    for name, group in cells.groupby("run", sort=False):
        run = suite.run(str(name))
        worst = _worst(found[job] for job in _chain(run) if job in found)
        reference = expected[expected["run"] == name]
        common = {
            "proved": None if _is_wrong(worst) else proved_by_rerun(run.name),
            "promise": _promise(run, audit.params, reference),
        }
        for cell in group.to_dict("records"):
            rows.append(cell | _overlaid(cell, worst, run, suite, audit, reference) | common)
    wrong = [f for f in found.values() if _is_wrong(f)] + list(_tampered_proofs(suite, audit))
    notices = {f.job.name: f.notice for f in found.values() if f.notice}
    refuted = {run: how for run in suite.runs if (how := refuted_by_rerun(run))}
    damaged, ledger = damaged_checkpoints(CHECKPOINTS), _state(list(found.values()), audit)
    return Proof(pd.DataFrame(rows), wrong, damaged, notices, refuted, ledger)


def update_expected(suite: Suite) -> Path:
    """Write the present results as the reference, see `record_expected`.

    Raises:
        StaleError: a result is known by its hash alone, so that its machine is not known.
    """
    if away := next((f for f in Audit(suite.model_dump()).findings() if f.standing == AWAY), None):
        raise StaleError(
            f"{away.in_words()}; a reference is what this machine has made, so nothing was written. "
            "Make it with: snakemake --cores all"
        )
    return record_expected(suite)


def _state(findings: list[Finding], audit: Audit) -> LedgerState:
    in_order = [f for f in findings if f.standing in ("current", AWAY)]
    waiting = tuple(f.job.name for f in in_order if not f.adopted)
    entered = len(in_order) - len(waiting)
    uncommitted = tuple(audit.uncommitted()) if entered else ()
    return LedgerState(len(findings), entered, waiting, uncommitted)


def _is_wrong(finding: Finding | None) -> bool:
    return finding is not None and finding.standing in ("stale", "tampered")


def _tampered_proofs(suite: Suite, audit: Audit) -> Iterator[Finding]:
    """Runs whose note of a rerun is not as it was written; their results may be in order."""
    for run in suite.runs:
        if reason := tampered_proof(run):
            yield Finding(job("evaluate", run, audit.params), "tampered", reason)


def _overlaid(
    cell: dict[str, Any], worst: Finding | None, run: Run, suite: Suite, audit: Audit,
    reference: pd.DataFrame,
) -> dict[str, Any]:  # fmt: skip
    """What the ledger has to say of a cell: a grade of its own, and why."""
    said: dict[str, Any] = {"reason": "", "by_hash": None}
    if worst and _is_wrong(worst):
        said |= {"grade": worst.standing, "reason": f"{worst.job.name}: {worst.reason}"}
    elif how := refuted_by_rerun(run.name):
        said |= {"grade": "refuted", "reason": f"a rerun gave other bytes {how}"}
    elif worst and worst.standing == AWAY:
        by_hash = _is_the_references(run, suite, audit, reference)
        held = f"its committed hash is {'' if by_hash else 'not '}the reference's"
        said |= {"grade": AWAY, "reason": f"{worst.reason}; {held}", "by_hash": by_hash}
    elif worst and worst.standing == "not run" and cell["grade"] != "no data":
        said |= {"grade": "not run", "reason": f"{worst.job.name}: {worst.reason}"}
    return said


def _is_the_references(run: Run, suite: Suite, audit: Audit, reference: pd.DataFrame) -> bool:
    """Whether dvc.lock has the bytes of the reference run's metrics file, for the same settings."""
    digest = audit.known_of(METRICS.format(run=run.name))
    same_settings = (reference["settings_sha256"] == settings_hash(suite, run)).all()
    hashes = set(reference["metrics_sha256"]) | set(reference["metrics_md5"])
    found = {digest.get("sha256"), digest.get("md5")} & hashes
    return bool(len(reference) and same_settings and found)


def _worst(findings: Iterator[Finding]) -> Finding | None:
    """The worst standing on the way to a run's figures; of equals the earliest, the cause."""
    ordered = list(findings)
    return max(ordered, key=lambda f: STANDINGS.index(f.standing)) if ordered else None


def _chain(run: Run) -> list[str]:
    """The names of the jobs that lead to a run's figures."""
    return [f"{stage}@{run.dataset}" for stage in ("download", "prepare")] + [
        f"{stage}@{run.name}" for stage in ("train", "embed", "evaluate")
    ]


def _promise(run: Run, params: dict[str, Any], reference: pd.DataFrame) -> str:
    """Which promise holds between this result and the reference run's, and why."""
    if not len(reference):
        return ""
    record = _training_record(run, params)
    if record is None:
        return ""
    here = environment_of(record, run)
    there = str(reference["environment"].iloc[0])
    others = [
        f"{a} here, {b} there" for a, b in zip(_parts(here), _parts(there), strict=False) if a != b
    ]
    if not others:
        return "the same bytes (same processor, packages and threads)"
    return f"within tolerance ({'; '.join(others)})"


def _training_record(run: Run, params: dict[str, Any]) -> dict[str, Any] | None:
    """The record of a run's training, where it can be read."""
    try:
        return read_record(job("train", run.name, params))
    except TamperedError:
        return None


def _parts(environment: str) -> list[str]:
    """Of an environment in words, what can change a bit of a result: Python is not of it."""
    return [part for part in environment.split("; ") if not part.startswith("Python ")]
