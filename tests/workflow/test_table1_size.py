"""Table 1's suite is looked at, not run: it is composed, either engine is asked for its graph, and a made-up
ledger of its size is verified. How long that may take stands in benchmarks/engines.py."""

import re

import pytest

pytestmark = pytest.mark.engines

RUNS, DATASETS = 138, 4
STAGES = 2 * DATASETS + 4 * RUNS + 2
RUN = "cub-hier-vit_small-384-s0"
MAKE = "from fakes.ledger import make_ledger; print(make_ledger())"


@pytest.fixture(scope="module")
def undone(new_project):
    project = new_project("table1")
    said = project.run("hier", "compose", "suite=table1").stdout
    assert said.startswith(f"suite table1: {RUNS} runs on ")
    return project


def test_snakemake_plans_every_job(undone):
    done = undone.run("snakemake", "-n")
    said = done.stdout + done.stderr
    assert re.search(rf"^total +{STAGES + 1}$", said, re.MULTILINE)  # and the rule `all`


def test_dvc_draws_every_stage(undone):
    done = undone.run("dvc", "dag")
    said = done.stdout + done.stderr
    assert len(set(re.findall(r"\w+@[\w-]+", said))) == STAGES - 2
    assert {"tabulate-table1", "report-table1"} <= set(said.split())


@pytest.fixture(scope="module")
def made(undone):
    """The same with every job done, made up in seconds."""
    assert undone.python(MAKE).split()[-1] == str(STAGES)
    return undone


def test_verify_grades_every_cell(made):
    done = made.run("hier", "verify")
    assert "stale" not in done.stdout + done.stderr


def test_a_stage_with_nothing_to_do(made):
    for stage in ("train", "embed", "evaluate"):
        done = made.run("hier", stage, RUN)
        assert done.stdout == f"{stage}@{RUN}: current, nothing to do\n"


def test_snakemake_finds_nothing_to_do(made):
    done = made.run("snakemake", "--cores", "1", "--dry-run")
    assert "Nothing to be done" in done.stdout + done.stderr
