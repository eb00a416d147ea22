"""The ledger of Table 1's size: how long it takes to verify it, and to find that nothing is to do."""

import os

import pytest

pytestmark = pytest.mark.engines

RUN = "cub-hier-vit_small-384-s0"
MAKE = (
    "import sys; sys.path.insert(0, 'tests'); from fakes.ledger import make_ledger; "
    "print(make_ledger())"
)


@pytest.fixture(scope="module")
def project(new_project):
    """124 runs × 3 stages, 4 datasets × 2 and the suite's 2, made up in seconds."""
    import sys

    project = new_project("table1")
    project.run("hier", "compose", "suite=table1")
    assert project.run(sys.executable, "-c", MAKE).stdout.split()[-1] == str(124 * 3 + 4 * 2 + 2)
    return project


def best_of(tries, project, *command):
    """Seconds of the processor that the quickest try takes.

    On a quiet machine they are the clock's, since nothing is waited for here; on a busy one what else
    runs is no part of them.
    """
    taken = []
    for _ in range(tries):
        before = os.times()
        done = project.run(*command, check=False)
        after = os.times()
        taken.append(sum(after[2:4]) - sum(before[2:4]))  # of children
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert min(taken) > 0
    return min(taken)


def test_verify_takes_at_most_five_seconds(project):
    assert best_of(4, project, "hier", "verify") <= 5


def test_a_stage_with_nothing_to_do_takes_at_most_half_a_second(project):
    for stage in ("train", "embed", "evaluate"):
        assert best_of(5, project, "hier", stage, RUN) <= 0.5, stage


def test_snakemake_finds_nothing_to_do(project):
    done = project.run("snakemake", "--cores", "1", "--dry-run")
    assert "Nothing to be done" in done.stdout + done.stderr
