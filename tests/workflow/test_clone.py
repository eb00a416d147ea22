"""What a stranger's clone says: git brings the figures, and nothing that they were made from is here."""

import json
import re
import shutil
from copy import copy

import pytest
import yaml

pytestmark = pytest.mark.engines

SUITE = ("suite=smoke", "methods=[untrained,hier]")
UNTRAINED, HIER = "smoke-untrained-test_resnet-16-s0", "smoke-hier-test_resnet-16-s0"
METRICS = f"runs/{HIER}/metrics.json"
AWAY = "committed, not here"
KEPT = ("metrics.json", "classes.csv", "history.csv")
OF_GIT = {
    *(f"runs/{run}/{name}" for run in (UNTRAINED, HIER) for name in KEPT),
    *(f"results/smoke/paper_layout.{kind}" for kind in ("csv", "md", "tex")),
    *(f"results/smoke/{name}" for name in ("table.csv", "table.md", "comparisons.csv")),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(new_project):
    """The smoke suite with a reference, made without an engine, adopted and committed."""
    project = new_project("made")
    project.run("hier", "compose", *SUITE)
    project.make_all()
    project.run("hier", "verify", "--update-expected")
    project.make_all()
    project.run("hier", "adopt")
    project.commit("results")
    return project


def test_a_table_depends_on_its_own_reference_and_on_the_papers_table_alone(made):
    """From when there is one: `hier verify --update-expected` says so in dvc.yaml, too."""
    read = yaml.safe_load(made.path("dvc.yaml").read_text())["stages"]["tabulate-smoke"]["deps"]
    of_expected = [path for path in read if path.startswith("expected")]
    assert of_expected == ["expected/paper.csv", "expected/smoke.csv"]
    assert made.path("expected/demo.csv").exists()


@pytest.fixture
def clone(made, tmp_path):
    return made.clone(tmp_path / "clone")


def verified(project, *options):
    """The exit code of `hier verify`, and what it says for machines."""
    done = project.run("hier", "verify", "--json", *options, check=False)
    return done.returncode, json.loads(done.stdout)


def figures(project):
    return json.loads(project.path(METRICS).read_text())


def test_git_keeps_the_figures_and_nothing_else(made, clone):
    listed = clone.run("git", "ls-files", "runs", "results").stdout.split()
    assert set(listed) == OF_GIT
    assert made.run("git", "status", "--porcelain").stdout == ""
    cached = {path.read_bytes() for path in made.path(".dvc/cache/files/md5").rglob("*") if path.is_file()}
    assert made.path(METRICS).read_bytes() not in cached
    assert made.path(f"runs/{HIER}/evaluate.record.json").read_bytes() in cached


def test_dvc_shows_and_compares_the_figures_of_a_clone(made, clone):
    shown = json.loads(clone.run("dvc", "metrics", "show", "--json").stdout)[""]["data"]
    assert shown[METRICS]["data"]["recall"] == figures(made)["recall"]
    diff = json.loads(clone.run("dvc", "metrics", "diff", "HEAD~1", "--json").stdout)
    assert diff[METRICS]["recall.1"]["new"] == figures(made)["recall"]["1"]
    assert "modified" not in clone.run("dvc", "status").stdout


def test_a_clone_is_graded_as_committed_and_not_here(made, clone):
    code, found = verified(clone)
    assert (code, found["jobs"]) == (1, [])
    assert found["counts"] == {AWAY: len(found["cells"])}
    [cell] = [c for c in found["cells"] if (c["run"], c["measure"]) == (HIER, "R@1")]
    assert cell["value"] == pytest.approx(100 * figures(made)["recall"]["1"])
    assert "its committed hash is the reference's" in cell["reason"]
    assert verified(clone, "--by-hash")[0] == 0
    said = clone.run("hier", "verify", check=False)
    assert f"{len(found['cells'])} {AWAY}" in said.stdout
    assert "hier verify --by-hash" in said.stderr
    assert f", {AWAY}" in clone.run("hier", "trace", f"{HIER}:R@1").stdout
    assert AWAY in clone.run("hier", "plan").stdout
    code, found = verified(made)
    assert (code, found["counts"]) == (0, {"identical": len(found["cells"])})


def test_a_figure_that_is_not_here_is_not_filled_in(made, clone):
    clone.path(METRICS).unlink()
    code, found = verified(clone)
    assert code == 1
    assert {c["value"] for c in found["cells"] if c["run"] == HIER} == {None}
    assert found["counts"] == {AWAY: len(found["cells"])}
    assert verified(clone, "--by-hash")[0] == 0
    assert "R@1 – (reference" in clone.run("hier", "trace", f"{HIER}:R@1").stdout


def test_nothing_is_adopted_run_or_overwritten_that_is_not_here(made, clone):
    before = clone.path(METRICS).read_bytes()
    said = clone.run("hier", "adopt").stdout
    assert "nothing to adopt" in said
    done = clone.run("hier", "evaluate", HIER, check=False)
    assert (done.returncode, "is missing; make it with: hier" in done.stderr) == (1, True)
    assert "deleted" in clone.run("dvc", "status").stdout
    dry = clone.run("snakemake", "--cores", "2", "--dry-run")
    assert f"hier train {HIER}" in dry.stdout + dry.stderr or "rule train:" in dry.stdout + dry.stderr
    done = clone.run("hier", "verify", "--update-expected", check=False)
    assert (done.returncode, AWAY in done.stderr) == (1, True)
    assert clone.path(METRICS).read_bytes() == before
    assert clone.run("git", "status", "--porcelain", "--untracked-files=no").stdout == ""


def test_an_edited_figure_of_a_clone_is_tampered(clone):
    edited = figures(clone)
    edited["recall"]["1"] = 0.999
    clone.path(METRICS).write_text(json.dumps(edited, indent=2) + "\n")
    code, found = verified(clone)
    assert code == 3
    assert {c["grade"] for c in found["cells"] if c["run"] == HIER} == {"tampered"}
    assert {c["grade"] for c in found["cells"] if c["run"] == UNTRAINED} == {AWAY}
    [job] = [job for job in found["jobs"] if job["status"] == "tampered"]
    assert METRICS in job["reason"]
    assert verified(clone, "--by-hash")[0] == 3
    assert "modified" in clone.run("dvc", "status").stdout
    assert clone.run("hier", "adopt", check=False).returncode == 3


def test_figures_of_other_settings_do_not_stand_under_the_present_ones(clone):
    clone.run("hier", "compose", *SUITE, "regularizer.weight=9.0")
    code, found = verified(clone)
    assert code == 1
    assert {c["grade"] for c in found["cells"] if c["run"] == HIER} == {"stale"}
    clone.run("hier", "tabulate")
    [row] = [
        line for line in clone.path("results/smoke/table.md").read_text().splitlines() if "| hier |" in line
    ]
    assert "not run" in row


def test_a_clone_makes_the_committed_figures_again(made, clone):
    """All stages of two runs once more."""
    clone.make_all()
    assert clone.run("git", "status", "--porcelain").stdout == ""
    code, found = verified(clone)
    assert (code, found["counts"]) == (0, {"identical": len(found["cells"])})


def test_what_git_moves_on_without_the_rest_is_stale_and_not_tampered(made, tmp_path):
    """As after a `git pull` of a colleague's results, before `dvc checkout`."""
    project = made.clone(tmp_path / "mine")
    project.make_all()
    project.run("hier", "adopt")
    project.commit("mine")
    project.run("hier", "compose", *SUITE, "regularizer.weight=9.0")
    project.make_all()
    project.run("hier", "adopt")
    project.commit("heavier")
    assert verified(project)[0] == 0  # without a reference
    project.run("git", "checkout", "--quiet", "HEAD~1")
    code, found = verified(project)
    assert (code, {job["status"] for job in found["jobs"]}) == (1, {"stale"})
    project.run("dvc", "checkout")
    code, found = verified(project)
    assert (code, found["counts"]) == (0, {"identical": len(found["cells"])})


def test_the_state_of_the_ledger_ends_what_verify_says(made, tmp_path):
    project = made.clone(tmp_path / "anew")
    project.run("hier", "compose", *SUITE, "regularizer.weight=9.0")
    project.make_all()
    last = project.run("hier", "verify").stdout.splitlines()[-1]
    assert last.startswith("ledger: ")
    assert "stages are not entered in dvc.lock" in last
    assert last.endswith("enter them with: hier adopt")
    project.run("hier", "adopt")
    last = project.run("hier", "verify").stdout.splitlines()[-1]
    entered = "ledger: all 12 stages are entered in dvc.lock"
    files = "dvc.lock dvc.yaml params.yaml params runs results"
    assert last == f"{entered}; commit them with: git add {files} && git commit"
    project.commit("results")
    assert project.run("hier", "verify").stdout.splitlines()[-1] == entered


@pytest.fixture(scope="module")
def conflicted(made, tmp_path_factory):
    """Two sides evaluated one run anew, to the same figures: their records, so dvc.lock, differ."""
    project = copy(made)
    project.folder = tmp_path_factory.mktemp("sides") / "project"
    shutil.copytree(made.folder, project.folder, symlinks=True)
    here = project.run("git", "branch", "--show-current").stdout.strip()
    for branch in (("-b", "theirs"), (here,)):
        project.run("git", "checkout", "--quiet", *branch)
        project.run("dvc", "checkout", "--quiet")
        project.run("hier", "evaluate", HIER, "--force")
        project.run("hier", "adopt")
        project.commit(branch[-1])
    assert project.run("git", "merge", "theirs", check=False).returncode == 1
    return project


@pytest.mark.parametrize("side", ["HEAD", "MERGE_HEAD"])
def test_a_conflict_in_the_ledger_is_mended_as_the_message_says(conflicted, tmp_path, side):
    project = copy(conflicted)
    project.folder = tmp_path / "copy"
    shutil.copytree(conflicted.folder, project.folder, symlinks=True)
    for command in (("verify",), ("adopt",), ("trace", HIER)):
        done = project.run("hier", *command, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith(
            "error: dvc.lock has git's conflict markers; take one side whole: git checkout HEAD -- "
        )
        assert done.stderr.count("\n") == 1
    [mend] = re.findall("take one side whole: (.*) \\(or MERGE_HEAD in place of HEAD", done.stderr)
    project.run("bash", "-c", mend.replace("HEAD", side))
    project.commit("merged")
    code, found = verified(project)
    assert (code, found["counts"]) == (0, {"identical": len(found["cells"])})
    assert found["ledger"] == {
        "stages": 12, "entered": 12, "waiting": [], "uncommitted": [], "unusable": ""
    }  # fmt: skip
    assert "up to date" in project.run("dvc", "status").stdout


def test_the_other_sides_entries_are_believed_while_they_are_merged(conflicted, tmp_path):
    """As of a colleague whose records were never here."""
    project = conflicted.clone(tmp_path / "clone")
    project.run("git", "fetch", "--quiet", "origin", "theirs")
    project.run("git", "merge", "FETCH_HEAD", check=False)
    project.run("git", "checkout", "--theirs", "dvc.lock")
    code, found = verified(project)
    assert (code, found["counts"]) == (1, {AWAY: len(found["cells"])})
