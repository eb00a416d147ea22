"""`hier verify`: each cell's grade against the reference, and whether the ledger vouches for it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd

from hier.audit.audit import STATUSES, Finding, LedgerAudit
from hier.audit.rerun import proved_by_rerun, refuted_by_rerun, tampered_proof
from hier.config.run import Run
from hier.config.settings import Settings
from hier.config.suite import Suite
from hier.dvc_view import why_unusable
from hier.errors import StaleError
from hier.files.checkpoint_names import FOLDER as CHECKPOINTS
from hier.files.checkpoint_names import damaged_checkpoints
from hier.files.hashing import hash_file
from hier.jobs import job, jobs_of, no_data
from hier.ledger.dvc_lock import AWAY
from hier.pipeline import METRICS
from hier.results.cells import graded_cells
from hier.results.expected import (
    DIGITS,
    PORTABLE,
    Reference,
    artifacts,
    environment_of,
    promise,
    record_expected,
    references,
    settings_hash,
)
from hier.results.grades import Grade


@dataclass(frozen=True)
class LedgerState:
    """How far dvc.lock has the results of a suite."""

    stages: int = 0
    entered: int = 0  # how many of the stages dvc.lock has as they should be
    waiting: tuple[str, ...] = ()  # the names of those that are current, and that `hier adopt` would enter
    uncommitted: tuple[str, ...] = ()  # of dvc.lock and the outputs that git keeps, what is not committed
    unusable: str = ""  # why dvc.yaml, as it is here, lets none of `waiting` be entered


@dataclass
class VerificationReport:
    """What `hier verify` found.

    Of each cell it has the row of `graded_cells` and `reason` (why it is not in order), `by_hash` (of what is
    not here, whether dvc.lock has the bytes of the reference run's metrics file; else None), `proved` (the
    date on which a rerun gave the same bytes) and `promise`.
    """

    cells: pd.DataFrame
    findings: list[Finding] = field(default_factory=list)  # one per job that is not as it should be
    damaged: list[Path] = field(default_factory=list)  # checkpoints that are not what their names say
    notices: dict[str, str] = field(default_factory=dict)  # by job, what to know of results in order
    refuted: dict[str, str] = field(default_factory=dict)  # by run, which bytes a rerun gave otherwise
    ledger: LedgerState = field(default_factory=LedgerState)

    @property
    def tampered(self) -> bool:
        return bool(self.damaged) or any(f.status == "tampered" for f in self.findings)


def verify_all(suite: Suite, deep: bool = False) -> VerificationReport:
    """Audit every job, grade every cell; `deep` reads every byte, trusting no size, time or inode."""
    audit = LedgerAudit(Settings.of(suite), deep)
    found = {finding.job.name: finding for finding in audit.findings()}
    cells = graded_cells(suite, damaged_too=True)  # the audit names it
    refuted = {run: how for run in suite.runs if (how := refuted_by_rerun(run))}
    expected, rows = references(suite.suite), []
    for name, group in cells.groupby("run", sort=False):
        run = suite.run(str(name))
        steps = [s.name for s in jobs_of(run.name, audit.settings) if s.stage.name != "views"]
        before = [found[step] for step in steps if step in found]
        # Of equals the earliest, which is the cause.
        worst = max(before, key=lambda f: STATUSES.index(f.status), default=None) or _without_data(run, audit)
        reference = [row for row in expected if row["run"] == name]
        away = worst is not None and worst.status == AWAY
        by_hash = _is_the_references(run, suite, audit, reference) if away else None
        proved = None if _is_wrong(worst) else proved_by_rerun(run.name)
        common = {"proved": proved, "promise": _promise(run, audit.settings, reference)}
        parted = _parted(run, audit.settings, reference)
        for cell in group.to_dict("records"):
            grade, reason = _overlaid(cell["grade"], worst, refuted.get(run.name), by_hash)
            known = by_hash if grade == Grade.NOT_HERE else None
            if grade in (Grade.DIFFERS, Grade.WITHIN, Grade.OUT):
                reason = parted
            elif grade == Grade.NO_REFERENCE:
                reason = _unreferenced(cell["measure"], reference, settings_hash(suite, run))
            rows.append(cell | {"grade": grade.value, "reason": reason, "by_hash": known} | common)
    wrong = [f for f in found.values() if _is_wrong(f)]
    for name in suite.runs:  # of which the note of a rerun may be forged, and the rest in order
        if forged := tampered_proof(name):
            wrong.append(Finding(job("evaluate", name, audit.settings), "tampered", forged))
    notices = {f.job.name: f.notice for f in found.values() if f.notice}
    damaged, ledger = damaged_checkpoints(CHECKPOINTS), _state(list(found.values()), audit)
    return VerificationReport(pd.DataFrame(rows), wrong, damaged, notices, refuted, ledger)


def update_expected(suite: Suite, beside: Iterable[Suite] = ()) -> Path:
    """Write the present results as the reference, with the spread over the seeds of the suite and of those
    `beside` it; StaleError where one is known by its hash alone."""
    for finding in LedgerAudit(Settings.of(suite)).findings():
        if finding.status == AWAY:
            raise StaleError(
                f"{finding.describe()}; a reference is what this machine has made, so nothing was "
                "written. Make it with: snakemake --cores all"
            )
    return record_expected(suite, beside)


def _state(findings: list[Finding], audit: LedgerAudit) -> LedgerState:
    in_order = [f for f in findings if f.status in ("current", AWAY)]
    waiting = tuple(f.job.name for f in in_order if not f.adopted)
    entered = len(in_order) - len(waiting)
    uncommitted = tuple(audit.uncommitted()) if entered else ()
    unusable = (waiting and why_unusable(audit.settings)) or ""
    return LedgerState(len(findings), entered, waiting, uncommitted, unusable)


def _is_wrong(finding: Finding | None) -> bool:
    return finding is not None and finding.status in ("stale", "tampered")


def _overlaid(
    grade: str, worst: Finding | None, refuted: str | None, by_hash: bool | None
) -> tuple[Grade, str]:
    """A cell's grade with what the ledger has to say of it, and why."""
    if worst and _is_wrong(worst):
        return Grade(worst.status), f"{worst.job.name}: {worst.reason}"
    if refuted:
        return Grade.REFUTED, f"a rerun gave other bytes {refuted}"
    if worst and worst.status == AWAY:
        said = f"its committed hash is {'' if by_hash else 'not '}the reference's"
        return Grade.NOT_HERE, f"{worst.reason}; {said}"
    if worst and worst.status == "not run" and grade != Grade.NO_DATA:
        return Grade.NOT_RUN, f"{worst.job.name}: {worst.reason}"
    return Grade(grade), ""


def _without_data(run: Run, audit: LedgerAudit) -> Finding | None:
    """That a result is committed alone: its data could not be had here, so none of its jobs is audited."""
    note = no_data(run.dataset)
    if not note.exists() or not Path(METRICS.format(run=run.name)).exists():
        return None
    said = f"{note} says why the data could not be had"
    return Finding(job("evaluate", run.name, audit.settings), AWAY, said)


def _is_the_references(run: Run, suite: Suite, audit: LedgerAudit, rows: list[Reference]) -> bool:
    """Whether dvc.lock, or the file itself where its data could not be had, has the bytes of the reference
    run's metrics file, for the same settings."""
    path, settings = METRICS.format(run=run.name), settings_hash(suite, run)
    digest = audit.known_of(path) if path in audit.maker else asdict(hash_file(Path(path)))
    same_settings = all(row["settings_sha256"] == settings for row in rows)
    hashes = {row[f"metrics_{kind}"] for row in rows for kind in ("sha256", "md5")}
    return bool(same_settings and {digest.get("sha256"), digest.get("md5")} & (hashes - {None}))


def _promise(run: Run, settings: Settings, reference: list[Reference]) -> str:
    """Which promise holds between this result and the reference run's, and why."""
    here = environment_of(run, settings)
    if here is None or not reference:
        return ""
    same_bytes, others = promise(here, reference[0]["environment"] or "")
    if not same_bytes:
        return f"within the spread of seeds ({'; '.join(others) or 'the reference says no environment'})"
    why = PORTABLE if PORTABLE in here else "same processor and kernels"
    return f"the same bytes ({why}, same packages and threads)"


def _unreferenced(measure: str, reference: list[Reference], settings: str) -> str:
    """Why a cell has nothing to be held against."""
    row = next((row for row in reference if row["measure"] == measure), None)
    if row is None:
        return "there is no reference run"
    if row["settings_sha256"] != settings:
        return "the settings are not the reference run's"
    return "the same bytes are not promised, and one seed has no spread"


def _parted(run: Run, settings: Settings, reference: list[Reference]) -> str:
    """The first artifact that is not the reference run's, and what differs in the records; "" of none."""
    environment = environment_of(run, settings)
    if environment is None or not reference:
        return ""
    there = dict(each.split(":") for each in (reference[0]["artifacts"] or "").split())
    here = artifacts(run.name, settings)
    first = next((n for n in here if here[n][:DIGITS] != there.get(n)), "") if there else ""
    others = promise(environment, reference[0]["environment"] or "")[1]
    said = [f"the first artifact that differs is {first}"] if first else []
    return "; ".join([*said, *(others or ["the records name the same environment"])])
