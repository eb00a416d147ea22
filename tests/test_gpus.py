"""Each GPU job has a card to itself: real processes and real locks, pretended cards."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
import weakref
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fakes.gpus import UUIDS, pretend
from hier import gpus as cards
from hier.errors import CardError, ConfigError
from hier.gpus import acquire_gpus

TESTS = Path(__file__).parent
GPU = SimpleNamespace(device="auto")

# A job on a machine with so many cards: argument 1 its name, 2 the number, 3 what it does with its card.
JOB = """
import os, sys, time
from types import SimpleNamespace
from fakes.gpus import pretend
from hier import gpus as cards
cards.PAUSE = 0.02
cuda = pretend(int(sys.argv[2]))
def card():
    return cards.acquire_gpus(SimpleNamespace(device="auto"), sys.argv[1])
def say(*words):
    print(*words, flush=True)
exec(sys.argv[3])
"""
HOLD = """
with card():
    say("has", cuda.uuid[0])
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The user's temporary folder, of the test alone; no card is hidden; torch comes back."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(cards, "PAUSE", 0.02)
    return tmp_path / f"hier-cards-{os.geteuid()}"


def start(name, number, doing=HOLD, **environment):
    path = os.pathsep.join([str(TESTS), os.environ["PYTHONPATH"]])
    environment = os.environ | {"PYTHONPATH": path} | environment
    return subprocess.Popen(
        [sys.executable, "-c", JOB, name, str(number), doing],
        stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


@contextmanager
def job(*arguments, **environment):
    """A job; killed when the block ends."""
    with start(*arguments, **environment) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process):
    return process.stdout.readline().rstrip("\n")


# --- processes -----------------------------------------------------------------------------------


def test_jobs_take_a_card_each_and_wait_for_one():
    with job("one", 2) as one, job("two", 2) as two:
        first, second = line(one), line(two)
        assert {first, second} == {"has a", "has b"}
        holders = [one, two] if first == "has a" else [two, one]
        names = {one: "one", two: "two"}
        held = " and ".join(f"process {each.pid} ({names[each]})" for each in holders)
        with job("three", 2) as three:
            assert line(three) == f"three: waiting for a GPU, held by {held}"
            time.sleep(0.2)
            assert three.poll() is None
            one.send_signal(signal.SIGKILL)
            assert line(three) == first  # the next thing that it says, once the card is free


@pytest.mark.parametrize("number", [1, 2])
def test_never_two_jobs_on_one_card(number, tmp_path):
    """Five processes, ten turns each, on the log: who, which card, from when to when."""
    log = tmp_path / "log"
    turns = f"""
for turn in range(10):
    with card():
        begin = time.monotonic()
        time.sleep(0.003)
        text = f"{{cuda.uuid}} {{begin}} {{time.monotonic()}}\\n"
    with open({str(log)!r}, "a") as file:
        file.write(text)
"""
    processes = [start(f"job {i}", number, turns) for i in range(5)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    stays = [text.split() for text in log.read_text().splitlines()]
    assert len(stays) == 50
    assert {card for card, _, _ in stays} == set(UUIDS[:number])
    for card in UUIDS[:number]:
        times = sorted((float(begin), float(end)) for uuid, begin, end in stays if uuid == card)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(times))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_whoever_waits_can_be_stopped(number):
    """By what the command line does on a signal, not only when the card is free."""
    waits = f"""
import signal
signal.signal({number}, lambda *_: sys.exit(128 + {number}))
with card():
    say("must not come here")
"""
    with job("one", 1) as one:
        assert line(one) == "has a"
        with job("two", 1, waits) as two:
            assert "waiting" in line(two)
            two.send_signal(number)
            assert two.wait(5) == 128 + number
            assert two.stdout.read() == ""
        assert one.poll() is None


def test_the_card_is_free_when_the_block_ends_though_a_worker_was_forked_in_it():
    """A process may go on after its training; loaders' workers may take a moment to end."""
    forks = """
with card():
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
say("done")
time.sleep(60)
"""
    with job("one", 1, forks) as one:
        assert line(one) == "done"
        with job("two", 1) as two:
            assert line(two) == "has a"


def test_a_job_may_take_one_card_after_the_other():
    with job("both", 1, "with card(): pass\nwith card(): say('twice')") as both:
        assert line(both) == "twice"


# --- in one process ------------------------------------------------------------------------------


def notes(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_card_is_the_current_device_and_its_file_says_whose_it_is(folder):
    cuda = pretend(2)
    with acquire_gpus(GPU, "first"):
        assert cuda.uuid == UUIDS[0]
        other = pretend(2)
        with acquire_gpus(GPU, "second"):
            assert other.uuid == UUIDS[1]
            names = ("first", "second")
            assert notes(folder) == {
                uuid: f"process {os.getpid()} ({name})\n" for uuid, name in zip(UUIDS, names, strict=False)
            }
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_card_that_was_worked_on_before_is_taken_first():
    """What a process leaves on a card once, it shall not leave on all of them."""
    cuda = pretend(3)
    cuda.current = 2
    with acquire_gpus(GPU, "one"):
        assert cuda.uuid == UUIDS[2]


def test_a_job_takes_as_many_as_it_wants_or_none(folder):
    """With one in hand it would wait for others that wait for that one."""
    pretend(3)
    with acquire_gpus(GPU, "one"):
        cuda = pretend(3)
        with acquire_gpus(GPU, "two", 2):
            assert (cards.held, cuda.uuid) == ([1, 2], UUIDS[1])
            assert {name for name, text in notes(folder).items() if "two" in text} == {*UUIDS[1:3]}
    assert cards.held == []
    wants = "with cards.acquire_gpus(SimpleNamespace(device='auto'), 'pair', 2): say('has', cuda.uuid[0])"
    with job("one", 2) as one:
        assert line(one) == "has a"
        with job("pair", 2, wants) as pair, job("other", 2) as other:
            # It is nobody's while the pair waits, but for the moment in which that looks.
            assert any(text == "has b" for text in iter(lambda: line(other), ""))
            assert line(pair).startswith("pair: waiting for 2 GPUs, held by process ")
            one.kill()
            other.kill()
            assert line(pair) == "has a"


def test_more_than_there_are_is_refused(folder):
    pretend(1)
    says = r"^train@r: runtime.processes 2 needs as many GPUs, and 1 can be seen here"
    with pytest.raises(ConfigError, match=says), acquire_gpus(GPU, "train@r", 2):
        pass
    assert not folder.exists()


def test_where_the_cpu_is_asked_for_torch_is_not_loaded(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it fails
    with acquire_gpus(SimpleNamespace(device="cpu"), "one"):
        pass
    assert not folder.exists()


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_without_a_gpu_nothing_happens(device, folder):
    pretend(0)
    with acquire_gpus(SimpleNamespace(device=device), "one"):
        pass
    assert not folder.exists()


def test_what_the_real_torch_is_asked_for_is_there():
    for name in vars(type(pretend(1))):
        if not name.startswith("_") and name != "uuid":
            assert callable(getattr(torch.cuda, name))


@pytest.mark.parametrize("failure", [ValueError("x"), KeyboardInterrupt(), SystemExit(143)])
def test_what_fails_leaves_nothing_on_the_card(failure):
    """Not even what the variables of the functions in its trace hold."""
    cuda = pretend(1)
    there, left = [], []

    class Memory:
        pass

    def work():
        memory = Memory()
        there.append(weakref.ref(memory))
        raise failure

    cuda.emptied = lambda: left.append(there[0]())
    with pytest.raises(type(failure)), acquire_gpus(GPU, "one"):
        work()
    assert left == [None]
    with acquire_gpus(GPU, "again"):
        pass


# --- the folder of the locks ---------------------------------------------------------------------


def refused():
    pretend(1)
    with pytest.raises(CardError) as caught, acquire_gpus(GPU, "one"):
        raise AssertionError("it must not start")
    return str(caught.value)


def test_another_users_folder_is_not_used(folder, monkeypatch):
    somebody = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody)
    theirs = folder.with_name(f"hier-cards-{somebody}")
    theirs.mkdir()
    assert refused() == (
        f"cannot keep the locks of GPUs in {theirs}: it is another user's; remove it, or set "
        "TMPDIR to another folder, the same for all your jobs on this machine"
    )


def test_another_users_link_is_not_followed(folder, monkeypatch, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    folder.symlink_to(target)
    real = os.lstat

    def lstat(path, **more):
        found = real(path, **more)
        return SimpleNamespace(st_uid=found.st_uid + (Path(path) == folder))

    monkeypatch.setattr(Path, "lstat", lstat)
    assert "another user's" in refused()
    assert not list(target.iterdir())


BROKEN = {
    "a file": (lambda folder: folder.touch(), "File exists"),
    "a folder for a lock": (lambda folder: (folder / UUIDS[0]).mkdir(parents=True), "Is a dir"),
    "not to be written": (lambda folder: folder.mkdir(mode=0o500), "Permission denied"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_folder_that_cannot_be_used_is_told_in_one_line(folder, what):
    if what == "not to be written" and os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    spoil, reason = BROKEN[what]
    spoil(folder)
    text = refused()
    assert text.startswith(f"cannot keep the locks of GPUs in {folder}: {reason}")
    assert "\n" not in text


# --- which card is which -------------------------------------------------------------------------

# CUDA_VISIBLE_DEVICES, and the cards that are seen, of four.
SEEN = {
    None: "abcd", "0": "a", "3": "d", "2,0": "ca", "0,1,2,3": "abcd", " 1 , 2 ": "bc", "": "", "-1": "",
    "1,-1,2": "b", "0,9,1": "a", f"GPU-{UUIDS[1]}": "b", "GPU-cccccccc,GPU-aaaaaaaa": "ca",
}  # fmt: skip


@pytest.fixture
def visible(monkeypatch):
    """The names of the cards that are seen under a value of CUDA_VISIBLE_DEVICES."""

    def names(asked):
        if asked is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
        pretend(4)
        return cards._visible()

    return names


@pytest.mark.parametrize("asked", [asked for asked, seen in SEEN.items() if seen])
def test_a_card_has_the_same_name_for_everyone_who_sees_it(visible, asked):
    names = visible(asked)
    assert [names[index][0] for index in range(len(names))] == list(SEEN[asked])
    for others, seen in SEEN.items():
        shared = set(names.values()) & set(visible(others).values() if seen else ())
        assert {name[0] for name in shared} == set(SEEN[asked]) & set(seen)


def test_slices_of_a_card_are_two_cards(visible, folder):
    """In the names of before driver 470, too, which hold slashes."""
    names = ["MIG-1f0e", "MIG-2c3d", f"MIG-GPU-{UUIDS[0]}/1/0", f"MIG-GPU-{UUIDS[0]}/2/0"]
    found = [visible(name) for name in names]
    assert found == [{0: name} for name in names]
    assert visible(f"{names[1]},{names[0]}") == {0: names[1]}
    with acquire_gpus(GPU, "one"):
        visible(names[2])
        with acquire_gpus(GPU, "two"):
            assert set(notes(folder)) == {names[1], f"MIG-GPU-{UUIDS[0]}_1_0"}


def test_on_a_cluster_two_jobs_whose_own_card_is_their_first_do_not_wait_for_each_other(visible):
    """A job that is shut off from the other cards has the index 0 for its own."""
    cuda = pretend(4)
    cuda.seen = [UUIDS[3]]
    with acquire_gpus(GPU, "one"):
        cuda = pretend(1)
        with acquire_gpus(GPU, "two"):
            assert cuda.uuid == UUIDS[0]


@pytest.mark.parametrize("name", ["ENOSYS", "ENOLCK", "EOPNOTSUPP", "EIO"])
def test_a_disk_that_cannot_lock_is_one_line_that_names_the_folder(folder, monkeypatch, name):
    code = getattr(errno, name)

    def refuse(*_):
        raise OSError(code, os.strerror(code))

    pretend(1)
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(CardError) as caught, acquire_gpus(GPU, "one"):
        raise AssertionError("it has no card")
    start = f"cannot keep the locks of GPUs in {folder}: {os.strerror(code)}; remove it, or set TMPDIR"
    assert str(caught.value).startswith(start)


@pytest.mark.parametrize(("asked", "seen"), SEEN.items())
def test_how_many_there_are_is_known_without_torch(asked, seen, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(cards, "DRIVER", tmp_path / "gpus")
    if asked is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    assert cards.number() == 0
    for address in range(4):
        (tmp_path / f"gpus/0000:{address}").mkdir(parents=True)
    assert cards.number() == len(seen)


@pytest.mark.parametrize(("asked", "number"), [("0,0", 0), ("MIG-1f0e", 1), ("none", 0), ("4", 0)])
def test_how_many_of_what_cannot_be_or_is_a_slice(asked, number, tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "DRIVER", tmp_path)
    (tmp_path / "0000:0").mkdir()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    assert cards.number() == number
