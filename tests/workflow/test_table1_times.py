"""Table 1's suite is looked at, not run: composing it and asking either engine for its graph. How long
that may take stands in benchmarks/engines.py."""

import re

import pytest

pytestmark = pytest.mark.engines

RUNS, DATASETS = 138, 4
STAGES = 2 * DATASETS + 4 * RUNS + 2


@pytest.fixture(scope="module")
def table1(new_project):
    project = new_project("table1")
    said = project.run("hier", "compose", "suite=table1").stdout
    assert said.startswith(f"suite table1: {RUNS} runs on ")
    return project


def test_snakemake_plans_every_job(table1):
    done = table1.run("snakemake", "-n")
    said = done.stdout + done.stderr
    assert re.search(rf"^total +{STAGES + 1}$", said, re.MULTILINE)  # and the rule `all`


def test_dvc_draws_every_stage(table1):
    done = table1.run("dvc", "dag")
    said = done.stdout + done.stderr
    assert len(set(re.findall(r"\w+@[\w-]+", said))) == STAGES - 2
    assert {"tabulate-table1", "report-table1"} <= set(said.split())
