"""Read tar (any compression) and zip archives, and trust nothing in them."""

import errno
import lzma
import math
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from hier.config.dataset import Limits
from hier.data.packing import refuse_closed_members, refuse_other_formats
from hier.errors import ArchiveError
from hier.progress import progress

DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,
    RuntimeError,
)
IN_THE_WAY = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
CHUNK = 1 << 16
SUFFIXES = (".bz2", ".gz", ".tar", ".tbz", ".tgz", ".txz", ".xz", ".zip")
AGAIN = "remove it and download it again"


class Budget:
    """What may still be unpacked by all archives that share it; without limits, anything."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.files: float = limits.files if limits else math.inf
        self.bytes: float = limits.bytes if limits else math.inf

    def spend(self, files: int = 0, bytes: int = 0) -> None:
        """Take this much away before it is written.

        Raises:
            _TooMuchError: there is less left.
        """
        self.afford(files, bytes)
        self.files -= files
        self.bytes -= bytes

    def afford(self, files: int, bytes: int) -> None:
        """Raise _TooMuchError where that much is not left."""
        for what, asked, left in (("files", files, self.files), ("bytes", bytes, self.bytes)):
            if not 0 <= asked <= left:
                raise _TooMuchError(f"with it, more {what} than the dataset's limits would unpack")


class _TooMuchError(Exception):
    """A budget is spent; the message says of what."""


def unpack(archive: Path, folder: Path, budget: Budget | None = None) -> None:
    """Unpack a tar or zip archive into `folder`, which is made where missing.

    Contents, folders and links alone are taken: no owner, mode or time. Every member, folders too,
    is one file of the budget.

    Raises:
        ArchiveError: the archive is damaged, cut short, encrypted or packed in a way that cannot be
            read here (see hier.data.packing), or a member has an absolute path or
            `..`, is a link to such a path, is a device, or is more than the budget allows.
            Names archive and member.
    """
    folder.mkdir(parents=True, exist_ok=True)
    steps = (_unpack_zip if _is_zip(archive) else _unpack_tar)(archive, folder, budget or Budget())
    with progress(f"unpacking {archive.name} (kB)", archive.stat().st_size // 1000) as shown:
        for read in steps:
            if read // 1000 > shown.done:
                shown.update(read // 1000 - shown.done)


def members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every regular file in the archive, in its order.

    Raises:
        ArchiveError: the archive is damaged, cut short, encrypted or of a kind not read here.
    """
    if _is_zip(archive):
        with _damage_is_clear(archive) as at, _open_zip(archive) as opened:
            for entry in opened.infolist():
                if entry.filename and not entry.is_dir():
                    at.member = entry.filename
                    yield entry.filename, opened.read(entry)
    else:
        with _damage_is_clear(archive) as at, tarfile.open(archive) as tar:
            for member in tar:
                at.member = member.name
                stream = tar.extractfile(member) if member.isreg() else None
                if stream is not None:
                    yield member.name, stream.read()
            _read_to_the_end(tar)


def check(archive: Path) -> None:
    """Read an archive's list of members, and of a tar all of it.

    Raises:
        ArchiveError: it is no archive, is cut short, is damaged where that shows, is encrypted or
            of a kind not read here.
    """
    with _damage_is_clear(archive) as at:
        if _is_zip(archive):
            _open_zip(archive).close()
            return
        with tarfile.open(archive) as tar:
            for member in tar:
                at.member = member.name
            _read_to_the_end(tar)


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


def _unpack_tar(archive: Path, folder: Path, budget: Budget) -> Iterator[int]:
    """Unpack member by member and yield how many bytes of the archive have been read."""
    with (
        _damage_is_clear(archive) as at,
        archive.open("rb") as raw,
        tarfile.open(fileobj=raw) as tar,
    ):
        seen: set[PurePosixPath] = set()
        for member in tar:
            at.member = member.name
            _refuse_escape(archive, member.name, member.name)
            _refuse_escape(archive, member.name, member.linkname)
            if member.isreg():
                _refuse_second(archive, member.name, seen)
            _refuse_free_of_charge(archive, member, folder)
            budget.spend(files=1, bytes=member.size)
            _write_member(archive, tar, member, folder)
            yield raw.tell()
        _read_to_the_end(tar)


def _write_member(
    archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path
) -> None:
    """Written by hand: tarfile's own filters came with Python 3.11.4 and change with its patches."""
    path = folder / member.name
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = tar.extractfile(member) if member.isreg() else None
    if stream is not None:
        with path.open("wb") as write:
            shutil.copyfileobj(stream, write, CHUNK)
    elif member.issym():
        path.symlink_to(member.linkname)
    elif member.islnk():
        path.hardlink_to(folder / member.linkname)
    else:
        raise _refused(archive, member.name, "it is a device")


def _read_to_the_end(tar: tarfile.TarFile) -> None:
    """The checksum of the compressed whole comes after the last member."""
    while tar.fileobj is not None and tar.fileobj.read(CHUNK):
        pass


def _unpack_zip(archive: Path, folder: Path, budget: Budget) -> Iterator[int]:
    read, seen = 0, set[PurePosixPath]()
    with _damage_is_clear(archive) as at, _open_zip(archive) as opened:
        for entry in opened.infolist():
            at.member = entry.filename
            if not entry.filename:  # Python's own reader stumbles over it
                raise _refused(archive, "", "it has no name")
            _refuse_escape(archive, entry.filename, entry.filename)
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, entry.filename, "it is a link or a device")
            if not entry.is_dir():
                _refuse_second(archive, entry.filename, seen)
            budget.spend(files=1)
            budget.afford(files=0, bytes=entry.file_size)
            _write_entry(opened, entry, folder / entry.filename, budget)
            read += entry.compress_size
            yield read


def _write_entry(
    opened: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, budget: Budget
) -> None:
    """Pay for what really comes out: a header can say that it is less."""
    if entry.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(entry) as read, path.open("wb") as write:
        while chunk := read.read(CHUNK):
            budget.spend(bytes=len(chunk))
            write.write(chunk)


def _open_zip(archive: Path) -> zipfile.ZipFile:
    opened = zipfile.ZipFile(archive)
    try:
        refuse_closed_members(archive, opened)
    except ArchiveError:
        opened.close()
        raise
    return opened


def _is_zip(archive: Path) -> bool:
    """By content for archives that begin as zips do, else by name; other formats are refused."""
    refuse_other_formats(archive)
    with archive.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04" or archive.suffix.lower() == ".zip"


def _refuse_escape(archive: Path, member: str, name: str) -> None:
    """Of a member's path and of its link."""
    if reason := leads_out(name):
        raise _refused(archive, member, f"its path or link '{name}' {reason}")


def _refuse_second(archive: Path, member: str, seen: set[PurePosixPath]) -> None:
    """Refuse a second file of one name, which would replace the first."""
    path = PurePosixPath(member)
    if path in seen:
        raise _refused(archive, member, "it is the second file of that name")
    seen.add(path)


def _refuse_free_of_charge(archive: Path, member: tarfile.TarInfo, folder: Path) -> None:
    """Refuse what tarfile may write more bytes for than the member's size says."""
    if member.issparse():
        raise _refused(archive, member.name, "it is a sparse file")
    if member.islnk() and not (folder / member.linkname).exists():
        raise _refused(archive, member.name, "it links to a file that has not come before it")


def _refused(archive: object, member: str, reason: str) -> ArchiveError:
    return ArchiveError(
        f"{archive}: refused to unpack member '{member}': {reason}; "
        "get the archive from another place"
    )


class _At:
    """Which member is being read."""

    member = ""


@contextmanager
def _damage_is_clear(archive: Path) -> Iterator[_At]:
    at = _At()
    try:
        yield at
    except _TooMuchError as error:
        raise _refused(archive, at.member, str(error)) from error
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno in IN_THE_WAY:
            raise _refused(archive, at.member, str(error.strerror)) from error
        if isinstance(error, OSError) and error.errno is not None:  # the disk's, not the archive's
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        where = f"at or after member '{at.member}'" if at.member else "before its first member"
        raise ArchiveError(
            f"{archive}: damaged or cut short {where} ({reason}); {AGAIN}"
        ) from error
