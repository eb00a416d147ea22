"""What `hier verify` found, on the terminal and as JSON."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from hier.audit.audit import OTHER_RESULT
from hier.audit.verify import LedgerState, Proof
from hier.config.suite import Suite
from hier.errors import ReproductionError, RerunError, TamperedError
from hier.ledger.dvc_lock import AWAY, LOCK
from hier.project import LINKABLE
from hier.results.table import print_grades

GIT = "git checkout "
COMMITTED = f"{LOCK} dvc.yaml params.yaml params runs results"
"""What says of a suite's results, together, which they are."""
FAILS = ("not run", "stale", "out of tolerance", "tampered")


def print_proof(proof: Proof) -> None:
    """Every cell with its grade, what is wrong by name, which promise applies, the ledger's state."""
    print_grades(proof.cells)
    console = Console(width=None if Console().is_terminal else 140)

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    for finding in proof.findings:
        say(finding.in_words())
    for path in proof.damaged:
        say(f"{path} is tampered: a checkpoint that is not what its name says")
    for name, notice in proof.notices.items():
        say(f"note: {name}: {notice}")
    for run, how in proof.refuted.items():
        say(f"{run} is refuted: a rerun gave other bytes {how}")
    runs = proof.cells.drop_duplicates("run")
    held = runs[(runs["promise"] != "") & (runs["grade"] != "no reference")]
    for promise, group in held.groupby("promise", sort=False):
        say(f"promise of {len(group)} runs against the reference: {promise}")
    for run in runs[runs["proved"].notna()].to_dict("records"):
        say(f"{run['run']}: proved by rerun on {run['proved']}")
    if len(away := runs[runs["grade"] == AWAY]):
        same = int(away["by_hash"].sum())
        say(
            f"{len(away)} of {len(runs)} runs are {AWAY}; the committed hash is the reference's of {same}"
        )
    if proof.ledger.stages:
        say(f"ledger: {state_in_words(proof.ledger)}")


def state_in_words(ledger: LedgerState) -> str:
    """How far dvc.lock has the results, and the command that is missing."""
    stages, entered, waiting = ledger.stages, ledger.entered, len(ledger.waiting)
    links = [name for name in LINKABLE if Path(name).is_symlink()]
    if waiting and links:
        return (
            f"{waiting} of {stages} stages are not entered in {LOCK}; DVC takes nothing from behind a "
            f"link ({', '.join(links)})"
        )
    if waiting:
        enter = "enter them with: hier adopt"
        if entered + waiting < stages:
            enter = "hier adopt enters them once the others are in order"
        return f"{waiting} of {stages} stages are not entered in {LOCK}; {enter}"
    if entered < stages:
        return f"{entered} of {stages} stages are entered in {LOCK}, the others are not in order"
    commit = f"; commit them with: git add {COMMITTED} && git commit"
    asked = ledger.uncommitted and not links  # git would take the figures behind a link for deleted
    return f"all {stages} stages are entered in {LOCK}{commit if asked else ''}"


def as_json(suite: Suite, proof: Proof) -> str:
    """Suite, cells, jobs that are not as they should be, damaged checkpoints, counts of grades, and how
    far dvc.lock has the results."""
    found = {
        "suite": suite.suite,
        "cells": [_plain(cell) for cell in proof.cells.to_dict("records")],
        "jobs": [
            {"job": f.job.name, "standing": f.standing, "reason": f.reason} for f in proof.findings
        ],
        "notices": proof.notices,
        "refuted": proof.refuted,
        "damaged_checkpoints": [str(path) for path in proof.damaged],
        "ledger": asdict(proof.ledger),
        "counts": {str(k): int(v) for k, v in proof.cells["grade"].value_counts().items()},
    }
    return json.dumps(found, indent=2, sort_keys=True)


def verdict(proof: Proof, by_hash: bool = False) -> None:
    """Nothing where all is well.

    Args:
        by_hash: what is not here is well where its committed hash is the reference's.

    Raises:
        TamperedError: something is not what a record or dvc.lock says.
        RerunError: a rerun gave other bytes than the present ones.
        ReproductionError: a cell is not run, not here, stale or out of tolerance, or another job is
            stale.
    """
    if proof.tampered:
        wrong = [f for f in proof.findings if f.standing == "tampered"]
        names = [f.job.name for f in wrong] + [str(path) for path in proof.damaged]
        mends = {f.mend for f in wrong}
        committed = {m.removeprefix(GIT) for m in mends if m.startswith(GIT)}
        mend = (
            f"Bring what was committed back: git checkout {' '.join(sorted(committed))}"
            if len(committed) == len(mends) and not proof.damaged
            else "Put back what is named above (dvc checkout; git checkout for what git keeps, from an "
            f"earlier COMMIT where git merged {LOCK} by itself), or "
            "remove it and its record and make it anew: snakemake --cores all"
        )
        raise TamperedError(f"tampered: {', '.join(names)}. {mend}")
    if proof.refuted:
        raise RerunError(
            f"refuted by a rerun: {', '.join(proof.refuted)}. Make it anew: hier train RUN --force, "
            "then snakemake --cores all"
        )
    if said := _not_reproduced(proof, by_hash):
        raise ReproductionError(said)


def _not_reproduced(proof: Proof, by_hash: bool) -> str:
    """How many cells and stages are not as they should be, and what brings them there; or nothing."""
    cells, stale = proof.cells, len(proof.findings)
    failed = int(cells["grade"].isin(FAILS).sum())
    away = int((cells["grade"].eq(AWAY) & ~(cells["by_hash"].eq(True) & by_hash)).sum())
    said = [f"{failed} of {len(cells)} cells are not reproduced"] if failed else []
    said += [f"{stale} {'stage is' if stale == 1 else 'stages are'} stale"] if stale else []
    mends = ["run what is missing with: snakemake --cores all"] if said else []
    if any(f.reason.endswith(OTHER_RESULT) for f in proof.findings):
        mends = ["bring what belongs to the figures that git moved with: dvc checkout"]
    if away and by_hash:
        said.append(
            f"{away} of {len(cells)} cells have another committed hash than the reference, or none to have"
        )
        mends = ["make them here with: snakemake --cores all"]
    elif away:
        said.append(f"{away} of {len(cells)} cells are {AWAY}")
        mends = [
            "make them with: snakemake --cores all (or dvc checkout, where DVC's cache has them, or dvc "
            "pull, from a remote)",
            "judge by the committed hashes with: hier verify --by-hash",
        ]
    return "; ".join([" and ".join(said), *mends]) if said else ""


def _plain(cell: dict[str, Any]) -> dict[str, Any]:
    """A row of the table without NaN, which JSON does not have."""
    return {name: None if pd.isna(value) else value for name, value in cell.items()}
