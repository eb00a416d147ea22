"""The ledger of Table 1's size is verified, and nothing is found to do. How long that may take stands in
benchmarks/engines.py."""

import pytest

pytestmark = pytest.mark.engines

RUN = "cub-hier-vit_small-384-s0"
MAKE = "from fakes.ledger import make_ledger; print(make_ledger())"


@pytest.fixture(scope="module")
def project(new_project):
    """138 runs × 4 stages, 4 datasets × 2 and the suite's 2, made up in seconds."""
    project = new_project("table1")
    project.run("hier", "compose", "suite=table1")
    assert project.python(MAKE).split()[-1] == str(138 * 4 + 4 * 2 + 2)
    return project


def test_verify_grades_every_cell(project):
    done = project.run("hier", "verify")
    assert "stale" not in done.stdout + done.stderr


def test_a_stage_with_nothing_to_do(project):
    for stage in ("train", "embed", "evaluate"):
        done = project.run("hier", stage, RUN)
        assert done.stdout == f"{stage}@{RUN}: current, nothing to do\n"


def test_snakemake_finds_nothing_to_do(project):
    done = project.run("snakemake", "--cores", "1", "--dry-run")
    assert "Nothing to be done" in done.stdout + done.stderr
