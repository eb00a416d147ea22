"""Projects of four runs in which a stub stands for `hier`, on machines that have cards or have none."""

import os
import re
import shutil
import sys
from pathlib import Path

from fakes.nursery import engines
from hier.pipeline import STAGES

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
# How many cards the jobs of each rule ask for.
NEED = dict.fromkeys(STAGES, 0) | {"train": 1, "embed": 1}


def with_stub(project):
    """Compose four runs in a project, and put the stub in place of `hier`."""
    project.run("hier", "compose", "suite=smoke", "methods=[pa]", "seeds=[0,1,2,3]")
    project.path("jobs.json").write_text(project.python(LIST_JOBS))
    project.path("bin").mkdir()
    project.path("bin/hier").write_text(STUB)
    project.path("bin/hier").chmod(0o755)
    return project


def on_machine_with(project, number, *command):
    """What Snakemake says on a machine with `number` cards."""
    shutil.rmtree(project.path("gpus"), ignore_errors=True)
    for card in range(number):
        project.path(f"gpus/{card}").mkdir(parents=True)
    shutil.rmtree(project.path("runs"), ignore_errors=True)
    project.path("log").unlink(missing_ok=True)
    path = f"{project.path('bin')}{os.pathsep}{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    done = engines().run(SNAKEMAKE, command, project.folder, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def most_at_once(project, number, *options):
    """How many jobs train at the same time, at the most, on a machine with `number` cards."""
    runs = [f"runs/smoke-pa-test_resnet-16-s{seed}/model.safetensors" for seed in range(4)]
    on_machine_with(project, number, *runs, "--cores", "4", *options)
    now, most = 0, 0
    for step in project.path("log").read_text():
        now += 1 if step == "+" else -1
        most = max(most, now)
    return most


def asked(project, number, *options):
    """What each rule's jobs ask for in a dry run, but for a folder that they may use."""
    said = on_machine_with(project, number, "--dry-run", "--forceall", *options)
    found = re.findall(r"rule (\w+):.*?resources: (.*?)\n", said, re.DOTALL)
    return {(rule, re.sub(r"tmpdir=\S+ ", "", resources)) for rule, resources in found}


def gpus_asked(project, number, *options):
    """How many cards the jobs of each rule ask for."""
    return {
        rule: int(re.search(r"\bgpu=(\d+)", resources)[1])
        for rule, resources in asked(project, number, *options)
        if rule != "all"
    }
