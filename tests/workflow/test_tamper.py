"""Some hundred random single changes to a project with results: each is reported by name, rightly.

HIER_TAMPER_CHANGES says how many (330 is the long form), HIER_TAMPER_SEED which.
"""

import json
import os
from collections import Counter
from contextlib import chdir
from pathlib import Path
from random import Random

import pytest
import torch

from fakes.tampering import Change, Tree, proof_of
from hier.audit.verify import verify_all
from hier.config.settings import Settings
from hier.ledger.record import sealed
from hier.training.checkpoint import Checkpoints

pytestmark = pytest.mark.engines

CHANGES = int(os.environ.get("HIER_TAMPER_CHANGES", "110"))
SEED = int(os.environ.get("HIER_TAMPER_SEED", "0"))
BETWEEN_LOOKS = 20  # changes between two looks at the untouched tree
BETWEEN_COMMANDS = 40  # changes between two that the command itself is asked about
WORST = ("tampered", "stale")


@pytest.fixture(scope="module")
def project(new_project):
    """Two runs with results, a reference, entries in dvc.lock, a proof and a checkpoint."""
    project = new_project("tamper")
    project.run("hier", "compose", "suite=smoke", "methods=[pa,hier]")
    project.make_all()
    project.run("hier", "verify", "--update-expected", check=False)
    project.make_all()
    project.run("hier", "adopt")
    with chdir(project.folder):
        run, *_ = Settings.read().runs
        Path(f"runs/{run}/rerun.json").write_text(sealed(proof_of(run, Settings.read())))
        Checkpoints(run, "0" * 64).save(1, 2, {"network": {"weight": torch.arange(100.0)}})
    project.commit("results")
    return project


def test_every_change_is_reported_by_name_and_nothing_else(project):
    """About 0.3 s for each change."""
    wrong, made = [], Counter()
    with chdir(project.folder):
        tree = Tree()
        grades = untouched()
        for number in range(CHANGES):
            kind = list(tree.kinds)[number % len(tree.kinds)]
            change = tree.kinds[kind](Random(f"{SEED} {number}"))
            made[kind] += 1
            undo = change.make()
            try:
                faults = faults_in(change, grades)
                if number % BETWEEN_COMMANDS == BETWEEN_COMMANDS - 1:
                    faults += faults_of_command(change, project)
            finally:
                undo()
            wrong += [f"{number}, {kind}, {change.what}: {fault}" for fault in faults]
            if number % BETWEEN_LOOKS == BETWEEN_LOOKS - 1:
                assert untouched() == grades
        assert untouched() == grades
    print(f"{sum(made.values())} changes, {len(wrong)} wrong: {dict(made)}")
    assert not wrong, "\n".join(wrong)
    assert len(made) == min(CHANGES, len(tree.kinds))


def untouched():
    """The grades of a tree of which nothing bad may be said, by run."""
    proof = verify_all(Settings.read().suite("smoke"))
    assert (proof.findings, proof.damaged) == ([], [])
    assert set(proof.cells["grade"]) == {"identical"}
    assert proof.cells["proved"].notna().any()
    return grades_by_run(proof)


def grades_by_run(proof):
    return {run: set(cells["grade"]) for run, cells in proof.cells.groupby("run")}


def faults_in(change: Change, before):
    """What `hier verify` says wrongly of a change, or does not say."""
    proof = verify_all(Settings.read().suite("smoke"))
    reports = {f.job.name: f.status for f in proof.findings}
    expected = {name: status for name, (status, _) in change.reports.items()}
    faults = [] if reports == expected else [f"{reports} instead of {expected}"]
    for finding in proof.findings:
        name = change.reports.get(finding.job.name, ("", ""))[1]
        if name not in finding.reason:
            faults.append(f"{name} is not named in: {finding.describe()}")
    if proof.damaged != list(change.damaged):
        faults.append(f"damaged: {proof.damaged} instead of {change.damaged}")
    after = grades_by_run(proof)
    for run, grades in before.items():
        if after[run] != (wanted := grades_after(change, run, grades)):
            faults.append(f"{run} is graded {after[run]} instead of {wanted}")
    return faults


def grades_after(change, run, before):
    """The worst status on the way to a run's figures, or the grades of before."""
    chain = {f"{stage}@smoke" for stage in ("download", "prepare")}
    chain |= {f"{stage}@{run}" for stage in ("train", "embed", "evaluate")}
    met = {status for name, (status, _) in change.reports.items() if name in chain}
    worst = next((status for status in WORST if status in met), None)
    return {worst} if worst and change.of_results else before


def faults_of_command(change, project):
    """The same, of the command and its exit code."""
    said = project.run("hier", "verify", "--json", check=False)
    found = {(job["job"], job["status"]) for job in json.loads(said.stdout)["jobs"]}
    expected = {(name, status) for name, (status, _) in change.reports.items()}
    stale_reasons = {status for _, status in expected}
    tampered = "tampered" in stale_reasons or change.damaged
    code = 3 if tampered else 1 if stale_reasons else 0
    if (found, said.returncode) == (expected, code):
        return []
    return [f"the command says {found} with {said.returncode}, not {expected} with {code}"]
