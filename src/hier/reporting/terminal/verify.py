"""What `hier verify` found, on the terminal and as JSON."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from hier.audit.audit import OTHER_RESULT, WHOLE
from hier.audit.verify import LedgerState, VerificationReport
from hier.errors import ReproductionError, RerunError, TamperedError
from hier.ledger.dvc_lock import COMMITTED, LOCK
from hier.project import LINKABLE
from hier.results.cells import rows_without_nan
from hier.results.grades import Grade
from hier.results.measures import show
from hier.results.table import describe

GIT = "git checkout "
COLOURS = {"good": "green", "unknown": "yellow", "bad": "red"}


def print_report(report: VerificationReport) -> None:
    """Every cell with its grade, what is wrong by name, which promise applies, the ledger's state."""
    console = Console(width=None if Console().is_terminal else 140)
    console.print(table_of(report.cells))
    for sentence in describe(report.cells):
        console.print(sentence, highlight=False)
    for finding in report.findings:
        print(finding.describe())
    for path in report.damaged:
        print(f"{path} is tampered: a checkpoint that is not what its name says")
    for name, notice in report.notices.items():
        print(f"note: {name}: {notice}")
    for run, group in report.cells[report.cells["grade"] == Grade.DIFFERS].groupby("run", sort=False):
        print(f"{run} {Grade.DIFFERS}: {group['reason'].iloc[0]}")
    unheld = report.cells[report.cells["grade"] == Grade.NO_REFERENCE]
    for reason, group in unheld.groupby("reason", sort=False):
        print(f"{group['run'].nunique()} runs have {Grade.NO_REFERENCE}: {reason}")
    for run, how in report.refuted.items():
        print(f"{run} is refuted: a rerun gave other bytes {how}")
    runs = report.cells.drop_duplicates("run")
    held = runs[(runs["promise"] != "") & (runs["grade"] != Grade.NO_REFERENCE)]
    for promise, group in held.groupby("promise", sort=False):
        print(f"promise of {len(group)} runs against the reference: {promise}")
    for run in runs[runs["proved"].notna()].to_dict("records"):
        print(f"{run['run']}: proved by rerun on {run['proved']}")
    if len(away := runs[runs["grade"] == Grade.NOT_HERE]):
        same = f"the committed hash is the reference's of {int(away['by_hash'].sum())}"
        print(f"{len(away)} of {len(runs)} runs are {Grade.NOT_HERE}; {same}")
    if report.ledger.stages:
        print(f"ledger: {state_in_words(report.ledger)}")


def table_of(cells: pd.DataFrame) -> Table:
    """Every cell with its grade."""
    table = Table()
    for column in ("run", "measure"):
        table.add_column(column, overflow="fold")
    for column in ("value", "expected", "seeds' mean", "± 99 %", "paper"):
        table.add_column(column, justify="right")
    table.add_column("grade")
    for cell in cells.to_dict("records"):
        name, grade = cell["measure"], Grade(cell["grade"])
        shown = (show(name, cell[of]) for of in ("value", "expected", "mean", "tolerance", "paper"))
        table.add_row(cell["run"], name, *shown, f"[{COLOURS[grade.kind]}]{grade}[/]")
    return table


def state_in_words(ledger: LedgerState) -> str:
    """How far dvc.lock has the results, and the command that is missing."""
    stages, entered, waiting = ledger.stages, ledger.entered, len(ledger.waiting)
    links = [name for name in LINKABLE if Path(name).is_symlink()]
    if waiting:
        why = "; enter them with: hier adopt"
        if links:
            why = f"; DVC takes nothing from behind a link ({', '.join(links)})"
        elif ledger.unusable:
            mend = "git checkout dvc.yaml (or hier compose), then: hier adopt"
            why = f", since {ledger.unusable}; bring it back with: {mend}"
        elif entered + waiting < stages:
            why = "; hier adopt enters them once the others are in order"
        return f"{waiting} of {stages} stages are not entered in {LOCK}{why}"
    if entered < stages:
        return f"{entered} of {stages} stages are entered in {LOCK}, the others are not in order"
    commit = f"; commit them with: git add {COMMITTED} && git commit"
    asked = ledger.uncommitted and not links  # git would take the figures behind a link for deleted
    return f"all {stages} stages are entered in {LOCK}{commit if asked else ''}"


def as_data(suite: str, report: VerificationReport) -> dict[str, Any]:
    """What was found, for machines."""
    jobs = [{"job": f.job.name, "status": f.status, "reason": f.reason} for f in report.findings]
    return {
        "suite": suite,
        "cells": rows_without_nan(report.cells),
        "jobs": jobs,
        "notices": report.notices,
        "refuted": report.refuted,
        "damaged_checkpoints": [str(path) for path in report.damaged],
        "ledger": asdict(report.ledger),
        "counts": {str(k): int(v) for k, v in report.cells["grade"].value_counts().items()},
    }


def verdict(found: list[VerificationReport], by_hash: bool = False) -> None:
    """Nothing where all is well with every suite; `by_hash`, what is not here may be well, too. Else the
    error of the worst grade, see :class:`hier.results.grades.Grade`, or ReproductionError of a stale job."""
    report = _together(found)
    if report.tampered:
        wrong = [f for f in report.findings if f.status == "tampered"]
        names = [f.job.name for f in wrong] + [str(path) for path in report.damaged]
        mends = {f.mend for f in wrong}
        committed = {m.removeprefix(GIT) for m in mends if m.startswith(GIT)}
        whole = {m for m in committed if m.startswith(WHOLE)}  # and all that the others would bring
        mend = f"Bring what was committed back: {GIT}{' '.join(sorted(whole or committed))}"
        if len(committed) < len(mends) or report.damaged:
            mend = (
                "Put back what is named above (dvc checkout; git checkout for what git keeps, from an "
                f"earlier COMMIT where git merged {LOCK} by itself), or remove it and its record and "
                "make it anew: snakemake --cores all"
            )
        if spoilt := dict.fromkeys(path for f in wrong for path in f.spoilt):
            mend = (
                "DVC's cache has damaged copies, as a damaged remote leaves them. Remove these and what "
                f"came of them: {shlex.join(['rm', '-rf', *spoilt])}; then bring whole ones: dvc pull "
                "(hier remote check says whether the remote has them), or make them: snakemake --cores all"
            )
        raise TamperedError(f"tampered: {', '.join(names)}. {mend}")
    if report.refuted:
        raise RerunError(
            f"refuted by a rerun: {', '.join(report.refuted)}. Make it anew: hier train RUN --force, "
            "then snakemake --cores all"
        )
    if said := _not_reproduced(report, by_hash):
        raise ReproductionError(said)


def _together(found: list[VerificationReport]) -> VerificationReport:
    """What was found of several suites, as of one; a job of two suites counts once."""
    findings = {f.job.name: f for report in found for f in report.findings}
    return VerificationReport(
        pd.concat([report.cells for report in found], ignore_index=True),
        list(findings.values()),
        sorted({path for report in found for path in report.damaged}),
        refuted={run: how for report in found for run, how in report.refuted.items()},
    )


def _not_reproduced(report: VerificationReport, by_hash: bool) -> str:
    """How many cells and stages are not as they should be, and what brings them there; or nothing."""
    cells, stale = report.cells, len(report.findings)
    fails = [grade for grade in Grade if grade.error and grade not in (Grade.NOT_HERE, Grade.DIFFERS)]
    failed, differ = int(cells["grade"].isin(fails).sum()), int(cells["grade"].eq(Grade.DIFFERS).sum())
    away = int((cells["grade"].eq(Grade.NOT_HERE) & ~(cells["by_hash"].eq(True) & by_hash)).sum())
    said = [f"{failed} of {len(cells)} cells are not reproduced"] if failed else []
    said += [f"{stale} {'stage is' if stale == 1 else 'stages are'} stale"] if stale else []
    mends = ["run what is missing with: snakemake --cores all"] if said else []
    if differ:
        other = "are other bytes than the reference run's, where the same were promised"
        said.append(f"{differ} of {len(cells)} cells {other}")
        mends.append("what differs is named above; see whether a rerun does, too: hier verify --rerun 1")
    if any(f.reason.endswith(OTHER_RESULT) for f in report.findings):
        mends = ["bring what belongs to the figures that git moved with: dvc checkout"]
    if away and by_hash:
        other = "have another committed hash than the reference, or none to have"
        said.append(f"{away} of {len(cells)} cells {other}")
        mends = ["make them here with: snakemake --cores all"]
    elif away:
        said.append(f"{away} of {len(cells)} cells are {Grade.NOT_HERE}")
        mends = [
            "make them with: snakemake --cores all (or dvc checkout, where DVC's cache has them, or dvc "
            "pull, from a remote)",
            "judge by the committed hashes with: hier verify --by-hash",
        ]
    return "; ".join([" and ".join(said), *mends]) if said else ""
