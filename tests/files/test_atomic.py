"""Whole or not at all: whatever goes wrong, the old content stays and nothing lies beside it."""

import errno
import os
import re
import stat
import subprocess
import sys

import pytest

from hier.errors import DiskFullError
from hier.files.atomic import (
    atomic_file,
    atomic_folder,
    full_disk_is_clear,
    write_text,
    write_texts,
)

# What a block may end with: a mistake, Ctrl-C, SIGTERM as `hier` takes it, an error of the system.
FAILURES = [
    ValueError("bad"),
    KeyboardInterrupt(),
    SystemExit(143),
    OSError(errno.EACCES, "denied"),
]


def tree(folder):
    """Every path below `folder` with its content (None for folders)."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def write_file(path, content=b"new"):
    with atomic_file(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary != path
        temporary.write_bytes(content)


def fail_in(manager, failure):
    with manager as temporary:
        (temporary / "half" if temporary.is_dir() else temporary).write_bytes(b"half")
        raise failure


def test_a_file_takes_its_place_when_the_block_ends(tmp_path):
    path = tmp_path / "a/b/out.bin"
    with atomic_file(path) as temporary:
        temporary.write_bytes(b"one")
        assert not path.exists()
    write_file(path)
    assert tree(tmp_path) == {"a": None, "a/b": None, "a/b/out.bin": b"new"}


def test_the_old_file_is_there_until_the_block_ends(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with atomic_file(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert tree(tmp_path) == {"out": b"new"}


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_file_that_fails_leaves_what_was_there(tmp_path, failure, old):
    path = tmp_path / "out"
    if old is not None:
        path.write_bytes(old)
    before = tree(tmp_path)
    with pytest.raises(type(failure)) as caught:
        fail_in(atomic_file(path), failure)
    assert caught.value is failure
    assert tree(tmp_path) == before


def test_a_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), atomic_file(path):
        pass
    assert tree(tmp_path) == {"out": b"old"}


def test_a_folder_takes_its_place_when_the_block_ends(tmp_path):
    path = tmp_path / "a/out"
    with atomic_folder(path) as temporary:
        assert tree(temporary) == {}
        (temporary / "sub").mkdir()
        (temporary / "sub/file").write_bytes(b"1")
        assert not path.exists()
    assert tree(tmp_path) == {"a": None, "a/out": None, "a/out/sub": None, "a/out/sub/file": b"1"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_a_folder_replaces_all_of_the_old_one(tmp_path):
    path = tmp_path / "out"
    path.mkdir()
    (path / "old").write_bytes(b"old")
    with atomic_folder(path) as temporary:
        (temporary / "new").write_bytes(b"new")
        assert tree(path) == {"old": b"old"}
    assert tree(tmp_path) == {"out": None, "out/new": b"new"}


def test_a_folder_replaces_a_file(tmp_path):
    (tmp_path / "out").write_bytes(b"a file")
    with atomic_folder(tmp_path / "out") as temporary:
        (temporary / "new").write_bytes(b"new")
    assert tree(tmp_path) == {"out": None, "out/new": b"new"}


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
@pytest.mark.parametrize("old", [False, True])
def test_a_folder_that_fails_leaves_what_was_there(tmp_path, failure, old):
    path = tmp_path / "out"
    if old:
        path.mkdir()
        (path / "old").write_bytes(b"old")
    before = tree(tmp_path)
    with pytest.raises(type(failure)) as caught:
        fail_in(atomic_folder(path), failure)
    assert caught.value is failure
    assert tree(tmp_path) == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("manager", [atomic_file, atomic_folder])
def test_no_space_left_is_one_line_that_names_the_place(tmp_path, manager, number):
    path = tmp_path / "out"
    with pytest.raises(DiskFullError) as caught, manager(path):
        raise OSError(number, os.strerror(number))
    text = str(caught.value)
    assert text.startswith(f"no space left while writing {path}; nothing half-written was kept. ")
    assert f"df -h {tmp_path})" in text
    assert "\n" not in text
    assert tree(tmp_path) == {}


def test_no_space_left_at_the_last_moment(tmp_path, monkeypatch):
    (tmp_path / "out").write_bytes(b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError):
        write_file(tmp_path / "out")
    with pytest.raises(DiskFullError), atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "file").write_bytes(b"new")
    assert tree(tmp_path) == {"out": b"old"}


def test_content_is_synced_before_it_takes_its_place(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    write_file(tmp_path / "file")
    with atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub/a").write_bytes(b"a")
        (temporary / "b").write_bytes(b"b")
    for name in ("file", "folder/sub/a", "folder/b"):
        assert (tmp_path / name).stat().st_ino in synced


def test_other_errors_of_the_system_keep_their_kind(tmp_path):
    with pytest.raises(PermissionError), full_disk_is_clear(tmp_path):
        raise PermissionError(errno.EACCES, "denied")
    with pytest.raises(KeyError), full_disk_is_clear(tmp_path):
        raise KeyError("x")


def test_text_is_written_as_it_stands(tmp_path):
    write_text(tmp_path / "text", "λ = 0.5\r\nend\n")
    assert (tmp_path / "text").read_bytes() == b"\xce\xbb = 0.5\r\nend\n"


def test_several_texts_take_their_places_together(tmp_path):
    old = {tmp_path / name: f"old {name}" for name in "abc"}
    write_texts(old)
    assert tree(tmp_path) == {name: f"old {name}".encode() for name in "abc"}
    new = dict.fromkeys(old, "new")
    with pytest.raises(FileExistsError):
        write_texts(new | {tmp_path / "a" / "d": "below a file"})
    assert tree(tmp_path) == {name: f"old {name}".encode() for name in "abc"}
    write_texts(new)
    assert tree(tmp_path) == dict.fromkeys("abc", b"new")


def test_two_at_once_do_not_meet(tmp_path):
    with atomic_folder(tmp_path / "out") as one, atomic_folder(tmp_path / "out") as two:
        assert one != two
        (one / "one").write_bytes(b"1")
        (two / "two").write_bytes(b"2")
    assert tree(tmp_path) == {"out": None, "out/one": b"1"}


FULL_DISK = """
import subprocess, sys
from pathlib import Path
disk = Path(sys.argv[1])
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]).returncode:
    sys.exit(77)
from hier.errors import DiskFullError
from hier.files.atomic import atomic_file, atomic_folder
(disk / "out").write_bytes(b"old")
for manager, name in ((atomic_file, "out"), (atomic_folder, "folder")):
    try:
        with manager(disk / name) as temporary:
            target = temporary / "file" if manager is atomic_folder else temporary
            target.write_bytes(bytes(1 << 20))
    except DiskFullError as error:
        print(error)
    print(sorted(path.name for path in disk.iterdir()), (disk / "out").read_bytes())
"""


def test_a_disk_that_is_really_full(tmp_path):
    # In its own mount namespace, so that nothing stays mounted.
    unshare = ["unshare", "--mount", "--map-root-user"]
    try:
        done = subprocess.run(
            [*unshare, sys.executable, "-c", FULL_DISK, str(tmp_path)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("needs the command unshare, to mount a small tmpfs")
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("needs the right to mount a small tmpfs in a namespace of its own")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert re.match(rf"no space left while writing {tmp_path}/out; nothing half-written", lines[0])
    assert re.match(rf"no space left while writing {tmp_path}/folder; nothing", lines[2])
    assert lines[1] == lines[3] == "['out'] b'old'"
