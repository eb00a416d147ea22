"""Read tar (any compression) and zip archives, and trust nothing in them."""

import errno
import lzma
import math
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from hier.config.dataset import Limits
from hier.errors import ArchiveError
from hier.progress import progress

DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, NotImplementedError,
    RuntimeError,
)  # fmt: skip
IN_THE_WAY = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
CHUNK = 1 << 16
SPARSE = "a sparse file"  # tarfile may write more bytes for it than its size says
KINDS = dict.fromkeys(tarfile.REGULAR_TYPES, "file") | {
    tarfile.DIRTYPE: "folder", tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "hardlink",
}  # fmt: skip
SUFFIXES = (".bz2", ".gz", ".tar", ".tbz", ".tgz", ".txz", ".xz", ".zip")
AGAIN = "remove it and download it again"
# How files begin that are neither zip nor a tar that Python reads.
BEGINNINGS = {
    b"Rar!\x1a\x07": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    b"\x04\x22\x4d\x18": "packed with lz4",
    b"LZIP": "packed with lzip",
    b"\x1f\x9d": "packed with compress",
    b"MSCF": "a cabinet",
}
PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml", b"<!--")
# Methods of packing a zip's members: those that Python knows, and names of others.
KNOWN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
METHODS = {1: "shrink", 6: "implode", 9: "deflate64", 93: "zstd", 95: "xz", 98: "PPMd"}
ENCRYPTED, AES = 0x1, 99  # the flag of an encrypted member, and a method that says so too


class _RefusedError(Exception):
    """A member is not unpacked; the message says why."""


class Budget:
    """What may still be unpacked by all archives that share it; without limits, anything."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.files: float = limits.files if limits else math.inf
        self.bytes: float = limits.bytes if limits else math.inf

    def spend(self, files: int = 0, bytes: int = 0) -> None:
        """Take this much away before it is written; _RefusedError where less is left."""
        self.afford(files, bytes)
        self.files -= files
        self.bytes -= bytes

    def afford(self, files: int = 0, bytes: int = 0) -> None:
        """Raise _RefusedError where that much is not left."""
        for what, asked, left in (("files", files, self.files), ("bytes", bytes, self.bytes)):
            if not 0 <= asked <= left:
                raise _RefusedError(f"with it, more {what} than the dataset's limits would unpack")


class Member(NamedTuple):
    """A member of an archive, as far as a tar and a zip have the same."""

    name: str
    kind: str  # one of KINDS, or in words what is not unpacked
    size: int
    target: str  # of a link
    open: Callable[[], Any]  # the content of a file as a stream
    position: Callable[[], int]  # how many bytes of the archive have been read


def unpack(archive: Path, folder: Path, budget: Budget | None = None) -> None:
    """Unpack a tar or zip archive into `folder`, which is made where missing.

    Contents, folders and links alone are taken: no owner, mode or time. Every member, folders too,
    is one file of the budget. Raises ArchiveError as `check` does, and where a member is a device, is
    more than the budget allows, or has a path or link that is absolute or has `..` in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    budget, seen = budget or Budget(), set[PurePosixPath]()
    with (
        progress(f"unpacking {archive.name} (kB)", archive.stat().st_size // 1000) as shown,
        _reading(archive) as found,
    ):
        for member in found:
            if reason := _reason_to_refuse(member, folder, seen):
                raise _RefusedError(reason)
            budget.spend(files=1)
            budget.afford(bytes=member.size)
            _write(member, folder, budget)
            if (read := member.position() // 1000) > shown.done:
                shown.update(read - shown.done)


def members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every regular file, in the archive's order; ArchiveError as `check`."""
    with _reading(archive) as found:
        for member in found:
            if member.name and member.kind in ("file", SPARSE):
                with member.open() as stream:
                    yield member.name, stream.read()


def check(archive: Path) -> None:
    """Read the list of members, and of a tar all of it.

    Raises ArchiveError where the archive is damaged, encrypted or of a kind not read here.
    """
    with _reading(archive) as found:
        for _ in found:
            pass


def leads_out(name: str) -> str | None:
    """Why a path in an archive or in its lists is not one below the archive's folder, if so.

    With no `..` anywhere, no chain of links gets out. No file system has a name with a NUL in it.
    """
    if "\0" in name:
        return "has a NUL in it"
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root:
        return "is absolute"
    return "leads out of the folder" if ".." in (*path.parts, *windows.parts) else None


def refuse_pages(archive: Path) -> None:
    """Raise ArchiveError on a web page, which sites send where they ask to confirm or to log in."""
    with archive.open("rb") as stream:
        head = stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith(PAGES):
        raise ArchiveError(
            f"{archive}: it is a web page, not an archive: its site asks to confirm or to log in, or has "
            "no such file; get the archive itself by a browser and put it in that place"
        )


@contextmanager
def _reading(archive: Path) -> Iterator[Iterator[Member]]:
    """The members of an archive; ArchiveError names the one that is damaged, or refused by the disk."""
    name = ""

    def each(members: Iterator[Member]) -> Iterator[Member]:
        nonlocal name
        for member in members:
            name = member.name
            yield member

    try:
        members_of = _members_of_zip if _is_zip(archive) else _members_of_tar
        with closing(members_of(archive)) as found:
            yield each(found)
    except (_RefusedError, *DAMAGE, OSError) as error:
        number = getattr(error, "errno", None)
        if isinstance(error, _RefusedError) or number in IN_THE_WAY:
            why = f"{getattr(error, 'strerror', error)}; get the archive from another place"
            raise ArchiveError(f"{archive}: refused to unpack member '{name}': {why}") from error
        if number is not None:  # the disk's, not the archive's
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        where = f"at or after member '{name}'" if name else "before its first member"
        damage = f"damaged or cut short {where} ({reason})"
        raise ArchiveError(f"{archive}: {damage}; {AGAIN}") from error


def _is_zip(archive: Path) -> bool:
    """By content for archives that begin as zips do, else by name; other formats are refused."""
    refuse_pages(archive)
    with archive.open("rb") as stream:
        head = stream.read(8)
    for beginning, kind in BEGINNINGS.items():
        if head.startswith(beginning):
            raise _to_be_packed_again(archive, f"{kind}, whatever its name says")
    return head.startswith(b"PK\x03\x04") or archive.suffix.lower() == ".zip"


def _members_of_tar(archive: Path) -> Generator[Member, None, None]:
    with archive.open("rb") as raw, tarfile.open(fileobj=raw) as tar:
        for member in tar:
            kind = SPARSE if member.issparse() else KINDS.get(member.type, "a device")
            read = partial(tar.extractfile, member)
            yield Member(member.name, kind, member.size, member.linkname, read, raw.tell)
        # The checksum of the compressed whole comes after the last member.
        while tar.fileobj is not None and tar.fileobj.read(CHUNK):
            pass


def _members_of_zip(archive: Path) -> Generator[Member, None, None]:
    done = 0
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            _refuse_closed(archive, entry)
        for entry in opened.infolist():
            mode = stat.S_IFMT(entry.external_attr >> 16)
            kind = "folder" if entry.filename.endswith("/") else "file"
            if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                kind = "a link or a device"
            done += entry.compress_size
            read = partial(opened.open, entry)
            yield Member(entry.filename, kind, entry.file_size, "", read, partial(int, done))


def _refuse_closed(archive: Path, entry: zipfile.ZipInfo) -> None:
    """Refuse a zip of which a member is encrypted or packed by a method that Python does not know."""
    if entry.flag_bits & ENCRYPTED or entry.compress_type == AES:
        reason = "is encrypted; its authors give out the password"
    elif entry.compress_type not in KNOWN:
        method = METHODS.get(entry.compress_type, f"method {entry.compress_type}")
        reason = f"is packed with {method}, which Python cannot unpack"
    else:
        return
    raise _to_be_packed_again(archive, f"member '{entry.filename}' {reason}")


def _to_be_packed_again(archive: Path, reason: str) -> ArchiveError:
    """Nothing is wrong with it, so that downloading it again would not help."""
    name = archive.name
    return ArchiveError(
        f"{archive}: {reason}; unpack it and pack it again as a plain zip of that name: "
        f"7z x -ounpacked {name} && (cd unpacked && zip -qr ../plain.zip .) && mv plain.zip {name}"
    )


def _reason_to_refuse(member: Member, folder: Path, seen: set[PurePosixPath]) -> str | None:
    """Why a member is not unpacked; `seen` are the files before it."""
    if not member.name:  # Python's own reader of zips stumbles over it
        return "it has no name"
    for path in (member.name, member.target):
        if reason := leads_out(path):
            return f"its path or link '{path}' {reason}"
    if member.kind not in KINDS.values():
        return f"it is {member.kind}"
    if member.kind == "file":
        if PurePosixPath(member.name) in seen:  # it would replace the first
            return "it is the second file of that name"
        seen.add(PurePosixPath(member.name))
    if member.kind == "hardlink" and not (folder / member.target).exists():
        return "it links to a file that has not come before it"  # tarfile would write that file
    return None


def _write(member: Member, folder: Path, budget: Budget) -> None:
    """Written by hand: tarfile's own filters came with Python 3.11.4 and change with its patches.

    What really comes out is paid for: a header can say that it is less.
    """
    path = folder / member.name
    (path if member.kind == "folder" else path.parent).mkdir(parents=True, exist_ok=True)
    if member.kind == "symlink":
        path.symlink_to(member.target)
    elif member.kind == "hardlink":
        path.hardlink_to(folder / member.target)
    elif member.kind == "file":
        with member.open() as stream, path.open("wb") as write:
            while chunk := stream.read(CHUNK):
                budget.spend(bytes=len(chunk))
                write.write(chunk)
