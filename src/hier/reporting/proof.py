"""What `hier verify` found, on the terminal and as JSON."""

import json
from typing import Any

import pandas as pd
from rich.console import Console

from hier.config.suite import Suite
from hier.errors import ReproductionError, RerunError, TamperedError
from hier.provenance.ledger import LOCK
from hier.provenance.proof import Proof
from hier.reporting.table import print_grades

FAILS = ("not run", "stale", "out of tolerance", "tampered")


def print_proof(proof: Proof) -> None:
    """Every cell with its grade, then what is wrong by name, then which promise applies."""
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


def as_json(suite: Suite, proof: Proof) -> str:
    """Suite, cells, jobs that are not as they should be, damaged checkpoints, counts of grades."""
    found = {
        "suite": suite.suite,
        "cells": [_plain(cell) for cell in proof.cells.to_dict("records")],
        "jobs": [
            {"job": f.job.name, "standing": f.standing, "reason": f.reason} for f in proof.findings
        ],
        "notices": proof.notices,
        "refuted": proof.refuted,
        "damaged_checkpoints": [str(path) for path in proof.damaged],
        "counts": {str(k): int(v) for k, v in proof.cells["grade"].value_counts().items()},
    }
    return json.dumps(found, indent=2, sort_keys=True)


def verdict(proof: Proof) -> None:
    """Nothing where all is well.

    Raises:
        TamperedError: something is not what a record or dvc.lock says.
        RerunError: a rerun gave other bytes than the present ones.
        ReproductionError: a cell is not run, stale or out of tolerance, or another job is stale.
    """
    if proof.tampered:
        wrong = [f for f in proof.findings if f.standing == "tampered"]
        names = [f.job.name for f in wrong] + [str(path) for path in proof.damaged]
        mends = {f.mend for f in wrong}
        mend = (
            f"Bring the committed one back: {mends.pop()}"
            if mends == {f"git checkout {LOCK}"} and not proof.damaged
            else "Put back what is named above (dvc checkout), or remove it and its record and make "
            "it anew: snakemake --cores all"
        )
        raise TamperedError(f"tampered: {', '.join(names)}. {mend}")
    if proof.refuted:
        raise RerunError(
            f"refuted by a rerun: {', '.join(proof.refuted)}. Make it anew: hier train RUN --force, "
            "then snakemake --cores all"
        )
    failed = int(proof.cells["grade"].isin(FAILS).sum())
    if failed or proof.findings:
        raise ReproductionError(
            f"{failed} of {len(proof.cells)} cells are not reproduced and {len(proof.findings)} "
            f"{'stage is' if len(proof.findings) == 1 else 'stages are'} stale; run what is missing "
            "with: snakemake --cores all"
        )


def _plain(cell: dict[str, Any]) -> dict[str, Any]:
    """A row of the table without NaN, which JSON does not have."""
    return {name: None if pd.isna(value) else value for name, value in cell.items()}
