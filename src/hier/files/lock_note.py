"""The note of a lock: a file created exclusively, and removed by one process only, on any disk."""

import errno
import hashlib
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from hier.files.lock_owner import Holder, is_holder

LEFT_OVER = 600.0  # seconds after which who had the right to remove a note was killed just then


class Note(NamedTuple):
    """What was seen at one time."""

    text: bytes
    changed: int  # by the disk's clock, nanoseconds
    inode: int

    @property
    def holder(self) -> Holder | None:
        """Who holds the lock; None where the note is damaged."""
        try:
            holder = json.loads(self.text)
        except (ValueError, RecursionError):
            return None
        return holder if is_holder(holder) else None


def look(place: Path) -> Note | None:
    """The note of the lock at `place`, read from the disk; None where there is none."""
    try:
        with note_of(place).open("rb") as stream:  # to open it makes NFS ask its server
            status = os.fstat(stream.fileno())
            return Note(stream.read(), status.st_mtime_ns, status.st_ino)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return None
        raise


def publish(place: Path, about: dict[str, Any]) -> bytes | None:
    """Create the note if there is none; it is whole as soon as it is there, where the disk has links."""
    note = note_of(place)
    temporary = note.with_name(f".{note.name}.{secrets.token_hex(8)}.part")
    try:
        with temporary.open("wb") as stream:
            text = _write(stream, about)
        try:
            os.link(temporary, note)
            return text
        except FileExistsError:  # NFS may have done so, and lost its answer
            return text if temporary.stat().st_nlink == 2 else None
        except OSError:  # a disk without links
            with suppress(FileExistsError), note.open("xb") as stream:
                return _write(stream, about)
            return None
    finally:
        temporary.unlink(missing_ok=True)


def _write(stream: BinaryIO, about: dict[str, Any]) -> bytes:
    inode = os.fstat(stream.fileno()).st_ino  # a copy's is another
    text = json.dumps(about | {"inode": inode}).encode() + b"\n"
    stream.write(text)
    return text


def remove(place: Path, seen: Note) -> bool:
    """Remove a note if it still is what was seen; of several processes that try, one does. Only who creates a
    file named after the note may remove it, so that nobody removes a next one."""
    name = hashlib.sha256(seen.text).hexdigest()[:16]
    right = place.with_name(f".{place.name}.{name}.part")
    with suppress(FileNotFoundError):
        if now(place) - right.stat().st_mtime_ns > LEFT_OVER * 1e9:
            right.unlink(missing_ok=True)
    try:
        right.touch(exist_ok=False)
    except FileExistsError:
        return False
    try:
        is_same = look(place) == seen
        if is_same:
            note_of(place).unlink(missing_ok=True)
        return is_same
    finally:
        right.unlink(missing_ok=True)


def now(place: Path) -> int:
    """The time by the clock that dates the files beside `place`, nanoseconds."""
    probe = place.with_name(f".{place.name}.{secrets.token_hex(8)}.part")
    try:
        probe.touch(exist_ok=False)
        return probe.stat().st_mtime_ns
    finally:
        probe.unlink(missing_ok=True)


def note_of(place: Path) -> Path:
    return beside(place, ".json")


def beside(place: Path, suffix: str) -> Path:
    return place.with_name(place.name + suffix)
