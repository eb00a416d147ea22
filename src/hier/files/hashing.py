"""Hashes of what a stage reads and writes, each file hashed once as long as it does not change.

A file's bytes are known by SHA-256, and by MD5 since DVC names them so (dvc.lock, its cache). Of a
folder, SHA-256 is that of its sorted lines `<sha256>  <relative path>`, and MD5 is DVC's `.dir` hash.
"""

import errno
import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

IGNORED = {"__pycache__", ".snakemake_timestamp"}
KNOWN = Path(".hier/known.sqlite")
COLUMNS = "path, stat, sha256, md5, size, row_check"
TABLE = (
    "CREATE TABLE IF NOT EXISTS files "
    "(path TEXT PRIMARY KEY, stat TEXT, sha256 TEXT, md5 TEXT, size INTEGER, row_check TEXT)"
)
BLOCK = 1 << 20
TICK = 12_000_000  # nanoseconds; within less, a file system may give two changes the same time


@dataclass(frozen=True)
class Digest:
    """What a file or folder holds: hashes (hexadecimal), bytes, and a folder's number of files."""

    sha256: str
    md5: str
    size: int
    nfiles: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


class Hasher:
    """Hashes paths, each read once; a `deep` one trusts no hash of an earlier process."""

    def __init__(self, deep: bool = False) -> None:
        self.found: dict[Path, Digest] = {}
        self.files: dict[str, tuple[str, Digest]] = {} if deep else _read_known()
        self.news: dict[str, tuple[str, Digest]] = {}

    def __call__(self, path: Path) -> Digest:
        """The digest of a file or folder; FileNotFoundError where there is neither."""
        if path not in self.found:
            self.found[path] = self._folder(path) if path.is_dir() else self.file(path)
        return self.found[path]

    def file(self, path: Path) -> Digest:
        """The digest of a file, from memory where its size, times and inode are what they were."""
        stat = _stat(path)
        known = self.files.get(str(path))
        if known and known[0] == stat:
            return known[1]
        age = time.time_ns() - path.stat().st_ctime_ns
        if 0 <= age < TICK:  # a later change must bear another time
            time.sleep((TICK - age) / 1e9)
        digest = hash_file(path)
        if _stat(path) == stat:  # else it is being written, and only this look at it is known
            self.files[str(path)] = self.news[str(path)] = (stat, digest)
        return digest

    def anew(self, path: Path) -> Digest:
        """The digest from the bytes themselves, whatever is remembered."""
        self.found.pop(path, None)
        for file in files_in(path):
            self.files.pop(str(file), None)
        return self(path)

    def carry_over_digest(self, path: Path, as_: Path | None = None) -> None:
        """Say that `path` holds what `as_` (by default itself, before its times or links changed) held
        when it was hashed."""
        for file in files_in(path):
            like = str((as_ or path) / file.relative_to(path))
            if like in self.files:
                known = (_stat(file), self.files[like][1])
                self.files[str(file)] = self.news[str(file)] = known

    def save(self) -> None:
        """Remember for later processes what this one read."""
        if self.news:
            _write_known(self.news)
            self.news = {}

    def _folder(self, path: Path) -> Digest:
        members = [(file.relative_to(path).as_posix(), self.file(file)) for file in files_in(path)]
        lines = "".join(f"{digest.sha256}  {name}\n" for name, digest in members)
        listing = [{"md5": digest.md5, "relpath": name} for name, digest in sorted(members)]
        return Digest(
            hashlib.sha256(lines.encode()).hexdigest(),
            hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest() + ".dir",
            sum(digest.size for _, digest in members),
            len(members),
        )


def files_in(path: Path) -> list[Path]:
    """The files that count as a folder's content, sorted; of a file, itself."""
    found = [path] if path.is_file() else path.rglob("*")
    return sorted(file for file in found if not IGNORED.intersection(file.parts) and file.is_file())


@contextmanager
def hashing(deep: bool = False) -> Iterator[Hasher]:
    """A hasher whose findings are remembered when the block ends."""
    hasher = Hasher(deep)
    try:
        yield hasher
    finally:
        hasher.save()


def hash_file(path: Path) -> Digest:
    """The digest of a file's bytes, read now; OSError where it cannot be read, or is none."""
    sha256, md5, size = hashlib.sha256(), hashlib.md5(), 0
    if path.exists() and not path.is_file():  # a pipe would be waited for for ever
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            sha256.update(block)
            md5.update(block)
            size += len(block)
    return Digest(sha256.hexdigest(), md5.hexdigest(), size)


def _stat(path: Path) -> str:
    """What changes when a file does; with the change of its state (ctime), as an mtime can be set back."""
    stat = path.stat()
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def _read_known() -> dict[str, tuple[str, Digest]]:
    if not KNOWN.exists():
        return {}
    try:
        with closing(sqlite3.connect(KNOWN, timeout=10)) as connection:
            rows = connection.execute(f"SELECT {COLUMNS} FROM files").fetchall()
    except sqlite3.Error:
        return {}  # it only saves time
    found = ((path, stat, Digest(*digest), check) for path, stat, *digest, check in rows)
    return {path: (stat, d) for path, stat, d, check in found if check == _check(path, d)}


def _write_known(news: dict[str, tuple[str, Digest]]) -> None:
    rows = [(path, stat, d.sha256, d.md5, d.size, _check(path, d)) for path, (stat, d) in news.items()]
    try:
        KNOWN.parent.mkdir(exist_ok=True)
        with closing(sqlite3.connect(KNOWN, timeout=10)) as connection, connection:
            connection.execute("PRAGMA synchronous = OFF")  # what a power cut damages is replaced
            connection.execute(TABLE)
            connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", rows)
    except (sqlite3.OperationalError, OSError):
        return  # busy, read-only or full: it only saves time
    except sqlite3.DatabaseError:
        with suppress(OSError):  # the folder is read-only
            KNOWN.unlink()  # damaged; the next process begins a new one


def _check(path: str, digest: Digest) -> str:
    """What a row of the memory must end with: a damaged one would accuse a file that is sound."""
    return hashlib.sha256(f"{path} {digest}".encode()).hexdigest()
