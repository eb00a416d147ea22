"""Whatever befalls a loader worker ends the work with one line, and no lock stays."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from fakes.nursery import HEAVY, Nursery
from hier.ledger.locks import holders, locked_job

TESTS = Path(__file__).parents[1]
HANGS = 120  # seconds after which a process counts as hanging; each should take a few

IMPORTED = (
    *HEAVY, "fakes.training", "hier.cli", "hier.errors", "hier.data.store",
    "hier.evaluation.retrieval.embed", "hier.ledger.locks", "hier.losses.pa", "hier.models.network",
    "hier.training.loop",
)  # fmt: skip

# A command that holds its lock while it trains, or embeds, with two workers. Argument 1: a statement
# about `act`, which a worker calls for each image once it has read `after` others.
STAGE = """
import errno, os, signal, sys, time
from pathlib import Path
from types import SimpleNamespace
import torch
from fakes.training import CLASSES, changed, make_store, tiny_runs, trained
from hier import cli
from hier.errors import ImageError
from hier.data.store import ImageStore
from hier.evaluation.retrieval.embed import embed
from hier.ledger.locks import locked_job
from hier.training.loop import start_network

parent, read, seen, after = os.getpid(), ImageStore.__getitem__, [0], 0

def act():
    pass

def fail(error):
    raise error

def once(name):
    # Only the first of all workers.
    try:
        Path(name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True

def getitem(self, row):
    seen[0] += 1
    if os.getpid() != parent and seen[0] > after:
        act()
    return read(self, row)

ImageStore.__getitem__ = getitem
exec(sys.argv.pop(1))

@cli.cli.command()
def train():
    run = changed(tiny_runs()["hier"], runtime={"workers": 2}, schedule={"epochs": 400})
    with locked_job(SimpleNamespace(name="train@tiny")):
        print("begins", flush=True)
        trained(run, make_store(Path()), Path("checkpoints"))

@cli.cli.command()
def embedding():
    run = changed(tiny_runs()["hier"], runtime={"workers": 2}, embed={"batch_size": 4})
    store, classes = make_store(Path())
    with locked_job(SimpleNamespace(name="train@tiny")):
        print("begins", flush=True)
        network, device = start_network(run), torch.device("cpu")
        while True:
            embed(network, store, range(len(classes)), run, device)

cli.main()
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def nursery():
    """Has imported all that the command needs, which takes longer than the command."""
    made = Nursery(IMPORTED)
    yield made
    made.close()


@pytest.fixture
def stage(nursery):
    return partial(started, nursery)


@contextmanager
def started(nursery, doing="", *options, command="train", wrap=()):
    """A command in a session of its own; killed with its workers when the block ends."""
    Path("conf/suite").mkdir(parents=True, exist_ok=True)  # what makes a folder a project
    paths = [str(TESTS), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    arguments = [doing, *options, command]
    if wrap:
        process = subprocess.Popen(
            [*wrap, sys.executable, "-c", STAGE, *arguments], env=environment, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    else:
        process = nursery.start(STAGE, arguments, environment=environment, session=True)
    try:
        assert process.stdout.readline() == "begins\n", process.stderr.read()
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def workers_of(process):
    """Its two workers, once both are there."""
    give_up = time.monotonic() + HANGS
    while time.monotonic() < give_up:
        found = psutil.Process(process.pid).children()
        if len(found) == 2:
            return found
        time.sleep(0.02)
    raise AssertionError("there are no workers")


def is_free():
    with locked_job(SimpleNamespace(name="train@tiny")):
        return True


def ended(process, code):
    """What a process that ends with `code` says on standard error; its lock is free then."""
    said = process.communicate(timeout=HANGS)[1]
    assert process.returncode == code, said
    assert holders() == {}
    assert is_free()
    return said


def in_one_line(process, code=1):
    [line] = ended(process, code).splitlines()
    assert line.startswith("error: ")
    return line


FAILURES = {
    "killed": "act = lambda: os.kill(os.getpid(), 9)",
    "killed, the other works on": "act = lambda: once('x') and os.kill(os.getpid(), 9)",
    "bus error": "act = lambda: os.kill(os.getpid(), signal.SIGBUS)",
    "segmentation fault": "act = lambda: os.kill(os.getpid(), signal.SIGSEGV)",
    "ended": "act = lambda: os._exit(3)",
    "ended well": "act = lambda: os._exit(0)",
    "an exception": "act = lambda: fail(ValueError('mmap length\\nis greater'))",
    "a key error": "act = lambda: fail(KeyError('colour'))",
    "no memory": "act = lambda: fail(MemoryError())",
    "no shared memory": "act = lambda: fail(RuntimeError('unable to write to file </torch_1_2>'))",
    "hangs": "from hier.data import loading; loading.PATIENCE = 4; act = lambda: time.sleep(600)",
    "while the other hangs": ("act = lambda: os.kill(os.getpid(), 9) if once('x') else time.sleep(600)"),
}
SAID = {
    "killed": "was killed by SIGKILL", "killed, the other works on": "was killed by SIGKILL",
    "bus error": "was killed by SIGBUS",
    "segmentation fault": "was killed by SIGSEGV", "ended": "ended with exit code 3",
    "ended well": "ended with exit code 0",
    "an exception": "failed: ValueError: mmap length is greater", "a key error": "KeyError: 'colour'",
    "no memory": "MemoryError", "no shared memory": "unable to write to file </torch_1_2>",
    "hangs": "has not answered for 4 seconds", "while the other hangs": "was killed by SIGKILL",
}  # fmt: skip


CASES = [
    *((failure, "train") for failure in FAILURES),
    ("killed", "embedding"),
    ("an exception", "embedding"),
]


@pytest.mark.parametrize(("failure", "command"), CASES)
def test_whatever_befalls_a_worker_is_one_line_that_names_the_mend(stage, failure, command):
    with stage(FAILURES[failure], command=command) as process:
        line = in_one_line(process)
    assert SAID[failure] in line
    assert "runtime.workers=0" in line


def test_a_bus_error_names_shared_memory_and_the_store(stage):
    with stage(FAILURES["bus error"]) as process:
        line = in_one_line(process)
    assert "/dev/shm" in line
    assert "images.npy" in line


MIDDLE = {
    "killed": ("after = 20; act = lambda: os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
    # The map of what is not there any more: the system sends SIGBUS.
    "the store is cut short": (
        "after = 20; act = lambda: os.truncate('images.npy', 200)",
        "was killed by SIGBUS",
    ),
}


@pytest.mark.parametrize(("doing", "killed"), MIDDLE.values(), ids=MIDDLE)
def test_a_worker_that_dies_in_the_middle(stage, doing, killed):
    """The first batches are being fetched from it then: the lost connection may be seen before the death."""
    with stage(doing) as process:
        line = in_one_line(process)
    assert killed in line or "failed: Connection" in line
    assert "images.npy was cut short" in line


@pytest.mark.parametrize(
    ("of_torch", "how"),
    [
        ("is killed by signal: Bus error. It is possible that", "was killed by SIGBUS"),
        ("is killed by signal: Killed. ", "was killed by SIGKILL"),
        ("exited unexpectedly with exit code 3. Details are lost.", "ended with exit code 3"),
    ],
)
def test_a_worker_that_dies_while_the_others_are_started(stage, of_torch, how):
    """torch raises it out of the loader's first line then, in words of its own."""
    raised = f"trained = lambda *_: fail(RuntimeError('DataLoader worker (pid 7) {of_torch}'))"
    with stage(raised) as process:
        line = in_one_line(process)
    assert how in line
    assert "runtime.workers=0" in line


def test_an_error_of_our_own_arrives_as_itself(stage):
    """ImageError takes four arguments, and a second line of torch's would make it five."""
    raised = "act = lambda: fail(ImageError('cub', 'a.jpg', 'Wren', 'cut short'))"
    with stage(raised) as process:
        line = in_one_line(process)
    assert line.startswith("error: cannot decode a.jpg (class Wren) of cub: cut short; replace")
    assert "Traceback" not in line


def test_debug_shows_where_in_the_worker(stage):
    with stage(FAILURES["an exception"], "--debug") as process:
        said = ended(process, 1)
    assert "Traceback" in said
    assert "in getitem" in said


def test_what_a_failure_ends_goes_on_from_the_last_whole_step(stage):
    """Ten images are a part of the second batch, that of the other worker."""
    with stage("after = 20; act = lambda: fail(ValueError('x'))") as process:
        in_one_line(process)
    assert [path.name.partition(".")[0] for path in Path("checkpoints").rglob("*.pt")] == ["e0000-s00002"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount another /dev/shm")
def test_a_tiny_dev_shm_as_in_a_container(stage):
    mount = 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"'
    wrap = ["unshare", "-m", "sh", "-c", mount, "sh"]
    if subprocess.run([*wrap, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount another /dev/shm")
    large = "change = changed; changed = lambda run, **keys: change(run, augmentation={'size': 64}, **keys)"
    with stage(large, wrap=wrap) as process:
        line = in_one_line(process)
    assert "/dev/shm" in line
    assert "runtime.workers=0" in line


# --- told to stop ---------------------------------------------------------------------------------


def whole_group(process, workers, number):
    os.killpg(process.pid, number)


def alone(process, workers, number):
    process.send_signal(number)


def each(process, workers, number):
    """As a cluster's scheduler does, the workers first."""
    for one in [*workers, process]:
        with suppress(psutil.NoSuchProcess):  # an epoch of these takes a moment
            one.send_signal(number)


@pytest.mark.parametrize("to", [whole_group, alone, each])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_told_to_stop_writes_a_checkpoint(stage, to, number):
    with stage() as process:
        workers = workers_of(process)
        time.sleep(1)
        to(process, workers, number)
        said = ended(process, 128 + number)
        assert gone(workers)
    [*before, last] = said.splitlines()
    assert set(before) == {"stopping after this step; Ctrl-C twice stops at once"}
    assert last.startswith("stopped; goes on from checkpoints/")
    assert last.endswith(".pt with the same command")
    assert Path(last.split()[4]).is_file()


@pytest.mark.parametrize("doing", ["", "after = 20; act = lambda: time.sleep(600)"])
def test_a_worker_that_dies_or_hangs_then_is_no_failure(stage, doing):
    with stage(doing) as process:
        workers = workers_of(process)
        time.sleep(3)
        process.send_signal(signal.SIGTERM)
        for worker in workers[bool(doing) :]:
            with suppress(psutil.NoSuchProcess):
                worker.kill()
        said = ended(process, 143)
        assert gone(workers)
    assert "stopped; goes on from checkpoints/" in said
    assert "error" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_embeds_stops_at_once(stage, number):
    with stage(command="embedding") as process:
        workers = workers_of(process)
        whole_group(process, workers, number)
        said = ended(process, 128 + number)
        assert gone(workers)
    assert "Traceback" not in said


@pytest.mark.parametrize("doing", ["", "act = lambda: time.sleep(600)"], ids=["at work", "hanging"])
def test_workers_end_with_the_process_that_they_load_for(stage, doing):
    with stage(doing) as process:
        workers = workers_of(process)
        time.sleep(0.5)
        process.kill()
        process.wait()
        assert gone(workers)
        assert is_free()


def gone(workers):
    return not psutil.wait_procs(workers, timeout=20)[1]
