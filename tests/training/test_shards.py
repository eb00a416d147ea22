"""A batch in shards gives the gradient of the whole, and the same bytes however many processes compute it."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from fakes.training import (
    CLASSES,
    STEPS,
    changed,
    images_of,
    make_store,
    tiny_runs,
    torch_as_before,
    trained,
    trained_bytes,
)
from hier.config.run import Run
from hier.errors import ConfigError, ProcessError
from hier.training.batches import TrainingImages
from hier.training.group import ALONE, Group
from hier.training.loop import start_network
from hier.training.objective import Objective
from hier.training.optimisation import start_epoch
from hier.training.shards import build_step

EPOCHS = 2


@pytest.fixture(autouse=True)
def restored():
    with torch_as_before():
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store"))


def run_of(backbone, shards=1, processes=1):
    run = tiny_runs(f"schedule.epochs={EPOCHS}")["hier"]
    networks = {
        "resnet": {"batch_norm": "eval"},
        "vit": {"timm": "test_vit", "features": 64, "weights": None},
    }
    run = changed(run, backbone=networks[backbone])
    return changed(run, sampler={"shards": shards}, runtime={"processes": processes})


# --- one process ----------------------------------------------------------------------------------


def two_steps(run, store):
    """Loss, gradients and parameters of a network in float64 after each of two steps."""
    network = start_network(run).double().train()
    objective = Objective(run, CLASSES).double()
    step = build_step(run, network, objective, torch.device("cpu"), ALONE)
    start_epoch(step.optimizer, run.schedule, 1)
    generator, found = torch.Generator().manual_seed(0), []
    for images, classes in [*images_of(store, run).epoch(1, torch.device("cpu"))][:2]:
        images = images.double()
        if run.backbone.timm == "test_vit":  # of another size than its own, it resamples positions in float32
            images = interpolate(images, 160)
        loss, _ = step(images, classes, generator)
        for module in (network, objective):
            found += [parameter.grad.clone() for parameter in module.parameters()]
            found += [parameter.detach().clone() for parameter in module.parameters()]
        found.append(loss.detach())
    return found


@pytest.mark.parametrize("backbone", ["resnet", "vit"])
def test_it_is_the_gradient_of_the_whole_batch(store, backbone):
    whole = two_steps(run_of(backbone), store)
    assert len(whole) > 50
    for shards in (2, 4):
        for one, other in zip(two_steps(run_of(backbone, shards), store), whole, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_what_a_network_drops_does_not_hang_on_the_number_of_processes(store):
    run = run_of("resnet", shards=4)
    network = start_network(run).train()
    network.head = nn.Sequential(nn.Dropout(0.3), network.head)
    images = torch.randn(16, 3, 16, 16)

    def embedded(rank, size):
        torch.manual_seed(0)
        step = build_step(run, network, Objective(run, CLASSES), torch.device("cpu"), Group(rank, size))
        return torch.cat([*step.embed_shards(images[step.group.part_of(16)])]), torch.rand(1)

    whole, after = embedded(0, 1)
    assert not torch.equal(embedded(0, 1)[0], network(images))
    for size in (2, 4):
        parts = [embedded(rank, size) for rank in range(size)]
        assert torch.equal(torch.cat([z for z, _ in parts]), whole)
        assert all(torch.equal(drawn, after) for _, drawn in parts)
    again = embedded(0, 1)[0]
    torch.manual_seed(1)
    assert torch.equal(again, whole)


def test_shards_of_a_batch_are_loaded_by_parts(store):
    images, device = images_of(store, run_of("resnet")), torch.device("cpu")
    whole = [*images.epoch(1, device, start=1)]
    parts = [[*images.epoch(1, device, start=1, part=Group(rank, 4).part_of(16))] for rank in range(4)]
    for step, (pictures, classes) in enumerate(whole):
        assert torch.equal(torch.cat([part[step][0] for part in parts]), pictures)
        assert all(torch.equal(part[step][1], classes) for part in parts)
    assert len(whole) == STEPS - 1


def test_batch_norms_that_learn_are_refused(store, tmp_path):
    run = changed(run_of("resnet", shards=2), backbone={"batch_norm": "train"})
    with pytest.raises(ConfigError, match=r"^sampler.shards 2: the batch norms of test_resnet would learn"):
        trained(run, store, tmp_path)


@pytest.mark.parametrize(
    ("shards", "processes", "says"),
    [
        (3, 1, "sampler.shards 3 does not divide sampler.batch_size 16"),
        (4, 3, "runtime.processes 3 does not divide sampler.shards 4"),
        (1, 2, "runtime.processes 2 does not divide sampler.shards 1"),
    ],
)
def test_parts_that_are_not_equal_are_refused(shards, processes, says):
    run = run_of("resnet").model_dump()
    run["sampler"]["shards"], run["runtime"]["processes"] = shards, processes
    with pytest.raises(ValueError, match=says):
        Run.model_validate(run)


# --- several processes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "shards"),
    [
        ("vit", 2),
        *(
            pytest.param(*each, marks=pytest.mark.large)
            for each in [("resnet", 2), ("vit", 4), ("resnet", 4)]
        ),
    ],
)
def test_as_many_processes_as_shards_give_the_same_bytes(store, tmp_path, backbone, shards):
    alone = trained_bytes(run_of(backbone, shards), store, tmp_path / "alone")
    assert trained_bytes(run_of(backbone, shards, shards), store, tmp_path / "together") == alone
    assert multiprocessing.active_children() == []


KILLED = """
import multiprocessing, os, signal, sys
from pathlib import Path
from training.test_shards import make_store, run_of, trained_bytes
from hier.training.checkpoint import Checkpoints

folder, save = Path(sys.argv[1]), Checkpoints.save

def killed(self, epoch, step, *rest):
    if (epoch, step) == (1, 2):
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return save(self, epoch, step, *rest)

if __name__ == "__main__":
    Checkpoints.save = killed
    trained_bytes(run_of("resnet", 2, 2), make_store(folder), folder, seconds=0.0)
"""


def test_killed_and_resumed_it_gives_the_same_bytes(store, tmp_path):
    """Killed beside one other process, resumed alone; then what is left of it with two, once more stopped."""
    tests, script = Path(__file__).parents[1], tmp_path / "killed.py"
    script.write_text(KILLED)
    done = subprocess.run(
        [sys.executable, script, str(tmp_path)], capture_output=True, text=True, timeout=120,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), os.environ["PYTHONPATH"]])},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    [follower] = map(int, done.stdout.split())
    _, alive = psutil.wait_procs([psutil.Process(follower)] if psutil.pid_exists(follower) else [], 10)
    assert not alive
    whole = trained_bytes(run_of("resnet", 2), store, tmp_path / "whole")
    assert trained_bytes(run_of("resnet", 2), store, tmp_path) == whole


def test_one_that_is_lost_is_named_and_the_next_goes_on(store, tmp_path, monkeypatch):
    run, epoch_of = run_of("resnet", 2, 2), TrainingImages.epoch

    def lost(self, epoch, device, start, **rest):
        if epoch:
            [follower] = multiprocessing.active_children()
            follower.kill()
            follower.join()
        yield from epoch_of(self, epoch, device, start, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingImages, "epoch", lost)
        with pytest.raises(ProcessError, match="with this one was killed by SIGKILL, most likely for lack"):
            trained(run, store, tmp_path)
    assert multiprocessing.active_children() == []
    asked = []

    def stopped(self, z, classes, generator):
        asked.append(os.kill(os.getpid(), signal.SIGTERM))
        return forward(self, z, classes, generator)

    forward = Objective.forward
    with monkeypatch.context() as patch:
        patch.setattr(Objective, "forward", stopped)
        with pytest.raises(SystemExit, match="143"):
            trained(run, store, tmp_path)
    assert len(asked) == 1
    whole = trained_bytes(run_of("resnet", 2), store, tmp_path / "whole")
    assert trained_bytes(run_of("resnet", 2), store, tmp_path) == whole
