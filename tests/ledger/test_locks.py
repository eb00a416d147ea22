"""One process at a time on a job: real processes, killed as a user or the system kills them."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from hier.errors import BusyError
from hier.files.lock_owner import here, identify, myself
from hier.ledger.locks import FOLDER, engines_at_work, holders, locked_job, orphaned, stop

NOTE = FOLDER / "cook@soup.json"

# A process that holds a job until it is told to end; argument 1: what it runs meanwhile.
HOLD = """
import sys, time
from types import SimpleNamespace
from hier.ledger.locks import locked_job
with locked_job(SimpleNamespace(name="cook@soup")):
    exec(sys.argv[1])
    print("locked_job", flush=True)
    time.sleep(60)
"""
# A program that calls a holder and waits for it, as an engine does.
ENGINE = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
LISTENS = """
import signal
from pathlib import Path
signal.signal(signal.SIGTERM, lambda *_: (Path("asked").touch(), sys.exit(143)))
"""
WITH_CHILD = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
WITH_FORK = """
import os
ready, say = os.pipe()
if os.fork() == 0:
    os.write(say, b"x")
    time.sleep(60)
os.read(ready, 1)
"""


@pytest.fixture
def job(toy):
    return toy.job("cook@soup")


@contextmanager
def process(*arguments):
    """A process that says `locked_job`; ended with all of its children when the block ends."""
    started = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert started.stdout.readline() == "locked_job\n"
        yield started
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.communicate()


def holder(doing="pass"):
    return process("-c", HOLD, doing)


def called_by(engine, doing="pass"):
    """A holder that an engine of that name called; gives the engine's process."""
    path = Path("bin", engine)
    path.parent.mkdir(exist_ok=True)
    path.write_text(ENGINE)
    return process(str(path), HOLD, doing)


def gone(pid, within=5.0):
    """Whether a process that is no child of ours ends."""
    give_up = time.monotonic() + within
    while time.monotonic() < give_up:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_who_holds_a_job_is_known_as_long_as_it_does(job):
    assert holders() == {}
    with locked_job(job):
        me = holders()["cook@soup"]
        assert me["process"]["pid"] == os.getpid()
        assert me["job"] == "cook@soup"
        assert not orphaned(me)
    assert holders() == {}
    assert not NOTE.exists()


def test_a_job_can_be_held_again(job, toy):
    for _ in range(3):
        with locked_job(job), locked_job(toy.job("cook@stew")):
            assert list(holders()) == ["cook@soup", "cook@stew"]


@pytest.mark.parametrize("failure", [ValueError("x"), KeyboardInterrupt(), SystemExit(143)])
def test_what_fails_does_not_hold_on(job, failure):
    with pytest.raises(type(failure)), locked_job(job):
        raise failure
    assert holders() == {}
    with locked_job(job):
        pass


def test_a_second_process_is_told_which_one_holds_the_job(job, toy):
    with holder() as other:
        with pytest.raises(BusyError) as caught, locked_job(job):
            raise AssertionError("it must not start")
        assert str(caught.value).startswith(f"cook@soup is being worked on by process {other.pid} since 20")
        assert caught.value.exit_code == 4
        assert other.poll() is None
        assert holders()["cook@soup"]["process"]["pid"] == other.pid
        with locked_job(toy.job("cook@stew")):
            pass  # another job is free


@pytest.mark.parametrize("engine", ["snakemake", "dvc", "hier"])
def test_the_engine_that_called_is_named(job, engine):
    with called_by(engine) as caller:
        assert holders()["cook@soup"]["engine"]["pid"] == caller.pid
        with pytest.raises(BusyError) as caught, locked_job(job):
            raise AssertionError("it must not start")
        assert str(caught.value).endswith(f", called by {engine}")


@pytest.mark.parametrize("doing", ["pass", WITH_CHILD, WITH_FORK], ids=["alone", "child", "fork"])
def test_a_job_is_free_once_its_holder_was_killed(job, doing):
    """Also where a worker that the holder forked outlives it."""
    with holder(doing) as other:
        other.kill()
        other.wait()
        assert NOTE.exists()
        assert holders() == {}
        with locked_job(job):
            assert holders()["cook@soup"]["process"]["pid"] == os.getpid()


def test_an_orphan_is_ended_and_its_job_taken_over(job, capsys):
    with called_by("snakemake") as caller:
        orphan = holders()["cook@soup"]["process"]["pid"]
        assert not orphaned(holders()["cook@soup"])
        caller.kill()
        caller.wait()
        assert orphaned(holders()["cook@soup"])
        with locked_job(job):
            assert holders()["cook@soup"]["process"]["pid"] == os.getpid()
            assert gone(orphan)
        assert f"ending process {orphan} (cook@soup), whose engine is gone" in capsys.readouterr().out


def test_a_holder_that_nobody_called_is_no_orphan(job):
    with holder():
        assert not orphaned(here() | {"process": {}, "engine": None})
        found = holders()["cook@soup"]
        assert found["engine"] is None or not orphaned(found)


def test_a_holder_that_does_not_listen_is_killed(job):
    with holder(DEAF) as other:
        stop(holders()["cook@soup"], patience=0.3)
        assert gone(other.pid)  # it hears nothing but SIGKILL


def test_a_holder_is_asked_first(job):
    with holder(LISTENS) as other:
        stop(holders()["cook@soup"])
        assert gone(other.pid)
    assert Path("asked").exists()
    assert not NOTE.exists()


def test_stopping_who_is_gone_is_no_error(job):
    with holder() as other:
        found = holders()["cook@soup"]
        other.kill()
        other.wait()
        stop(found)


def test_a_number_that_another_process_has_by_now_is_not_taken_for_the_holder(job):
    """The note of a process long dead, whose number a process of somebody else's has got."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        try:
            FOLDER.mkdir(parents=True)
            dead = identify(stranger.pid)
            dead["created"] -= 60
            note = myself() | {
                "job": "cook@soup", "process": dead, "engine": dead, "called_by": "snakemake",
                "inode": 0, "flock": False,
            }  # fmt: skip
            NOTE.write_text(json.dumps(note))
            assert holders() == {}
            stop(note)
            with locked_job(job):
                pass
            time.sleep(0.2)
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_an_engine_whose_number_another_process_has_by_now_is_gone(job):
    me = identify(os.getpid())
    assert not orphaned(myself() | {"engine": me})
    assert orphaned(myself() | {"engine": me | {"created": me["created"] - 60}})


def test_a_process_that_ended_but_was_not_waited_for_holds_nothing(job):
    with holder() as other:
        other.kill()
        give_up = time.monotonic() + 5
        while psutil.Process(other.pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < give_up
            time.sleep(0.01)
        assert holders() == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"x"', "{}", '{"a": 1}'])
def test_a_damaged_note_stops_nobody(job, text):
    FOLDER.mkdir(parents=True)
    NOTE.write_text(text)
    assert holders() == {}
    with locked_job(job):
        assert list(holders()) == ["cook@soup"]


def test_engines_at_work_are_those_of_the_folder(job, tmp_path):
    assert engines_at_work(Path()) == []
    with called_by("snakemake") as caller:
        assert engines_at_work(Path()) == [f"snakemake ({caller.pid})"]
        assert engines_at_work(tmp_path.parent) == []
    with called_by("hier"):
        assert engines_at_work(Path()) == []


RACE = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from hier.errors import BusyError
from hier.ledger.locks import locked_job
give_up = time.monotonic() + 20
done = 0
while done < 15 and time.monotonic() < give_up:
    try:
        with locked_job(SimpleNamespace(name="cook@soup")):
            path = Path("inside")
            assert not path.exists()
            path.touch()
            time.sleep(0.002)
            path.unlink()
            done += 1
    except BusyError as error:
        assert "another process" in str(error) or "process " in str(error)
sys.exit(done != 15)
"""


def test_never_two_at_once(job):
    running = [subprocess.Popen([sys.executable, "-c", RACE]) for _ in range(3)]
    assert [each.wait(60) for each in running] == [0, 0, 0]
    assert holders() == {}


ASK = "from hier.ledger.locks import forced_by_dvc; print(forced_by_dvc())"


@pytest.mark.parametrize(
    ("engine", "arguments", "forced"),
    [
        ("dvc", "repro -f", "True"),
        ("dvc", "repro -sf cook@soup", "True"),
        ("dvc", "exp run --force", "True"),
        ("dvc", "repro", "False"),
        ("dvc", "repro --force-downstream", "False"),
        ("dvc", "exp run -nfirst", "False"),
        ("snakemake", "-f", "False"),  # whose rules hand it on
    ],
)
def test_what_dvc_is_told_to_force_is_seen_on_its_command_line(tmp_path, engine, arguments, forced):
    script = tmp_path / engine
    script.write_text(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ASK!r}])")
    command = [sys.executable, str(script), *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == forced
