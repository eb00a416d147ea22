"""Bring a file from an address, gone on with after each break, over HTTP or FTP."""

import ftplib
import socket
import sys
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from hier.files.atomic import FULL, full_disk_is_clear
from hier.progress import progress

CHUNK = 1 << 16
MB = 1 << 20
TIMEOUT = 30  # seconds without an answer
TRIES = 5  # without a byte more
FIRST_WAIT = 1.0  # seconds after the first try in vain; doubled after each further one
BUSY = (408, 429)  # HTTP: try again, as after every 5xx


class NotThereError(Exception):
    """A place that does not have the file, or does not answer; the message says why."""


class _BrokenOffError(Exception):
    """A transfer that may go on at the next try; the message says why."""


def transfer(url: str, part: Path, provable: bool) -> None:
    """Make `part` whole, in as many tries as bring it on.

    What an earlier transfer left in it is gone on with. Only where a hash proves the file (`provable`) does a
    part that an interruption left stay. Raises NotThereError: the address has no such file, or does not bring
    it on; DiskFullError; KeyboardInterrupt: says which part is kept."""
    print(f"downloading {url}", file=sys.stderr, flush=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with full_disk_is_clear(part, "what has arrived is kept"):
            _receive(url, part)
    except KeyboardInterrupt as stop:
        if not provable:
            part.unlink(missing_ok=True)
        if not _size_of(part):
            raise
        said = f"interrupted; what has arrived is kept in {part}: start again to go on"
        raise KeyboardInterrupt(said) from stop


def write(chunks: Iterable[bytes], path: Path, doing: str, start: int, total: int) -> None:
    """Write `chunks` to `path` after its first `start` bytes; shows how far that has come of `total`."""
    with (
        path.open("ab" if start else "wb") as stream,
        progress(f"{doing} (MB)", total // MB) as shown,
    ):
        shown.update(start // MB)
        for chunk in chunks:
            stream.write(chunk)
            if stream.tell() // MB > shown.done:
                shown.update(stream.tell() // MB - shown.done)


def _receive(url: str, part: Path) -> None:
    receive = _receive_ftp if url.startswith("ftp://") else _receive_http
    longest, in_vain = _size_of(part), 0
    while True:
        try:
            return receive(url, part)
        except _BrokenOffError as error:
            in_vain = 0 if _size_of(part) > longest else in_vain + 1
            longest = max(longest, _size_of(part))
            if in_vain == TRIES:
                raise NotThereError(f"{error} ({TRIES} tries)") from error
            wait = FIRST_WAIT * 2 ** max(in_vain - 1, 0)
            print(f"{url}: {error}; next try in {wait:g} s", file=sys.stderr, flush=True)
            time.sleep(wait)


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _append(chunks: Iterable[bytes], part: Path, start: int, total: int | None) -> None:
    write(chunks, part, f"downloading {part.stem}", start, total or 0)
    if total is not None and _size_of(part) != total:
        raise _BrokenOffError("the transfer broke off")


def _receive_http(url: str, part: Path) -> None:
    import requests
    from urllib3.exceptions import HTTPError, NameResolutionError

    asked = _size_of(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={asked}-"} if asked else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            start = _start(response, part, asked)
            length = response.headers.get("Content-Length", "")
            total = start + int(length) if length.isdecimal() else None
            _append(response.raw.stream(CHUNK, decode_content=False), part, start, total)
    except requests.RequestException as error:
        cause = getattr(error.args[0] if error.args else None, "reason", None)
        if isinstance(cause, NameResolutionError):
            raise NotThereError("unknown host") from error
        passing = isinstance(error, (requests.ConnectionError, requests.Timeout))
        raise (_BrokenOffError if passing else NotThereError)(_in_words(error)) from error
    except HTTPError as error:
        raise _BrokenOffError("the transfer broke off") from error


def _start(response: Any, part: Path, asked: int) -> int:
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
    failure = _BrokenOffError if status >= 500 or status in BUSY else NotThereError
    raise failure(f"HTTP {status}")


def _receive_ftp(url: str, part: Path) -> None:
    try:
        address, port = urlsplit(url), urlsplit(url).port
    except ValueError as error:
        raise NotThereError("no valid address") from error
    try:
        with closing(ftplib.FTP(timeout=TIMEOUT)) as ftp:  # its own exit can replace a Ctrl-C
            ftp.connect(address.hostname or "", port or ftplib.FTP_PORT)
            ftp.login(unquote(address.username or ""), unquote(address.password or ""))
            _retrieve(ftp, unquote(address.path), part)
    except socket.gaierror as error:
        raise NotThereError("unknown host") from error
    except ftplib.error_perm as error:
        reason = " ".join(f"FTP {error}".split())
        if str(error).startswith("50") and part.exists():  # it cannot begin in the middle
            part.unlink()
            raise _BrokenOffError(reason) from error
        raise NotThereError(reason) from error
    except ftplib.all_errors as error:  # OSError is one of them
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise _BrokenOffError(_in_words(error)) from error


def _retrieve(ftp: ftplib.FTP, path: str, part: Path) -> None:
    ftp.voidcmd("TYPE I")
    total, start = None, _size_of(part)
    with suppress(ftplib.error_perm):  # a server that does not know the command
        total = ftp.size(path)
    if total is not None and start >= total:
        start = 0
    with ftp.transfercmd(f"RETR {path}", rest=start or None) as data:
        _append(iter(lambda: data.recv(CHUNK), b""), part, start, total)
    ftp.voidresp()


def _in_words(error: Exception) -> str:
    """What went wrong with a connection, without the name of a class."""
    import requests
    from requests import exceptions

    # The special before the general: a ConnectTimeout is both a Timeout and a ConnectionError.
    for kinds, words in (
        ((requests.Timeout, TimeoutError), f"no answer within {TIMEOUT} s"),
        (exceptions.SSLError, "no secure connection (certificate or encryption)"),
        (exceptions.ProxyError, "the proxy cannot be reached"),
        (requests.TooManyRedirects, "it is redirected without end"),
        ((exceptions.InvalidURL, exceptions.InvalidSchema), "no valid address"),
    ):
        if isinstance(error, kinds):
            return words
    cause: BaseException | None = error  # what the operating system said, if that is behind it
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    lost = isinstance(error, (requests.ConnectionError, EOFError))
    return "no connection, or it broke off" if lost else " ".join(str(error).split())
