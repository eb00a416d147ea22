"""How far trainings have come: real ones that are stopped, that end, or that lose what is looked at."""

import os
import pickle
import signal
import subprocess
import sys
import zipfile
from itertools import count
from pathlib import Path

import pytest
import torch

from fakes.training import CLASSES, STEPS, changed, images_of, make_store, tiny_runs, torch_as_before
from hier.errors import DamagedInputError
from hier.files.checkpoint_names import FOLDER, checkpoint_files
from hier.files.lock import locked
from hier.ledger.locks import FOLDER as LOCKS
from hier.stages.train import write_history
from hier.training.checkpoint import Checkpoints
from hier.training.loop import train
from hier.training.objective import Objective
from hier.watching.curves import Curve, Looker, State
from hier.watching.in_checkpoint import history_in

EPOCHS = 3
RECALLS = {"test R@1": 0.25, "test R@2": 0.5}


@pytest.fixture(scope="module")
def run():
    """Three epochs of three steps; recall is looked at after the second and the third."""
    return tiny_runs("protocol.test_every=1", "protocol.test_from=1")["hier"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store"))


def trained(run, store, folder=FOLDER, identity="same"):
    """The history of a training, which leaves its checkpoints."""
    checkpoints, images = Checkpoints(run.name, identity, folder), images_of(store, run)
    with torch_as_before():
        return train(run, images, CLASSES, checkpoints, lambda network: dict(RECALLS))[2]


@pytest.fixture(scope="module")
def whole(run, store, tmp_path_factory):
    """The history of a training that nothing stops."""
    return trained(run, store, tmp_path_factory.mktemp("whole"))


@pytest.fixture
def stopped(run, store, tmp_path, monkeypatch):
    """The current folder holds what a training leaves that SIGTERM stops in the second step of its third
    epoch."""
    monkeypatch.chdir(tmp_path)
    steps, forward = count(), Objective.forward

    def disturbed(self, z, classes, generator):
        if next(steps) == 2 * STEPS + 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return forward(self, z, classes, generator)

    with monkeypatch.context() as patch:
        patch.setattr(Objective, "forward", disturbed)
        with pytest.raises(SystemExit, match="143"):
            trained(run, store)
    return checkpoint_files(FOLDER / run.name / "same")


def look(run):
    (curve,) = Looker({run.name: EPOCHS}).look()
    return curve


def finished(run, history, written=None):
    """Write history.csv as the stage does."""
    path = Path("runs", run.name, "history.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_history(history, path)
    if written is not None:
        os.utime(path, (written, written))
    return path


def spoil(path, byte=b"loss"):
    """Change one bit of a checkpoint's pickle."""
    content = bytearray(path.read_bytes())
    content[content.index(byte)] ^= 1
    path.write_bytes(content)


# --- from checkpoints ----------------------------------------------------------------------------


def test_a_training_that_was_stopped(run, whole, stopped):
    curve = look(run)
    assert (curve.state, curve.epochs, curve.step) == ("stopped", EPOCHS, 2)
    assert curve.rows == whole[:2] == torch.load(stopped[-1], weights_only=True)["history"]
    assert curve.terms() == {name: whole[1][name] for name in ("loss", "metric", "hier")}
    assert curve.recalls() == (2, RECALLS)


def test_nothing_is_changed_or_left(run, stopped, tmp_path):
    def there():
        return {p: (p.stat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in tmp_path.rglob("*")}

    before = there()
    looker = Looker({run.name: EPOCHS})
    with locked(LOCKS / f"train@{run.name}"):
        held = there()
        assert looker.look()[0].state == "training"
        assert there() == held
    (LOCKS / f"train@{run.name}.lock").unlink(missing_ok=True)
    LOCKS.rmdir()
    LOCKS.parent.rmdir()
    assert looker.look()[0].state == "stopped"
    assert {path: kept for path, kept in there().items() if path != tmp_path} == before


def test_a_damaged_checkpoint_is_passed_over(run, whole, stopped):
    assert [path.name[:12] for path in stopped] == ["e0002-s00000", "e0002-s00002"]
    spoil(stopped[-1])
    assert history_in(stopped[-1]) is None
    curve = look(run)
    assert (curve.rows, curve.step) == (whole[:2], 0)


@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "a folder"])
def test_what_is_half_written_or_vanishes_is_passed_over(run, whole, stopped, damage):
    newest = stopped[-1]
    content = newest.read_bytes()
    newest.unlink()
    if damage == "a folder":
        newest.mkdir()
    elif damage == "gone":
        newest.symlink_to("nowhere")  # as one that was listed and is not there any more
    else:
        newest.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    curve = look(run)
    assert (curve.state, curve.rows, curve.step) == ("stopped", whole[:2], 0)


def test_where_none_can_be_read_what_was_seen_stays_until_the_next_look(run, whole, stopped):
    looker = Looker({run.name: EPOCHS})
    before = looker.look()
    contents = [path.read_bytes() for path in stopped]
    newer = stopped[-1].with_name(f"e0003-s00000.{'0' * 64}.pt")
    newer.write_bytes(b"half")
    for path in stopped:
        path.write_bytes(b"half")
    assert look(run) == Curve(run.name, EPOCHS, State.STOPPED, [])
    stopped[-1].unlink()
    assert looker.look() == before
    stopped[-1].write_bytes(contents[-1])
    newer.unlink()
    assert looker.look()[0].rows == whole[:2]


def test_a_checkpoint_is_read_once(run, stopped, monkeypatch):
    looker = Looker({run.name: EPOCHS})
    first = looker.look()
    monkeypatch.setattr("hier.watching.curves.history_in", None)
    assert looker.look() == first


def test_it_reads_the_history_without_the_tensors(stopped):
    """All bytes of tensors may be wrong."""
    path = stopped[-1]
    expected = history_in(path)
    with zipfile.ZipFile(path) as archive:
        records = [e for e in archive.infolist() if "/data/" in e.filename and e.file_size]
    assert len(records) > 100
    content = bytearray(path.read_bytes())
    for record in records:
        name, extra = (int.from_bytes(content[record.header_offset + at :][:2], "little") for at in (26, 28))
        start = record.header_offset + 30 + name + extra
        content[start : start + record.file_size] = b"\xff" * record.file_size
    path.write_bytes(content)
    assert history_in(path) == expected != []


def test_what_a_forged_checkpoint_would_run_is_not_run(tmp_path):
    class Call:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/called",)

    path = tmp_path / "forged.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"history": [], "network": Call()}))
    assert history_in(path) == []
    assert [p.name for p in tmp_path.iterdir()] == ["forged.pt"]


def test_another_identity_counts_by_its_time(run, store, whole, stopped):
    """After a change of settings the checkpoints of before stay for a while."""
    trained(changed(run, optimizer={"lr": 0.01}), store, identity="other")
    curve = look(run)
    assert len(curve.rows) == EPOCHS
    assert curve.rows[0]["loss"] != whole[0]["loss"]
    later = stopped[-1].stat().st_mtime + 100
    os.utime(stopped[-1], (later, later))
    assert look(run).rows == whole[:2]


# --- from history.csv ----------------------------------------------------------------------------


def test_a_run_that_is_trained(run, whole, stopped):
    finished(run, whole)
    curve = look(run)
    assert (curve.state, curve.rows, curve.step) == ("trained", whole, 0)
    assert curve.recalls() == (3, RECALLS)


def test_a_run_of_no_epochs(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished(run, [])
    assert Looker({run.name: 0}).look() == [Curve(run.name, 0, State.TRAINED, [])]


def test_a_run_that_has_not_begun(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    curve = look(run)
    assert curve == Curve(run.name, EPOCHS, State.NOT_BEGUN, [])
    assert (curve.terms(), curve.recalls()) == ({}, (0, {}))
    assert list(tmp_path.iterdir()) == []


def test_an_old_history_is_not_that_of_a_training_that_goes_on(run, whole, stopped):
    path = finished(run, whole, written=stopped[0].stat().st_mtime - 100)
    assert (look(run).state, len(look(run).rows)) == ("stopped", 2)
    for each in stopped:
        each.unlink()
    assert look(run).state == "trained"
    with locked(LOCKS / f"train@{run.name}"):  # trained anew, before the first checkpoint
        assert look(run) == Curve(run.name, EPOCHS, State.TRAINING, [])
        os.utime(path)  # and now it has come to its end
        assert (look(run).state, look(run).rows) == ("trained", whole)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it has no column epoch"),
        ("epoch,loss\n1,2\n", "it has no column rate"),
        ("epoch,loss,rate\n1,much,1\n", "could not convert string to float: 'much'"),
        ("epoch,loss,rate\n1,,1\n", "'loss'"),
    ],
)
def test_a_damaged_history_is_named(run, tmp_path, monkeypatch, text, reason):
    monkeypatch.chdir(tmp_path)
    finished(run, []).write_text(text)
    with pytest.raises(DamagedInputError) as raised:
        look(run)
    assert str(raised.value) == (
        f"runs/{run.name}/history.csv is damaged ({reason}); make it anew with: hier train {run.name}"
    )


def test_of_a_loss_with_one_term_the_loss_alone():
    curve = Curve("a", 2, State.TRAINED, [{"epoch": 1, "loss": 3.0, "metric": 3.0, "rate": 1.0}])
    assert curve.terms() == {"loss": 3.0}


def test_looking_needs_no_torch():
    code = (
        "import sys, hier.watching.watch\n"
        "print([m for m in ('torch', 'pandas', 'numpy', 'tensorboard') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
