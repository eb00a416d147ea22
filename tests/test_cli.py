"""The command `hier` as a user meets it: help, one line per mistake, exit codes, interruption."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

import hier
from fakes.nursery import HIER as HIER_ITSELF
from fakes.nursery import nursery
from hier.pipeline import STAGES

ROOT = Path(__file__).parents[1]
SOURCE = Path(hier.__file__).parents[1]
COMMAND = [sys.executable, "-c", HIER_ITSELF]
# The code of the folder first, as a user has it.
ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1", "COLUMNS": "100", "PYTHONPATH": f"src{os.pathsep}{SOURCE}"
}  # fmt: skip
COMMANDS = [
    "dataset",
    "compose",
    "plan",
    *STAGES,
    "watch",
    "verify",
    "adopt",
    "status",
    "recover",
    "remote",
    "trace",
    "diff",
    "crate",
    "embed-images",
    "search",
    "package",
]
HIER = "smoke-hier-test_resnet-16-s0"
PA = "smoke-pa-test_resnet-16-s0"
MANY = 60  # images per class


def call(folder, *arguments, command=None):
    """Run `hier` in a folder, or another command."""
    if not command:
        return nursery().run(HIER_ITSELF, arguments, folder, ENVIRONMENT)
    return subprocess.run(
        [*command, *arguments],
        cwd=folder, env=ENVIRONMENT,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def workspace(folder):
    """A folder with all that `hier` reads: configurations, code, references."""
    folder.mkdir(parents=True)
    shutil.copytree(ROOT / "conf", folder / "conf")
    shutil.copytree(SOURCE / "hier", folder / "src/hier", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "expected").mkdir()
    shutil.copy(ROOT / "expected/paper.csv", folder / "expected")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A workspace with a composed suite and a drawn archive, made by the commands themselves."""
    folder = workspace(tmp_path_factory.mktemp("cli") / "made")
    done = call(
        folder, "compose", "suite=smoke", "methods=[pa,hier]", "schedule.epochs=1000",
        f"dataset.generate.images_per_class={MANY}",
        f"dataset.counts.images={{train: {4 * MANY}, test: {4 * MANY}}}",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "suite smoke: 2 runs on smoke\n"
    return folder


@pytest.fixture(scope="module")
def prepared(made):
    """The same, with the dataset in its store."""
    for stage in ("download", "prepare"):
        done = call(made, stage, "smoke")
        assert done.returncode == 0, done.stderr
    return made


@pytest.fixture
def copy(tmp_path):
    """A function that copies a workspace for one test."""

    def copied(folder):
        return Path(shutil.copytree(folder, tmp_path / "copy", symlinks=True))

    return copied


def one_line(done):
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


# --- help ----------------------------------------------------------------------------------------


def test_help_lists_the_commands_in_the_order_of_use(tmp_path):
    done = call(tmp_path, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    listed = done.stdout[done.stdout.index("Commands:") :]
    assert re.findall(r"^  ([\w-]+)  ", listed, re.MULTILINE) == COMMANDS
    assert call(tmp_path, "-h").stdout == done.stdout


def test_help_imports_nothing_heavy(tmp_path):
    code = (
        "import sys, contextlib\n"
        "from hier.cli import main\n"
        "sys.argv = ['hier', '--help']\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "print('LOADED', *{m.split('.')[0] for m in sys.modules})\n"
    )
    done = call(tmp_path, command=[sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.rpartition("LOADED ")[2].split())
    assert {"hier", "click"} <= loaded
    heavy = {"torch", "pandas", "hydra", "omegaconf", "numpy", "matplotlib", "timm", "pydantic"}
    assert loaded.isdisjoint(heavy)


def test_the_version(tmp_path):
    assert call(tmp_path, "--version").stdout == f"hier, version {hier.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command, tmp_path):
    done = call(tmp_path, command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    options = " [OPTIONS]" if command != "dataset" else " [OPTIONS] COMMAND"
    key = {"dataset": " DATASET", "run": " RUN", "suite": " [SUITE]"}
    usage = command + options + (key[STAGES[command].scope] if command in STAGES else "")
    assert usage in done.stdout.splitlines()[0]
    assert len(done.stdout.splitlines()) >= 4


@pytest.mark.parametrize("arguments", [["nope"], ["train"], ["--nope"], ["tabulate", "smoke", "extra"]])
def test_wrong_usage_is_said_without_a_trace(arguments, tmp_path):
    done = call(tmp_path, *arguments)
    assert done.returncode == 2
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["train", "embed", "evaluate", "views"])
def test_an_unknown_run_lists_the_valid_ones(made, stage):
    done = call(made, stage, "smoke-nope")
    assert done.returncode == 2
    assert one_line(done) == f"error: unknown run 'smoke-nope'; choose from: {PA}, {HIER}"
    assert done.stdout == ""


@pytest.mark.parametrize("stage", ["tabulate", "report"])
def test_an_unknown_suite_lists_the_valid_ones(made, stage):
    done = call(made, stage, "demo")
    assert done.returncode == 2
    assert one_line(done) == "error: unknown suite 'demo'; choose from: smoke"


@pytest.mark.parametrize("stage", ["download", "prepare"])
def test_an_unknown_dataset_lists_the_valid_ones(made, stage):
    done = call(made, stage, "nope")
    assert done.returncode == 2
    assert one_line(done) == "error: unknown dataset 'nope'; choose from: smoke"


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["train", HIER], 1, "params.yaml is missing; make it with: hier compose"),
        (["plan"], 1, "params.yaml is missing; make it with: hier compose"),
        (["verify"], 1, "params.yaml is missing; make it with: hier compose"),
        (["compose", "nonsense"], 2, "override 'nonsense' is not of the form key=value"),
    ],
)
def test_a_project_without_params(arguments, code, line, tmp_path):
    folder = workspace(tmp_path / "work")
    before = files(folder)
    done = call(folder, *arguments)
    assert done.returncode == code
    assert one_line(done).startswith(f"error: {line}")
    assert files(folder) == before


def test_a_stage_without_what_the_one_before_it_makes(made, copy):
    folder = copy(made)
    shutil.rmtree(folder / "data", ignore_errors=True)
    done = call(folder, "train", HIER)
    assert done.returncode == 1
    text = "error: data/smoke/index.parquet is missing; make it with: hier prepare smoke"
    assert one_line(done) == text
    done = call(folder, "prepare", "smoke")
    assert one_line(done).endswith("data/smoke/archive is missing; make it with: hier download smoke")


def test_a_dataset_of_another_suite_says_how_to_choose_it(made):
    (made / "conf/suite/own.yaml").write_text("")
    (made / "conf/dataset/own.yaml").write_text("")
    for name, suite in (("cub", "suite=table1 --dataset cub"), ("own", "suite=own")):
        done = call(made, "download", name)
        assert done.returncode == 2
        assert one_line(done) == (
            f"error: dataset '{name}' is not in params.yaml (which has smoke); "
            f"choose it first, e.g. with: hier compose {suite}"
        )


def test_what_the_system_refuses_is_one_line(made, copy):
    folder = copy(made)
    shutil.rmtree(folder / "data", ignore_errors=True)
    (folder / "data").write_text("a file where the folder should be")
    done = call(folder, "download", "smoke")
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: cannot read or write: data\S*: (Not a directory|File exists)", one_line(done)
    )
    done = call(folder, "--debug", "download", "smoke")
    assert "Traceback (most recent call last)" in done.stderr
    (folder / "params.yaml").unlink()
    (folder / "params.yaml").mkdir()
    assert one_line(call(folder, "plan")) == "error: params.yaml is a folder; remove it, then: hier compose"


@pytest.mark.parametrize(
    ("code", "stderr"),
    [
        ("OSError(24, 'Too many open files')", "error: cannot go on: Too many open files\n"),
        ("PermissionError(13, 'Permission denied', 'a', None, 'b')",
         "error: cannot read or write: b: Permission denied\n"),
    ],
)  # fmt: skip
def test_an_error_of_the_system_says_which_path(made, code, stderr):
    code = (
        "from hier.config.settings import Settings\n"
        f"def read(): raise {code}\n"
        "Settings.read = read\n"
        "from hier.cli import main; main()"
    )
    done = call(made, "plan", command=[sys.executable, "-c", code])
    assert (done.returncode, done.stderr) == (1, stderr)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0", "-1"])
def test_rates_that_cannot_be_are_refused(made, value):
    done = call(made, "plan", f"--images-per-second={value}")
    assert done.returncode == 2
    assert one_line(done).startswith("error: --images-per-second must be a number above 0 (given: ")


def test_a_mirror_that_can_be_none_is_one_line(tmp_path, monkeypatch):
    folder = workspace(tmp_path / "work")
    monkeypatch.setitem(ENVIRONMENT, "HIER_MIRROR", "~nouser/x")
    assert call(folder, "compose", "suite=grocery", "methods=[pa]").returncode == 0
    done = call(folder, "download", "grocery")
    assert done.returncode == 2
    assert one_line(done) == ("error: HIER_MIRROR: '~nouser/x': there is no such user, so no such folder")


def test_debug_shows_the_trace(made):
    done = call(made, "--debug", "train", "nope")
    assert done.returncode != 0
    assert "Traceback (most recent call last)" in done.stderr
    assert (
        done.stderr.rstrip()
        .splitlines()[-1]
        .endswith(f"UnknownNameError: unknown run 'nope'; choose from: {PA}, {HIER}")
    )


def test_an_error_that_nobody_expected_keeps_its_trace(made):
    code = (
        "from hier.config.settings import Settings\n"
        "def read(): return 1 / 0\n"
        "Settings.read = read\n"
        "from hier.cli import main; main()"
    )
    done = call(made, "plan", command=[sys.executable, "-c", code])
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.rstrip().endswith("ZeroDivisionError: division by zero")


def test_snakemake_without_params_says_it_in_one_line(tmp_path):
    folder = workspace(tmp_path / "work")
    for name in ("workflow", "profiles"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "Snakefile", folder)
    done = call(folder, "-n", command=[sys.executable, "-m", "snakemake"])
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if "profile" not in line]
    assert said == ["error: params.yaml is missing; make it with: hier compose"]


# --- compose, plan, verify -----------------------------------------------------------------------


def test_compose_writes_and_checks(tmp_path):
    folder = workspace(tmp_path / "work")
    overrides = ["suite=smoke", "methods=pa"]
    done = call(folder, "compose", "--check", *overrides)
    assert done.returncode == 2
    line = "error: params.yaml is not what `hier compose` gives; run it without --check"
    assert one_line(done) == line
    assert sorted(path.name for path in folder.iterdir()) == ["conf", "expected", "src"]

    assert call(folder, "compose", *overrides).returncode == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "conf", "dvc.yaml", "expected", "params", "params.yaml", "src",
    ]  # fmt: skip
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*.yaml")}
    for check in ([], ["--check"]):
        done = call(folder, "compose", *check, *overrides)
        assert (done.returncode, done.stdout) == (0, "suite smoke: 1 runs on smoke\n")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.yaml")} == written

    assert call(folder, "compose", "--check", "suite=smoke").returncode == 2
    left = folder / "params" / "runs" / "old-pa-test_resnet-16-s0.yaml"
    text = (folder / "params" / "runs" / "smoke-pa-test_resnet-16-s0.yaml").read_text()
    left.write_text(text)
    (left.parent / "notes.yaml").write_text("mine: true\n")
    done = call(folder, "compose", "--check", *overrides)
    assert one_line(done).startswith(f"error: {left.relative_to(folder)} is of no suite")
    assert call(folder, "compose", *overrides).returncode == 0
    assert not left.exists()
    assert (left.parent / "notes.yaml").exists()
    (folder / "dvc.yaml").write_text("stages: {}\n")
    done = call(folder, "compose", "--check", *overrides)
    assert done.returncode == 2
    assert one_line(done).startswith("error: dvc.yaml is not what `hier compose` gives")
    assert (folder / "dvc.yaml").read_text() == "stages: {}\n"


def test_suites_are_composed_side_by_side(tmp_path):
    folder = workspace(tmp_path / "work")
    both = ("compose", "suite=[smoke, omniglot]", "methods=pa", "seeds=[0]")
    done = call(folder, *both)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "suite smoke: 1 runs on smoke\nsuite omniglot: 1 runs on omniglot\n"
    assert call(folder, *both, "--check").returncode == 0
    index = yaml.safe_load((folder / "params.yaml").read_text())
    assert index["suites"] == ["smoke", "omniglot"]
    assert [*index["datasets"]] == ["smoke", "omniglot"]
    stages = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]
    assert {"tabulate-smoke", "tabulate-omniglot", "report-smoke", "report-omniglot"} < {*stages}
    done = call(folder, "tabulate")
    assert one_line(done) == "error: unknown suite ''; choose from: smoke, omniglot"
    for words in ((), ("--times",)):
        assert call(folder, "report", *words).returncode == 2
    assert PA in call(folder, "plan").stdout

    assert call(folder, "compose", "suite=smoke", "methods=pa").returncode == 0
    assert sorted(path.name for path in (folder / "params").rglob("*.yaml")) == [
        "smoke-pa-test_resnet-16-s0.yaml", "smoke.yaml", "smoke.yaml"
    ]  # fmt: skip
    assert call(folder, "compose", *both[1:], "--check").returncode == 2


def test_suites_that_clash_are_refused(tmp_path):
    folder = workspace(tmp_path / "work")
    suite = (folder / "conf/suite/smoke.yaml").read_text()
    (folder / "conf/suite/other.yaml").write_text(suite.replace("suite: smoke", "suite: other"))
    done = call(folder, "compose", "suite=[smoke,other]", "methods=pa")
    assert (done.returncode, done.stderr) == (0, "")
    before = files(folder)
    other = folder / "conf/suite/other.yaml"
    other.write_text(other.read_text().replace("set: [", "set: [optimizer.lr=0.5, "))
    done = call(folder, "compose", "suite=[smoke,other]", "methods=pa")
    assert done.returncode == 2
    assert one_line(done).startswith(f"error: suite other has other settings of {PA} than the")
    assert files(folder) == before


def test_plan_shows_the_runs_of_params_or_of_overrides(made):
    done = call(made, "plan")
    assert done.returncode == 0
    assert PA in done.stdout
    assert HIER in done.stdout
    before = (made / "params.yaml").read_bytes()
    done = call(made, "plan", "suite=smoke", "methods=ms")
    assert "smoke-ms-test_resnet-16-s0" in done.stdout
    assert HIER not in done.stdout
    assert (made / "params.yaml").read_bytes() == before


def test_the_plan_ends_with_the_command_that_runs_it(made):
    def last(*arguments):
        done = call(made, "plan", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1].removeprefix("run them with: ")

    assert last() == "snakemake --cores all"
    filters = ["--method", "ms", "--dataset", "smoke"]
    assert last("suite=smoke", "methods=[pa,ms]", *filters) == (
        "hier compose suite=smoke 'methods=[pa,ms]' --dataset=smoke --method=ms && snakemake --cores all"
    )
    assert last("--method", "pa") == "hier compose suite=smoke --method=pa && snakemake --cores all"


def test_verify_fails_where_a_cell_was_not_run(made):
    done = call(made, "verify")
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: (\d+) of \1 cells are not reproduced; run what is missing "
        r"with: snakemake --cores all",
        one_line(done),
    )
    assert "not run" in done.stdout


# --- records, status, recover --------------------------------------------------------------------


def test_a_stage_that_is_current_does_nothing_unless_forced(prepared, copy):
    folder = copy(prepared)
    store = folder / "data/smoke/images.npy"
    before = store.stat().st_ino
    done = call(folder, "prepare", "smoke")
    assert (done.returncode, done.stdout) == (0, "prepare@smoke: current, nothing to do\n")
    assert store.stat().st_ino == before
    content = store.read_bytes()
    done = call(folder, "prepare", "smoke", "--force")
    assert done.returncode == 0
    assert "current" not in done.stdout
    assert store.stat().st_ino != before
    assert store.read_bytes() == content


def test_deleted_outputs_come_back_at_once(prepared, copy):
    folder = copy(prepared)
    assert call(folder, "prepare", "smoke", "--force").returncode == 0  # a copy has no second names
    store = folder / "data/smoke/images.npy"
    content, number = store.read_bytes(), store.stat().st_ino
    store.unlink()
    done = call(folder, "prepare", "smoke")
    assert (done.returncode, done.stdout) == (0, "prepare@smoke: current, nothing to do\n")
    assert store.read_bytes() == content
    assert store.stat().st_ino == number


def test_verify_tells_tampering_by_its_exit_code(prepared, copy):
    folder = copy(prepared)
    index = folder / "data/smoke/index.parquet"
    stat = index.stat()
    content = bytearray(index.read_bytes())
    content[100] ^= 1
    index.write_bytes(content)
    os.utime(index, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    for deep in ([], ["--deep"]):
        done = call(folder, "verify", *deep)
        assert done.returncode == 3
        assert one_line(done).startswith("error: tampered: prepare@smoke. ")
        assert "data/smoke/index.parquet is not the bytes that its record says" in done.stdout
    done = call(folder, "verify", "--json")
    assert done.returncode == 3
    [found] = [job for job in json.loads(done.stdout)["jobs"] if job["job"] == "prepare@smoke"]
    assert found["status"] == "tampered"


def test_status_says_what_is_current_and_what_is_not(prepared, copy):
    folder = copy(prepared)
    for path in sorted((folder / "data").rglob("*")):
        os.utime(path, (10**9, 10**9))
    store = folder / "data/smoke/images.npy"
    done = call(folder, "status")
    assert (done.returncode, done.stdout) == (
        0, "2 stages are current, 0 are stale, 10 are not run\n"
    )  # fmt: skip
    assert store.stat().st_mtime == 10**9
    store.write_bytes(b"other")
    done = call(folder, "status")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "prepare@smoke is tampered: data/smoke/images.npy is not the bytes that its record says",
        "1 stages are current, 0 are stale, 1 are tampered, 10 are not run",
    ]


@pytest.mark.parametrize(
    "name", [f"runs/{HIER}/.model.safetensors.1.part", "data/smoke/.WSoDNwreHLoYtQJQoBq_-Q.tmp"]
)
def test_recover_clears_what_a_kill_left_and_says_so(name, prepared, copy):
    """Of a stage, and of DVC while it tried which links the disk has."""
    folder = copy(prepared)
    left = folder / name
    others = [left.with_name(".other.tmp"), left.with_name("WSoDNwreHLoYtQJQoBq_-Q.tmp")]
    left.parent.mkdir(parents=True, exist_ok=True)
    for path in (left, *others):
        path.write_bytes(b"half")
    done = call(folder, "recover")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        f"removing {name}, half written\n",
        "",
    )
    assert not left.exists()
    assert all(path.exists() for path in others)
    assert call(folder, "recover").stdout == ""


@pytest.mark.parametrize("command", ["status", "recover", "adopt"])
def test_without_params_they_name_what_makes_them(command, tmp_path):
    done = call(workspace(tmp_path / "work"), command)
    assert done.returncode == 1
    line = "error: params.yaml is missing; make it with: hier compose"
    assert one_line(done).startswith(line)


def test_adopt_names_the_first_stage_that_is_not_current(prepared):
    done = call(prepared, "adopt")
    assert done.returncode == 1
    assert one_line(done).startswith(f"error: train@{PA} is not run: it has no result; nothing was adopted")
    assert not (prepared / "dvc.lock").exists()


# --- interruption --------------------------------------------------------------------------------

STARTED = {
    "download": ("smoke", "data/smoke/.archive.*.part/*"),
    "prepare": ("smoke", "data/smoke/.*.part/*"),
    "train": (HIER, f".checkpoints/{HIER}/**/e*.pt"),
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("stage", STARTED)
def test_interrupted_in_the_middle(stage, number, prepared, copy):
    folder = copy(prepared)
    if stage == "download":
        shutil.rmtree(folder / "data")
    elif stage == "prepare":
        for path in (folder / "data/smoke").glob("*.*"):
            path.unlink()
    before = files(folder)
    key, sign = STARTED[stage]
    environment = ENVIRONMENT | {"HIER_CHECKPOINT_MINUTES": "0"}
    process = nursery().start(HIER_ITSELF, [stage, key], folder, environment)
    try:
        give_up = time.monotonic() + 60
        while not any(folder.glob(sign)):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < give_up
            time.sleep(0.001)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number], stderr
    assert "Traceback" not in stderr
    last = stderr.splitlines()[-1:]
    if stage == "train":
        [newest] = sorted((folder / f".checkpoints/{HIER}").glob("*/*.pt"))[-1:]
        text = f"stopped; goes on from {newest.relative_to(folder)} with the same command"
        assert last == [text]
    elif number == signal.SIGINT:
        assert last == ["interrupted; nothing half-written was kept"]
    # Nothing but checkpoints, each of them whole, has come (and the lock's file, which is free).
    own = (".checkpoints/", ".hier/")
    new = {path for path in files(folder) - before if not path.startswith(own)}
    assert new == set()
    assert not [path for path in files(folder) if path.endswith(".part") or "/." in path]
    assert before <= files(folder)


def test_an_interrupted_transfer_says_what_is_kept(tmp_path):
    folder = workspace(tmp_path / "work")
    assert call(folder, "compose", "suite=grocery", "methods=[pa]").returncode == 0
    code = (
        "import hier.data.retries as transfer\n"
        "def fetched(url, part):\n"
        "    part.write_bytes(b'some')\n"
        "    raise KeyboardInterrupt\n"
        "transfer._receive_http = fetched\n"
        "from hier.cli import main; main()"
    )
    params = folder / "params" / "datasets" / "grocery.yaml"
    params.write_text(params.read_text().replace("url: null", "url: http://127.0.0.1:9/a", 1))
    done = call(folder, "download", "grocery", command=[sys.executable, "-c", code])
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == (
        "interrupted; what has arrived is kept in "
        "downloads/grocery/GroceryStoreDataset-fc80ba90.tar.part: start again to go on"
    )


def files(folder):
    """Files below `folder` (but not the code), as relative paths."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "src" not in path.relative_to(folder).parts
    }
