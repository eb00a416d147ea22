"""The command `hier` as a user meets it: help, one line per mistake, exit codes, interruption."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hier
from hier.pipeline import STAGES

ROOT = Path(__file__).parents[1]
SOURCE = Path(hier.__file__).parents[1]
COMMAND = [sys.executable, "-c", "from hier.cli import main; main()"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "100"}
COMMANDS = ["compose", "plan", *STAGES, "run", "verify", "adopt"]
HIER = "smoke-hier-test_resnet-16-s0"
PA = "smoke-pa-test_resnet-16-s0"
MANY = 60  # images per class


def call(folder, *arguments, command=COMMAND):
    return subprocess.run(
        [*command, *arguments],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def workspace(folder):
    """A folder with all that `hier` reads: configurations, code, references."""
    folder.mkdir(parents=True)
    shutil.copytree(ROOT / "conf", folder / "conf")
    (folder / "src").symlink_to(SOURCE)
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
    assert re.findall(r"^  (\w+)  ", listed, re.MULTILINE) == COMMANDS
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


def test_help_comes_at_once(tmp_path):
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert call(tmp_path, "--help").returncode == 0
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5


def test_the_version(tmp_path):
    assert call(tmp_path, "--version").stdout == f"hier, version {hier.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command, tmp_path):
    done = call(tmp_path, command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    key = {"dataset": " DATASET", "run": " RUN", "suite": ""}
    usage = f"{command} [OPTIONS]" + (key[STAGES[command].each] if command in STAGES else "")
    assert usage in done.stdout.splitlines()[0]
    assert len(done.stdout.splitlines()) >= 4


@pytest.mark.parametrize("arguments", [["nope"], ["train"], ["--nope"], ["tabulate", "extra"]])
def test_wrong_usage_is_said_without_a_trace(arguments, tmp_path):
    done = call(tmp_path, *arguments)
    assert done.returncode == 2
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["train", "embed", "evaluate"])
def test_an_unknown_run_lists_the_valid_ones(made, stage):
    done = call(made, stage, "smoke-nope")
    assert done.returncode == 2
    assert one_line(done) == f"error: unknown run 'smoke-nope'; choose from: {PA}, {HIER}"
    assert done.stdout == ""


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
        (["compose"], 2, "there is no conf/ here; run hier in the project's folder"),
        (["compose", "nonsense"], 2, "override 'nonsense' is not of the form key=value"),
    ],
)
def test_an_empty_folder(arguments, code, line, tmp_path):
    done = call(tmp_path, *arguments)
    assert done.returncode == code
    assert one_line(done).startswith(f"error: {line}")
    assert list(tmp_path.iterdir()) == []


def test_a_stage_without_what_the_one_before_it_makes(made, copy):
    folder = copy(made)
    shutil.rmtree(folder / "data", ignore_errors=True)
    done = call(folder, "train", HIER)
    assert done.returncode == 1
    text = "error: data/smoke/index.parquet is missing; make it with: hier prepare smoke"
    assert one_line(done) == text
    done = call(folder, "prepare", "smoke")
    assert one_line(done).endswith(
        "data/smoke/archive is missing; make it with: hier download smoke"
    )


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
        "import hier.config.suite as suite\n"
        "def load(): return 1 / 0\n"
        "suite.load = load\n"
        "from hier.cli import main; main()"
    )
    done = call(made, "plan", command=[sys.executable, "-c", code])
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.rstrip().endswith("ZeroDivisionError: division by zero")


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
        "conf", "dvc.yaml", "expected", "params.yaml", "src",
    ]  # fmt: skip
    written = {path: path.stat().st_mtime_ns for path in folder.glob("*.yaml")}
    for check in ([], ["--check"]):
        done = call(folder, "compose", *check, *overrides)
        assert (done.returncode, done.stdout) == (0, "suite smoke: 1 runs on smoke\n")
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.yaml")} == written

    assert call(folder, "compose", "--check", "suite=smoke").returncode == 2
    (folder / "dvc.yaml").write_text("stages: {}\n")
    done = call(folder, "compose", "--check", *overrides)
    assert done.returncode == 2
    assert one_line(done).startswith("error: dvc.yaml is not what `hier compose` gives")
    assert (folder / "dvc.yaml").read_text() == "stages: {}\n"


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


def test_verify_fails_where_a_cell_was_not_run(made):
    done = call(made, "verify")
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: (\d+) of \1 cells are not reproduced; run what is missing with: "
        r"snakemake --cores all",
        one_line(done),
    )
    assert "not run" in done.stdout


# --- interruption --------------------------------------------------------------------------------

STARTED = {
    "download": ("smoke", "data/smoke/.archive.*.part/*"),
    "prepare": ("smoke", "data/smoke/.*.part/*"),
    "train": (HIER, f".checkpoints/{HIER}/**/epoch-*.pt"),
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
    process = subprocess.Popen(
        [*COMMAND, stage, key], cwd=folder, env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
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
    if number == signal.SIGINT:
        last = stderr.splitlines()[-1]
        assert last == "interrupted; nothing half-written was kept"
    # Nothing but checkpoints, each of them whole, has come.
    new = {path for path in files(folder) - before if not path.startswith(".checkpoints/")}
    assert new == set()
    assert not [path for path in files(folder) if path.endswith(".part") or "/." in path]
    assert before <= files(folder)


def files(folder):
    """Files below `folder` (but not the code), as relative paths."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "src" not in path.relative_to(folder).parts
    }
