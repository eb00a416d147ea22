"""Read tar (any compression) and zip archives, and trust nothing in them."""

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

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


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar or zip archive into `folder`, which is made where missing.

    Owners, set-user-id bits and the like are dropped (tarfile's `data` filter).

    Raises:
        ArchiveError: the archive is damaged or cut short, or a member has an absolute path or
            `..`, is a link that leaves the folder, or is a device. Names archive and member.
    """
    folder.mkdir(parents=True, exist_ok=True)
    steps = _unpack_zip(archive, folder) if _is_zip(archive) else _unpack_tar(archive, folder)
    with progress(f"unpacking {archive.name} (kB)", archive.stat().st_size // 1000) as shown:
        for read in steps:
            if read // 1000 > shown.done:
                shown.update(read // 1000 - shown.done)


def members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every regular file in the archive, in its order.

    Raises:
        ArchiveError: the archive is damaged or cut short.
    """
    if _is_zip(archive):
        with _damage_is_clear(archive) as at, zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                if not entry.is_dir():
                    at.member = entry.filename
                    yield entry.filename, opened.read(entry)
    else:
        with _damage_is_clear(archive) as at, tarfile.open(archive) as tar:
            for member in tar:
                at.member = member.name
                stream = tar.extractfile(member) if member.isreg() else None
                if stream is not None:
                    yield member.name, stream.read()


def _unpack_tar(archive: Path, folder: Path) -> Iterator[int]:
    """Unpack member by member and yield how many bytes of the archive have been read."""
    with (
        _damage_is_clear(archive) as at,
        archive.open("rb") as raw,
        tarfile.open(fileobj=raw) as tar,
    ):
        for member in tar:
            at.member = member.name
            _refuse_escape(archive, member.name)
            tar.extract(member, folder, filter="data")
            yield raw.tell()


def _unpack_zip(archive: Path, folder: Path) -> Iterator[int]:
    read = 0
    with _damage_is_clear(archive) as at, zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            at.member = entry.filename
            _refuse_escape(archive, entry.filename)
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, entry.filename, "it is a link or a device")
            opened.extract(entry, folder)
            read += entry.compress_size
            yield read


def _is_zip(archive: Path) -> bool:
    """By content for archives that begin as zips do, else by name."""
    with archive.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04" or archive.suffix.lower() == ".zip"


def _refuse_escape(archive: Path, name: str) -> None:
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root:
        raise _refused(archive, name, "its path is absolute")
    if ".." in path.parts or ".." in windows.parts:
        raise _refused(archive, name, "its path leads out of the folder")


def _refused(archive: Path, member: str, reason: str) -> ArchiveError:
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
    except tarfile.FilterError as error:
        raise _refused(archive, at.member, str(error)) from error
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's, not the archive's
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        where = f"at or after member '{at.member}'" if at.member else "before its first member"
        raise ArchiveError(
            f"{archive}: damaged or cut short {where} ({reason}); remove it and download it again"
        ) from error
