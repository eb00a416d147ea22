"""Branches whose results git merges by itself: the parts contradict each other, and the advice helps."""

import pytest

pytestmark = pytest.mark.engines

MAKE = """
from pathlib import Path
from fakes.ledger import make_ledger
before = Path("dvc.lock").read_bytes() if Path("dvc.lock").exists() else None
make_ledger()
Path("dvc.lock").write_bytes(before) if before else Path("dvc.lock").unlink()  # DVC writes it
"""
KEPT = ("dvc.lock", "dvc.yaml", "params.yaml", "params", "results", "runs")


def record(project, *overrides):
    project.run("hier", "compose", "suite=smoke", *overrides)
    project.python(MAKE)
    project.run("hier", "adopt")
    project.commit(" ".join(overrides))


@pytest.fixture(scope="module")
def merged(new_project):
    """Made-up results on two branches, by other settings and of other runs."""
    project = new_project("merge")
    record(project, "methods=[pa]")
    project.run("git", "checkout", "--quiet", "-b", "theirs")
    record(project, "methods=[pa,ms]", "optimizer.lr=0.002")
    project.run("git", "checkout", "--quiet", "-")
    project.run("dvc", "checkout")
    record(project, "methods=[pa]", "schedule.epochs=1")
    project.run("hier", "verify")
    project.run("git", "merge", "--quiet", "--no-edit", "-X", "ours", "theirs")
    return project


@pytest.mark.parametrize("side", ["HEAD^1", "HEAD^2"])
def test_a_merge_that_contradicts_itself_is_mended_by_the_advice(merged, side):
    merged.run("git", "reset", "--quiet", "--hard")
    done = merged.run("hier", "verify", check=False)
    assert done.returncode == 3
    assert "train@smoke-pa-test_resnet-16-s0 is tampered: dvc.lock says otherwise" in done.stdout
    advice = done.stderr.strip().rpartition("Bring what was committed back: ")[2]
    assert advice == f"git checkout --no-overlay HEAD^1 -- {' '.join(KEPT)} && dvc checkout"
    refused = merged.run("hier", "adopt", check=False)
    assert refused.stderr.strip().endswith(f"nothing was adopted. Mend it with: {advice}")

    merged.run("sh", "-c", advice.replace("HEAD^1", side))
    said = merged.run("hier", "verify").stdout
    assert "stages are entered in dvc.lock" in said
    assert merged.run("git", "diff", "--name-only", side, "--", *KEPT).stdout == ""
