"""DVC's cache of every kind, also another user's: contents decide, and no file of it is touched.

Reflinks take a disk that has them (btrfs; XFS with reflink=1): pytest --basetemp=FOLDER chooses one.
"""

import errno
import fcntl
import os
import shutil
import sys
from copy import copy

import pytest

pytestmark = pytest.mark.engines

RUN = "smoke-untrained-test_resnet-16-s0"
MODEL = f"runs/{RUN}/model.safetensors"
NOBODY = 65534
# Root without its privileges: what is another user's, it may not change, nor may what it starts.
HUMBLE = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
for capability in range(64):
    libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; fails beyond the last one
version = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
assert libc.capset(version, (ctypes.c_uint32 * 6)()) == 0
"""
MAY_CHANGE = """
import os, sys
from contextlib import suppress
with suppress(PermissionError):
    os.utime(sys.argv[1])
    print("changed")
"""
LOOKS_LIKE = {
    "symlink": lambda path: path.is_symlink() and not path.stat().st_mode & 0o222,
    "hardlink": lambda path: path.stat().st_nlink > 1 and not path.stat().st_mode & 0o222,
    "copy": lambda path: not path.is_symlink(),
    "reflink": lambda path: not path.is_symlink(),
}


@pytest.fixture(scope="module")
def built(new_project):
    """A project in which Snakemake made a suite of one run."""
    project = new_project("built")
    project.run("hier", "compose", "suite=smoke", "methods=[untrained]")
    project.run("snakemake", "--cores", "2")
    return project


@pytest.fixture
def adopted(built, tmp_path):
    """A function that gives a copy whose results DVC keeps by links of a kind, and its cache."""

    def make(kind, place):
        if kind == "reflink" and not has_reflinks(tmp_path):
            pytest.skip(f"the disk of {tmp_path} has no reflinks; choose one that has: --basetemp")
        project = copy(built)
        project.folder = tmp_path / "project"
        shutil.copytree(built.folder, project.folder)
        cache = project.path(".dvc/cache")
        if place == "outside":
            cache = tmp_path / "cache"
            project.run("dvc", "cache", "dir", "--local", str(cache))
        project.run("dvc", "config", "--local", "cache.type", kind)
        project.run("hier", "adopt")
        project.run("dvc", "checkout", "--relink")
        assert LOOKS_LIKE[kind](project.path(MODEL)), "DVC did not link it"
        return project, cache

    return make


def has_reflinks(folder):
    """Whether Linux lets two files of a folder share their blocks."""
    with (folder / "one").open("w+b") as one, (folder / "other").open("wb") as other:
        one.write(b"x" * 4096)
        one.flush()
        try:
            fcntl.ioctl(other, 0x40049409, one.fileno())  # FICLONE
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL):
                raise
            return False
    return True


def out_of_order(project, cache):
    """Let what is read be younger than what was made of it; gives the times of the cache's files."""
    files = sorted(path for path in cache.rglob("*") if path.is_file())
    for number, path in enumerate(files):
        os.utime(path, (10**9 - number, 10**9 - number))
    for path in project.path("src").rglob("*.py"):
        path.touch()
    return times(cache)


def times(cache):
    return {path: path.stat().st_mtime_ns for path in (cache / "files").rglob("*") if path.is_file()}


def would_run(project, *as_, first=""):
    said = project.run(*as_, "snakemake", "--cores", "2", "--dry-run", first=first)
    lines = (said.stdout + said.stderr).splitlines()
    return {line.split()[1].rstrip(":") for line in lines if line.startswith("rule ")}


def give_to_another(*folders):
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


@pytest.fixture
def humble(built):
    """What a command does first so that it may not change what is another user's."""
    if os.geteuid():
        pytest.skip("needs root, to have files of another user")
    other = built.path("others")
    other.touch()
    os.chown(other, NOBODY, NOBODY)
    assert built.python(MAY_CHANGE, str(other)) == "changed\n"
    assert built.python(HUMBLE + MAY_CHANGE, str(other)) == ""
    asked = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {MAY_CHANGE!r}, sys.argv[1]])"
    assert built.python(HUMBLE + asked, str(other)) == ""  # nor what it starts
    other.unlink()
    return HUMBLE


@pytest.mark.parametrize(
    ("kind", "place"),
    [("copy", "outside"), ("hardlink", "inside"), ("symlink", "inside"), ("reflink", "inside")],
)
def test_with_a_cache_of_any_kind_there_is_nothing_to_do(adopted, kind, place):
    """Adopting, relinking and three looks of the engines."""
    project, cache = adopted(kind, place)
    before = out_of_order(project, cache)
    assert would_run(project) == set()
    assert "8 stages are current, 0 are stale" in project.run("hier", "status").stdout
    assert "up to date" in project.run("dvc", "status").stdout
    assert times(cache) == before


@pytest.mark.parametrize(
    ("kind", "module", "follow"),
    [
        ("hardlink", "data/prepare", {"train", "embed", "evaluate", "views", "tabulate", "report"}),
        ("symlink", "stages/tabulate", {"report"}),
    ],
)
def test_with_another_users_cache_runs_what_has_to(adopted, humble, kind, module, follow):
    """One stage is stale by a comment in its code, and gives the same bytes; what follows is asked and
    found current."""
    project, cache = adopted(kind, "outside")
    give_to_another(cache)  # and so every hard link to a file of it
    before = out_of_order(project, cache)
    model = project.path(MODEL).read_bytes()
    record = project.path(f"runs/{RUN}/train.record.json").read_bytes()
    assert would_run(project, first=humble) == set()

    code = project.path(f"src/hier/{module}.py")
    code.write_bytes(code.read_bytes() + b"# changed\n")
    assert would_run(project, first=humble) == {code.stem, *follow, "all"}
    said = project.run("snakemake", "--cores", "2", first=humble)
    if "train" in follow:
        assert f"train@{RUN}: current, nothing to do" in said.stdout + said.stderr
    assert project.path(MODEL).read_bytes() == model
    assert project.path(f"runs/{RUN}/train.record.json").read_bytes() == record
    assert would_run(project, first=humble) == set()
    assert times(cache) == before


def test_what_one_may_only_read_can_be_looked_at(adopted, humble):
    """Nine calls of `hier` in a project that is another user's, links and cache included."""
    project, cache = adopted("hardlink", "outside")
    project.folder.chmod(0o755)
    give_to_another(project.folder, cache)
    looks = (
        "verify", "verify --deep", f"trace {RUN}:R@1", "plan", "status", f"diff {RUN} {RUN}", "adopt"
    )  # fmt: skip
    for look in looks:
        done = project.run("hier", *look.split(), first=humble)
        assert done.stderr == "", look
    for work in (f"train {RUN}", "report"):  # would note that they are at work
        done = project.run("hier", *work.split(), check=False, first=humble)
        assert done.returncode == 1, work
        assert done.stderr.startswith("error: cannot read or write: "), work
        assert done.stderr.count("\n") == 1, work


def test_the_home_folder_need_not_be_writable(built, humble, tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    give_to_another(home)
    start = f"{humble}import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"
    home_is = ("env", "--unset=XDG_CACHE_HOME", f"HOME={home}")
    as_ = (*home_is, sys.executable, "-c", start)  # genuine: a fork has asked for its home before
    project = copy(built)
    project.folder = tmp_path / "project"
    shutil.copytree(built.folder, project.folder)
    assert would_run(project, *as_) == set()
    project.run(*as_, "hier", "report", "--force")  # draws
    project.run(*as_, "hier", "adopt")
    assert "up to date" in project.run(*as_, "dvc", "status").stdout
    project.run(*as_, "hier", "plan", "--measure")
    assert list(home.iterdir()) == []
