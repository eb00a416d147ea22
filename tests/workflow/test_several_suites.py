"""Two suites in one workspace: both are in dvc.lock, each has its tables, and both engines accept them."""

import pytest
import yaml

from fakes.two_suites import BOTH, MS, ONE, STAGES, STAGES_OF_BOTH, make_two_suites

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def project(new_project):
    """Made-up results of two suites that share a run, entered and committed."""
    project = new_project("suites")
    make_two_suites(project)
    return project


OF_SECOND = {name for name in STAGES_OF_BOTH if MS not in name and not name.endswith("-smoke")}


def compose(project, suites):
    return project.run("hier", "compose", suites).stdout


def entries(project):
    return {*yaml.safe_load(project.path("dvc.lock").read_text())["stages"]}


def has_nothing_to_do(project):
    said = project.run("snakemake", "--cores", "2", "--dry-run")
    assert "Nothing to be done" in said.stdout + said.stderr
    assert "up to date" in project.run("dvc", "status").stdout


def test_the_ledger_has_both_and_a_shared_run_once(project):
    assert entries(project) == STAGES_OF_BOTH
    has_nothing_to_do(project)
    for suite in ("smoke", "second"):
        assert project.path(f"results/{suite}/table.csv").exists()
    said = project.run("hier", "status").stdout
    assert said == f"{len(STAGES_OF_BOTH)} stages are current, 0 are stale\n"


def test_going_to_one_suite_and_back_runs_nothing_and_loses_nothing(project):
    """Two compositions and four looks of the engines."""
    lock = project.path("dvc.lock").read_bytes()
    assert compose(project, ONE) == "suite smoke: 2 runs on smoke\n"
    has_nothing_to_do(project)
    assert project.path("results/second/table.csv").exists()
    assert project.run("hier", "status").stdout.startswith(f"{len(STAGES)} stages are current, 0")
    assert "didn't change, skipping" in project.run("dvc", "repro", "tabulate-smoke").stdout
    assert entries(project) == STAGES_OF_BOTH
    compose(project, BOTH)
    has_nothing_to_do(project)
    assert project.path("dvc.lock").read_bytes() == lock
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_a_suite_on_the_shelf_is_in_dvc_lock_only_while_it_is_composed(project, tmp_path):
    """Four compositions and a clone; both engines find nothing to do on the way."""
    said = project.run("hier", "adopt", "--shelve").stdout
    assert said.splitlines()[1:-1] == [f"wrote results/{suite}/ledger.yaml" for suite in ("smoke", "second")]
    assert said.splitlines()[-1].startswith("commit what belongs together: git add dvc.lock ")
    compose(project, ONE)
    assert entries(project) == STAGES
    has_nothing_to_do(project)
    project.commit("shelves")
    clone = project.clone(tmp_path / "clone")
    for suites, names in ((BOTH, STAGES_OF_BOTH), (ONE, STAGES), ("suite=second", OF_SECOND)):
        for at in (project, clone):
            compose(at, suites)
            assert entries(at) == names
        assert "ledger: all" in clone.run("hier", "verify", "--by-hash", check=False).stdout
    has_nothing_to_do(project)
    assert project.run("hier", "status").stdout == f"{len(OF_SECOND)} stages are current, 0 are stale\n"


def test_where_dvc_lock_is_in_conflict_the_settings_are_composed_and_the_rest_is_said(project):
    lock = project.path("dvc.lock")
    lock.write_text(f"<<<<<<< a\n{lock.read_text()}=======\nx\n>>>>>>> b\n")
    said = compose(project, BOTH)
    assert said.startswith("note: dvc.lock has git's conflict markers; bring a version without them back: ")
    assert "suite second: 1 runs on smoke" in said
    project.run("git", "checkout", "dvc.lock")
    compose(project, BOTH)
    has_nothing_to_do(project)
