"""Hashes against hashlib and DVC's own, each file read once, and no change missed."""

import hashlib
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hier.files import hashing
from hier.files.hashing import KNOWN, Hasher, hash_file


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def read(monkeypatch):
    """The paths of the files that are opened to be hashed, in order."""
    opened = []
    real = hashing.hash_file

    def hash_and_tell(path):
        opened.append(str(path))
        return real(path)

    monkeypatch.setattr(hashing, "hash_file", hash_and_tell)
    return opened


def tree(root, files):
    for name, content in files.items():
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def as_dvc(files):
    """DVC's own hash of a folder of files."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.meta import Meta
    from dvc_data.hashfile.tree import Tree

    tree = Tree()
    for name, content in files.items():
        digest = HashInfo("md5", hashlib.md5(content).hexdigest())
        tree.add(tuple(name.split("/")), Meta(size=len(content)), digest)
    tree.digest()
    return tree.hash_info.value


def hashes(files):
    """SHA-256 and MD5 of what a folder holds, in a new process's memory."""
    digest = Hasher()(Path(files))
    return digest.sha256, digest.md5


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, hashing.BLOCK - 1, hashing.BLOCK, 2 * hashing.BLOCK + 3])
def test_a_file_has_the_hashes_of_its_bytes(size):
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    Path("file").write_bytes(content)
    for digest in (hash_file(Path("file")), Hasher()(Path("file"))):
        assert digest.sha256 == hashlib.sha256(content).hexdigest()
        assert digest.md5 == hashlib.md5(content).hexdigest()
        assert digest.as_dict() == {"sha256": digest.sha256, "md5": digest.md5, "size": size}


FOLDER = {"b": b"beans", "sub/a": b"apples", "a b/é": b"x", "a.txt": b"1", "a/z": b"2", "B": b""}


def test_a_folder_has_the_hash_that_dvc_gives_it():
    tree("folder", FOLDER)
    digest = Hasher()(Path("folder"))
    assert digest.md5 == as_dvc(FOLDER)
    assert (digest.size, digest.nfiles) == (5 + 6 + 1 + 1 + 1, 6)


def test_a_known_folder_has_the_hash_that_dvc_add_gave_it():
    tree("folder", {"a": b"1", "sub/b": b"2"})
    assert Hasher()(Path("folder")).md5 == "b5f318018530f1e739dbb25def02de19.dir"  # DVC 3.67


def test_a_folders_sha256_is_that_of_its_sorted_lines():
    tree("folder", FOLDER)
    done = subprocess.run(
        "find . -type f | sed 's,^[.]/,,' | while read f; do sha256sum \"$f\"; done",
        shell=True, cwd="folder", capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = {line[66:]: line for line in done.stdout.splitlines()}
    in_order = [lines[str(p.relative_to("folder"))] for p in sorted(Path("folder").rglob("*")) if p.is_file()]
    text = "".join(f"{line}\n" for line in in_order)
    assert Hasher()(Path("folder")).sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_neither_a_file_nor_a_folder():
    with pytest.raises(FileNotFoundError):
        Hasher()(Path("nothing"))


names = st.text("abz. é-_", min_size=1, max_size=4).filter(lambda n: n.strip(".") and n == n.strip())
folders = st.dictionaries(
    st.lists(names, min_size=1, max_size=2).map("/".join), st.binary(max_size=3), max_size=4
)


def possible(files):
    """Whether no file's name is that of a folder, too."""
    return not any(one != other and f"{other}/".startswith(f"{one}/") for one in files for other in files)


@settings(max_examples=60, deadline=None)
@given(folders.filter(possible), folders.filter(possible))
def test_folders_have_one_hash_where_they_hold_the_same_and_it_is_dvcs(tmp_path_factory, one, two):
    roots = [tmp_path_factory.mktemp("law") for _ in range(2)]
    digests = []
    for root, files in zip(roots, (one, two), strict=True):
        tree(root, files)
        digests.append(Hasher()(root))
        assert digests[-1].md5 == as_dvc(files)
    assert (digests[0] == digests[1]) == (one == two)
    assert (digests[0].sha256 == digests[1].sha256) == (one == two)


# --- each file once ------------------------------------------------------------------------------


def test_a_file_is_read_once_as_long_as_it_does_not_change(read):
    tree("folder", FOLDER)
    hasher = Hasher()
    for _ in range(3):
        hasher(Path("folder"))
        hasher(Path("folder/b"))
        hasher.file(Path("folder/sub/a"))
    assert sorted(read) == sorted(f"folder/{name}" for name in FOLDER)


def test_another_process_does_not_read_it_again(read):
    tree("folder", FOLDER)
    with hashing.hashing() as hasher:
        first = hasher(Path("folder"))
    del read[:]
    assert Hasher()(Path("folder")) == first
    assert read == []
    code = (
        "from pathlib import Path; from hier.files import hashing\n"
        "def never(path): raise AssertionError(path)\n"
        "hashing.hash_file = never; print(hashing.Hasher()(Path('folder')).md5)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == first.md5, done.stderr


def test_what_a_block_that_fails_read_is_remembered_too(read):
    Path("file").write_bytes(b"1")

    def interrupted():
        with hashing.hashing() as hasher:
            hasher(Path("file"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    Hasher()(Path("file"))
    assert read == ["file"]


def test_deep_reads_every_byte_anew_whatever_is_remembered(read):
    tree("folder", FOLDER)
    with hashing.hashing() as hasher:
        hasher(Path("folder"))
    del read[:]
    Hasher(deep=True)(Path("folder"))
    assert len(read) == len(FOLDER)


def test_deep_finds_what_a_forged_memory_hides():
    Path("file").write_bytes(b"good")
    with hashing.hashing() as hasher:
        good = hasher(Path("file"))
    Path("file").write_bytes(b"evil")
    with sqlite3.connect(KNOWN) as connection:
        connection.execute("UPDATE files SET stat = ?", [hashing._stat(Path("file"))])
    connection.close()
    assert Hasher()(Path("file")) == good  # so that is what deep is for
    assert Hasher(deep=True)(Path("file")).md5 == hashlib.md5(b"evil").hexdigest()
    assert Hasher().anew(Path("file")).md5 == hashlib.md5(b"evil").hexdigest()


def test_anew_reads_every_file_of_a_folder_again(read):
    tree("folder", FOLDER)
    hasher = Hasher()
    hasher(Path("folder"))
    del read[:]
    hasher.anew(Path("folder"))
    assert len(read) == len(FOLDER)


# --- no change is missed -------------------------------------------------------------------------


def rewrite_at_the_same_size(path):
    path.write_bytes(b"2")


def set_the_time_back(path):
    before = path.stat()
    path.write_bytes(b"2")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def replace_by_another_file_of_the_same_time(path):
    before = path.stat()
    Path("new").write_bytes(b"2")
    os.utime("new", ns=(before.st_atime_ns, before.st_mtime_ns))
    Path("new").replace(path)


def write_through_another_name(path):
    before = path.stat()
    os.link(path, "link")
    Path("link").write_bytes(b"2")
    os.utime("link", ns=(before.st_atime_ns, before.st_mtime_ns))


def map_into_memory(path):
    import mmap

    with path.open("r+b") as stream, mmap.mmap(stream.fileno(), 1) as mapped:
        mapped[0] = ord("2")
        mapped.flush()


CHANGES = [
    rewrite_at_the_same_size, set_the_time_back, replace_by_another_file_of_the_same_time,
    write_through_another_name, map_into_memory,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("where", ["file", "folder/sub/file"])
def test_a_changed_file_is_noticed(change, where):
    tree(".", {where: b"1", "folder/other": b"3"})
    top = Path(where.partition("/")[0])
    before = hashes(top)
    with hashing.hashing() as hasher:
        hasher(top)
    change(Path(where))
    after = hashes(top)
    assert set(after).isdisjoint(before)
    assert Hasher(deep=True)(top).md5 == after[1]


def test_a_file_that_changes_while_it_is_read_is_not_remembered(monkeypatch):
    Path("file").write_bytes(b"1")
    real = hashing.hash_file

    def read_and_write(path):
        digest = real(path)
        path.write_bytes(b"22")
        return digest

    monkeypatch.setattr(hashing, "hash_file", read_and_write)
    with hashing.hashing() as hasher:
        hasher(Path("file"))
    monkeypatch.setattr(hashing, "hash_file", real)
    assert Hasher()(Path("file")).md5 == hashlib.md5(b"22").hexdigest()


def test_a_file_that_was_just_written_is_read_when_a_later_write_must_have_another_time(
    monkeypatch,
):
    """The clock of older kernels' file systems ticks every 4 to 10 ms: two writes in one tick of the
    same size look alike. So a file is let to settle before it is read."""
    Path("file").write_bytes(b"1")
    written = Path("file").stat().st_ctime_ns
    started = []
    real = hashing.hash_file

    def tell(path):
        started.append(time.time_ns())
        return real(path)

    monkeypatch.setattr(hashing, "hash_file", tell)
    hasher = Hasher()
    hasher(Path("file"))
    assert started[0] - written > 10_000_000


def test_files_that_were_just_written_settle_in_one_wait(monkeypatch):
    """By a clock of the test's: the first wait is long enough for all of them."""
    clock, waits = [], []
    for number in range(20):
        Path(f"file{number}").write_bytes(b"1")
        clock = [Path(f"file{number}").stat().st_ctime_ns]

    def sleep(seconds):
        waits.append(seconds)
        clock[0] += round(seconds * 1e9)

    monkeypatch.setattr(time, "time_ns", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", sleep)
    hasher = Hasher()
    for number in reversed(range(20)):
        hasher(Path(f"file{number}"))
    assert len(waits) == 1


def test_a_file_from_the_future_is_not_waited_for(monkeypatch):
    Path("file").write_bytes(b"1")
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waits"))
    Hasher()(Path("file"))


def test_after_its_times_or_links_changed_the_same_bytes_are_not_read_again(read):
    tree("folder", FOLDER)
    hasher = Hasher()
    first = hasher(Path("folder"))
    for path in Path("folder").rglob("*"):
        os.utime(path, (1, 1))
    hasher.carry_over_digest(Path("folder"))
    hasher.save()
    del read[:]
    assert Hasher()(Path("folder")) == first
    assert read == []


def test_bytes_known_under_another_name_are_not_read_again(read):
    tree("folder", FOLDER)
    hasher = Hasher()
    hasher(Path("folder"))
    for name in FOLDER:
        Path("links", name).parent.mkdir(parents=True, exist_ok=True)
        os.link(Path("folder", name), Path("links", name))
    hasher.carry_over_digest(Path("links"), as_=Path("folder"))
    del read[:]
    assert hasher(Path("links")) == hasher(Path("folder"))
    assert read == []


def test_what_was_never_hashed_is_not_called_the_same(read):
    Path("file").write_bytes(b"1")
    hasher = Hasher()
    hasher.carry_over_digest(Path("file"))
    assert hasher(Path("file")).md5 == hashlib.md5(b"1").hexdigest()


# --- the memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"", b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_memory_is_replaced(content):
    Path("file").write_bytes(b"1")
    KNOWN.parent.mkdir()
    KNOWN.write_bytes(content)
    for _ in range(2):
        with hashing.hashing() as hasher:
            assert hasher(Path("file")).md5 == hashlib.md5(b"1").hexdigest()
    assert "file" in Hasher().files


def test_a_folder_that_cannot_be_written_to():
    Path("file").write_bytes(b"1")
    KNOWN.parent.write_bytes(b"a file where the folder would be")
    with hashing.hashing() as hasher:
        assert hasher(Path("file")).size == 1
    assert KNOWN.parent.read_bytes().startswith(b"a file")


def test_a_read_only_folder(monkeypatch):
    Path("file").write_bytes(b"1")

    def refused(self, *arguments, **named):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)  # root may write anywhere
    with hashing.hashing() as hasher:
        assert hasher(Path("file")).size == 1
    assert not KNOWN.exists()


WRITER = """
import sys
from pathlib import Path
from hier.files.hashing import hashing
for number in range(30):
    path = Path(f"{sys.argv[1]}-{number % 5}")
    path.write_bytes(b"%d" % number)
    with hashing() as hasher:
        hasher(path)
"""


def test_processes_beside_each_other_keep_one_memory():
    running = [subprocess.Popen([sys.executable, "-c", WRITER, name]) for name in ("a", "b", "c")]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    known = Hasher().files
    for name in "abc":
        for number in range(5):
            content = b"%d" % (25 + number)
            assert known[f"{name}-{number}"][1].md5 == hashlib.md5(content).hexdigest()
