"""Which jobs take a GPU, from when to when: real locks, pretended cards."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Timer
from types import ModuleType, SimpleNamespace

import pytest
import torch

from fakes.gpus import UUIDS, pretend
from hier import gpus, pipeline
from hier.config.settings import Settings
from hier.gpus import acquire_gpus
from hier.ledger.locks import holders
from hier.ledger.run_job import run_stage
from hier.pipeline import STAGES

TESTS = Path(__file__).parents[1]
CHAIN = [("shop", "veg"), ("chop", "veg"), ("cook", "soup"), ("plate", "soup")]


def run_chain():
    for stage, key in CHAIN:
        run_stage(stage, key)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The user's temporary folder, of the test alone; torch comes back."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(gpus, "PAUSE", 0.02)
    return tmp_path / f"hier-cards-{os.geteuid()}"


def test_training_and_embedding_work_on_a_gpu():
    """Evaluation reads and compares on the CPU."""
    assert [name for name, stage in STAGES.items() if stage.gpu] == ["train", "embed"]


# --- in one process ------------------------------------------------------------------------------


@pytest.fixture
def seen(toy, folder, monkeypatch):
    """The toy with two stages of a run that work on a GPU, and a list of who had a card when a
    stage was at work; `runtime.device` is the list's attribute."""

    class Seen(list):
        device = "auto"

    seen = Seen()
    plate = replace(
        pipeline.STAGES["cook"], name="plate", inputs=("runs/{run}/dish.txt",),
        outputs=("runs/{run}/plate.txt",), code=(), gpu=True,
    )  # fmt: skip
    toy.write("src/hier/stages/plate.py", b"def run(): ...")
    monkeypatch.setitem(pipeline.STAGES, "cook", replace(pipeline.STAGES["cook"], gpu=True))
    monkeypatch.setitem(pipeline.STAGES, "plate", plate)
    suite = SimpleNamespace(run=lambda key: SimpleNamespace(runtime=seen))
    monkeypatch.setattr(Settings, "suite", lambda self, name=None: suite)
    for name in pipeline.STAGES:
        module = ModuleType(f"hier.stages.{name}")

        def run(job, suite, key):
            had = [path.name[0] for path in sorted(folder.glob("*")) if held(path)]
            seen.append((job.stage.name, "".join(had)))
            toy.work(job)

        module.run = run
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return seen


def held(path):
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_card_is_held_while_such_a_job_works_and_no_longer(seen, folder):
    pretend(1)
    run_chain()
    assert seen == [("shop", ""), ("chop", ""), ("cook", "a"), ("plate", "a")]
    assert not any(map(held, folder.iterdir()))
    assert (folder / UUIDS[0]).read_text() == f"process {os.getpid()} (plate@soup)\n"


def test_one_stage_alone_holds_a_card_too(seen):
    pretend(2)
    run_stage("shop", "veg")
    run_stage("chop", "veg")
    with acquire_gpus(seen, "other"):
        pretend(2)
        run_stage("cook", "soup")
    assert seen[-1] == ("cook", "ab")


def test_a_run_on_the_cpu_takes_none(seen, folder):
    pretend(1)
    seen.device = "cpu"
    run_chain()
    assert not folder.exists()


def test_which_card_it_was_changes_no_key_and_no_output(seen, toy):
    pretend(2)
    run_chain()
    path = toy.job("plate@soup").record
    before = json.loads(path.read_text())
    with acquire_gpus(seen, "other"):
        pretend(2)
        run_stage("plate", "soup", force=True)
    assert [had for name, had in seen if name == "plate"] == ["a", "ab"]
    after = json.loads(path.read_text())
    assert after["environment"]["torch"]["gpu"] == "Pretended GPU"
    for name in ("key", "outputs", "environment"):
        assert after[name] == before[name]


# --- as a command --------------------------------------------------------------------------------

RUN = "smoke-hier-test_resnet-16-s0"
ON_A_GPU = "from fakes.gpus import pretend; pretend(1); from hier.cli import main; main()"

SAID = {signal.SIGTERM: "", signal.SIGINT: "interrupted; nothing half-written was kept"}


@contextmanager
def command(*arguments):
    """A command, killed when the block ends or after half a minute."""
    with subprocess.Popen(
        [sys.executable, "-c", ON_A_GPU, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=os.environ | {"PYTHONPATH": f"src{os.pathsep}{TESTS}"},
    ) as process:  # fmt: skip
        too_long = Timer(30, process.kill)
        too_long.start()
        try:
            yield process
        finally:
            too_long.cancel()
            process.kill()


@pytest.mark.parametrize("number", SAID)
def test_whoever_stops_a_job_that_waits_loses_nothing(real, number):
    """The record of what was there still stands, so that there is nothing to do without --force."""
    real()
    pretend(1)
    with acquire_gpus(SimpleNamespace(device="auto"), "other"):
        with command("train", RUN, "--force") as waiting:
            said = f"train@{RUN}: waiting for a GPU, held by process {os.getpid()} (other)\n"
            assert waiting.stdout.readline() == said
            assert list(holders()) == [f"train@{RUN}"]
            waiting.send_signal(number)
            assert waiting.wait() == 128 + number
            assert waiting.stderr.read().strip() == SAID[number]
        assert holders() == {}
        with command("train", RUN) as idle:  # it takes no card
            assert idle.stdout.read() == f"train@{RUN}: current, nothing to do\n"


def test_an_input_that_is_missing_is_told_before_the_wait(real):
    real()
    Path("data/smoke/index.parquet").unlink()
    pretend(1)
    with (
        acquire_gpus(SimpleNamespace(device="auto"), "other"),
        command("train", RUN, "--force") as job,
    ):
        out, err = job.communicate()
    assert (job.returncode, out) == (1, "")
    assert err == "error: data/smoke/index.parquet is missing; make it with: hier prepare smoke\n"


def test_a_folder_that_cannot_be_used_is_one_line(real, folder):
    real()
    folder.touch()
    with command("train", RUN, "--force") as job:
        out, err = job.communicate()
    assert (job.returncode, out) == (1, "")
    assert err.startswith(f"error: cannot keep the locks of GPUs in {folder}: File exists; ")
    assert err.count("\n") == 1
