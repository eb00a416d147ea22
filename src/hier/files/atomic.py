"""Outputs are written whole or not at all: a temporary neighbour, fsync, rename."""

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp

from hier.errors import DiskFullError

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def full_disk_is_clear(path: Path, kept: str = "nothing half-written was kept") -> Iterator[None]:
    """Turn `No space left on device` into a DiskFullError that names the folder, and what was `kept`."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise DiskFullError(
            f"no space left while writing {path}; {kept}. "
            f"Free some space (see: df -h {path.parent}) and start again"
        ) from error


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path` that takes its place when the block ends well.

    Whatever stood at `path` stays until then; on any exception (Ctrl-C included) it stays for good
    and the temporary folder is removed. Where `path` is a link to a folder, that folder is replaced.
    """
    if path.is_symlink() and path.is_dir():
        path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    temporary.chmod(0o755)
    try:
        with full_disk_is_clear(path):
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    _fsync(file)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _neighbour(path)
    try:
        with full_disk_is_clear(path):
            yield temporary
            os.umask(mask := os.umask(0))
            temporary.chmod(0o666 & ~mask)  # some libraries write for the owner alone
            _fsync(temporary)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8, newlines as given) to `path`, whole or not at all; a byte of a file's name that is
    no UTF-8 stands there as \\udcff."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(text.encode(errors="backslashreplace"))


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write several files: all are on the disk before the first of them takes its place."""
    with ExitStack() as stack:
        for path, text in texts.items():
            stack.enter_context(atomic_file(path)).write_bytes(text.encode())


def put_link(path: Path, target: Path) -> None:
    """Put a symbolic link in the place of the file `path`."""
    temporary = _neighbour(path)
    temporary.symlink_to(target)
    temporary.replace(path)


def own_copy(path: Path, of: Path | None = None) -> None:
    """Put a new file or folder with the bytes of `of` (by default its own) at `path`. It shares no inode: to
    write to it, or to set its times, changes nothing elsewhere."""
    source = of or path
    if source.is_dir():
        with atomic_folder(path) as temporary:
            shutil.copytree(source, temporary, copy_function=shutil.copyfile, dirs_exist_ok=True)
    else:
        with atomic_file(path) as temporary:
            shutil.copyfile(source, temporary)


def _neighbour(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _fsync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
