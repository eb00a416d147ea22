"""Table 1's suite is looked at, not run: composing it and asking either engine for its graph is quick."""

import os
import re

import pytest

pytestmark = pytest.mark.engines

RUNS, DATASETS = 124, 4
STAGES = 2 * DATASETS + 3 * RUNS + 2


@pytest.fixture(scope="module")
def table1(new_project):
    project = new_project("table1")
    said = project.run("hier", "compose", "suite=table1").stdout
    assert said.startswith(f"suite table1: {RUNS} runs on ")
    return project


def said_within(limit, project, *command):
    """What a command prints; fails if it takes more than `limit` seconds.

    Those are seconds of the processor: on a quiet machine the same as the clock's, since neither
    engine waits for anything here, and on a busy one what else runs is no part of them.
    """
    before = os.times()
    done = project.run(*command)
    after = os.times()
    seconds = sum(after[2:4]) - sum(before[2:4])  # of children, in their own code and in the system
    assert 0 < seconds <= limit, f"{' '.join(command)} took {seconds:.1f} s"
    return done.stdout + done.stderr


def test_snakemake_plans_every_job_within_ten_seconds(table1):
    said = said_within(10, table1, "snakemake", "-n")
    assert re.search(rf"^total +{STAGES + 1}$", said, re.MULTILINE)  # and the rule `all`


def test_dvc_draws_every_stage_within_twenty_seconds(table1):
    said = said_within(20, table1, "dvc", "dag")
    assert len(set(re.findall(r"\w+@[\w-]+", said))) == STAGES - 2
    assert {"tabulate", "report"} <= set(said.split())
