"""A record hashes the source that ran: what was loaded or read from other bytes is refused."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from hier.errors import StaleError
from hier.ledger.record import recorded

POT = Path("src/hier/pot.py")
SPOON = Path("src/hier/tools/spoon.py")


@pytest.fixture
def load(monkeypatch):
    """A function that lets a file be the source of a module that this process has loaded."""

    def loaded(path):
        module = ModuleType(f"hier.{path.stem}")
        module.__file__ = str(path.absolute())
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return loaded


@pytest.mark.parametrize("path", [POT, SPOON, Path("src/hier/tools/new.py")])
def test_source_that_changes_before_it_is_loaded(job, toy, load, path):
    def change_and_load():
        path.write_bytes(b"other")
        load(path)
        toy.work(job)

    with pytest.raises(StaleError) as caught, recorded(job):
        change_and_load()
    assert str(caught.value) == f"source {path} of cook@soup changed while it ran; run it again"
    assert not job.record.exists()


def test_source_that_changes_after_it_was_loaded_is_no_matter(job, toy, load):
    load(POT)
    with recorded(job):
        POT.write_bytes(b"other")
        toy.work(job)
    assert job.record.exists()


@pytest.mark.parametrize("path", [POT, SPOON])
def test_source_that_nothing_loaded_may_change_or_go(job, toy, path):
    with recorded(job):
        path.unlink()
        toy.work(job)
    assert job.record.exists()


def test_source_that_is_loaded_as_it_was(job, toy, load):
    with recorded(job):
        POT.write_bytes(POT.read_bytes())
        load(POT)
        toy.work(job)
    assert job.record.exists()


def test_source_that_changed_between_two_jobs_of_one_process(job, toy, load):
    """The module stays what it was."""
    with recorded(job):
        load(POT)
        toy.work(job)
    before, later = job.record.read_bytes(), toy.job("cook@stew")
    POT.write_bytes(b"other")
    for this in (job, later):
        with pytest.raises(StaleError) as caught, recorded(this):
            raise AssertionError("it must not start")
        assert str(caught.value) == (
            f"source {POT} of {this.name} has changed since this process loaded it; run it again"
        )
    assert job.record.read_bytes() == before
    assert not later.record.exists()


def test_what_another_stage_loaded_counts_too(job, toy, load):
    with recorded(toy.job("chop@veg")):
        load(POT)  # no source of chop's
        toy.work(toy.job("chop@veg"))
    POT.write_bytes(b"other")
    with pytest.raises(StaleError), recorded(job):
        raise AssertionError("it must not start")


def test_a_table_that_changes_while_it_may_be_read(job, toy):
    toy.make(job.name)
    with pytest.raises(StaleError) as caught, recorded(job):
        Path("expected/veg.csv").write_bytes(b"other")
    assert "source expected/veg.csv of cook@soup changed" in str(caught.value)
