"""The last outputs, kept as second names of the same files: back at once, and never a wrong byte."""

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hier import pipeline
from hier.config.compose import compose
from hier.config.settings import Settings
from hier.files.hashing import Hasher, hashing
from hier.jobs import jobs
from hier.ledger.output_cache import FOLDER, cache_outputs, kept_files, restore_outputs
from hier.ledger.record import read_record, stale_reason
from hier.ledger.run_job import current

ROOT = Path(__file__).parents[2]
DISH, REST = Path("runs/soup/dish.txt"), Path("runs/soup/rest")
KEPT = FOLDER / "cook@soup"


@pytest.fixture
def job(toy):
    """cook@soup, done and kept."""
    for name in ("shop@veg", "chop@veg", "cook@soup"):
        toy.make(name)
    return toy.job("cook@soup")


def content():
    return {path: path.read_bytes() for path in (DISH, REST / "peel")}


def remove():
    DISH.unlink()
    shutil.rmtree(REST)


def back(job):
    with hashing() as hasher:
        return restore_outputs(job, read_record(job), hasher)


def test_what_is_kept_takes_no_space(job):
    assert DISH.samefile(KEPT / "dish.txt")
    assert (REST / "peel").samefile(KEPT / "rest/peel")
    assert DISH.stat().st_nlink == 2


def test_deleted_outputs_come_back_as_they_were(job, toy):
    before = content()
    remove()
    assert back(job)
    assert content() == before
    assert stale_reason(job, Hasher()) is None


def test_one_deleted_output_comes_back_and_the_other_is_not_touched(job):
    before = content()
    there = (REST / "peel").stat().st_mtime_ns
    DISH.unlink()
    assert back(job)
    assert content() == before
    assert (REST / "peel").stat().st_mtime_ns == there


def test_a_deleted_folder_comes_back_with_its_parents(job):
    before = content()
    record = read_record(job)
    shutil.rmtree("runs")
    with hashing() as hasher:
        assert restore_outputs(job, record, hasher)
    assert content() == before


@pytest.mark.parametrize("path", [KEPT / "dish.txt", KEPT / "rest/peel"], ids=str)
def test_what_another_name_leads_to_comes_back_as_a_copy(job, path):
    """Such as that of DVC's cache: the engine sets the times of what comes back."""
    before = content()
    os.link(path, "elsewhere")
    remove()
    os.utime("elsewhere", (1, 1))
    assert back(job)
    assert content() == before
    assert not any(file.samefile("elsewhere") for file in content())
    assert Path("elsewhere").stat().st_mtime == 1


def test_what_comes_back_is_not_read_twice(job, toy, monkeypatch):
    remove()
    assert back(job)
    from hier.files import hashing as module

    monkeypatch.setattr(module, "hash_file", lambda path: pytest.fail(f"{path} is read again"))
    assert stale_reason(job, Hasher()) is None


@pytest.mark.parametrize("path", [KEPT / "dish.txt", KEPT / "rest/peel"], ids=str)
def test_a_kept_file_that_was_tampered_with_is_not_used(job, path):
    stat = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    remove()
    assert not back(job)
    assert not (DISH if path.name == "dish.txt" else REST).exists()


def test_an_output_written_to_in_its_place_does_not_come_back(job):
    """Its second name leads to the same bytes."""
    with DISH.open("r+b") as stream:
        stream.write(b"X")
    remove()
    assert not back(job)


def test_one_more_or_one_fewer_file_in_a_kept_folder(job):
    (KEPT / "rest/more").write_bytes(b"more")
    remove()
    assert not back(job)
    (KEPT / "rest/more").unlink()
    assert back(job)
    shutil.rmtree(REST)
    (KEPT / "rest/peel").unlink()
    assert not back(job)


def test_what_an_earlier_record_says_does_not_come_back(job, toy):
    """Kept by the last run of other settings: the record that is there decides."""
    record = toy.make("cook@soup", kept=False)
    toy.make("cook@soup", toy.other(seed=7))
    remove()
    with hashing() as hasher:
        assert not restore_outputs(job, record, hasher)


def test_only_the_last_outputs_are_kept(job, toy):
    (KEPT / "of before").write_bytes(b"x")
    toy.make("cook@soup", toy.other(seed=7))
    assert sorted(p.relative_to(KEPT).as_posix() for p in KEPT.rglob("*")) == [
        "cook.record.json", "dish.txt", "rest", "rest/peel",
    ]  # fmt: skip
    assert (KEPT / "dish.txt").samefile(DISH)


def test_a_disk_that_is_full_fails_no_stage_and_keeps_nothing(job, toy, monkeypatch):
    monkeypatch.setattr(shutil, "copyfile", refuse)
    toy.make("cook@soup")
    assert job.record.exists()
    assert not KEPT.exists()


def refuse(*arguments, **named):
    raise OSError(errno.EPERM, "Operation not permitted")


def test_without_hard_links_nothing_is_kept_and_nothing_fails(job, toy, monkeypatch):
    monkeypatch.setattr(os, "link", refuse)
    toy.make("cook@soup")
    assert not KEPT.exists()
    assert stale_reason(job, Hasher()) is None
    remove()
    assert not back(job)
    assert not current(job)


def test_without_hard_links_what_was_kept_before_does_not_come_back(job, monkeypatch):
    monkeypatch.setattr(os, "link", refuse)
    remove()
    assert not back(job)


def test_keeping_changes_no_byte_and_no_time(job, toy):
    before = [(content(), DISH.stat().st_mtime_ns)]
    with hashing() as hasher:
        cache_outputs(job, hasher)
    assert [(content(), DISH.stat().st_mtime_ns)] == before
    assert stale_reason(job, Hasher()) is None


def test_a_job_that_is_current_brings_its_outputs_back(job, toy):
    before = content()
    remove()
    assert current(job)
    assert content() == before


@pytest.mark.parametrize("change", ["settings", "an input", "code"])
def test_nothing_comes_back_where_something_else_goes_in(job, toy, change):
    if change == "settings":
        job = toy.job(job.name, toy.other(seed=9))
    else:
        Path({"an input": "data/veg/chopped.txt", "code": "src/hier/pot.py"}[change]).write_bytes(b"x")
    remove()
    assert not current(job)
    assert not DISH.exists()


def test_of_every_real_job_the_kept_files_have_names_of_their_own():
    params = Settings.of(compose(["suite=smoke", "methods=[pa,hier]"], ROOT / "conf"))
    for job in jobs(params):
        kept = [path for _, path in kept_files(job)]
        assert len(set(kept)) == len(kept) == len(job.outputs)
    assert len(pipeline.STAGES) == 8


def test_what_git_keeps_is_kept_as_a_copy(toy, monkeypatch):
    """An editor that writes in place must not change what is kept, nor what it brought back."""
    cook = pipeline.STAGES["cook"]
    monkeypatch.setitem(pipeline.STAGES, "cook", replace(cook, in_git=(cook.outputs[0],)))
    toy.make_all()
    kept = KEPT / DISH.name
    assert kept.read_bytes() == DISH.read_bytes()
    assert not kept.samefile(DISH)
    DISH.unlink()
    job = toy.job("cook@soup")
    with hashing() as hasher:
        assert restore_outputs(job, read_record(job), hasher)
    assert kept.read_bytes() == DISH.read_bytes()
    assert not kept.samefile(DISH)
