"""Two suites in one workspace: both are in dvc.lock, each has its tables, and both engines accept them."""

import pytest
import yaml

pytestmark = pytest.mark.engines

PA, MS = "smoke-pa-test_resnet-16-s0", "smoke-ms-test_resnet-16-s0"
ONE, BOTH = "suite=smoke", "suite=[smoke,second]"
SUITE = """# @package _global_
suite: NAME
matrix:
  - dataset: smoke
    backbone: test_resnet
    recipe: smoke
    methods: METHODS
    dim: 16
    seeds: [0]
"""
MAKE = """
from pathlib import Path
from fakes.ledger import make_ledger
make_ledger()
Path("dvc.lock").unlink()  # DVC writes it
"""
OF_SMOKE = {
    "download@smoke", "prepare@smoke", "tabulate-smoke", "report-smoke",
    *(f"{stage}@{run}" for run in (PA, MS) for stage in ("train", "embed", "evaluate", "views")),
}  # fmt: skip
OF_BOTH = OF_SMOKE | {"tabulate-second", "report-second"}


@pytest.fixture(scope="module")
def project(new_project):
    """Made-up results of two suites that share a run, entered and committed."""
    project = new_project("suites")
    for name, methods in (("smoke", "[pa, ms]"), ("second", "[pa]")):
        text = SUITE.replace("NAME", name).replace("METHODS", methods)
        project.path(f"conf/suite/{name}.yaml").write_text(text)
    compose(project, BOTH)
    project.python(MAKE)
    project.run("hier", "adopt")
    project.commit("results")
    return project


def compose(project, suites):
    return project.run("hier", "compose", suites).stdout


def entries(project):
    return {*yaml.safe_load(project.path("dvc.lock").read_text())["stages"]}


def has_nothing_to_do(project):
    said = project.run("snakemake", "--cores", "2", "--dry-run")
    assert "Nothing to be done" in said.stdout + said.stderr
    assert "up to date" in project.run("dvc", "status").stdout


def test_the_ledger_has_both_and_a_shared_run_once(project):
    assert entries(project) == OF_BOTH
    has_nothing_to_do(project)
    for suite in ("smoke", "second"):
        assert project.path(f"results/{suite}/table.csv").exists()
    said = project.run("hier", "status").stdout
    assert said == f"{len(OF_BOTH)} stages are current, 0 are stale\n"


def test_going_to_one_suite_and_back_runs_nothing_and_loses_nothing(project):
    """Two compositions and four looks of the engines."""
    lock = project.path("dvc.lock").read_bytes()
    assert compose(project, ONE) == "suite smoke: 2 runs on smoke\n"
    has_nothing_to_do(project)
    assert project.path("results/second/table.csv").exists()
    assert project.run("hier", "status").stdout.startswith(f"{len(OF_SMOKE)} stages are current, 0")
    assert "didn't change, skipping" in project.run("dvc", "repro", "tabulate-smoke").stdout
    assert entries(project) == OF_BOTH
    compose(project, BOTH)
    has_nothing_to_do(project)
    assert project.path("dvc.lock").read_bytes() == lock
    assert project.run("git", "status", "--porcelain").stdout == ""
