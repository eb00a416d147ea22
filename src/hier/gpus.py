"""A job that works on a GPU has the card to itself: it takes a free one, and waits where none is.

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
from itertools import takewhile
from pathlib import Path
from tempfile import gettempdir
from traceback import clear_frames
from typing import TextIO

from hier.config.run import Runtime
from hier.errors import CardError

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
def acquire_gpu(runtime: Runtime, name: str) -> Iterator[None]:
    """Hold a card while the block runs, as torch's current device: the one that "cuda" means.

    Waits, and says so once, while others hold all that this process sees; they are told `name`. Without
    a GPU, or where the runtime wants none, the block simply runs. Not to be nested: the inner one would
    wait for the outer one's card. CardError where the folder of the locks cannot be used.
    """
    cards = _visible() if runtime.device != "cpu" else {}
    if not cards:
        yield
        return
    import torch

    with _one_of(cards, name) as index:
        torch.cuda.set_device(index)
        try:
            yield
        except BaseException as error:
            clear_frames(error.__traceback__)  # their variables hold memory of the card
            raise
        finally:
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
def _one_of(cards: dict[int, str], name: str) -> Iterator[int]:
    """Hold the first card that is free, by its index; wait for it if need be."""
    with ExitStack() as opened:
        locks = {i: opened.enter_context(_lock_of(card)) for i, card in cards.items()}
        index = _wait_for_one(locks, name)
        locks[index].truncate(0)
        print(f"process {os.getpid()} ({name})", file=locks[index], flush=True)
        try:
            yield index
        finally:
            # To close it would not do: a loader's worker, if one was forked, has it open as well.
            fcntl.flock(locks[index], fcntl.LOCK_UN)


def _wait_for_one(locks: dict[int, TextIO], name: str) -> int:
    """The index of the first card that is free, and from now on this process's."""
    told = False
    while True:
        for index, lock in locks.items():
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return index
            except BlockingIOError:
                lock.seek(0)
            except OSError as error:  # a disk without locks, among others
                raise CardError(Path(lock.name).parent, str(error.strerror)) from error
        if not told:
            holders = [lock.read().strip() or "another process" for lock in locks.values()]
            print(f"{name}: waiting for a GPU, held by {' and '.join(holders)}", flush=True)
            told = True
        time.sleep(PAUSE)


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
