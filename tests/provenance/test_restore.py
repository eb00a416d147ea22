"""Times that say what the contents say, in whatever order they were found."""

import os
import random
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.settings import write_settings
from hier.pipeline import jobs
from hier.provenance.hashing import hashing
from hier.provenance.holding import held
from hier.provenance.restore import LONG_AGO, restore

DISH = Path("runs/soup/dish.txt")


@pytest.fixture
def done(kitchen):
    kitchen.make_all()
    return kitchen


def made():
    """Everything in the folders of results, with its times."""
    return {
        path: path.stat().st_mtime_ns
        for folder in ("data", "runs", "results")
        for path in sorted(Path(folder).rglob("*"))
    }


def read():
    """Everything under version control that the stages read."""
    yield Path("params.yaml")
    for folder in ("src", "expected", "params"):
        yield from Path(folder).rglob("*")


def would_run(params):
    """The jobs that Snakemake would run by times alone: an input is younger than an output."""
    found = []
    for job in jobs(params):
        read = [Path(p) for p in job.inputs]
        for path in map(Path, job.stage.versioned()):
            read += [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
        youngest = max(path.stat().st_mtime_ns for path in read)
        if any(youngest > Path(path).stat().st_mtime_ns for path in job.outputs):
            found.append(job.name)
    return found


def shuffle(seed):
    shuffled = random.Random(seed)
    start = time.time_ns() - 10**12
    for path in [*made(), *read()]:
        stamp = start + shuffled.randrange(10**11)
        os.utime(path, ns=(stamp, stamp))


@pytest.mark.parametrize("seed", range(6))
def test_shuffled_times_are_put_in_order(done, seed):
    shuffle(seed)
    before = {path: path.read_bytes() for path in made() if path.is_file()}
    assert restore(done.PARAMS) == dict.fromkeys(done.NAMES)
    assert would_run(done.PARAMS) == []
    assert {path: path.read_bytes() for path in made() if path.is_file()} == before
    again = made()
    assert restore(done.PARAMS) == dict.fromkeys(done.NAMES)
    assert made() == again


def test_all_times_the_same_are_in_order(done):
    for path in [*made(), *read()]:
        os.utime(path, (10**9, 10**9))
    before = made()
    assert restore(done.PARAMS) == dict.fromkeys(done.NAMES)
    assert made() == before


def test_nothing_is_touched_where_all_is_in_order(done):
    restore(done.PARAMS)
    before = made()
    assert restore(done.PARAMS) == dict.fromkeys(done.NAMES)
    assert made() == before


def test_code_that_git_checked_out_anew_is_older_than_nothing(done):
    for path in Path("src").rglob("*.py"):
        os.utime(path)
    assert would_run(done.PARAMS)
    restore(done.PARAMS)
    assert would_run(done.PARAMS) == []


def test_what_is_stale_becomes_older_than_all_that_it_reads(done):
    write_settings(done.other(seed=9))
    found = restore(done.other(seed=9))
    assert found["cook@soup"] == "has parameter runs.soup.seed other than its record says"
    assert found["serve"] == "has source params other than its record says"
    assert {name for name, reason in found.items() if reason} == {"cook@soup", "serve"}
    assert DISH.stat().st_mtime_ns == LONG_AGO
    assert Path("runs/soup/rest/peel").stat().st_mtime_ns == LONG_AGO
    assert Path("runs/stew/dish.txt").stat().st_mtime_ns > LONG_AGO
    assert would_run(done.other(seed=9)) == ["cook@soup", "serve"]


def test_what_was_stale_and_is_current_again_is_put_back_in_order(done):
    restore(done.other(seed=9))
    restore(done.PARAMS)
    assert would_run(done.PARAMS) == []
    assert DISH.stat().st_mtime_ns > LONG_AGO


@pytest.mark.parametrize("wrong", ["no record", "a changed record", "a changed output"])
def test_what_nothing_proves_is_stale(done, wrong):
    record = done.job("cook@soup").record
    if wrong == "no record":
        record.unlink()
    elif wrong == "a changed record":
        record.write_text("{}")
    else:
        DISH.write_bytes(b"other")
    assert restore(done.PARAMS)["cook@soup"]
    also = ["serve"] if wrong == "a changed output" else []  # which reads it
    assert would_run(done.PARAMS) == ["cook@soup", *also]


def test_outputs_whose_inputs_are_gone_are_stale(done):
    Path("data/veg/chopped.txt").unlink()
    found = restore(done.PARAMS)
    assert found["cook@soup"] == "data/veg/chopped.txt is missing; make it with: hier chop veg"
    assert "chop@veg" not in found  # there is nothing to set


def test_without_any_result_there_is_nothing_to_do(kitchen):
    assert restore(kitchen.PARAMS) == {}


def test_jobs_that_somebody_works_on_are_left_alone(done):
    shuffle(1)
    before = {path: stamp for path, stamp in made().items() if path.parts[:2] == ("runs", "soup")}
    with held(done.job("cook@soup")):
        found = restore(done.PARAMS)
    assert "cook@soup" not in found
    after = made()
    assert {path: after[path] for path in before} == before
    assert "cook@soup" in restore(done.PARAMS)


def test_what_was_set_is_not_read_again(done, monkeypatch):
    from hier.provenance import hashing as module

    shuffle(2)
    restore(done.PARAMS)
    with hashing() as hasher:
        hasher(DISH)
    monkeypatch.setattr(module, "hash_file", lambda path: pytest.fail(f"{path} is read again"))
    restore(done.PARAMS)


def test_snakemakes_mark_is_the_time_of_a_folder(done):
    """Of a folder that it made, Snakemake looks at the mark in it and not at the folder itself."""
    mark = Path("data/veg/larder/.snakemake_timestamp")
    mark.touch()
    future = time.time_ns() + 10**10
    os.utime(mark, ns=(future, future))
    os.utime("data/veg/larder", (1, 1))
    restore(done.PARAMS)
    chopped = Path("data/veg/chopped.txt").stat().st_mtime_ns
    assert chopped > 10**18
    assert Path("data/veg/larder").stat().st_mtime_ns < mark.stat().st_mtime_ns


changes = st.lists(
    st.sampled_from(
        ["seed", "ks", "code", "shuffle", "make soup", "make serve", "remove", "spoil"]
    ),
    max_size=4,
)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes)
def test_whatever_happened_times_then_say_what_the_records_say(kitchen, changes):
    for folder in ("data", "runs", "results", ".hier"):
        shutil.rmtree(folder, ignore_errors=True)
    kitchen.write("src/hier/pot.py", b"pot")
    params = kitchen.PARAMS
    kitchen.make_all()
    for number, change in enumerate(changes):
        if change == "seed":
            params = kitchen.other(seed=number + 5)
        elif change == "ks":
            params = params | {"datasets": {"veg": {"ks": [number]}}}
        elif change == "code":
            kitchen.write("src/hier/pot.py", b"pot %d" % number)
        elif change == "shuffle":
            shuffle(number)
        elif change == "make soup":
            kitchen.make("cook@soup", params)
        elif change == "make serve":
            kitchen.make("serve", params)
        elif change == "remove":
            kitchen.job("cook@stew").record.unlink(missing_ok=True)
        else:
            DISH.write_bytes(b"spoilt %d" % number)
    found = restore(params)
    assert would_run(params) == [name for name, reason in found.items() if reason]
