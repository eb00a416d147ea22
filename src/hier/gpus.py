"""A job that works on GPUs has them to itself: it takes free ones, and waits where there are too few.

A card is taken by locking a file of its name. The lock is the operating system's (it goes with the
process), and the files lie in the user's temporary folder, so that two of a user's jobs on a machine
know of each other, whatever started them. Which card it was is no part of a result.
"""

import fcntl
import gc
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice, takewhile
from pathlib import Path
from tempfile import gettempdir
from traceback import clear_frames
from typing import TextIO

from hier.config.run import Runtime
from hier.errors import CardError, ConfigError

held: list[int] = []
"""The cards that this process holds, by torch's index; the first is torch's current device."""

DRIVER = Path("/proc/driver/nvidia/gpus")
PAUSE = 1.0  # seconds between two looks for a free card


def number() -> int:
    """How many cards a job can be given here, found without torch; 0 without NVIDIA's driver.
    CUDA_VISIBLE_DEVICES is read as the driver does: up to the first entry that is no card, and not at all
    where one comes twice."""
    present = len(list(DRIVER.glob("*")))
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not present or asked is None:
        return present

    def is_card(entry: str) -> bool:
        is_index = entry.isdecimal() and int(entry) < present
        return is_index or entry.startswith(("GPU-", "MIG-"))

    entries = list(takewhile(is_card, map(str.strip, asked.split(","))))
    return len(entries) if len(set(entries)) == len(entries) else 0


@contextmanager
def acquire_gpus(runtime: Runtime, name: str, wanted: int = 1) -> Iterator[None]:
    """Hold cards while the block runs, the first as torch's current device: the one that "cuda" means.

    Waits, and says so once, while others hold too many of those that this process sees; they are told
    `name`. Without a GPU, or where the runtime wants none, the block simply runs. Not to be nested: the inner
    one would wait for the outer one's cards. CardError where the folder of the locks cannot be used;
    ConfigError where there are too few cards.
    """
    cards = _visible() if runtime.device != "cpu" else {}
    if not cards:
        yield
        return
    if len(cards) < wanted:
        raise ConfigError(
            f"{name}: runtime.processes {wanted} needs as many GPUs, and {len(cards)} can be seen here; "
            f"compose with runtime.processes={len(cards)}, or with runtime.device=cpu"
        )
    import torch

    with _some_of(cards, name, wanted) as indices:
        torch.cuda.set_device(indices[0])
        held[:] = indices
        try:
            yield
        except BaseException as error:
            clear_frames(error.__traceback__)  # their variables hold memory of the card
            raise
        finally:
            held.clear()
            gc.collect()
            torch.cuda.empty_cache()  # the process may live on


def _visible() -> dict[int, str]:
    """The names of the cards that torch sees, by its index; the current one, where the process may
    have worked before, comes first.

    An index says nothing to another process, since CUDA_VISIBLE_DEVICES counts anew; a UUID does. Slices
    of one card (MIG) might share theirs, and are told apart by the names by which one asks for them.
    """
    import torch

    if not torch.cuda.is_available():
        return {}
    asked = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    indices = range(torch.cuda.device_count())
    current = torch.cuda.current_device()
    names = {}
    for index in sorted(indices, key=lambda index: index != current):
        own = asked[index].strip() if index < len(asked) else ""
        uuid = str(torch.cuda.get_device_properties(index).uuid)
        names[index] = own if own.startswith("MIG-") else uuid
    return names


@contextmanager
def _some_of(cards: dict[int, str], name: str, wanted: int) -> Iterator[list[int]]:
    """Hold the first cards that are free, by their indices; wait for them if need be."""
    with ExitStack() as opened:
        locks = {i: opened.enter_context(_lock_of(card)) for i, card in cards.items()}
        indices = _wait_for(wanted, locks, name)
        for index in indices:
            locks[index].truncate(0)
            print(f"process {os.getpid()} ({name})", file=locks[index], flush=True)
        try:
            yield indices
        finally:
            _give_back(indices, locks)


def _wait_for(wanted: int, locks: dict[int, TextIO], name: str) -> list[int]:
    """The indices of the first cards that are free, and from now on this process's: all at once, since two
    that waited with a card in hand would wait for each other."""
    told = False
    while True:
        taken = [*islice((index for index, lock in locks.items() if _take(lock)), wanted)]
        if len(taken) == wanted:
            return taken
        _give_back(taken, locks)
        if not told:
            others = [lock for index, lock in locks.items() if index not in taken]
            holders = [lock.read().strip() or "another process" for lock in others]
            what = "a GPU" if wanted == 1 else f"{wanted} GPUs"
            print(f"{name}: waiting for {what}, held by {' and '.join(holders)}", flush=True)
            told = True
        time.sleep(PAUSE)


def _take(lock: TextIO) -> bool:
    """Whether a card was free; it is this process's now."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        return False
    except OSError as error:  # a disk without locks, among others
        raise CardError(Path(lock.name).parent, str(error.strerror)) from error
    return True


def _give_back(indices: list[int], locks: dict[int, TextIO]) -> None:
    for index in indices:
        # To close it would not do: a loader's worker, if one was forked, has it open as well.
        fcntl.flock(locks[index], fcntl.LOCK_UN)


def _lock_of(card: str) -> TextIO:
    """The open file of a card, in a folder that is the user's own."""
    folder = Path(gettempdir(), f"hier-cards-{os.geteuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.lstat().st_uid != os.geteuid():
            raise CardError(folder, "it is another user's")
        return (folder / card.replace("/", "_")).open("a+")
    except OSError as error:
        raise CardError(folder, str(error.strerror)) from error
