"""A command works in the root of the user's project, whatever folder of it that is, and with its code."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hier
from fakes.nursery import HIER, nursery
from fakes.project import Project
from fakes.server import serve
from hier.pipeline import STAGES

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-c", HIER]
PA = "smoke-pa-test_resnet-16-s0"
SUITE = ("suite=smoke", "methods=[pa]")
DEMO = "src/hier/data/demo.py"


def call(folder, *arguments, path=(ROOT / "src",), command=COMMAND, **environment):
    """Run `hier` in a folder, with other code than that of the folder's project installed."""
    given = {
        "OMP_NUM_THREADS": "1", "COLUMNS": "100", "PWD": str(folder),
        "PYTHONPATH": os.pathsep.join(map(str, path)), **environment,
    }  # fmt: skip
    if command[:2] == [sys.executable, "-c"] and not any(
        Path(place, "sitecustomize.py").exists() for place in path
    ):
        return nursery().run(command[2], arguments, folder, os.environ | given)
    return subprocess.run(
        [*command, *arguments], cwd=folder, env=os.environ | given,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def line_of(done, code=1, stdout=""):
    """What a refusal says, in one line."""
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), done
    assert stdout is None or done.stdout == stdout
    assert done.stderr.startswith("error: ")
    return done.stderr.removeprefix("error: ").rstrip("\n")


@pytest.fixture
def copy(copied, tmp_path):
    """A plain copy of the project, with a suite of one run composed."""
    return Path(shutil.copytree(copied, tmp_path / "copy"))


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copied") / "copy"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("conf", "src", "expected", "workflow"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "Snakefile", folder)
    done = call(folder, "compose", *SUITE)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def change(path, line="raise RuntimeError('the code of the copy')\n"):
    path.write_text(path.read_text() + line)


def files(folder):
    """What lies in a folder, but for compiled code."""
    found = folder.rglob("*")
    return {p.relative_to(folder).as_posix() for p in found if "__pycache__" not in p.parts}


# --- whose code runs -----------------------------------------------------------------------------


def test_these_tests_and_their_processes_run_the_code_beside_them():
    assert Path(hier.__file__) == ROOT / "src/hier/__init__.py"
    said = "import hier; print(hier.__file__)"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip() == hier.__file__


@pytest.mark.parametrize("command", [COMMAND, [sys.executable, "-m", "hier"]])
def test_in_a_copy_the_code_of_the_copy_runs(copy, command):
    change(copy / DEMO)
    before = files(copy)
    done = call(copy, "download", "smoke", command=command)
    assert done.returncode == 1
    assert "RuntimeError: the code of the copy" in done.stderr
    assert {path for path in files(copy) - before if not path.startswith(".hier")} == set()


def test_in_a_work_tree_of_git_its_own_code_runs(tmp_path):
    Project(tmp_path / "project").run("git", "worktree", "add", "--quiet", "../tree")
    change(tmp_path / "tree" / DEMO)
    assert call(tmp_path / "tree", "compose", *SUITE).returncode == 0
    done = call(tmp_path / "tree", "download", "smoke")
    assert "RuntimeError: the code of the copy" in done.stderr


def test_a_record_names_the_source_that_ran(copy):
    change(copy / DEMO, "\nprint('drawn by', __file__)\n")
    done = call(copy, "download", "smoke")
    assert done.returncode == 0, done.stderr
    assert f"drawn by {copy / DEMO}\n" in done.stdout
    record = json.loads((copy / "data/smoke/download.record.json").read_text())
    assert record["versioned"][DEMO]["sha256"] == hashlib.sha256((copy / DEMO).read_bytes()).hexdigest()


LATE = f"""
import sys
from pathlib import Path
class Late:
    @staticmethod
    def find_spec(name, *_):
        if name == "hier.data.demo":
            path = Path("{DEMO}")
            path.write_text(path.read_text() + "print('the code of later')\\n")
            sys.meta_path.remove(Late)
sys.meta_path.insert(0, Late)
"""


def test_a_record_of_source_that_changes_before_it_is_loaded_is_not_written(copy, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(LATE)
    done = call(copy, "download", "smoke", path=[tmp_path / "site", copy / "src"])
    assert "the code of later" in done.stdout
    assert not (copy / "data/smoke/download.record.json").exists()
    said = line_of(done, stdout=None)
    assert said == f"source {DEMO} of download@smoke changed while it ran; run it again"
    done = call(copy, "download", "smoke", path=[copy / "src"])
    assert (done.returncode, done.stderr) == (0, "")


def test_words_of_the_command_arrive_as_they_were_given(copy):
    done = call(copy, "compose", "suite=smoke", "runs.*-pa-*.schedule.epochs=7", "methods=[pa]")
    assert done.stdout == "suite smoke: 1 runs on smoke\n"
    assert "epochs: 7" in (copy / f"params/runs/{PA}.yaml").read_text()


REFUSED = [("download", "smoke"), ("report",), ("verify",), ("compose",)]


@pytest.mark.parametrize("arguments", REFUSED)
def test_what_insists_on_other_code_is_refused(copy, tmp_path, arguments):
    (tmp_path / "site").mkdir()
    forced = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r})"
    (tmp_path / "site/sitecustomize.py").write_text(forced)
    before = files(copy)
    said = line_of(call(copy, *arguments, path=[tmp_path / "site"]))
    assert said == (
        f"{ROOT / 'src/hier'} is what runs, not this project's {copy / 'src/hier'}, which a record "
        f"would name; nothing was written. Mend it with: start it with PYTHONPATH={copy / 'src'}"
    )
    assert files(copy) == before


def test_code_that_is_no_package_is_refused(copy):
    (copy / "src/hier/__init__.py").unlink()
    before = files(copy)
    said = line_of(call(copy, "download", "smoke"))
    assert said.endswith(f"Mend it with: git checkout {copy / 'src/hier'}")
    assert files(copy) == before


def test_help_shows_whatever_code_there_is(copy):
    (copy / "src/hier/__init__.py").unlink()
    assert call(copy, "train", "--help").returncode == 0


def test_a_benchmark_of_a_copy_measures_the_code_of_the_copy(copy):
    shutil.copytree(ROOT / "benchmarks", copy / "benchmarks")
    for path in (copy / "benchmarks").glob("*.py"):
        if "__main__" in path.read_text() and "from hier" in path.read_text():
            code = f"import {path.stem}, hier; print(hier.__file__)"
            done = call(copy / "benchmarks", command=[sys.executable, "-c", code])
            assert done.stdout.rstrip() == str(copy / "src/hier/__init__.py"), (path, done.stderr)


@pytest.mark.engines
def test_snakemake_asks_the_code_of_the_copy(tmp_path):
    project = Project(tmp_path / "project")
    change(project.path("src/hier/config/suite.py"))
    done = project.run("snakemake", "--cores", "1", "--dry-run", check=False, genuine=True)
    assert done.returncode == 1
    assert "the code of the copy" in done.stdout + done.stderr


@pytest.mark.engines
def test_a_queued_experiment_runs_the_code_of_its_snapshot(tmp_path):
    """DVC makes a repository for the experiment and starts a worker for it."""
    project = Project(tmp_path / "project")
    project.run("hier", "compose", *SUITE)
    project.commit("suite")
    change(project.path(DEMO), "\nprint('the code of the snapshot')\n")
    project.run("dvc", "exp", "run", "--queue", "download@smoke")
    project.run("git", "checkout", "--quiet", DEMO)
    project.run("dvc", "exp", "run", "--run-all", genuine=True)
    [name] = project.run("dvc", "exp", "list", "--name-only").stdout.split()
    assert "the code of the snapshot" in project.run("dvc", "queue", "logs", name).stdout
    refs = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout
    [ref] = [ref for ref in refs.split() if ref.endswith(name)]
    ran = project.run("git", "show", f"{ref}:{DEMO}").stdout.encode()
    assert hashlib.md5(ran).hexdigest() in project.run("git", "show", f"{ref}:dvc.lock").stdout


# --- from where ----------------------------------------------------------------------------------

SUBFOLDERS = ["src/hier/reporting", "conf", "runs/new", "data/smoke"]


@pytest.fixture
def own(copy):
    """The same, as a user has it: its code is what is installed."""

    def called(folder, *arguments, **environment):
        return call(copy / folder, *arguments, path=[copy / "src"], **environment)

    for folder in SUBFOLDERS:
        (copy / folder).mkdir(parents=True, exist_ok=True)
    called.folder = copy
    return called


def make_all(own, **environment):
    """Every job, each by its command."""
    for stage in STAGES.values():
        done = own(".", stage.name, {"run": PA}.get(stage.scope, "smoke"), **environment)
        assert "git repository" not in done.stdout + done.stderr
        assert done.returncode == 0, done


@pytest.mark.parametrize("folder", SUBFOLDERS)
def test_in_any_folder_of_the_project_a_stage_writes_to_the_root(own, folder):
    before = files(own.folder)
    done = own(folder, "download", "smoke")
    assert (done.returncode, done.stderr) == (0, "")
    new = {path for path in files(own.folder) - before if not path.startswith(".hier")}
    assert {"data/smoke/archive", "data/smoke/download.record.json"} <= new
    assert {path.split("/")[0] for path in new} == {"data"}
    assert own(".", "download", "smoke").stdout == "download@smoke: current, nothing to do\n"


@pytest.mark.parametrize(
    "arguments", [("plan",), ("verify", "--json"), ("compose", "--check", *SUITE), ("status",)]
)
def test_in_a_subfolder_a_command_says_what_it_says_in_the_root(own, arguments):
    in_root, below = own(".", *arguments), own("src/hier/reporting", *arguments)
    assert (below.returncode, below.stdout) == (in_root.returncode, in_root.stdout)
    seen = f" (in the project's root: {own.folder})\n"
    assert below.stderr == in_root.stderr.replace("\n", seen)


def test_a_message_in_a_subfolder_says_from_where_its_paths_are_seen(own):
    index = "data/smoke/index.parquet is missing; make it with: hier prepare smoke"
    assert line_of(own(".", "train", PA)) == index
    assert line_of(own("runs/new", "train", PA)) == f"{index} (in the project's root: {own.folder})"


@pytest.mark.parametrize("name", ["download.record.json", "./archive", "../smoke/archive/", "ROOT"])
def test_a_file_is_traced_by_its_name_in_the_users_folder(own, name):
    own(".", "download", "smoke")
    name = name.replace("ROOT", f"{own.folder}/data/smoke/archive")
    done = own("data/smoke", "trace", name, "--json")
    assert (done.returncode, json.loads(done.stdout)["start"]) == (0, "download@smoke")
    assert own("data/smoke", "trace", PA, "--json").returncode == 0
    done = own("data/smoke", "trace", "data/smoke/archive")  # there is none of that name there
    assert line_of(done, 2).startswith("unknown cell or file 'data/smoke/data/smoke/archive'")


def test_what_is_given_and_asked_for_lies_where_the_user_is(own):
    table = own.folder / "results/smoke/table.csv"
    make_all(own)
    shutil.copy(table, own.folder / "runs/new/old.csv")
    done = own("runs/new", "report", "--against", "old.csv", "--out", "here/page")
    assert done.stdout.splitlines()[-1] == "wrote here/page/comparison.html"
    assert (own.folder / "runs/new/here/page/comparison.html").is_file()
    done = own("runs/new", "report", "--times")
    assert done.stdout == "wrote ../../results/smoke/times/times.html\n"
    assert (own.folder / "results/smoke/times/times.html").is_file()
    done = own("runs/new", "crate", "--out", "c.zip")
    assert done.stdout.startswith("wrote c.zip: ")
    assert (own.folder / "runs/new/c.zip").is_file()
    assert own("runs/new", "crate").stdout.startswith("wrote ../../results/crate: ")
    done = own("runs/new", "report", "--times", "--out", str(own.folder / "away"))
    assert done.stdout == f"wrote {own.folder / 'away/times.html'}\n"


def test_relative_mirrors_lie_where_the_user_is(own, tmp_path):
    """A server that does not have the file is asked once."""
    sources = "[{files:[{name:some.tar,sha256:" + "0" * 64 + "}]}]"
    done = own(".", "compose", "suite=grocery", "methods=[pa]", f"dataset.sources={sources}")
    assert done.returncode == 0, done.stderr
    with serve(tmp_path / "nothing") as server:
        done = own("runs/new", "download", "grocery", HIER_MIRROR=f"mine, {server.url}/a:../m")
    assert done.returncode == 1
    said = (own.folder / "data/grocery/no-data.txt").read_text()
    for place in (own.folder / "runs/new/mine", f"{server.url}/a", own.folder / "runs/new/../m"):
        assert f"{place}/some.tar" in said


def test_a_folder_reached_by_a_link_belongs_to_the_project_that_has_the_link(own, tmp_path):
    shutil.move(own.folder / "runs", tmp_path / "scratch")
    (own.folder / "runs").symlink_to(tmp_path / "scratch")
    done = own("runs/new", "download", "smoke")
    assert (done.returncode, done.stderr) == (0, "")
    assert (own.folder / "data/smoke/archive").is_dir()


@pytest.mark.parametrize("arguments", [*REFUSED, ("plan",), ("trace", "x"), ("crate",)])
def test_outside_of_any_project_one_line_says_so(tmp_path, arguments):
    assert line_of(call(tmp_path, *arguments)) == (
        f"{tmp_path} is in no project: neither it nor a folder above it holds conf/suite or src/hier; "
        "change to the folder that you cloned or unpacked"
    )
    assert files(tmp_path) == set()


def test_outside_of_any_project_there_is_help(tmp_path):
    assert call(tmp_path, "--version").stdout == f"hier, version {hier.__version__}\n"
    for words in (["--help"], ["train", "--help"], ["crate", "-h"]):
        assert call(tmp_path, *words).returncode == 0


def test_a_folder_that_was_removed_is_said(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    command = ["sh", "-c", f'rmdir {gone}; exec "$0" "$@"', *COMMAND]
    said = line_of(call(gone, "plan", command=command))
    assert said.startswith("the current folder, which was removed, is in no project")
    assert call(tmp_path, "--help").returncode == 0


# --- the folders of a cluster's user ------------------------------------------------------------

LINKS = ("data", "runs", "results", ".checkpoints", ".hier")


@pytest.fixture
def linked(tmp_path):
    """A project in git with one run composed, whose large folders are links to another place."""
    project = Project(tmp_path / "project")
    project.run("hier", "compose", "suite=smoke", "methods=[untrained]")
    project.commit("suite")
    shutil.rmtree(project.path(".hier"), ignore_errors=True)
    for name in LINKS:
        (tmp_path / "scratch" / name).mkdir(parents=True)
        project.path(name).symlink_to(tmp_path / "scratch" / name)
    return project


def test_links_and_what_is_in_them_are_no_news_to_git(linked):
    for name in ("weights", "downloads", ".snakemake", "logs"):
        linked.path(name).symlink_to("/nonexistent")
    assert linked.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.engines
def test_everything_but_dvcs_ledger_works_behind_links(linked, tmp_path):
    """Snakemake makes a run, which is verified, rebuilt and kept."""
    scratch = tmp_path / "scratch"
    linked.run("snakemake", "--cores", "2", "--quiet", "all")
    assert (scratch / "results/smoke/report/index.html").is_file()
    assert all(linked.path(name).is_symlink() for name in LINKS)
    again = linked.run("snakemake", "--cores", "2", "-n")
    assert "Nothing to be done" in again.stdout + again.stderr
    linked.run("hier", "verify", "--deep")
    linked.run("hier", "report", "--force")
    (scratch / "runs/.x.1.part").mkdir()
    assert linked.run("hier", "recover").stdout == "removing runs/.x.1.part, half written\n"
    said = line_of(call(linked.folder, "adopt", path=[linked.path("src")]), stdout=None)
    assert "DVC takes nothing from behind a link (data, runs, results, .checkpoints, .hier)" in said
    assert linked.run("git", "status", "--porcelain").stdout == ""
    said = linked.run("make", "clean").stdout
    assert "data is a link and stays; empty it with: rm -rf data/*" in said
    assert (scratch / "results/smoke/report/index.html").is_file()  # others may use what lies there


def test_a_folder_that_is_a_link_itself_is_replaced_behind_it(own, tmp_path):
    (tmp_path / "scratch/old").mkdir(parents=True)
    (own.folder / "data/smoke/archive").symlink_to(tmp_path / "scratch")
    assert own(".", "download", "smoke").returncode == 0
    assert (own.folder / "data/smoke/archive").is_symlink()
    assert (tmp_path / "scratch").is_dir()
    assert not (tmp_path / "scratch/old").exists()


@pytest.mark.parametrize("name", LINKS)
def test_a_link_that_leads_nowhere_is_said(copy, name):
    shutil.rmtree(copy / name, ignore_errors=True)
    (copy / name).symlink_to("/nonexistent/place")
    text = "is a link to /nonexistent/place, which is not there; mkdir -p /nonexistent/place"
    assert line_of(call(copy, "download", "smoke")) == f"{name} {text}"


@pytest.mark.parametrize("command", [("plan",), ("plan", "--measure"), ("report",)])
def test_a_user_without_a_home_or_a_name(own, tmp_path, monkeypatch, command):
    (tmp_path / "site").mkdir()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(
        "import os, pwd\n"
        "def unknown(uid): raise KeyError(f'getpwuid(): uid not found: {uid}')\n"
        "pwd.getpwuid = unknown\n"
    )
    for name in ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    path = [own.folder / "src", tmp_path / "site"]
    if command == ("report",):
        make_all(own)
        command = ("report", "--force")  # draws
    before = files(own.folder)
    done = call(own.folder, *command, path=path, TMPDIR=str(tmp_path / "tmp"))
    assert done.returncode == 0, done.stderr
    assert "home" not in done.stderr.lower()
    kept = tmp_path / "tmp" / f"hier-home-{os.geteuid()}/.cache/hier/throughput.json"
    assert kept.exists() is ("--measure" in command)
    assert not [path for path in files(own.folder) - before if "~" in path]


def test_without_git_everything_works_but_dvcs_ledger(own):
    """A run is made. A zip file's folder is in no repository."""
    shutil.copy(ROOT / ".dvcignore", own.folder)
    (own.folder / ".dvc").mkdir()
    (own.folder / ".dvc/config").touch()
    git = {"GIT_CEILING_DIRECTORIES": str(own.folder.parent)}
    make_all(own, **git)
    for words in (["status"], ["recover"], ["verify"], ["trace", PA], ["crate"]):
        done = own(".", *words, **git)
        assert "git repository" not in done.stdout + done.stderr
        assert done.returncode == 0, done
    done = own(".", "adopt")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(" is not a git repository; make one with: git init && git add --all\n")
