"""A nursery's child ends as a process does that was started from nothing, also for who calls it by a name."""

import os
import signal
import subprocess
import sys

import pytest

import hier
from fakes.nursery import BIN, forking, nursery

PYTHON = BIN / "python"
ENDS = {
    "well": "print('said', end='')",
    "with a number": "import sys; sys.exit(3)",
    "with nothing": "raise SystemExit",
    "with a word": "import sys; sys.exit('word')",
    "with an exception": "1 / 0",
    "as interrupted": "raise KeyboardInterrupt",
    "at once": "import os; os._exit(7)",
    "by a signal": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "with last words": "import atexit; atexit.register(print, 'bye')",
    "after its threads": "from threading import Timer; Timer(0.1, print, ['late']).start()",
    "after its workers": (
        "from multiprocessing import get_context; get_context('fork').Process(target=print).start()"
    ),
}


def last_lines(text):
    return text.splitlines()[-1:]


@pytest.mark.parametrize("code", ENDS.values(), ids=ENDS)
def test_it_ends_as_any_process(code, tmp_path):
    genuine = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    fork = nursery().run(code, [], tmp_path)
    assert (fork.returncode, fork.stdout) == (genuine.returncode, genuine.stdout)
    assert last_lines(fork.stderr) == last_lines(genuine.stderr)


def test_it_sees_its_own_folder_arguments_environment_and_code(tmp_path):
    (tmp_path / "hier").mkdir()
    (tmp_path / "hier/__init__.py").touch()
    code = "import os, sys, hier; print(os.getcwd(), sys.argv, sorted(os.environ), hier.__file__)"
    given = {"PYTHONPATH": str(tmp_path), "ONE": "1"}
    done = nursery().run(code, ["a", "b c"], tmp_path, given)
    package = tmp_path / "hier/__init__.py"
    assert done.stdout == f"{tmp_path} ['-c', 'a', 'b c'] ['ONE', 'PYTHONPATH'] {package}\n"


@pytest.fixture
def called(tmp_path):
    """A function that lets a shell call `hier`, where that is a fork."""

    def call(command, first=""):
        return subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, env=forking(os.environ, first),
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return call


def test_who_calls_hier_by_its_name_gets_its_streams_and_its_end(called):
    done = called("hier --version && hier no-command; echo $?")
    assert done.stdout == f"hier, version {hier.__version__}\n2\n"
    assert "No such command 'no-command'" in done.stderr


def test_whose_fork_is_killed_is_killed(called):
    assert called("exec hier", "import os; os.kill(os.getpid(), 9)\n").returncode == -9


def test_a_signal_goes_on_to_the_fork(tmp_path):
    waits = "import time; print('waits', flush=True); time.sleep(60)\n"
    process = subprocess.Popen(
        ["hier"], cwd=tmp_path, env=forking(os.environ, waits), stdout=subprocess.PIPE, text=True
    )
    with process.stdout as lines:
        assert next(lines) == "waits\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM


def test_the_interpreter_of_a_fork_gives_forks_of_hier_and_dvc(called):
    """`python -m hier` and the like; all else is Python's."""
    said = "print('a fork')\n"
    done = called(f"{PYTHON} -m hier && {PYTHON} -m dvc && {PYTHON} -c 'print(2)'", f"{said}exit()\n")
    assert done.stdout == "a fork\na fork\n2\n"
