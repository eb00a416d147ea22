"""A training that is stopped anywhere goes on and ends with the same bytes."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path

import pytest
import torch
from torch import nn

from fakes.training import (
    STEPS,
    changed,
    images_of,
    make_store,
    tiny_runs,
    torch_as_before,
    trained_bytes,
)
from hier.errors import DiskFullError
from hier.files.checkpoint_names import damaged_checkpoints
from hier.registry import LOSSES
from hier.training import checkpoint as checkpoint_module
from hier.training import loop
from hier.training.batches import TrainingImages
from hier.training.checkpoint import MINUTES, Checkpoints
from hier.training.objective import Objective

EPOCHS = 2
ALL_STEPS = range(EPOCHS * STEPS)
METHODS = ["hier", "xbm", "softtriple", "dropout"]


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    monkeypatch.delenv(MINUTES, raising=False)
    with torch_as_before():
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def runs():
    """Two epochs of three steps each; the memory of `xbm` comes in, and fills, on the way."""
    tiny = tiny_runs(f"schedule.epochs={EPOCHS}")
    xbm = LOSSES.module("xbm").Settings(
        name="xbm", memory=40, start=1, positive_similarity=1.0, negative_similarity=0.5
    )
    soft = LOSSES.module("softtriple").Settings(name="softtriple", centers=2, la=20.0, gamma=0.1, margin=0.01)
    return {
        "hier": tiny["hier"],
        "xbm": tiny["pa"].model_copy(update={"loss": xbm}),
        "softtriple": tiny["hier"].model_copy(update={"loss": soft}),
        "dropout": tiny["hier"],
    }


class DroppedOut(nn.Module):
    """The network with dropout between its backbone and its head."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, features):
        return nn.functional.dropout(self.norm(features), 0.3, self.training)


@pytest.fixture
def method(request, monkeypatch):
    """A method's name; `dropout` puts dropout into every network that the loop starts."""
    name = request.param
    if name == "dropout":
        plain = loop.start_network

        def with_dropout(run):
            network = plain(run)
            network.head.norm = DroppedOut(network.head.norm)
            return network

        monkeypatch.setattr(loop, "start_network", with_dropout)
    return name


@pytest.fixture(scope="module")
def undisturbed(runs, store, tmp_path_factory):
    """A method's bytes without any break, made once (in the patches of the first test that asks)."""
    made = {}

    def of(method):
        if method not in made:
            made[method] = trained_bytes(runs[method], store, tmp_path_factory.mktemp(method))
        return made[method]

    return of


def at_step(monkeypatch, step, act):
    """Call `act` within the forward pass of one step, counted from 0 over this process's steps."""
    steps, forward = count(), Objective.forward

    def disturbed(self, z, classes, generator):
        if next(steps) == step:
            act()
        return forward(self, z, classes, generator)

    monkeypatch.setattr(Objective, "forward", disturbed)


class CrashError(Exception):
    pass


def crash():
    raise CrashError


def term():
    os.kill(os.getpid(), signal.SIGTERM)


def files(folder):
    return sorted(folder.rglob("*.pt"), key=lambda path: path.name)


def positions(folder):
    return [path.name.partition(".")[0] for path in files(folder)]


def crashed(runs, method, store, folder, step, **settings):
    """Leave behind what a run that crashes within `step` does; a checkpoint follows every step."""
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, step, crash)
        with pytest.raises(CrashError):
            trained_bytes(runs[method], store, folder, **({"seconds": 0.0} | settings))


def stopped(runs, method, store, folder, step, number=signal.SIGTERM):
    """Leave behind what a run that gets a signal within `step` does; returns its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, step, lambda: os.kill(os.getpid(), number))
        with pytest.raises(SystemExit) as left:
            trained_bytes(runs[method], store, folder)
    return left.value.code


# --- stopped at every step ------------------------------------------------------------------------


def test_undisturbed_runs_differ_from_one_another(runs, store, undisturbed):
    """Dropout is not in this list: it is in the network only where a test puts it there."""
    assert len({undisturbed(method) for method in ("hier", "xbm", "softtriple")}) == 3


@pytest.mark.parametrize("method", METHODS, indirect=True)
def test_a_crash_at_any_step(runs, store, tmp_path, undisturbed, method):
    whole = undisturbed(method)
    for step in ALL_STEPS:
        folder = tmp_path / str(step)
        crashed(runs, method, store, folder, step)
        epoch, within = divmod(step, STEPS)
        assert positions(folder)[-1:] == ([f"e{epoch:04d}-s{within:05d}"] if step else [])
        assert trained_bytes(runs[method], store, folder) == whole, step


@pytest.mark.parametrize("method", METHODS, indirect=True)
def test_sigterm_at_any_step(runs, store, tmp_path, undisturbed, method, capfd):
    whole = undisturbed(method)
    for step in ALL_STEPS:
        folder = tmp_path / str(step)
        assert stopped(runs, method, store, folder, step) == 143
        epoch, within = divmod(step, STEPS)
        assert positions(folder)[-1] == f"e{epoch:04d}-s{within + 1:05d}"
        text = f"stopped; goes on from {files(folder)[-1]} with the same command\n"
        assert capfd.readouterr().err.endswith(text)
        assert trained_bytes(runs[method], store, folder) == whole, step
        assert f"going on after step {within + 1} of epoch {epoch + 1}" in capfd.readouterr().out


@pytest.mark.parametrize("method", METHODS, indirect=True)
def test_stopped_again_and_again(runs, store, tmp_path, undisturbed, method):
    """Every process does a single step."""
    whole = undisturbed(method)
    for _ in ALL_STEPS:
        assert stopped(runs, method, store, tmp_path, 0) == 143
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 0, lambda: pytest.fail("there is a step left"))
        assert trained_bytes(runs[method], store, tmp_path) == whole


@pytest.mark.parametrize("method", ["dropout"], indirect=True)
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_loader_workers_change_nothing(runs, store, tmp_path, undisturbed, method, workers):
    whole = undisturbed(method)
    runs = {method: changed(runs[method], runtime={"workers": workers})}
    assert trained_bytes(runs[method], store, tmp_path / "whole") == whole
    assert stopped(runs, method, store, tmp_path / "broken", STEPS) == 143
    assert trained_bytes(runs[method], store, tmp_path / "broken") == whole


def test_a_signal_to_the_loader_workers_too(runs, store, tmp_path, undisturbed):
    """As from a cluster's time limit, or Ctrl-C in a terminal."""
    run = changed(runs["hier"], runtime={"workers": 2})
    workers = []

    def to_all():
        """From another process: torch's workers take one from their parent for a kind request."""
        workers.extend(process.pid for process in multiprocessing.active_children())
        subprocess.run(["kill", "-TERM", *map(str, [*workers, os.getpid()])], check=True)

    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 1, to_all)
        with pytest.raises(SystemExit, match="143"):
            trained_bytes(run, store, tmp_path)
    assert len(workers) == 2
    assert trained_bytes(run, store, tmp_path) == undisturbed("hier")


def test_steps_that_are_done_are_not_loaded_again(runs, store):
    images, device = images_of(store, runs["hier"]), torch.device("cpu")
    whole, loaded = list(images.epoch(1, device)), []
    read = type(store[0]).__getitem__

    def watched(self, row):
        loaded.append(row)
        return read(self, row)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(store[0]), "__getitem__", watched)
        left = list(images.epoch(1, device, start=2))
    assert len(loaded) == 16
    assert len(left) == STEPS - 2
    for one, other in zip(left, whole[2:], strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    assert list(images.epoch(1, device, start=STEPS)) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_does_not_draw_from_torchs_generator(runs, store, workers):
    run = changed(runs["hier"], runtime={"workers": workers})
    before = torch.get_rng_state()
    list(images_of(store, run).epoch(0, torch.device("cpu")))
    assert torch.equal(torch.get_rng_state(), before)


KILLED = """
import os, signal, sys
from pathlib import Path
from fakes.training import make_store, tiny_runs, trained_bytes
from hier.training.checkpoint import _HashedFile

folder, saves = Path(sys.argv[1]), []
write = _HashedFile.write

def killed(self, data):
    saves.extend([self] if self not in saves else [])
    if len(saves) == 3 and self.stream.tell() > 10_000:
        self.stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return write(self, data)

_HashedFile.write = killed
run = tiny_runs("schedule.epochs=2")["hier"]
trained_bytes(run, make_store(folder), folder / "checkpoints", seconds=0.0)
"""


def test_kill_9_in_the_middle_of_a_checkpoint(runs, store, tmp_path, undisturbed):
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), os.environ["PYTHONPATH"]])},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    folder = tmp_path / "checkpoints"
    [leftover] = folder.rglob(".*.part")
    assert leftover.stat().st_size > 10_000
    assert positions(folder) == ["e0000-s00001", "e0000-s00002"]
    assert trained_bytes(runs["hier"], store, folder) == undisturbed("hier")
    assert not list(folder.rglob(".*.part"))


# --- damage ---------------------------------------------------------------------------------------


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flip, truncate, empty])
@pytest.mark.parametrize("newest_only", [True, False], ids=["the newest", "both"])
def test_damaged_checkpoints_are_passed_over(runs, store, tmp_path, undisturbed, capsys, damage, newest_only):
    crashed(runs, "hier", store, tmp_path, 5)
    assert positions(tmp_path) == ["e0001-s00001", "e0001-s00002"]
    harmed = files(tmp_path)[1:] if newest_only else files(tmp_path)
    for path in harmed:
        damage(path)
    capsys.readouterr()
    assert trained_bytes(runs["hier"], store, tmp_path) == undisturbed("hier")
    out = capsys.readouterr().out
    for path in harmed:
        assert f"{path} is damaged; going on from the one before, if any\n" in out
    assert out.count("is damaged") == len(harmed)
    assert ("going on after step 1 of epoch 2" in out) == newest_only
    # The ones left are good.
    before = ["e0001-s00001"] if newest_only else ["e0001-s00000"]
    assert positions(tmp_path) == [*before, "e0002-s00000"]
    assert damaged_checkpoints(tmp_path) == []


# --- when and where -------------------------------------------------------------------------------


def saved_positions(monkeypatch):
    saved, save = [], Checkpoints.save

    def watched(self, epoch, step, *rest):
        saved.append((epoch, step))
        return save(self, epoch, step, *rest)

    monkeypatch.setattr(Checkpoints, "save", watched)
    return saved


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        ("0", [(0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0)]),
        ("1", [(0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0)]),
        ("1.5", [(0, 2), (1, 0), (1, 2), (2, 0)]),
        ("3", [(0, 3), (1, 0), (1, 3), (2, 0)]),
        ("60", [(1, 0), (2, 0)]),
        ("inf", [(1, 0), (2, 0)]),
    ],
)
def test_one_every_so_many_minutes_and_at_each_epochs_end(
    runs, store, tmp_path, monkeypatch, minutes, expected
):
    """With a clock on which a step takes a minute."""
    now, forward = [0.0], Objective.forward

    def slow(self, z, classes, generator):
        now[0] += 60
        return forward(self, z, classes, generator)

    monkeypatch.setattr(Objective, "forward", slow)
    monkeypatch.setattr(checkpoint_module, "monotonic", lambda: now[0])
    monkeypatch.setenv(MINUTES, minutes)
    saved = saved_positions(monkeypatch)
    trained_bytes(runs["softtriple"], store, tmp_path)
    assert saved == expected


def test_a_checkpoint_of_another_identity_is_not_used(runs, store, tmp_path, undisturbed, capsys):
    crashed(runs, "xbm", store, tmp_path, 4, identity="other")
    assert trained_bytes(runs["hier"], store, tmp_path) == undisturbed("hier")
    assert "going on" not in capsys.readouterr().out


def test_only_the_last_one_is_not_forced_to_the_disk(runs, store, tmp_path, monkeypatch):
    """Two calls of fsync for each checkpoint, for the file and for its folder."""
    seen, save, fsync = [], Checkpoints.save, os.fsync

    def watched(self, epoch, step, *rest):
        calls = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", lambda number: calls.append(number) or fsync(number))
            path = save(self, epoch, step, *rest)
        seen.append(((epoch, step), len(calls)))
        return path

    monkeypatch.setattr(Checkpoints, "save", watched)
    trained_bytes(runs["softtriple"], store, tmp_path)
    assert seen == [((1, 0), 2), ((2, 0), 0)]


def test_a_full_disk_within_an_epoch(runs, store, tmp_path, undisturbed, monkeypatch):
    import errno

    write, seen = checkpoint_module._write, []

    def full(content, path, *rest):
        seen.append(path)
        if len(seen) == 5:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(content, path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module, "_write", full)
        with pytest.raises(DiskFullError, match=r"no space left while writing .*e0001-s00001"):
            trained_bytes(runs["hier"], store, tmp_path, seconds=0.0)
    assert positions(tmp_path) == ["e0000-s00003", "e0001-s00000"]
    assert trained_bytes(runs["hier"], store, tmp_path) == undisturbed("hier")


# --- signals --------------------------------------------------------------------------------------


def test_ctrl_c_ends_with_130(runs, store, tmp_path, undisturbed):
    assert stopped(runs, "hier", store, tmp_path, 1, signal.SIGINT) == 130
    assert trained_bytes(runs["hier"], store, tmp_path) == undisturbed("hier")


def test_a_second_ctrl_c_stops_at_once(runs, store, tmp_path, monkeypatch):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    at_step(monkeypatch, 1, twice)
    with pytest.raises(KeyboardInterrupt):
        trained_bytes(runs["hier"], store, tmp_path)
    assert files(tmp_path) == []


def test_a_signal_at_the_end_of_an_epoch_is_answered_there(runs, store, tmp_path, undisturbed, monkeypatch):
    whole, epochs = TrainingImages.epoch, []

    def last(self, epoch, device, start, **rest):
        yield from whole(self, epoch, device, start, **rest)
        epochs.append(epoch)
        term()

    with monkeypatch.context() as patch:
        patch.setattr(TrainingImages, "epoch", last)
        for end in (1, 2):
            with pytest.raises(SystemExit, match="143"):
                trained_bytes(runs["hier"], store, tmp_path)
            assert positions(tmp_path)[-1] == f"e{end:04d}-s00000"
    assert epochs == [0, 1]
    assert trained_bytes(runs["hier"], store, tmp_path) == undisturbed("hier")


def test_outside_the_main_thread_it_trains_all_the_same(runs, store, tmp_path, undisturbed):
    found = []
    thread = threading.Thread(target=lambda: found.append(trained_bytes(runs["hier"], store, tmp_path)))
    thread.start()
    thread.join()
    assert found == [undisturbed("hier")]
