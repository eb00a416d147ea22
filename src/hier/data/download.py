"""Get a dataset's archives from a mirror or their canonical address, and prove what they hold."""

import errno
import ftplib
import hashlib
import logging
import os
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

from hier.config.dataset import Dataset, File, Source
from hier.data.archive import members
from hier.data.demo import write_archive
from hier.errors import ChecksumError, DownloadError
from hier.progress import Progress, progress
from hier.provenance.atomic import atomic_folder

MIRROR_VARIABLE = "HIER_MIRROR"
CHUNK = 1 << 20
TIMEOUT = 30  # seconds without an answer


class _NotThereError(Exception):
    """A place that does not have the file, or does not answer; the message says why."""


def download(dataset: Dataset, destination: Path) -> None:
    """Put the dataset's verified archives into the folder `destination`, all or none.

    Generated datasets are drawn. Others come from the first of `dataset.sources` of which every
    file can be had. Each file is looked for in the mirrors (folders or addresses): those of the
    environment variable HIER_MIRROR (separated by commas or as in PATH), then `dataset.mirrors`;
    and at last at its own `url` (http, https or ftp).

    Raises:
        ChecksumError: a copy was found and is not what the configuration promises.
        ArchiveError: a copy that is proved by its contents is damaged.
        DownloadError: no source could be had.
        DiskFullError: no space left.
    """
    with atomic_folder(destination) as folder:
        if dataset.generate is not None:
            write_archive(dataset.generate, folder / f"{dataset.name}.tgz")
        else:
            places = [*mirrors_of_environment(), *dataset.mirrors]
            _download_first(dataset, folder, places)


def mirrors_of_environment() -> list[str]:
    """The folders and addresses in HIER_MIRROR; a colon before `//` or a port does not separate."""
    separator = rf",|{re.escape(os.pathsep)}(?!//|\d+(?:[/,:]|$))"
    parts = re.split(separator, os.environ.get(MIRROR_VARIABLE, ""))
    return [part.strip() for part in parts if part.strip()]


def contents_digest(archive: Path, exclude: Sequence[str] = ()) -> str:
    """SHA-256 of the sorted lines `<sha256>  ./<path>` of the files in an archive.

    The archive's top folder is stripped from the paths, folders in `exclude` (paths after
    that) are left out, and lines are sorted by the bytes of their paths.

    Raises:
        ArchiveError: the archive is damaged.
    """
    digests: dict[bytes, str] = {}
    for name, content in members(archive):
        path = name.removeprefix("./").partition("/")[2]
        if not any(path.startswith(f"{folder.strip('/')}/") for folder in exclude):
            digests[path.encode()] = hashlib.sha256(content).hexdigest()
    whole = hashlib.sha256()
    for key in sorted(digests):
        whole.update(f"{digests[key]}  ./".encode() + key + b"\n")
    return whole.hexdigest()


def _download_first(dataset: Dataset, folder: Path, mirrors: Sequence[str]) -> None:
    failures: list[str] = []
    for source in dataset.sources:
        try:
            _download_source(source, folder, mirrors)
        except _NotThereError as failure:
            failures.append(str(failure))
            for file in folder.iterdir():
                file.unlink()
        else:
            return
    raise DownloadError(
        f"{dataset.name}: no source could be had. {'; or '.join(failures)}. "
        f"Put the files into a folder and set {MIRROR_VARIABLE} to it"
    )


def _download_source(source: Source, folder: Path, mirrors: Sequence[str]) -> None:
    for file in source.files:
        reasons = []
        for place in _places(file, mirrors):
            try:
                _get(place, folder / file.name)
            except _NotThereError as reason:
                reasons.append(f"{place}: {reason}")
                (folder / file.name).unlink(missing_ok=True)
            else:
                _verify(folder / file.name, file, place)
                break
        else:
            looked = ", ".join(reasons) or "nowhere: it has no address and no mirror is set"
            raise _NotThereError(f"{file.name} was looked for at {looked}")


def _places(file: File, mirrors: Iterable[str]) -> list[str]:
    places = [
        f"{mirror.rstrip('/')}/{quote(file.name)}"
        if _is_url(mirror)
        else str(Path(mirror).expanduser() / file.name)
        for mirror in mirrors
    ]
    return [*places, file.url] if file.url else places


def _is_url(place: str) -> bool:
    return "://" in place


def _get(place: str, path: Path) -> None:
    if not _is_url(place):
        _copy(Path(place), path)
    elif place.split("://")[0] in ("http", "https", "ftp"):
        _fetch(place, path)
    else:
        raise _NotThereError("addresses begin with http://, https:// or ftp://")


def _copy(source: Path, path: Path) -> None:
    if not source.is_file():
        raise _NotThereError("no such file")
    if not os.access(source, os.R_OK):
        raise _NotThereError("permission denied")
    with (
        source.open("rb") as read,
        path.open("wb") as write,
        progress(f"copying {source.name} (MB)", source.stat().st_size // CHUNK) as shown,
    ):
        while chunk := read.read(CHUNK):
            write.write(chunk)
            shown.update(len(chunk) // CHUNK)


def _fetch(url: str, path: Path) -> None:
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    print(f"downloading {url}", file=sys.stderr, flush=True)
    try:
        with ExitStack() as stack:
            get = (
                pooch.FTPDownloader(timeout=TIMEOUT)
                if url.startswith("ftp://")
                else pooch.HTTPDownloader(
                    progressbar=_Bar(path.name, stack), chunk_size=CHUNK, timeout=TIMEOUT
                )
            )
            get(url, str(path), None)
    except ftplib.all_errors as error:  # OSError is one of them, and so is every error of requests
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _NotThereError(_reason(error)) from error


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    return f"HTTP {response.status_code}" if response is not None else type(error).__name__


class _Bar:
    """What pooch asks of a progress bar, shown by ours once pooch has set the total (bytes)."""

    total = 0

    def __init__(self, name: str, stack: ExitStack) -> None:
        self.name, self.stack = name, stack
        self.shown: Progress | None = None
        self.whole = False

    def update(self, received: int) -> None:
        if self.shown is None:
            shown = progress(f"downloading {self.name} (MB)", self.total // CHUNK)
            self.shown = self.stack.enter_context(shown)
        if not self.whole:
            self.shown.update(received // CHUNK)

    def reset(self) -> None:
        """All is here; pooch now reports the total once more."""
        self.whole = True

    def close(self) -> None:
        """The stack closes the bar."""


def _verify(path: Path, file: File, place: str) -> None:
    if file.contents is not None:
        expected, found = file.contents, contents_digest(path, file.contents_exclude)
    else:
        kind = "sha256" if file.sha256 else "md5"
        expected, found = file.sha256 or file.md5 or "", _digest(path, kind)
    if found != expected:
        raise ChecksumError(file.name, expected, found, place)


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, kind).hexdigest()
