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
from itertools import cycle
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.engines

KILLS = int(os.environ.get("HIER_KILLS", "3"))
TERMS = int(os.environ.get("HIER_TERMS", "1"))
SEED = int(os.environ.get("HIER_KILL_SEED", "0"))
RUN = "smoke-hier-test_resnet-16-s0"
OVERRIDES = "methods=[hier] runs.*.schedule.epochs=12"
STAGES = {
    "download": "smoke", "prepare": "smoke", "train": RUN, "embed": RUN, "evaluate": RUN,
}  # fmt: skip
ENGINES = {
    "snakemake": ("snakemake", "--cores", "2"),
    "dvc": ("dvc", "repro"),
    "hier run": ("hier", "run"),
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
        if path.is_file()
        and not path.name.endswith(".record.json")
        and path.name != ".snakemake_timestamp"
    }


def forget(project, stage):
    """Remove what a stage made, with all that would bring it back."""
    folder = project.path(f"data/{STAGES[stage]}" if stage in ("download", "prepare") else "runs")
    record = next(folder.rglob(f"{stage}.record.json"))
    made = {
        "download": ["archive"], "prepare": ["index.parquet", "images.npy"],
        "train": ["model.safetensors", "proxies.safetensors", "history.csv"],
        "embed": ["embeddings.safetensors"], "evaluate": ["metrics.json"],
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
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = [Path(word).name for word in process.info["cmdline"] or ()]
        if process.info["cwd"] == str(project.folder) and words[1:4] == [
            "hier",
            stage,
            STAGES[stage],
        ]:
            return process
    return None


def kill_once(project, rng, stage, engine, target, number):
    """Start an engine, and kill it or the stage that it runs after a random time; says when."""
    forget(project, stage)
    process = started(project, ENGINES[engine])
    wanted = time.monotonic() + 60
    inner = None
    while inner is None and process.poll() is None and time.monotonic() < wanted:
        inner = at_work(project, stage) if engine != "hier run" else psutil.Process(process.pid)
        time.sleep(0.02)
    if inner is None:
        process.wait()
        return "ended before it could be killed"
    delay = rng.uniform(0, 8 if stage == "train" else 2.5)
    time.sleep(delay)
    victim = psutil.Process(process.pid) if target == "engine" else inner
    try:
        victim.send_signal(number)
    except psutil.NoSuchProcess:
        process.wait()
        return "had ended"
    process.wait(120)
    return f"{delay:.1f} s after its start"


def test_every_kill_is_recovered_from_by_one_command(project):
    """Some 25 s for each kill on two cores: the stage begins, is killed, and everything is made
    whole again by `make reproduce`; that is what it has to prove."""
    rng = random.Random(SEED)
    undisturbed = artifacts(project)
    signals = [signal.SIGKILL] * KILLS + [signal.SIGTERM] * TERMS
    rng.shuffle(signals)
    cases = cycle(
        [(s, e, t) for t in ("engine", "stage") for e in ENGINES for s in ("train", *STAGES)]
    )
    chosen = [next(cases) for _ in range(10_000)][: len(STAGES) * 60]
    rng.shuffle(chosen)
    for number, (stage, engine, target) in zip(signals, chosen, strict=False):
        when = kill_once(project, rng, stage, engine, target, number)
        what = f"{number.name} of the {target} in {stage} under {engine}, {when}"
        print(what, flush=True)
        done = project.run(*RECOVER, check=False)
        assert done.returncode == 0, f"{what}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        assert artifacts(project) == undisturbed, what
        assert not list(project.folder.rglob(".*.part")), what
        assert all(at_work(project, s) is None for s in STAGES), what
