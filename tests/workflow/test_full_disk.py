"""A disk that is full in the middle of a training: one clear line, and nothing is lost."""

import shutil

import pytest

pytestmark = pytest.mark.engines

RUN = "smoke-hier-test_resnet-16-s0"
ALONE = ("unshare", "--mount", "--map-root-user", "bash", "-c")  # nothing stays mounted
SCRIPT = """
mkdir -p .checkpoints && mount -t tmpfs -o size={small} tmpfs .checkpoints || exit 77
hier train {run} && exit 70
ls -A .checkpoints/{run}/*
mount -o remount,size=1g .checkpoints || exit 77
hier train {run}
"""


def made(project):
    return [(path.name, path.read_bytes()) for path in sorted(project.path(f"runs/{RUN}").glob("*.*"))
            if not path.name.endswith(".json")]  # fmt: skip


def test_a_training_goes_on_once_there_is_space(new_project):
    """Two trainings of six epochs and what comes before them, each a process of its own."""
    if shutil.which("unshare") is None:
        pytest.skip("needs the command unshare, to mount a small tmpfs")
    project = new_project("full")
    project.run("hier", "compose", "suite=smoke", "methods=[hier]", "runs.*.schedule.epochs=6")
    for stage, key in (("download", "smoke"), ("prepare", "smoke"), ("train", RUN)):
        project.run("hier", stage, key)
    undisturbed = made(project)
    model = project.path(f"runs/{RUN}/model.safetensors").stat().st_size
    shutil.rmtree(project.path("runs"))
    shutil.rmtree(project.path(".hier"))

    # A checkpoint holds the model and Adam's two moments: two of them fit, three do not (that of
    # the first epoch, in which the backbone is frozen, is smaller).
    script = SCRIPT.format(run=RUN, small=int(2.6 * 3 * model))
    done = project.run(*ALONE, script, check=False)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("needs the right to mount a small tmpfs in a namespace of its own")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "error: no space left while writing .checkpoints" in done.stderr
    assert "Traceback" not in done.stderr
    kept = [int(name[1:5]) for name in done.stdout.split() if name.endswith(".pt")]
    assert kept == [kept[-1] - 1, kept[-1]]
    assert kept[-1] < 6
    assert f"{RUN}: going on after epoch {kept[-1]}" in done.stdout
    assert made(project) == undisturbed
