"""Checkpoints: whole, of one identity, the last two."""

import errno
import io
import math
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from hier.errors import ConfigError, DiskFullError
from hier.files.checkpoint_names import (
    FOLDER,
    clear_checkpoints,
    damaged_checkpoints,
    position,
    stem,
)
from hier.training import checkpoint as checkpoint_module
from hier.training.checkpoint import MINUTES, Checkpoints

RUN = "smoke-pa-test_resnet-16-s0"


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(RUN, "one", tmp_path / "checkpoints")


def of(checkpoints, identity="one", run=RUN):
    return Checkpoints(run, identity, checkpoints.folder)


def state(value):
    return {"network": {"w": torch.full((2, 2), float(value))}, "history": [{"loss": value}]}


def paths(checkpoints, run=RUN):
    return sorted(p for p in (checkpoints.folder / run).rglob("*") if p.is_file())


def files(checkpoints, run=RUN):
    """The names of all files, up to the hash."""
    return [path.name.partition(".")[0] or path.name for path in paths(checkpoints, run)]


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def test_what_is_saved_comes_back(checkpoints):
    saved = state(1.5)
    saved["network"]["half"] = torch.randn(3).bfloat16()
    saved["network"]["strided"] = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    checkpoints.save(3, 7, saved)
    read = of(checkpoints).latest()
    assert (read["epoch"], read["step"], read["identity"]) == (3, 7, "one")
    assert read["history"] == saved["history"]
    for name, value in saved["network"].items():
        assert torch.equal(read["network"][name], value)
        assert read["network"][name].dtype == value.dtype
        assert read["network"][name].stride() == value.stride()


def test_there_is_none_at_the_start(checkpoints):
    assert checkpoints.latest() is None
    assert checkpoints.last_good() == "none, training had just begun"
    assert not checkpoints.folder.exists()


def test_the_last_two_are_kept(checkpoints):
    for epoch in range(12):
        checkpoints.save(epoch, 0, state(epoch))
        assert len(files(checkpoints)) == min(epoch + 1, 2)
        assert checkpoints.latest()["epoch"] == epoch
    assert files(checkpoints) == ["e0010-s00000", "e0011-s00000"]
    assert checkpoints.last_good() == str(paths(checkpoints)[-1])
    assert torch.equal(checkpoints.latest()["network"]["w"], torch.full((2, 2), 11.0))


def test_the_newest_is_the_furthest():
    names = ["e0002-s00003", "e0010-s00001", "e0010-s00012", "e10000-s00000", "e10000-s100000"]
    assert [stem(2, 3), stem(10, 1), stem(10, 12), stem(10000, 0), stem(10000, 100000)] == names


def test_steps_count_within_an_epoch(checkpoints):
    for place in [(0, 9), (0, 10), (1, 0), (1, 99_999), (1, 100_000)]:
        checkpoints.save(*place, state(place[1]))
        read = checkpoints.latest()
        assert (read["epoch"], read["step"]) == place
    assert sorted(files(checkpoints)) == ["e0001-s100000", "e0001-s99999"]


def test_another_identity_is_not_used(checkpoints):
    checkpoints.save(0, 0, state(0))
    checkpoints.save(1, 0, state(1))
    assert of(checkpoints, "two").latest() is None
    assert of(checkpoints).latest()["epoch"] == 1


def test_an_older_one_of_the_identity_is_found_behind_anothers(checkpoints):
    checkpoints.save(3, 0, state(3))
    of(checkpoints, "two").save(4, 0, state(4))
    assert checkpoints.latest()["epoch"] == 3


def test_what_another_identity_left_behind_does_not_push_out_this_ones(checkpoints):
    """After a change of settings, a run that is interrupted early must go on, too."""
    for epoch in (28, 29):
        checkpoints.save(epoch, 0, state(epoch))
    changed = of(checkpoints, "two")
    changed.save(0, 0, state(0))
    assert changed.latest()["epoch"] == 0
    changed.save(1, 0, state(1))
    assert changed.latest()["epoch"] == 1


def test_the_last_good_one_is_of_this_identity(checkpoints):
    checkpoints.save(29, 0, state(29))
    assert of(checkpoints, "two").last_good() == "none, training had just begun"


def test_runs_do_not_meet(checkpoints):
    other = of(checkpoints, run="smoke-ms-test_resnet-16-s0")
    checkpoints.save(0, 0, state(0))
    assert other.latest() is None
    other.save(5, 0, state(5))
    clear_checkpoints(other.run, other.folder)
    assert checkpoints.latest()["epoch"] == 0


def test_clear_removes_the_runs(checkpoints):
    clear_checkpoints(checkpoints.run, checkpoints.folder)  # nothing there is fine
    checkpoints.save(0, 0, state(0))
    of(checkpoints, "two").save(1, 0, state(1))
    clear_checkpoints(checkpoints.run, checkpoints.folder)
    assert checkpoints.latest() is None
    assert of(checkpoints, "two").latest() is None
    assert files(checkpoints) == []


# --- damage ---------------------------------------------------------------------------------------


def test_the_name_holds_the_hash_of_the_bytes(checkpoints):
    path = checkpoints.save(4, 12, state(0))
    assert path.name == f"e0004-s00012.{sha256(path.read_bytes()).hexdigest()}.pt"
    assert paths(checkpoints) == [path]
    assert position(path) == (4, 12)


def test_a_damaged_one_is_named_and_the_one_before_is_used(checkpoints, capsys):
    good, damaged = (checkpoints.save(0, step, state(step)) for step in (1, 2))
    flip(damaged)
    assert checkpoints.latest()["step"] == 1
    out = capsys.readouterr().out
    assert out == f"{damaged} is damaged; going on from the one before, if any\n"
    assert checkpoints.last_good() == str(good)
    assert damaged.exists()


def test_every_single_byte_counts(checkpoints):
    checkpoints.save(0, 1, state(1))
    path = checkpoints.save(0, 2, state(2))
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert checkpoints.latest()["step"] == 1
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert checkpoints.latest()["step"] == 1
    path.write_bytes(whole)
    assert checkpoints.latest()["step"] == 2


def test_without_a_good_one_there_is_none(checkpoints):
    for step in (1, 2):
        flip(checkpoints.save(0, step, state(step)))
    assert checkpoints.latest() is None
    assert checkpoints.last_good().startswith("none")


def test_what_torch_cannot_read_is_damaged_whatever_its_hash(checkpoints):
    home = checkpoints.save(0, 1, state(1)).parent
    content = b"not torch's"
    (home / f"e0000-s00002.{sha256(content).hexdigest()}.pt").write_bytes(content)
    assert checkpoints.latest()["step"] == 1


def test_what_could_run_code_is_not_read(checkpoints):
    checkpoints.save(0, 1, state(1))
    checkpoints.save(0, 2, {"network": {"w": Checkpoints}})
    assert checkpoints.latest()["step"] == 1


def test_a_damaged_one_goes_when_it_is_superseded(checkpoints):
    for step in (5, 6):
        checkpoints.save(0, step, state(step))
    flip(paths(checkpoints)[-1])
    assert checkpoints.latest()["step"] == 5
    checkpoints.save(0, 6, state(6))  # in its place
    assert files(checkpoints) == ["e0000-s00005", "e0000-s00006"]
    assert checkpoints.latest()["step"] == 6
    flip(paths(checkpoints)[-1])
    assert checkpoints.latest()["step"] == 5
    checkpoints.save(0, 8, state(8))  # beyond it
    assert files(checkpoints) == ["e0000-s00005", "e0000-s00008"]
    checkpoints.save(0, 5, state(7))  # before that one
    assert files(checkpoints) == ["e0000-s00005"]
    assert checkpoints.latest()["network"]["w"][0, 0] == 7
    assert damaged_checkpoints(checkpoints.folder) == []


def test_a_verifier_finds_them_all_without_torch(checkpoints, tmp_path):
    assert damaged_checkpoints(tmp_path / "nowhere") == []
    harmed = [of(checkpoints, identity).save(0, 1, state(1)) for identity in ("two", "three")]
    checkpoints.save(0, 1, state(1))
    for path in harmed:
        flip(path)
    (checkpoints.folder / "other.pt").write_bytes(b"")
    assert damaged_checkpoints(checkpoints.folder) == sorted(harmed)
    code = "import hier.files.checkpoint_names, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_name_that_is_none_is_an_error():
    with pytest.raises(ValueError, match="is not named as a checkpoint is"):
        position(Path("e0001-s00001.pt"))


# --- written whole or not at all ------------------------------------------------------------------


class Broken(io.FileIO):
    """A file that fails after 500 bytes."""

    error = OSError(errno.ENOSPC, "No space left on device")

    def write(self, data):
        if self.tell() + len(data) > 500:
            raise self.error
        return super().write(data)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_clear_and_leaves_the_older_ones(checkpoints, monkeypatch, number):
    for epoch in (0, 1):
        checkpoints.save(epoch, 0, state(epoch))
    monkeypatch.setattr(Broken, "error", OSError(number, "No space left on device"))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *arguments: Broken(*arguments))
        with pytest.raises(DiskFullError, match=r"no space left while writing .*e0002-s00000;"):
            checkpoints.save(2, 0, state(2))
    assert files(checkpoints) == ["e0000-s00000", "e0001-s00000"]
    assert damaged_checkpoints(checkpoints.folder) == []
    assert checkpoints.latest()["epoch"] == 1


def test_a_disk_that_is_found_full_at_the_end_likewise(checkpoints, monkeypatch):
    checkpoints.save(0, 0, state(0))

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError):
        checkpoints.save(1, 0, state(1))
    assert files(checkpoints) == ["e0000-s00000"]


def test_a_write_that_breaks_off_leaves_the_older_one_and_nothing_else(checkpoints, monkeypatch):
    checkpoints.save(0, 0, state(0))
    monkeypatch.setattr(Broken, "error", KeyboardInterrupt())
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *arguments: Broken(*arguments))
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(1, 0, state(1))
    assert files(checkpoints) == ["e0000-s00000"]


def test_file_and_folder_are_on_the_disk_before_older_ones_go(checkpoints, monkeypatch):
    for epoch in (0, 1):
        checkpoints.save(epoch, 0, state(epoch))
    synced, fsync = [], os.fsync

    def watched(number):
        synced.append(Path(f"/proc/self/fd/{number}").readlink())
        assert {"e0000-s00000", "e0001-s00000"} <= set(files(checkpoints))
        fsync(number)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    monkeypatch.setattr(os, "fsync", watched)
    path = checkpoints.save(2, 0, state(2))
    assert [each.name.rpartition(".")[2] for each in synced] == ["part", path.parent.name]


def test_what_a_killed_process_left_is_removed(checkpoints):
    home = checkpoints.save(0, 1, state(1)).parent
    other = of(checkpoints, "two").save(0, 1, state(1)).parent
    for folder in (home, other):
        (folder / ".e0000-s00002.123.part").write_bytes(b"half")
    assert checkpoints.latest()["step"] == 1
    checkpoints.save(0, 2, state(2))
    assert not [path for path in paths(checkpoints) if path.name.endswith(".part")]


# --- how often ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "seconds"), [(None, 600), ("10", 600), ("0", 0), ("0.5", 30), ("inf", math.inf)]
)
def test_the_interval_comes_from_the_environment(monkeypatch, given, seconds):
    monkeypatch.delenv(MINUTES, raising=False)
    if given is not None:
        monkeypatch.setenv(MINUTES, given)
    assert Checkpoints(RUN, "one").seconds == seconds


@pytest.mark.parametrize("given", ["", "often", "-1", "nan", "10m"])
def test_a_bad_interval_is_an_error(monkeypatch, given):
    monkeypatch.setenv(MINUTES, given)
    with pytest.raises(ConfigError) as caught:
        Checkpoints(RUN, "one")
    text = f"HIER_CHECKPOINT_MINUTES must be a number of minutes, 0 or more (given: '{given}')"
    assert str(caught.value) == text


def test_it_counts_from_the_last_one(checkpoints, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(checkpoint_module, "monotonic", lambda: now[0])
    timed = Checkpoints(RUN, "one", checkpoints.folder, seconds=60)
    assert not timed.due()
    now[0] += 59
    assert not timed.due()
    now[0] += 1
    assert timed.due()
    timed.save(0, 1, state(0))
    assert not timed.due()
    now[0] += 60
    assert timed.due()


def test_by_default_they_lie_outside_the_outputs():
    assert Checkpoints(RUN, "one").folder == FOLDER
    assert FOLDER.name.startswith(".")
    assert not FOLDER.is_absolute()


@pytest.mark.parametrize("content", [{}, {"identity": "one"}, [1], torch.zeros(3)], ids=repr)
def test_a_file_of_the_right_name_that_is_no_checkpoint_is_passed_over(checkpoints, content, capfd):
    checkpoints.save(0, 1, state(1))
    last = checkpoints.save(0, 2, state(2))
    made = io.BytesIO()
    torch.save(content, made)
    last.unlink()
    forged = last.with_name(f"{stem(0, 2)}.{sha256(made.getvalue()).hexdigest()}.pt")
    forged.write_bytes(made.getvalue())
    assert of(checkpoints).latest()["step"] == 1
    assert f"{forged} is damaged; going on from the one before, if any" in capfd.readouterr().out
