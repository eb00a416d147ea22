"""Who works on a job, as the command tells it: on disks with locks, without, and of two machines."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from test_cli import COMMAND, ENVIRONMENT, one_line, workspace

WORK = ("download", "smoke")
NOTE = ".hier/locks/download@smoke.json"
FLOCKS = {
    "with flock": "",
    **{
        name: f"import errno, fcntl\ndef refuse(*_): raise OSError(errno.{name}, 'refused')\n"
        "fcntl.flock = refuse\n"
        for name in ("ENOSYS", "ENOLCK", "EOPNOTSUPP")
    },
    "of one machine": "import fcntl\nfcntl.flock = lambda *_: None\n",  # as seen from another
}


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    """A project whose first stage takes a second."""
    folder = workspace(tmp_path_factory.mktemp("busy") / "composed")
    done = call(
        folder, "compose", "suite=smoke", "methods=[pa]", "dataset.generate.images_per_class=150",
        "dataset.counts.images={train: 600, test: 600}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def project(composed, tmp_path):
    """A copy of it; and what Python loads before the command, to have another disk's locks."""
    (tmp_path / "site").mkdir()
    return Path(shutil.copytree(composed, tmp_path / "project"))


def environment(folder):
    path = os.pathsep.join([str(folder.parent / "site"), str(folder / "src")])
    return ENVIRONMENT | {"PYTHONPATH": path}


def call(folder, *arguments, **variables):
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=environment(folder) | variables,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def lock_by(project, flock):
    (project.parent / "site/sitecustomize.py").write_text(FLOCKS[flock])


def started(project, wrap=(), **variables):
    return subprocess.Popen(
        [*wrap, *COMMAND, *WORK], cwd=project, env=environment(project) | variables,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@contextmanager
def working(project, wrap=(), **variables):
    """A process that is at work on the job, halted in the midst of it."""
    process = started(project, wrap, **variables)
    try:
        while not (project / NOTE).exists():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.communicate()


def is_busy_by(process, done, host=""):
    assert done.returncode == 4, done
    start = f"error: download@smoke is being worked on by process {process.pid}{host} since 2"
    said = one_line(done)
    assert said.startswith(start)
    assert process.poll() is None
    return said


@pytest.mark.parametrize("flock", list(FLOCKS)[:-1])
def test_while_one_works_another_is_told_and_once_it_was_killed_is_not(project, flock):
    lock_by(project, flock)
    with working(project) as process:
        for _ in range(2):
            is_busy_by(process, call(project, *WORK))
        done = call(project, "recover")
        assert (done.returncode, one_line(done)) == (
            4, "error: still at work here: download@smoke; wait for it or end it"
        )  # fmt: skip
        process.kill()
        process.wait()
        assert (project / NOTE).exists()
        done = call(project, *WORK)
    assert done.returncode == 0, done.stderr
    assert not (project / NOTE).exists()
    done = call(project, *WORK)
    assert done.stdout == "download@smoke: current, nothing to do\n"


@pytest.mark.parametrize("flock", list(FLOCKS)[:-1])
def test_recover_clears_what_a_killed_one_left(project, flock):
    lock_by(project, flock)
    with working(project) as process:
        process.kill()
        process.wait()
        done = call(project, "recover")
        assert done.returncode == 0, done.stderr
        assert not (project / NOTE).exists()
    assert call(project, *WORK).returncode == 0


@pytest.fixture
def elsewhere(tmp_path):
    """What a command begins with so that it runs under another host's name, after another start."""
    (tmp_path / "boot").write_text("00000000-0000-0000-0000-000000000007\n")
    inside = f'hostname node7 && mount --bind {tmp_path}/boot /proc/sys/kernel/random/boot_id && exec "$@"'
    wrap = ["unshare", "--uts", "--mount", "sh", "-c", inside, "sh"]
    if os.geteuid() or subprocess.run([*wrap, "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root can give a process another host's name")
    return wrap


@pytest.mark.parametrize("flock", list(FLOCKS)[1:])
def test_one_on_another_machine_keeps_its_job_until_the_user_says_that_it_is_gone(project, elsewhere, flock):
    """Its disk has no locks, or each machine its own."""
    lock_by(project, flock)
    with working(project, elsewhere) as process:
        said = is_busy_by(process, call(project, *WORK), " on node7")
        assert said.endswith("; if that is gone for good: hier recover --break-locks")
        done = call(project, "recover")
        assert done.returncode == 4
        assert "--break-locks" in one_line(done)
        is_busy_by(process, call(project, *WORK), " on node7")
        process.kill()
        process.wait()
        done = call(project, "recover", "--break-locks")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"taking download@smoke from process {process.pid} on node7" in done.stdout
    done = call(project, *WORK)
    assert done.returncode == 0, done.stderr


# --- jobs of a batch system -----------------------------------------------------------------------

OF_SLURM = {"SLURM_JOB_ID": "17"}


@contextmanager
def waiting(project, *words, **variables):
    """A second process that waits for who works on the job; the first line that it says."""
    process = started(project, **variables)
    try:
        said = process.stdout.readline()
        for word in words:
            assert word in said, (said, process.communicate())
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("first", "second"),
    [(OF_SLURM, {"SLURM_JOB_ID": "18"}), ({}, {"HIER_WAIT": "1"})],
    ids=["one job of Slurm for another", "as told"],
)
def test_a_second_one_waits_and_finds_the_work_done(project, first, second):
    with working(project, **first) as process:
        who = f"Slurm job 17 on {socket.gethostname()} since 2" if first else f"process {process.pid} since 2"
        with waiting(project, f"download@smoke: waiting for {who}", **second) as other:
            process.send_signal(signal.SIGCONT)
            assert process.wait(60) == 0
            record = (project / "data/smoke/download.record.json").read_bytes()
            assert other.communicate(timeout=60) == ("download@smoke: current, nothing to do\n", "")
            assert other.returncode == 0
    assert (project / "data/smoke/download.record.json").read_bytes() == record


def test_one_that_waits_for_who_was_killed_does_the_work(project):
    with working(project, **OF_SLURM) as process, waiting(project, "waiting for Slurm job 17") as other:
        process.kill()
        process.wait()
        assert other.communicate(timeout=60)[0] == ""
        assert other.returncode == 0
    assert call(project, *WORK).stdout == "download@smoke: current, nothing to do\n"


def test_two_of_one_job_of_slurm_are_as_two_in_one_terminal(project):
    with working(project, **OF_SLURM) as process:
        done = call(project, *WORK, **OF_SLURM)
        assert done.returncode == 4
        who = f"Slurm job 17 on {socket.gethostname()} since 2"
        assert one_line(done).startswith(f"error: download@smoke is being worked on by {who}")
        assert process.poll() is None


def test_one_that_waits_ends_at_once_on_sigterm_and_says_so(project):
    with working(project, **OF_SLURM) as process, waiting(project, "waiting for Slurm job 17") as other:
        other.send_signal(signal.SIGTERM)
        assert other.communicate(timeout=60) == ("", "download@smoke: stopped while it waited\n")
        assert other.returncode == 143
        assert process.poll() is None
        assert (project / NOTE).exists()


def test_a_job_of_slurm_on_another_machine_is_waited_for(project, elsewhere):
    """Its disk has no locks."""
    lock_by(project, "ENOLCK")
    who = "Slurm job 17 on node7 since 2"
    with working(project, elsewhere, **OF_SLURM) as process, waiting(project, f"waiting for {who}") as other:
        process.send_signal(signal.SIGCONT)
        assert other.communicate(timeout=60) == ("download@smoke: current, nothing to do\n", "")
