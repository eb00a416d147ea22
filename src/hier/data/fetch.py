"""Get a file from the first place that has it, resumed after a break, and prove what it holds."""

import errno
import ftplib
import hashlib
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from hier.config.dataset import File
from hier.data.archive import AGAIN, SUFFIXES, check, members
from hier.errors import ArchiveError, ChecksumError, ConfigError, DiskFullError, NoDataError
from hier.files.atomic import atomic_file
from hier.progress import Progress, progress

if TYPE_CHECKING:
    import requests

MIRROR_VARIABLE = "HIER_MIRROR"
CHUNK = 1 << 16
MB = 1 << 20
TIMEOUT = 30  # seconds without an answer
TRIES = 5  # without a byte more
FIRST_WAIT = 1.0  # seconds after the first try in vain; doubled after each further one
BUSY = (408, 429)  # HTTP: try again, as after every 5xx
SCHEMES = ("http", "https", "ftp", "file")
ADDRESSES = "addresses begin with http://, https://, ftp:// or file://"


class _NotThereError(Exception):
    """A place that does not have the file, or does not answer; the message says why."""


class _BrokenOffError(Exception):
    """A transfer that may go on at the next try; the message says why."""


def fetch(file: File, folder: Path, places: Sequence[str], parts: Path) -> None:
    """Put `file`, verified, into `folder` from the first of `places` (see `places_of`) that has it.

    What an address sends goes to `parts`/<name>.part, which outlives a failure: the next try or
    call goes on where that ends. Without a checksum each call and place begins anew, as two
    versions could be mixed unseen.

    Raises:
        ChecksumError: a copy was found and is not what `file` promises.
        ArchiveError: a copy that is proved by its contents, or has no checksum, is damaged.
        NoDataError: no place has it; the message names them all.
        DiskFullError: no space left.
    """
    part = parts / f"{file.name}.part"
    reasons = []
    with _no_empty(parts):
        for place in places:
            try:
                with atomic_file(folder / file.name) as path:
                    _verify(path, file, place, _get(place, path, part, _kind(file)))
            except _NotThereError as reason:
                reasons.append(f"{place}: {reason}")
            else:
                part.unlink(missing_ok=True)
                return
    looked = ", ".join(reasons) or "nowhere: it has no address and no mirror is set"
    raise NoDataError(f"{file.name} was looked for at {looked}")


def places_of(file: File, mirrors: Iterable[str]) -> list[str]:
    """Where to look for `file`, in order: in the mirrors, at its `url`, at its `alternates`."""
    places = [
        f"{mirror.rstrip('/')}/{quote(file.name)}"
        if _is_url(mirror)
        else str(_at_home(mirror) / file.name)
        for mirror in mirrors
    ]
    return [*places, *([file.url] if file.url else []), *file.alternates]


def local(place: str) -> Path | None:
    """The path of a place on this machine; None of an address elsewhere."""
    if not _is_url(place):
        return Path(place)
    return Path(unquote(urlsplit(place).path)) if place.startswith("file://") else None


def mirrors_of_environment() -> list[str]:
    """The folders and addresses in HIER_MIRROR; a colon before `//` or a port does not separate.

    Raises:
        ConfigError: one can be neither a folder nor an address.
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


def contents_digest(archive: Path, exclude: Sequence[str] = ()) -> str:
    """SHA-256 of the sorted lines `<sha256>  ./<path>` of the files in an archive.

    The archive's top folder is stripped from the paths, folders in `exclude` (paths after
    that) are left out, and lines are sorted by the bytes of their paths.

    Raises:
        ArchiveError: the archive is damaged, or two of its files come to the same path.
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


def _get(place: str, path: Path, part: Path, kind: str | None) -> str | None:
    """Bring what `place` has to `path`; return its digest if that was taken on the way."""
    if (source := local(place)) is not None:
        return _copy(source, path, kind)
    if place.split("://")[0] not in SCHEMES:
        raise _NotThereError(ADDRESSES)
    if kind is None:
        part.unlink(missing_ok=True)
    with _interruption_is_clear(part, kind):
        digest = _fetch(place, part, kind)
    shutil.move(part, path)
    return digest


def _copy(source: Path, path: Path, kind: str | None) -> str | None:
    if not source.is_file():
        raise _NotThereError(_instead_of_a_file(source))
    if not os.access(source, os.R_OK):
        raise _NotThereError("permission denied")
    with (
        source.open("rb") as read,
        progress(f"copying {source.name} (MB)", source.stat().st_size // MB) as shown,
    ):
        return _write(iter(lambda: read.read(CHUNK), b""), path, 0, kind, shown)


def _instead_of_a_file(path: Path) -> str:
    if path.is_dir():
        return "a folder, not a file"
    if path.is_symlink():
        return "a link to a file that is not there"
    return "not a regular file" if path.exists() else "no such file"


@contextmanager
def _interruption_is_clear(part: Path, kind: str | None) -> Iterator[None]:
    """After Ctrl-C: what has arrived is said to be kept, or goes where it cannot be gone on with."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if kind is None:
            part.unlink(missing_ok=True)
        if not _size(part):
            raise
        raise KeyboardInterrupt(
            f"interrupted; what has arrived is kept in {part}: start again to go on"
        ) from stop


def _write(
    chunks: Iterable[bytes], path: Path, start: int, kind: str | None, shown: Progress
) -> str | None:
    """Write `chunks` to `path` after its first `start` bytes; return the digest where that is 0."""
    hasher = hashlib.new(kind) if kind and not start else None
    with path.open("ab" if start else "wb") as write:
        for chunk in chunks:
            write.write(chunk)
            if hasher:
                hasher.update(chunk)
            if write.tell() // MB > shown.done:
                shown.update(write.tell() // MB - shown.done)
    return hasher.hexdigest() if hasher else None


def _fetch(url: str, part: Path, kind: str | None) -> str | None:
    """Make `part` whole, in as many tries as bring it on; return the digest if one was enough."""
    print(f"downloading {url}", file=sys.stderr, flush=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    receive = _receive_ftp if url.startswith("ftp://") else _receive_http
    longest, in_vain = _size(part), 0
    while True:
        try:
            with _full_disk_keeps(part):
                return receive(url, part, kind)
        except _BrokenOffError as error:
            in_vain = 0 if _size(part) > longest else in_vain + 1
            longest = max(longest, _size(part))
            if in_vain == TRIES:
                raise _NotThereError(f"{error} ({TRIES} tries)") from error
            wait = FIRST_WAIT * 2 ** max(in_vain - 1, 0)
            print(f"{url}: {error}; next try in {wait:g} s", file=sys.stderr, flush=True)
            time.sleep(wait)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _full_disk_keeps(part: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"no space left while writing {part}, which is kept. "
                f"Free some space (see: df -h {part.parent}) and start again: it goes on from there"
            ) from error
        raise


def _receive_http(url: str, part: Path, kind: str | None) -> str | None:
    import requests
    from urllib3.exceptions import HTTPError

    start = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            start = _start(response, part, start)
            length = response.headers.get("Content-Length", "")
            total = start + int(length) if length.isdecimal() else None
            chunks = response.raw.stream(CHUNK, decode_content=False)
            return _receive(chunks, part, start, total, kind)
    except requests.RequestException as error:
        raise _http_failure(error) from error
    except HTTPError as error:
        raise _BrokenOffError("the transfer broke off") from error


def _start(response: "requests.Response", part: Path, asked: int) -> int:
    """Where the body that follows begins."""
    status = response.status_code
    if status == 200:
        return 0
    begins = response.headers.get("Content-Range", "").startswith(f"bytes {asked}-")
    if asked and status == 206 and begins:
        return asked
    if asked and status in (206, 416):
        part.unlink()
        raise _BrokenOffError(f"HTTP {status}: what is here cannot be gone on with")
    failure = _BrokenOffError if status >= 500 or status in BUSY else _NotThereError
    raise failure(f"HTTP {status}")


def _http_failure(error: "requests.RequestException") -> Exception:
    """Of a request without an answer. An unknown host or a bad address stays what it is."""
    import requests
    from urllib3.exceptions import NameResolutionError

    cause = getattr(error.args[0] if error.args else None, "reason", None)
    passing = isinstance(error, (requests.ConnectionError, requests.Timeout))
    if passing and not isinstance(cause, NameResolutionError):
        return _BrokenOffError(_in_words(error))
    return _NotThereError("unknown host" if passing else _in_words(error))


def _in_words(error: Exception) -> str:
    """What went wrong with a connection, without the name of a class."""
    import requests

    # The special before the general: a ConnectTimeout is both a Timeout and a ConnectionError.
    for kinds, words in (
        ((requests.Timeout, TimeoutError), f"no answer within {TIMEOUT} s"),
        (requests.exceptions.SSLError, "no secure connection (certificate or encryption)"),
        (requests.exceptions.ProxyError, "the proxy cannot be reached"),
        (requests.TooManyRedirects, "it is redirected without end"),
        ((requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema), "no valid address"),
    ):
        if isinstance(error, kinds):
            return words
    if reason := _of_the_system(error):
        return reason
    lost = isinstance(error, (requests.ConnectionError, EOFError))
    return "no connection, or it broke off" if lost else " ".join(str(error).split())


def _of_the_system(error: BaseException | None) -> str | None:
    """What the operating system said, such as `connection refused`, if that is behind an error."""
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            return error.strerror.lower()
        error = error.__cause__ or error.__context__
    return None


def _receive_ftp(url: str, part: Path, kind: str | None) -> str | None:
    try:
        address, port = urlsplit(url), urlsplit(url).port
    except ValueError as error:
        raise _NotThereError("no valid address") from error
    try:
        with closing(ftplib.FTP(timeout=TIMEOUT)) as ftp:  # its own exit can replace a Ctrl-C
            ftp.connect(address.hostname or "", port or ftplib.FTP_PORT)
            ftp.login(unquote(address.username or ""), unquote(address.password or ""))
            return _retrieve(ftp, unquote(address.path), part, kind)
    except socket.gaierror as error:
        raise _NotThereError("unknown host") from error
    except ftplib.error_perm as error:
        raise _ftp_failure(error, part) from error
    except ftplib.all_errors as error:  # OSError is one of them
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _BrokenOffError(_in_words(error)) from error


def _retrieve(ftp: ftplib.FTP, path: str, part: Path, kind: str | None) -> str | None:
    ftp.voidcmd("TYPE I")
    total = _size_ftp(ftp, path)
    start = _size(part) if total is None or _size(part) < total else 0
    with ftp.transfercmd(f"RETR {path}", rest=start or None) as data:
        digest = _receive(iter(lambda: data.recv(CHUNK), b""), part, start, total, kind)
    ftp.voidresp()
    return digest


def _ftp_failure(error: ftplib.error_perm, part: Path) -> Exception:
    reason = " ".join(f"FTP {error}".split())
    if str(error).startswith("50") and part.exists():  # the server cannot begin in the middle
        part.unlink()
        return _BrokenOffError(reason)
    return _NotThereError(reason)


def _size_ftp(ftp: ftplib.FTP, path: str) -> int | None:
    with suppress(ftplib.error_perm):  # a server that does not know the command
        return ftp.size(path)
    return None


def _receive(
    chunks: Iterable[bytes], part: Path, start: int, total: int | None, kind: str | None
) -> str | None:
    with progress(f"downloading {part.stem} (MB)", (total or 0) // MB) as shown:
        shown.update(start // MB)
        digest = _write(chunks, part, start, kind, shown)
    if total is not None and _size(part) != total:
        raise _BrokenOffError("the transfer broke off")
    return digest


def _kind(file: File) -> str | None:
    """The hash that proves the file's own bytes, if any does."""
    return "sha256" if file.sha256 else "md5" if file.md5 else None


def _verify(path: Path, file: File, place: str, digest: str | None) -> None:
    if file.unproved is not None:
        if file.name.lower().endswith(SUFFIXES):
            with _damage_names(file, place, path):
                check(path)
        print(f"{file.name} is taken without a checksum: {file.unproved}", file=sys.stderr)
        return
    kind = _kind(file)
    if kind is None:
        with _damage_names(file, place, path):
            expected, found = file.contents or "", contents_digest(path, file.contents_exclude)
    else:
        expected, found = file.sha256 or file.md5 or "", digest or _digest(path, kind)
    if found != expected:
        raise ChecksumError(file.name, expected, found, place)


@contextmanager
def _damage_names(file: File, place: str, path: Path) -> Iterator[None]:
    """Name the place that an archive is from instead of its copy at `path`."""
    try:
        yield
    except ArchiveError as error:
        text = str(error).replace(str(path), f"{file.name} from {place}")
        text = text.replace(path.name, file.name)  # in the command that packs it again
        mend = "get it again or from another place" if _is_url(place) else f"replace {place}"
        raise ArchiveError(text.replace(AGAIN, f"nothing was kept; {mend}")) from error


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, kind).hexdigest()
