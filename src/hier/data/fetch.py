"""Get a file from the first place that has it, and prove what it holds."""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from hier.config.dataset import Dataset, File, Source
from hier.data.archive import AGAIN, SUFFIXES, check, members, refuse_pages
from hier.data.listed import keep_listed, read_manifest
from hier.data.retries import CHUNK, NotThereError, transfer, write
from hier.errors import ArchiveError, ChecksumError, ConfigError, NoDataError
from hier.files.atomic import atomic_file

MANUAL_DIR = Path("downloads")  # <dataset>/ in it is for files put there by hand, and for parts
MIRROR_VARIABLE = "HIER_MIRROR"
SCHEMES = ("http", "https", "ftp", "file")
ADDRESSES = "addresses begin with http://, https://, ftp:// or file://"


def fetch(file: File, folder: Path, places: Sequence[str], parts: Path) -> None:
    """Put `file`, verified, into `folder` from the first of `places` (see `places_of`) that has it.

    What an address sends goes to `parts`/<name>.part, which outlives a failure: the next try goes on
    from there. Without a checksum each place begins anew, as two versions could be mixed unseen. Of an
    archive with a manifest the listed files alone are kept, as a tar (see hier.data.listed).

    Raises:
        ConfigError: its manifest is not the one that is promised; nothing was fetched.
        ChecksumError: a copy was found and is not what `file` promises.
        ArchiveError: a copy that is proved by its contents, or has no checksum, is damaged, or lacks a
            listed file.
        NoDataError: no place has it; the message names them all.
        DiskFullError: no space left.
    """
    listed = read_manifest(file.manifest) if file.manifest else None
    part = parts / f"{file.name}.part"
    reasons = []
    with _no_empty(parts):
        for place in places:
            try:
                with atomic_file(folder / file.name) as path:
                    _get(place, path, part, provable=bool(file.sha256 or file.md5))
                    _verify(path, file, place, listed)
            except NotThereError as reason:
                reasons.append(f"{place}: {reason}")
            else:
                part.unlink(missing_ok=True)
                return
    looked = ", ".join(reasons) or "nowhere: it has no address and no mirror is set"
    raise NoDataError(f"{file.name} was looked for at {looked}")


def places_of(file: File, mirrors: Iterable[str]) -> list[str]:
    """Where to look for `file`, in order: in the mirrors, at its `url`, at its `alternates`."""
    places = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{quote(file.name)}"
        places.append(url if _is_url(mirror) else str(_at_home(mirror) / file.name))
    return [*places, *filter(None, [file.url]), *file.alternates]


def mirrors_of(dataset: Dataset) -> list[str]:
    """What comes before a file's own address, in order; ConfigError as `mirrors_of_environment`."""
    return [*mirrors_of_environment(), str(MANUAL_DIR / dataset.name), *dataset.mirrors]


def mirrors_of_environment() -> list[str]:
    """The folders and addresses in HIER_MIRROR; ConfigError where one can be neither.

    A colon before `//` or a port does not separate.
    """
    value = os.environ.get(MIRROR_VARIABLE, "")
    for typo in re.findall(r"(?:^|,)\s*([A-Za-z]+):/(?!/)", value):
        if not Path(typo).is_dir():
            raise ConfigError(f"{MIRROR_VARIABLE}: '{typo}:/…' is no address; {ADDRESSES}")
    separator = rf",|{re.escape(os.pathsep)}(?!//|\d+(?:[/,:]|$))"
    mirrors = [part.strip() for part in re.split(separator, value) if part.strip()]
    for mirror in mirrors:
        if reason := _unusable(mirror):
            raise ConfigError(f"{MIRROR_VARIABLE}: '{mirror}': {reason}")
    return mirrors


def source_of(dataset: Dataset, names: Iterable[str]) -> Source | None:
    """The first source all of whose files are among `names`."""
    there = set(names)
    return next((s for s in dataset.sources if {f.name for f in s.files} <= there), None)


def taken_from(file: File, mirrors: Iterable[str]) -> Path | None:
    """The local file that `file` would be taken from; None where an address comes before it."""
    for place in places_of(file, mirrors):
        path = local_path(place)
        if path is None or not _cannot_be_read(path):
            return path
    return None


def _unusable(mirror: str) -> str | None:
    """Why nothing can be had from a mirror, whatever lies there."""
    if not _is_url(mirror):
        unknown = str(_at_home(mirror)).startswith("~")
        return "there is no such user, so no such folder" if unknown else None
    try:
        address = urlsplit(mirror)
        address.port  # noqa: B018  it is read here
    except ValueError:
        return "that is no valid address"
    if address.scheme not in SCHEMES:
        return ADDRESSES
    if not (address.path if address.scheme == "file" else address.hostname):
        return "it names no host or folder after the ://"
    return None


def _at_home(folder: str) -> Path:
    """The folder with `~` and `~user` replaced, where there is such a user."""
    with suppress(RuntimeError):
        return Path(folder).expanduser()
    return Path(folder)


def _is_url(place: str) -> bool:
    return "://" in place


def local_path(place: str) -> Path | None:
    """The path of a place on this machine; None of an address elsewhere."""
    if not _is_url(place):
        return Path(place)
    return Path(unquote(urlsplit(place).path)) if place.startswith("file://") else None


@contextmanager
def _no_empty(folder: Path) -> Iterator[None]:
    """Remove `folder` and the one above it where they come in the block and stay empty."""
    new = [path for path in (folder, folder.parent) if not path.exists()]
    try:
        yield
    finally:
        for path in new:
            with suppress(OSError):
                path.rmdir()


def _get(place: str, path: Path, part: Path, provable: bool) -> None:
    """Bring what `place` has to `path`."""
    if (source := local_path(place)) is not None:
        if reason := _cannot_be_read(source):
            raise NotThereError(reason)
        with source.open("rb") as read:
            chunks, size = iter(lambda: read.read(CHUNK), b""), source.stat().st_size
            write(chunks, path, f"copying {source.name}", 0, size)
    elif place.split("://")[0] not in SCHEMES:
        raise NotThereError(ADDRESSES)
    else:
        if not provable:
            part.unlink(missing_ok=True)
        transfer(place, part, provable)
        shutil.move(part, path)


def _cannot_be_read(path: Path) -> str | None:
    """What is there instead of a file that can be read."""
    if path.is_file():
        return None if os.access(path, os.R_OK) else "permission denied"
    if path.is_dir():
        return "a folder, not a file"
    if path.is_symlink():
        return "a link to a file that is not there"
    return "not a regular file" if path.exists() else "no such file"


def _verify(path: Path, file: File, place: str, listed: Mapping[str, str] | None = None) -> None:
    """Prove a copy, and keep of it what is `listed`, where that is given. What is said of it names the place
    that it is from, not `path`."""
    try:
        if listed is None:
            _prove(path, file, place)
        else:
            keep_listed(path, listed, file.name, place)
    except ArchiveError as error:
        text = str(error).replace(str(path), f"{file.name} from {place}")
        text = text.replace(path.name, file.name)  # in the command that packs it again
        mend = "get it again or from another place" if _is_url(place) else f"replace {place}"
        raise ArchiveError(text.replace(AGAIN, f"nothing was kept; {mend}")) from error


def _prove(path: Path, file: File, place: str) -> None:
    is_archive, expected = file.name.lower().endswith(SUFFIXES), file.sha256 or file.md5
    if file.unproved is not None:
        if is_archive:
            check(path)
        print(f"{file.name} is taken without a checksum: {file.unproved}", file=sys.stderr)
        return
    if expected:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256" if file.sha256 else "md5").hexdigest()
    else:
        expected, found = file.contents or "", contents_digest(path, file.contents_exclude)
    if found != expected:
        if is_archive:
            refuse_pages(path)
        raise ChecksumError(file.name, expected, found, place)


def contents_digest(archive: Path, exclude: Sequence[str] = ()) -> str:
    """SHA-256 of the lines `<sha256>  ./<path>` of the files in an archive, sorted by the paths' bytes.

    Paths go without the archive's top folder; below that, the folders in `exclude` are left out.
    Raises ArchiveError where the archive is damaged, or two of its files come to the same path.
    """
    digests: dict[bytes, str] = {}
    for name, content in members(archive):
        path = name.removeprefix("./").partition("/")[2]
        if not any(path.startswith(f"{folder.strip('/')}/") for folder in exclude):
            key = path.encode(errors="surrogateescape")  # the bytes that the archive has
            if key in digests:
                raise ArchiveError(f"{archive}: '{name}' is the second file '{path}'; {AGAIN}")
            digests[key] = hashlib.sha256(content).hexdigest()
    whole = hashlib.sha256()
    for key in sorted(digests):
        whole.update(f"{digests[key]}  ./".encode() + key + b"\n")
    return whole.hexdigest()
