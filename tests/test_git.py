"""Files with the marks of an unfinished merge, and which of the pipeline's files git sees."""

import shutil
import subprocess
from pathlib import Path

import pytest

from hier.audit.audit import LedgerAudit
from hier.config.compose import compose
from hier.config.settings import Settings
from hier.errors import ConfigError, ConflictError
from hier.git import has_conflict, refuse_conflicts
from hier.ledger.artifacts import reading
from hier.results.compare import read_cells
from hier.results.expected import read_metrics

ROOT = Path(__file__).parents[1]
SIDES = "<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> theirs\n"


def git(*arguments):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    done = subprocess.run(["git", *identity, *arguments], capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def merging(tmp_path, monkeypatch):
    """A function that leaves a repository, the current folder, in the midst of a merge over a file."""
    monkeypatch.chdir(tmp_path)

    def merge(name, ours="a: 1", theirs="a: 2"):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        git("init", "--quiet", "--initial-branch", "main")
        for branch, text in (("base", "a: 0"), ("theirs", theirs), ("ours", ours)):
            git("checkout", "--quiet", "-b", branch, *([] if branch == "base" else ["base"]))
            path.write_text(text + "\n")
            git("add", "--all")
            git("commit", "--quiet", "--message", branch)
        git("merge", "theirs")
        assert path.read_text() == SIDES.format(ours, theirs)
        return path

    return merge


@pytest.mark.parametrize("text", [
    SIDES.format("a", "b"), SIDES.format("a", "b").replace("\n", "\r\n"),
    SIDES.format("a\n||||||| base\nc", "b"), "x\n" + SIDES.format("", "") + "y\n",
])  # fmt: skip
def test_the_marks_of_a_merge(text):
    assert has_conflict(text)


@pytest.mark.parametrize("text", [
    "", "a: 1\n", "<<<<<<< HEAD\n", "Title\n=======\n", " <<<<<<< HEAD\n =======\n >>>>>>> b\n",
])  # fmt: skip
def test_what_is_no_conflict(text):
    assert not has_conflict(text)


@pytest.mark.parametrize("name", [
    "dvc.lock", "runs/a/metrics.json", "runs/a/history.csv", "results/demo/table.csv",
])  # fmt: skip
@pytest.mark.parametrize("side", ["HEAD", "MERGE_HEAD"])
def test_the_message_takes_a_side_whole_while_merging(merging, name, side):
    path = merging(name)
    said = error_of(path)
    words = f"{name} has git's conflict markers; take one side whole: git checkout HEAD -- "
    assert said.startswith(words)
    assert said.endswith(" (or MERGE_HEAD in place of HEAD)")
    mend = said.partition("whole: ")[2].partition(" (or")[0].partition(" && dvc")[0]
    take(mend.replace("HEAD", side), path, {"HEAD": "a: 1\n", "MERGE_HEAD": "a: 2\n"}[side])


@pytest.mark.parametrize("name", ["expected/smoke.csv", "conf/suite/smoke.yaml"])
@pytest.mark.parametrize(("side", "text"), [("ours", "a: 1\n"), ("theirs", "a: 2\n")])
def test_the_message_mends_it_while_merging(merging, name, side, text):
    path = merging(name)
    said = error_of(path)
    assert said.startswith(f"{name} has git's conflict markers; take one side: git checkout --ours ")
    mend = said.partition("take one side: ")[2].partition(" (or")[0]
    take(mend.replace("--ours", f"--{side}"), path, text)


def error_of(path):
    with pytest.raises(ConflictError) as caught:
        refuse_conflicts([path])
    assert caught.value.exit_code == 1
    return str(caught.value)


def take(command, path, text):
    """Do what a message says, and see that one side's text is there and nothing unmerged."""
    subprocess.run(command, shell=True, check=True)
    refuse_conflicts([path])
    assert path.read_text() == text
    assert git("ls-files", "--unmerged") == ""


def test_marks_that_were_committed_are_no_longer_a_side_to_take(merging):
    path = merging("dvc.lock")
    git("commit", "--all", "--quiet", "--message", "marks")
    with pytest.raises(ConflictError, match=r"git checkout COMMIT -- dvc\.lock"):
        refuse_conflicts([path])
    git("checkout", "HEAD~1", "--", "dvc.lock")
    refuse_conflicts([path])


def test_the_ledger_in_a_conflict_is_not_called_tampered(toy):
    toy.make_all()
    toy.adopt()
    text = Path("dvc.lock").read_text()
    Path("dvc.lock").write_text(SIDES.format(text, text))
    with pytest.raises(ConflictError, match=r"^dvc\.lock has git's conflict markers"):
        LedgerAudit(toy.SETTINGS)


@pytest.mark.parametrize(
    "name",
    ["params.yaml", "params/suites/menu.yaml", "params/runs/soup.yaml", "params/datasets/veg.yaml"],
)
def test_settings_in_a_conflict_are_composed_anew(toy, name):
    text = Path(name).read_text()
    Path(name).write_text(SIDES.format(text, text))
    with pytest.raises(ConflictError, match=f"^{name} has git's conflict markers; .*hier compose"):
        Settings.read()
    Path(name).write_text("<<<<<<< HEAD")
    with pytest.raises(ConfigError):
        Settings.read()


def test_figures_and_tables_in_a_conflict_are_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    metrics, table = Path("metrics.json"), Path("table.csv")
    metrics.write_text(SIDES.format('{"recall": {}, "map_at_r": 1}', '{"recall": {}, "map_at_r": 2}'))
    table.write_text("run,measure\n" + SIDES.format("a,1", "a,2"))
    with pytest.raises(ConflictError):
        read_metrics(metrics)
    with pytest.raises(ConflictError):
        read_cells(table)
    with pytest.raises(ConflictError), reading(table):
        pass


def test_a_configuration_in_a_conflict_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "conf", "conf")
    path = Path("conf/suite/smoke.yaml")
    path.write_text(SIDES.format(path.read_text(), path.read_text()))
    with pytest.raises(ConflictError, match=r"^conf/suite/smoke\.yaml has git's conflict markers"):
        compose(["suite=smoke"])


# --- what git sees of the pipeline's files --------------------------------------------------------

MADE = [
    "data/demo/images.npy", "runs/a/model.safetensors", "runs/a/views.json", "runs/a/rerun.json",
    "runs/a/train.record.json", "runs/metrics.json", "runs/a/b/metrics.json",
    "results/table.csv", "results/demo/table.tex", "results/demo/report/index.html",
    "results/demo/compare/table.csv", "results/demo/tabulate.record.json",
]  # fmt: skip
FIGURES = {
    "runs/a/metrics.json", "runs/a/history.csv", "results/demo/table.csv", "results/demo/table.md",
    "results/demo/paper_layout.csv", "results/demo/paper_layout.md", "results/demo/paper_layout.tex",
}  # fmt: skip


@pytest.fixture
def ignoring(tmp_path, monkeypatch):
    """An empty repository with the project's .gitignore."""
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    Path(".gitignore").write_text((ROOT / ".gitignore").read_text())


def seen():
    told = git("status", "--porcelain", "--untracked-files=all").splitlines()
    return {line.removeprefix("?? ") for line in told} - {".gitignore"}


def test_git_sees_the_figures_and_nothing_else_that_is_made(ignoring):
    for name in [*MADE, *FIGURES]:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert seen() == FIGURES


@pytest.mark.parametrize("name", ["runs", "results", "runs/a", "results/demo"])
def test_links_to_folders_elsewhere_stay_ignored(ignoring, name):
    for made in [*MADE, *FIGURES]:
        path = Path(".git/elsewhere", made.removeprefix(f"{name}/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).symlink_to(Path(".git/elsewhere").absolute(), target_is_directory=True)
    assert seen() == set()
