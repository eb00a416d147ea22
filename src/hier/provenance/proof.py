"""`hier verify`: each cell's grade against the reference, and whether the ledger vouches for it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from hier.config.run import Run
from hier.config.suite import Suite
from hier.errors import TamperedError
from hier.pipeline import METRICS, job
from hier.provenance.audit import STANDINGS, Audit, Finding
from hier.provenance.checkpoints import FOLDER as CHECKPOINTS
from hier.provenance.checkpoints import damaged_checkpoints
from hier.provenance.record import read_record
from hier.provenance.rerun import proved_by_rerun, refuted_by_rerun, tampered_proof
from hier.provenance.verify import environment_of, read_expected, settings_hash, verify_suite


@dataclass
class Proof:
    """What `hier verify` found.

    Attributes:
        cells: one row per cell, see `verify_suite`, and `reason` (why it is stale or tampered),
            `proved` (the date on which a rerun gave the same bytes) and `promise`.
        findings: one per job that is not as it should be.
        damaged: checkpoints that are not what their names say.
        notices: by job, what one should know of results that are in order.
        refuted: by run, which bytes a rerun gave otherwise, and when.
    """

    cells: pd.DataFrame
    findings: list[Finding] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    notices: dict[str, str] = field(default_factory=dict)
    refuted: dict[str, str] = field(default_factory=dict)

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
    return Proof(pd.DataFrame(rows), wrong, damaged_checkpoints(CHECKPOINTS), notices, refuted)


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
    """What the ledger has to say of a cell: a grade of its own, or a figure known by its hash."""
    if worst and _is_wrong(worst):
        return {"grade": worst.standing, "reason": f"{worst.job.name}: {worst.reason}"}
    if how := refuted_by_rerun(run.name):
        return {"grade": "refuted", "reason": f"a rerun gave other bytes {how}"}
    if worst and worst.standing == "unpulled" and pd.isna(cell["value"]):
        return {"reason": "not pulled; known by its hash"} | _by_hash(
            cell, run, suite, audit, reference
        )
    return {"reason": ""}


def _by_hash(
    cell: dict[str, Any], run: Run, suite: Suite, audit: Audit, reference: pd.DataFrame
) -> dict[str, Any]:
    """The grade of a figure that is not here, from the hash that dvc.lock has of its file."""
    path = METRICS.format(run=run.name)
    digest = audit.known_of(path)
    same_settings = (reference["settings_sha256"] == settings_hash(suite, run)).all()
    hashes = set(reference["metrics_sha256"]) | set(reference["metrics_md5"])
    if len(reference) and same_settings and {digest.get("sha256"), digest.get("md5")} & hashes:
        return {"grade": "identical", "value": cell["expected"]}
    return {"grade": "not pulled"}


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
