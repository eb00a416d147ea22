"""What has something to do is seen by contents, in whatever order the times are, and nothing is set."""

import os
import random
import shutil
import time
from pathlib import Path

import pytest

from fakes.settings import write_settings
from hier.jobs import jobs
from hier.ledger.due import let_be_replaced, stale_reasons, unsettled
from hier.ledger.dvc_lock import cache_file
from hier.ledger.locks import locked_job

DISH = Path("runs/soup/dish.txt")


@pytest.fixture
def done(toy):
    toy.make_all()
    return toy


def everything():
    """All files, with their times and numbers."""
    return {p: (p.lstat().st_mtime_ns, p.lstat().st_ino) for p in sorted(Path().rglob("*"))}


def made():
    """All files but the memory of hashes."""
    return {path: stat for path, stat in everything().items() if ".hier" not in path.parts}


@pytest.mark.parametrize("seed", range(3))
def test_times_count_for_nothing_and_are_not_touched(done, seed):
    shuffled = random.Random(seed)
    for path in everything():
        os.utime(path, ns=(shuffled.randrange(2 * time.time_ns()),) * 2)
    before = made()
    found = stale_reasons(done.SETTINGS)
    assert found == dict.fromkeys(done.NAMES)
    assert unsettled(done.SETTINGS, found, ()) == set()
    assert made() == before


def test_what_is_stale_is_named_with_its_reason_and_what_follows_is_to_be_asked(done):
    write_settings(done.other(seed=9))
    before = made()
    found = stale_reasons(done.other(seed=9))
    assert {name: reason for name, reason in found.items() if reason} == {
        "cook@soup": "has parameter runs.soup.seed other than its record says",
        "serve@menu": "has source params/runs/soup.yaml other than its record says",
    }
    assert unsettled(done.other(seed=9), found, ()) == {"cook@soup", "serve@menu"}
    assert made() == before


@pytest.mark.parametrize("wrong", ["no record", "a changed record", "a changed output"])
def test_what_nothing_proves_is_stale(done, wrong):
    record = done.job("cook@soup").record
    if wrong == "no record":
        record.unlink()
    elif wrong == "a changed record":
        record.write_text("{}")
    else:
        DISH.write_bytes(b"other")
    found = stale_reasons(done.SETTINGS)
    assert found["cook@soup"]
    assert bool(found["serve@menu"]) == (wrong == "a changed output")  # which it reads
    assert unsettled(done.SETTINGS, found, ()) == {"cook@soup", "serve@menu"}


def test_what_is_forced_is_to_be_asked_with_all_that_follows(done):
    found = stale_reasons(done.SETTINGS)
    assert unsettled(done.SETTINGS, found, {"cook@stew"}) == {"cook@stew", "serve@menu"}
    assert unsettled(done.SETTINGS, found, {"chop@veg"}) == {*done.NAMES} - {"shop@veg"}


def test_outputs_whose_inputs_are_gone_are_stale(done):
    Path("data/veg/chopped.txt").unlink()
    found = stale_reasons(done.SETTINGS)
    assert found["cook@soup"] == "data/veg/chopped.txt is missing; make it with: hier chop veg"
    assert "chop@veg" not in found  # it has no output
    assert unsettled(done.SETTINGS, found, ()) == {*done.NAMES} - {"shop@veg"}


def test_without_any_result_all_is_to_be_done(toy):
    assert stale_reasons(toy.SETTINGS) == {}
    assert unsettled(toy.SETTINGS, {}, ()) == set(toy.NAMES)


def test_jobs_that_somebody_works_on_are_left_out(done):
    with locked_job(done.job("cook@soup")):
        found = stale_reasons(done.SETTINGS)
    assert "cook@soup" not in found
    assert unsettled(done.SETTINGS, found, ()) == {"cook@soup", "serve@menu"}
    assert "cook@soup" in stale_reasons(done.SETTINGS)


# --- write-protected outputs ---------------------------------------------------------------------


@pytest.fixture
def denied(monkeypatch):
    """Write-protection that holds for root, too."""
    allowed = os.access

    def access(path, mode):
        return allowed(path, mode) and (mode != os.W_OK or bool(Path(path).stat().st_mode & 0o200))

    monkeypatch.setattr(os, "access", access)


def protected(done):
    due = [job for job in jobs(done.SETTINGS) if job.name == "cook@soup"]
    DISH.chmod(0o444)
    return due, DISH.stat().st_ino, DISH.read_bytes()


def test_a_hard_link_into_the_cache_becomes_a_symbolic_one(done, denied):
    done.adopt()
    cached = next(p for p in cache_file("0" * 32).parents[1].rglob("*")
                  if p.is_file() and p.read_bytes() == DISH.read_bytes())  # fmt: skip
    DISH.unlink()
    os.link(cached, DISH)
    due, inode, content = protected(done)
    let_be_replaced(due)
    assert DISH.is_symlink()
    assert (DISH.stat().st_ino, DISH.read_bytes()) == (inode, content)
    assert stale_reasons(done.SETTINGS) == dict.fromkeys(done.NAMES)


def test_what_is_protected_and_in_no_cache_becomes_a_copy(done, denied):
    shutil.rmtree(".hier/kept")
    due, inode, content = protected(done)
    let_be_replaced(due)
    assert DISH.stat().st_ino != inode
    assert DISH.read_bytes() == content
    assert DISH.stat().st_mode & 0o200
    assert stale_reasons(done.SETTINGS) == dict.fromkeys(done.NAMES)


def test_what_can_be_written_stays(done, denied):
    before = made()
    let_be_replaced(jobs(done.SETTINGS))
    assert made() == before
