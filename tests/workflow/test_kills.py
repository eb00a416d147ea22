"""Kill stages and engines at random moments: one command recovers, and the bytes are the same.

HIER_KILLS=40 HIER_TERMS=10 pytest tests/workflow/test_kills.py      the long form (half an hour)
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.engines

KILLS = int(os.environ.get("HIER_KILLS", "3"))
TERMS = int(os.environ.get("HIER_TERMS", "1"))
SEED = int(os.environ.get("HIER_KILL_SEED", "0"))
RUN = "smoke-hier-test_resnet-16-s0"
OVERRIDES = "methods=[hier] runs.*.schedule.epochs=30"
STAGES = {
    "download": "smoke", "prepare": "smoke", "train": RUN, "embed": RUN, "evaluate": RUN,
    "views": RUN,
}  # fmt: skip
ENGINES = {
    "snakemake": ("snakemake", "--cores", "2"),
    "dvc": ("dvc", "repro"),
}
RECOVER = ("make", "reproduce", "SUITE=smoke", f"OVERRIDES={OVERRIDES}", "INSTALLED=", "CORES=2")


@pytest.fixture(scope="module")
def project(new_project):
    """A project in which the smoke suite's HIER run was made without disturbance."""
    project = new_project("kills")
    project.run("hier", "compose", "suite=smoke", *OVERRIDES.split())
    project.run("snakemake", "--cores", "2", "--quiet", "all")
    return project


def artifacts(project):
    return {
        str(path.relative_to(project.folder)): sha256(path.read_bytes()).hexdigest()
        for folder in ("data", "runs", "results")
        for path in sorted(project.path(folder).rglob("*"))
        if path.is_file() and not path.name.endswith(".record.json") and path.name != ".snakemake_timestamp"
    }


def forget(project, stage):
    """Remove what a stage made, with all that would bring it back."""
    folder = project.path(f"data/{STAGES[stage]}" if stage in ("download", "prepare") else "runs")
    record = next(folder.rglob(f"{stage}.record.json"))
    made = {
        "download": ["archive"], "prepare": ["index.parquet", "images.npy"],
        "train": ["model.safetensors", "proxies.safetensors", "history.csv"],
        "embed": ["embeddings.safetensors"], "evaluate": ["metrics.json"], "views": ["views.json"],
    }  # fmt: skip
    for name in made[stage]:
        path = record.parent / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    record.unlink()
    shutil.rmtree(project.path(".hier/kept"), ignore_errors=True)


def started(project, command):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {
        **os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1",
        "HIER_CHECKPOINT_MINUTES": "0",
    }  # fmt: skip
    return subprocess.Popen(
        command, cwd=project.folder, env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def at_work(project, stage):
    """The process that runs a stage in the project, or None."""
    command = ["hier", stage, STAGES[stage]]
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = [Path(word).name for word in process.info["cmdline"] or ()]
        if process.info["cwd"] == str(project.folder) and words[1:4] == command:
            return process
    return None


def kill(project, rng, stage, engine, target, number):
    """Start an engine, and kill it or the stage that it runs after a random time.

    Gives the seconds from the stage's start to the kill, or None where it had ended before.
    """
    forget(project, stage)
    process = started(project, ENGINES[engine])
    inner, give_up = None, time.monotonic() + 90
    while inner is None and process.poll() is None and time.monotonic() < give_up:
        inner = at_work(project, stage)
        time.sleep(0.02)
    delay = rng.uniform(0, 9 if stage == "train" else 2.5)
    time.sleep(delay)
    try:
        victim = inner if target == "stage" else psutil.Process(process.pid)
        assert victim is not None
        victim.send_signal(number)
    except (psutil.NoSuchProcess, AssertionError):
        delay = None
    process.wait(120)
    return delay


def seconds_lost(project):
    """Seconds of training since the last checkpoint; 0 where there is none."""
    written = [path.stat().st_mtime for path in project.path(".checkpoints").rglob("*.pt")]
    return time.time() - max(written) if written else 0


def test_every_kill_is_recovered_from_by_one_command(project):
    """Some 15 s for each kill on two cores: a stage begins, is killed or its engine is, and
    everything is made whole again by `make reproduce`; that is what it has to prove."""
    rng = random.Random(SEED)
    undisturbed = artifacts(project)
    signals = [signal.SIGKILL] * KILLS + [signal.SIGTERM] * TERMS
    rng.shuffle(signals)
    cases = [(s, e, t) for t in ("engine", "stage") for e in ENGINES for s in ("train", *STAGES)]
    while signals:
        for stage, engine, target in rng.sample(cases, len(cases)):
            number = signals[-1]
            delay = kill(project, rng, stage, engine, target, number)
            lost = seconds_lost(project) if target == "stage" else 0
            done = project.run(*RECOVER, check=False)
            what = f"{number.name} of the {target} in {stage} under {engine} after {delay} s"
            assert done.returncode == 0, f"{what}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
            assert artifacts(project) == undisturbed, what
            assert not list(project.folder.rglob(".*.part")), what
            assert all(at_work(project, s) is None for s in STAGES), what
            if delay is not None:
                print(f"{len(signals)} left: {what}; {lost:.1f} s lost", flush=True)
                assert lost < 5, what  # a checkpoint after each step, and the time to notice
                signals.pop()
            if not signals:
                break
