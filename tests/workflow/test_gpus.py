"""Snakemake starts as many GPU jobs at once as there are cards, or as it is told."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from fakes.nursery import engines

pytestmark = pytest.mark.engines

# Snakemake on a machine whose driver has the cards in the folder `gpus`.
SNAKEMAKE = """
import sys
from pathlib import Path
sys.path.insert(0, "src")
from hier import gpus
from snakemake.cli import main
gpus.DRIVER = Path("gpus")
main(sys.argv[1:])
"""
# By job, its outputs (true: a folder), and whether it trains.
LIST_JOBS = """
import json
from hier.config.settings import Settings
from hier.jobs import jobs
print(json.dumps({
    job.name: [dict.fromkeys(job.outputs, job.stage.directory), job.stage.gpu]
    for job in jobs(Settings.read())
}))
"""
# In place of `hier`: makes what a stage would, and notes in a log when it trains.
STUB = f"""#!{sys.executable} -ISE
import json, sys, time
from pathlib import Path
outputs, gpu = json.loads(Path("jobs.json").read_text())["@".join(sys.argv[1:3])]
def note(step):
    with open("log", "a") as log:
        log.write(step)
if gpu:
    note("+")
    time.sleep(1)
    note("-")
for path, directory in outputs.items():
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).mkdir(exist_ok=True) if directory else Path(path).touch()
"""


@pytest.fixture(scope="module")
def project(new_project):
    """Four runs, and the stub in place of `hier`."""
    project = new_project("gpus")
    project.run("hier", "compose", "suite=smoke", "methods=[pa]", "seeds=[0,1,2,3]")
    project.path("jobs.json").write_text(project.python(LIST_JOBS))
    project.path("bin").mkdir()
    project.path("bin/hier").write_text(STUB)
    project.path("bin/hier").chmod(0o755)
    return project


def most_at_once(project, number, *options):
    """How many jobs train at the same time, at the most, on a machine with `number` cards."""
    shutil.rmtree(project.path("gpus"), ignore_errors=True)
    for card in range(number):
        project.path(f"gpus/{card}").mkdir(parents=True)
    shutil.rmtree(project.path("runs"), ignore_errors=True)
    project.path("log").unlink(missing_ok=True)
    runs = [f"runs/smoke-pa-test_resnet-16-s{seed}/model.safetensors" for seed in range(4)]
    path = f"{project.path('bin')}{os.pathsep}{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    command = [*runs, "--cores", "4", *options]
    done = engines().run(SNAKEMAKE, command, project.folder, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    now, most = 0, 0
    for step in project.path("log").read_text():
        now += 1 if step == "+" else -1
        most = max(most, now)
    return most


@pytest.mark.parametrize(
    ("number", "options", "most"),
    [
        (1, [], 1),
        (2, [], 2),
        (2, ["--resources", "gpu=1"], 1),
        (1, ["--resources", "gpu=3"], 3),
        (0, [], 4),
    ],
)  # fmt: skip
def test_a_gpu_job_for_each_card(project, number, options, most):
    assert most_at_once(project, number, *options) == most
