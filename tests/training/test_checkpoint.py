"""Checkpoints: whole, of one identity, the last two."""

import pytest
import torch

from hier.errors import DiskFullError
from hier.training.checkpoint import FOLDER, Checkpoints

RUN = "smoke-pa-test_resnet-16-s0"


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(RUN, "one", tmp_path / "checkpoints")


def of(checkpoints, identity="one", run=RUN):
    return Checkpoints(run, identity, checkpoints.folder)


def state(value):
    return {"network": {"w": torch.full((2, 2), float(value))}, "history": [{"loss": value}]}


def files(checkpoints, run=RUN):
    return sorted(p.name for p in (checkpoints.folder / run).rglob("*") if p.is_file())


def test_what_is_saved_comes_back(checkpoints):
    saved = state(1.5)
    saved["network"]["half"] = torch.randn(3).bfloat16()
    saved["network"]["strided"] = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    checkpoints.save(0, saved)
    read = of(checkpoints).latest()
    assert (read["epoch"], read["identity"]) == (0, "one")
    assert read["history"] == saved["history"]
    for name, value in saved["network"].items():
        assert torch.equal(read["network"][name], value)
        assert read["network"][name].dtype == value.dtype
        assert read["network"][name].stride() == value.stride()


def test_there_is_none_at_the_start(checkpoints):
    assert checkpoints.latest() is None
    assert checkpoints.last_good() == "none, it was the first epoch"
    assert not checkpoints.folder.exists()


def test_the_last_two_are_kept(checkpoints):
    for epoch in range(12):
        checkpoints.save(epoch, state(epoch))
        assert len(files(checkpoints)) == min(epoch + 1, 2)
        assert checkpoints.latest()["epoch"] == epoch
    assert files(checkpoints) == ["epoch-0010.pt", "epoch-0011.pt"]
    assert checkpoints.last_good().endswith("epoch-0011.pt")
    assert torch.equal(checkpoints.latest()["network"]["w"], torch.full((2, 2), 11.0))


def test_the_newest_is_the_one_of_the_highest_epoch(checkpoints):
    checkpoints.save(10, state(10))
    checkpoints.save(9, state(9))
    assert checkpoints.latest()["epoch"] == 10


def test_another_identity_is_not_used(checkpoints):
    checkpoints.save(0, state(0))
    checkpoints.save(1, state(1))
    assert of(checkpoints, "two").latest() is None
    assert of(checkpoints).latest()["epoch"] == 1


def test_an_older_one_of_the_identity_is_found_behind_anothers(checkpoints):
    checkpoints.save(3, state(3))
    of(checkpoints, "two").save(4, state(4))
    assert checkpoints.latest()["epoch"] == 3


def test_what_another_identity_left_behind_does_not_push_out_this_ones(checkpoints):
    """After a change of settings, a run that is interrupted early must go on, too."""
    for epoch in (28, 29):
        checkpoints.save(epoch, state(epoch))
    changed = of(checkpoints, "two")
    changed.save(0, state(0))
    assert changed.latest()["epoch"] == 0
    changed.save(1, state(1))
    assert changed.latest()["epoch"] == 1


def test_the_last_good_one_is_of_this_identity(checkpoints):
    checkpoints.save(29, state(29))
    assert of(checkpoints, "two").last_good() == "none, it was the first epoch"


def test_runs_do_not_meet(checkpoints):
    other = of(checkpoints, run="smoke-ms-test_resnet-16-s0")
    checkpoints.save(0, state(0))
    assert other.latest() is None
    other.save(5, state(5))
    other.clear()
    assert checkpoints.latest()["epoch"] == 0


def test_clear_removes_the_runs(checkpoints):
    checkpoints.clear()  # nothing there is fine
    checkpoints.save(0, state(0))
    of(checkpoints, "two").save(1, state(1))
    checkpoints.clear()
    assert checkpoints.latest() is None
    assert of(checkpoints, "two").latest() is None
    assert files(checkpoints) == []


def test_a_full_disk_is_clear_and_leaves_the_older_ones(checkpoints, monkeypatch):
    import errno

    checkpoints.save(0, state(0))

    def full(value, path):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(DiskFullError, match="no space left while writing"):
        checkpoints.save(1, state(1))
    assert files(checkpoints) == ["epoch-0000.pt"]
    assert checkpoints.latest()["epoch"] == 0


def test_a_write_that_breaks_off_leaves_the_older_one_and_nothing_else(checkpoints, monkeypatch):
    checkpoints.save(0, state(0))

    def interrupted(value, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(1, state(1))
    assert files(checkpoints) == ["epoch-0000.pt"]


def test_by_default_they_lie_outside_the_outputs():
    assert Checkpoints(RUN, "one").folder == FOLDER
    assert FOLDER.name.startswith(".")
    assert not FOLDER.is_absolute()
