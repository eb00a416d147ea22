"""A lock for processes of one machine or of several that share a disk, whatever that disk can do.

A note says who holds it. It is created exclusively, which every disk can, and its holder renews it.
Where the disk has locks of its own (flock), one is held as well: it goes with the process, whatever
kills it. Whether a holder lives, its machine's process table says; from another machine one sees
whether it renews its note. No two machines' clocks are compared: what seems old is watched first.
"""

import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from filelock import FileLock, Timeout

from hier.errors import BusyError
from hier.files.lock_note import Note, beside, look, note_of, now, publish, remove
from hier.files.lock_owner import Holder, boot, describe, is_here, myself, works

LEASE = 600.0  # seconds without a renewal after which a holder elsewhere is held to be gone
BEAT = 15.0  # seconds between two renewals
WATCH = 60.0  # seconds for which one looks whether a note that seems old is renewed after all
PAUSE = 1.0  # seconds between two looks at a lock that one waits for
Wait = bool | Callable[[Holder | None], bool]
WITHOUT_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}


@contextmanager
def locked(place: Path, wait: Wait = False, **about: Any) -> Iterator[None]:
    """Hold the lock at `place` (its files are `place`.lock and `place`.json) while the block runs.

    `about` is more that the note says of the holder. One that finds its lock in other hands stops, as on
    SIGTERM. BusyError where another process holds it, unless told to `wait`: for any, or for a holder of whom
    a function says so. OSError where the disk refuses.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        claim = _acquire(place, wait, about, stack)
        stack.callback(claim.withdraw)
        claim.start()
        yield


def _acquire(place: Path, wait: Wait, about: dict[str, Any], stack: ExitStack) -> "_Claim":
    """Take the lock, and have `stack` give the disk's own one back; waits as `locked` is told to."""
    waited = False
    try:
        while True:
            try:
                with ExitStack() as attempt:
                    flocked = attempt.enter_context(_flock(place))
                    claim = _Claim(place, about | {"flock": flocked})
                    stack.enter_context(attempt.pop_all())
                    return claim
            except BusyError:
                waited = True
                if not (wait(_holder(place)) if callable(wait) else wait):
                    raise
            time.sleep(PAUSE)
    except SystemExit:  # SIGTERM
        if waited:
            print(f"{place.name}: stopped while it waited", file=sys.stderr, flush=True)
        raise


def free(place: Path, by_force: bool = False) -> bool:
    """Remove the note of a holder that is gone (`by_force` of any on another machine, whose renewals alone
    could say so); whether there is none left."""
    seen = look(place)
    try:
        with _flock(place) as flocked:
            forced = by_force and seen is not None and not is_here(seen.holder)
            if seen and (_is_gone(place, seen, flocked) or forced):
                remove(place, seen)
    except BusyError:
        return False
    return look(place) is None


def living(place: Path) -> Holder | None:
    """Who holds the lock at `place`, as far as one glance tells."""
    seen = look(place)
    if not seen or not (holder := seen.holder):
        return None
    alive = works(holder) if is_here(holder) else not _seems_gone(place, seen)
    return holder if alive else None


@contextmanager
def _flock(place: Path) -> Iterator[bool]:
    """Hold the disk's own lock, or raise BusyError; whether there is such a thing."""
    path = beside(place, ".lock")
    try:
        held = FileLock(path, timeout=0, fallback_to_soft=False).acquire()
    except Timeout:
        raise _busy(place) from None
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise OSError(error.errno, error.strerror, str(path)) from error
        yield False
        return
    with held:
        yield True


class _Claim(Thread):
    """A note of this process's, renewed by a thread; BusyError where somebody else's is there."""

    def __init__(self, place: Path, about: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.place, self.about, self.done = place, about | myself(), Event()
        while (text := publish(place, self.about)) is None:
            seen = look(place)  # a holder that is gone makes room
            if seen and not (_is_gone(place, seen, about["flock"]) and remove(place, seen)):
                raise _busy(place)
        self.text = text

    def run(self) -> None:
        while not self.done.wait(BEAT):
            with suppress(OSError):  # the disk may be back at the next beat
                self.renew()

    def renew(self) -> None:
        seen = look(self.place)
        if seen is None:  # somebody cleared it away, and nobody took the lock yet
            self.text = publish(self.place, self.about) or self.text
        elif seen.text == self.text:
            os.utime(note_of(self.place))
        else:
            by = describe(seen.holder)
            print(f"stopping: {self.place.name} is now held by {by}", file=sys.stderr, flush=True)
            self.done.set()
            os.kill(os.getpid(), signal.SIGTERM)

    def withdraw(self) -> None:
        self.done.set()
        self.join(BEAT)
        seen = look(self.place)
        if seen and seen.text == self.text:
            note_of(self.place).unlink(missing_ok=True)


def _is_gone(place: Path, seen: Note, flocked: bool) -> bool:
    """Whether a note's holder is gone; looks for a while where that must be seen. `flocked` says whether
    this process holds the disk's own lock meanwhile."""
    holder = seen.holder
    if holder and is_here(holder):
        return not works(holder)
    # The same machine's kernel would know of the lock: whoever got it has proof.
    if flocked and (holder is None or (holder["flock"] and holder["boot"] == boot() != "")):
        return True
    return _seems_gone(place, seen) and not _is_renewed(place, seen)


def _seems_gone(place: Path, seen: Note) -> bool:
    """Whether a note was copied along, is from before its machine started anew, or is old."""
    if holder := seen.holder:
        before_boot = holder["host"] == socket.gethostname() and holder["boot"] != boot()
        if before_boot or holder["inode"] != seen.inode:
            return True
    return now(place) - seen.changed > LEASE * 1e9


def _is_renewed(place: Path, seen: Note) -> bool:
    left = f"{place.name} seems to be left over from {describe(seen.holder)}"
    print(f"{left}; looking for {WATCH:.0f} s whether that still works on it", flush=True)
    give_up = time.monotonic() + WATCH
    while time.monotonic() < give_up:
        time.sleep(min(PAUSE, WATCH))
        if look(place) != seen:
            return True
    return False


def _holder(place: Path) -> Holder | None:
    seen = look(place)
    return seen.holder if seen else None


def _busy(place: Path) -> BusyError:
    seen = look(place)
    holder = seen.holder if seen else None
    elsewhere = seen is not None and not is_here(holder)
    mend = "; if that is gone for good: hier recover --break-locks" if elsewhere else ""
    return BusyError(f"{place.name} is being worked on by {describe(holder)}{mend}")
