"""Locks on disks that cannot lock, of other machines, copied along: real processes where they can be had."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from hier.errors import BusyError
from hier.files import lock
from hier.files.lock import locked
from hier.files.lock_note import look, remove
from hier.files.lock_owner import here, myself
from hier.ledger.locks import FOLDER, holders, locked_job, orphaned, recover, stop

PLACE = FOLDER / "cook@soup"
NOTE, LOCK = FOLDER / "cook@soup.json", FOLDER / "cook@soup.lock"
REFUSALS = ["ENOSYS", "ENOLCK", "EOPNOTSUPP"]
FORCE = "; if that is gone for good: hier recover --break-locks"

NO_FLOCK = """
import errno, fcntl
def refuse(*_):
    raise OSError(errno.{name}, "refused")
fcntl.flock = refuse
"""
HOLD = """
import time
from types import SimpleNamespace
from hier.files import lock
from hier.ledger.locks import locked_job
lock.BEAT = 0.1
with locked_job(SimpleNamespace(name="cook@soup")):
    print("locked_job", flush=True)
    time.sleep(120)
"""


@pytest.fixture
def job(toy, monkeypatch):
    monkeypatch.setattr(lock, "WATCH", 0.5)
    monkeypatch.setattr(lock, "PAUSE", 0.05)
    return toy.job("cook@soup")


@pytest.fixture
def no_flock(monkeypatch):
    """A disk without locks."""

    def refuse(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)


@contextmanager
def holder(before="", wrap=(), **options):
    process = subprocess.Popen(
        [*wrap, sys.executable, "-c", before + HOLD], stdout=subprocess.PIPE, text=True, **options
    )
    try:
        assert process.stdout.readline() == "locked_job\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def left_by(**other):
    """Leave a note as another process would have done it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    NOTE.touch()
    about = {"job": "cook@soup", "engine": None, "called_by": None, "flock": False}
    NOTE.write_text(json.dumps(myself() | about | {"inode": NOTE.stat().st_ino} | other))


ELSEWHERE = {"host": "node7", "boot": "another"}


def seconds_ago(seconds):
    os.utime(NOTE, (time.time() - seconds,) * 2)


def is_busy(job):
    with pytest.raises(BusyError) as caught, locked_job(job):
        raise AssertionError("it must not start")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4
    return str(caught.value)


def is_free(job):
    with locked_job(job):
        return holders()["cook@soup"]["process"]["pid"] == os.getpid()


# --- disks without locks --------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFUSALS)
def test_a_disk_whose_flock_fails_locks_all_the_same(job, monkeypatch, name):
    def refuse(*_):
        raise OSError(getattr(errno, name), "refused")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with holder(NO_FLOCK.format(name=name)) as other:
        assert is_busy(job).startswith(f"cook@soup is being worked on by process {other.pid} since 2")
        assert other.poll() is None
        other.kill()
        other.wait()
        assert holders() == {}
        assert is_free(job)
    assert not NOTE.exists()


SHIM = """
#include <errno.h>
int flock(int fd, int operation) { errno = ENOLCK; return -1; }
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_a_system_that_has_no_flock_from_outside(job, no_flock):
    """The C library's own function refuses, as it does on Lustre without -o flock."""
    Path("shim.c").write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "shim.so", "shim.c"], check=True)
    environment = os.environ | {"LD_PRELOAD": str(Path("shim.so").resolve())}
    with holder(env=environment) as other:
        assert json.loads(NOTE.read_text())["flock"] is False
        assert str(other.pid) in is_busy(job)
        other.kill()
        other.wait()
        assert is_free(job)


def test_another_error_of_the_disk_names_the_path(job, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output error") as caught, locked_job(job):
        raise AssertionError("it must not start")
    assert caught.value.filename == str(LOCK)


RACE = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
from hier.errors import BusyError
from hier.ledger.locks import locked_job
def met(turn, what):
    Path(f"{what}-{turn}-{os.getpid()}").touch()
def number(turn, what):
    return len(list(Path().glob(f"{what}-{turn}-*")))
for turn in range(40):
    met(turn, "there")
    while number(turn, "there") < 3:
        pass
    try:
        with locked_job(SimpleNamespace(name=f"cook@soup-{turn}")):
            met(turn, "won")
            while number(turn, "won") + number(turn, "lost") < 3:
                time.sleep(0.002)
    except BusyError:
        met(turn, "lost")
"""


@pytest.mark.parametrize("left", [False, True], ids=["free", "left by a dead one"])
def test_of_those_who_race_for_a_job_without_flock_exactly_one_wins(job, left):
    """Forty rounds of three; a winner holds on until the others have tried."""
    if left:
        dead = myself()["process"]
        dead["created"] -= 1
        for turn in range(40):
            left_by(process=dead)
            NOTE.rename(FOLDER / f"cook@soup-{turn}.json")
    code = NO_FLOCK.format(name="ENOSYS") + RACE
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    try:
        assert [each.wait(100) for each in running] == [0, 0, 0]
    finally:
        for each in running:
            each.kill()
    assert all(len(list(Path().glob(f"won-{turn}-*"))) == 1 for turn in range(40))


def test_who_saw_an_old_note_does_not_remove_the_next_one(job, no_flock):
    left_by(**ELSEWHERE)
    old = look(PLACE)
    assert remove(PLACE, old)
    with locked_job(job):
        assert not remove(PLACE, old)
        assert NOTE.exists()
    assert not list(FOLDER.glob(".*"))


def test_a_disk_without_links_does(job, no_flock, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", refuse)
    with locked_job(job):
        assert str(os.getpid()) in is_busy(job)
    assert is_free(job)


# --- other machines -------------------------------------------------------------------------------


def elsewhere(*command):
    """A command's words that run it under another host's name; skips where that is not permitted."""
    wrap = ["unshare", "--uts", "sh", "-c", 'hostname node7 && exec "$@"', "sh"]
    if os.geteuid() or subprocess.run([*wrap, "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root can give a process another host's name")
    return wrap


def test_a_holder_under_another_hosts_name_is_never_broken_while_it_works(job, toy):
    with holder(wrap=elsewhere()) as other:
        words = f"process {other.pid} on node7 since 2"
        assert is_busy(job).startswith(f"cook@soup is being worked on by {words}")
        for force in (False, True):
            with pytest.raises(BusyError, match="still at work here: cook@soup"):
                recover(print, force)
        assert other.poll() is None
        other.kill()
        other.wait()
        assert is_free(job)  # the disk's own lock went with it


def test_there_and_without_flock_its_renewals_tell(job, toy, no_flock, monkeypatch):
    monkeypatch.setattr(lock, "LEASE", -1.0)  # all seems old: one has to look
    with holder(NO_FLOCK.format(name="ENOLCK"), elsewhere()) as other:
        assert f"process {other.pid} on node7" in is_busy(job)
        with pytest.raises(BusyError, match="still at work here: cook@soup"):
            recover()
        other.kill()
        other.wait()
        assert is_free(job)


def test_within_its_lease_it_is_busy_and_the_users_word_frees_it(job, toy, no_flock):
    left_by(**ELSEWHERE)
    assert is_busy(job).endswith(FORCE)
    said = []
    with pytest.raises(BusyError) as caught:
        recover(said.append)
    assert str(caught.value).startswith(f"still at work here: cook@soup (process {os.getpid()} on node7")
    assert str(caught.value).endswith("if its machine is gone for good: hier recover --break-locks")
    assert NOTE.exists()
    recover(said.append, break_locks=True)
    [line] = said
    assert line.startswith(f"taking cook@soup from process {os.getpid()} on node7 since ")
    assert is_free(job)


def test_the_users_word_breaks_no_lock_of_this_machine(job, toy, no_flock):
    with holder(NO_FLOCK.format(name="ENOSYS")) as other:
        with pytest.raises(BusyError, match="still at work here: cook@soup; wait for it or end it"):
            recover(break_locks=True)
        assert other.poll() is None
        assert holders()["cook@soup"]["process"]["pid"] == other.pid


@pytest.mark.parametrize("by", ["a stage", "recover"])
def test_a_lease_that_ran_out_frees(job, toy, no_flock, capsys, by):
    left_by(**ELSEWHERE)
    seconds_ago(lock.LEASE + 60)
    assert holders() == {}
    if by == "recover":
        recover()
        assert not NOTE.exists()
    assert is_free(job)
    assert "cook@soup seems to be left over from process" in capsys.readouterr().out


def test_a_lease_that_seems_to_have_run_out_by_a_wrong_clock_does_not(job, no_flock, monkeypatch):
    """The other machine dates its renewals an hour back: that they come is what counts."""
    left_by(**ELSEWHERE)
    ago = iter(range(3600, 0, -1))
    seconds_ago(next(ago))
    sleep = time.sleep

    def renewed(seconds):
        sleep(seconds)
        seconds_ago(next(ago))

    monkeypatch.setattr(lock.time, "sleep", renewed)
    assert is_busy(job).endswith(FORCE)
    assert NOTE.exists()


def test_a_holder_elsewhere_is_no_orphan_and_nobody_here_is_ended_for_it(job):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        try:
            dead = {"pid": 2**22 + 1, "created": 1.0}
            process = {"pid": stranger.pid, "created": 1.0}
            left_by(**ELSEWHERE, process=process, engine=dead)
            assert not orphaned(holders()["cook@soup"])
            stop(holders()["cook@soup"])
            time.sleep(0.2)
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_another_boot_of_this_host_frees(job, no_flock):
    """The same name and number, of before a power cut; that nobody renews the note is seen first."""
    left_by(boot="before")
    assert holders() == {}
    assert is_free(job)


def test_a_number_used_anew_frees(job, no_flock):
    process = myself()["process"]
    left_by(process=process | {"created": process["created"] - 100})
    assert is_free(job)


def test_a_container_that_was_killed_frees_where_the_disk_has_locks(job):
    """The same machine's kernel, other names of host and processes."""
    left_by(host="a1b2c3", namespace=1, flock=True)
    assert is_free(job)


# --- copied, damaged, lost ------------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, "ENOSYS"], ids=["with flock", "without"])
def test_a_copy_of_a_project_is_not_worked_on(job, toy, tmp_path, monkeypatch, name, request):
    if name:
        request.getfixturevalue("no_flock")
    with holder(NO_FLOCK.format(name=name) if name else "") as other:
        copy = tmp_path.with_name(f"{tmp_path.name}-copy")
        subprocess.run(["cp", "-a", str(tmp_path), str(copy)], check=True)
        monkeypatch.chdir(copy)
        assert NOTE.exists()
        recover()
        assert is_free(job)
        assert other.poll() is None
        monkeypatch.chdir(tmp_path)
        assert str(other.pid) in is_busy(job)


def test_a_lock_copied_along_from_another_machine_frees(job, no_flock):
    """It was renewed just now, but where it came from."""
    left_by(**ELSEWHERE, inode=1)
    assert is_free(job)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"process": {"pid": 1}}', "\udcff"])
def test_a_damaged_note_holds_as_long_as_it_may_be_somebodys(job, toy, no_flock, text):
    FOLDER.mkdir(parents=True)
    NOTE.write_bytes(text.encode(errors="surrogateescape"))
    assert is_busy(job) == f"cook@soup is being worked on by another process{FORCE}"
    with pytest.raises(BusyError, match="still at work here: cook@soup"):
        recover()
    seconds_ago(lock.LEASE + 60)
    assert is_free(job)
    NOTE.write_bytes(text.encode(errors="surrogateescape"))
    recover(break_locks=True)
    assert is_free(job)


def test_a_note_that_cannot_be_read_is_named(job):
    NOTE.mkdir(parents=True)
    with pytest.raises(OSError, match="Is a directory") as caught, locked_job(job):
        raise AssertionError("it must not start")
    assert caught.value.filename == str(NOTE)


def test_a_holder_renews_its_note_and_brings_it_back(job):
    with holder():
        before = look(PLACE)
        assert waits_for(lambda: look(PLACE) and look(PLACE).changed > before.changed)
        NOTE.unlink()
        assert waits_for(NOTE.exists)
    assert holders() == {}


def test_a_holder_that_lost_its_lock_stops(job, no_flock):
    with holder(NO_FLOCK.format(name="ENOSYS"), stderr=subprocess.PIPE) as other:
        NOTE.unlink()
        left_by(**ELSEWHERE)
        assert other.wait(30) == -signal.SIGTERM
        assert "stopping: cook@soup is now held by process" in other.stderr.read()
        assert json.loads(NOTE.read_text())["host"] == "node7"


def test_who_waits_gets_it(job, no_flock):
    left_by(**ELSEWHERE)
    seconds_ago(lock.LEASE + 60)
    with locked(PLACE, wait=True):
        assert here().items() <= json.loads(NOTE.read_text()).items()
    assert not NOTE.exists()


def waits_for(condition):
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        if condition():
            return True
        time.sleep(0.02)
    return False
