"""Batches of images from loader workers; whatever befalls a worker ends the work with one line.

torch's loader alone does not do: what a worker raises arrives as another exception of many lines, a
worker's death is raised in the middle of a step, and one that never answers is waited for for ever.
"""

import ctypes
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate, default_convert, get_worker_info

from hier.errors import HierError, WorkerError

TICK = 2.0  # seconds after which one looks whether the workers still live
PATIENCE = 600.0  # seconds without a batch after which they count as stuck; a disk may be slow
PR_SET_PDEATHSIG = 1
SIGNALS = (signal.SIGTERM, signal.SIGINT)
CAUSES = {
    signal.SIGBUS: ", which means that /dev/shm is too small or that images.npy was cut short",
    signal.SIGKILL: ", most likely for lack of memory",
}

_abandoned: list[Iterator[Any]] = []


@dataclass(frozen=True)
class Failure:
    """What a worker sends in place of a batch: its error, and its trace as text."""

    error: HierError
    trace: str


class _Guarded(Dataset[Tensor]):
    """A dataset whose errors leave a worker as a `Failure`."""

    def __init__(self, images: Dataset[Tensor]) -> None:
        self.images = images

    def __getitems__(self, positions: Sequence[int]) -> Tensor | Failure:
        try:
            batch: Tensor = default_collate([self.images[position] for position in positions])
        except Exception as error:
            if get_worker_info() is None:
                raise
            return Failure(_own(error), traceback.format_exc())
        return batch


def _own(error: Exception) -> HierError:
    """An error that takes one line."""
    if isinstance(error, HierError):
        return error
    return WorkerError("failed: " + " ".join(f"{type(error).__name__}: {error}".split()))


def batches(
    images: Dataset[Tensor],
    positions: Sequence[int],
    batch_size: int,
    workers: int,
    stop: Callable[[], bool] = lambda: False,
    generator: torch.Generator | None = None,
    pin_memory: bool = False,
) -> Iterator[Tensor]:
    """Yield the images at `positions` as batches, uint8 (B×S×S×3).

    Workers that loaded them are gone when this ends, whatever ends it.

    Args:
        stop: whether to give up where the next batch is not there at once.
        generator: draws the workers' seeds; torch's own where it is None.

    Raises HierError: a worker raised it; WorkerError: a worker died, failed otherwise or did not answer, or
    `stop` said so."""
    loader = DataLoader(
        _Guarded(images),
        batch_size=batch_size,
        sampler=positions,
        num_workers=workers,
        collate_fn=default_convert,  # a batch is collated already
        pin_memory=pin_memory,
        generator=generator,
        worker_init_fn=_begin,
        timeout=TICK if workers else 0,
    )
    if not workers:
        yield from loader
        return
    with _started(loader) as (iterator, processes):
        while (batch := _next(iterator, processes, stop)) is not None:
            yield batch


def _next(
    iterator: Iterator[Tensor | Failure], processes: list[BaseProcess], stop: Callable[[], bool]
) -> Tensor | None:
    """The next batch, None after the last one."""
    waited = 0.0
    while True:
        try:
            batch = next(iterator, None)
        except Exception as error:
            if dead := next((each for each in processes if not each.is_alive()), None):
                raise WorkerError(how_it_ended(dead)) from error
            if "timed out" not in str(error):
                raise _own(error) from error
            waited += TICK
            if stop() or waited >= PATIENCE:
                raise WorkerError(f"has not answered for {waited:.0f} seconds") from error
            continue
        if isinstance(batch, Failure):
            where = f"in a worker that loads images:\n{batch.trace}"
            raise batch.error from RuntimeError(where)
        return batch


@contextmanager
def _started(loader: DataLoader[Any]) -> Iterator[tuple[Iterator[Any], list[BaseProcess]]]:
    """A loader's iterator and its workers, which are killed when the block ends.

    They have nothing to lose, and a request could fall on deaf ears: they ignore signals.
    """
    before, in_main = set(active_children()), _in_main_thread()
    handler = signal.getsignal(signal.SIGCHLD)
    iterator: Iterator[Any] | None = None
    try:
        try:
            with _signals_put_off():
                iterator = iter(loader)
        except OSError as error:
            raise WorkerError(f"cannot be started: {error.strerror or error}") from error
        finally:
            if in_main:  # torch's would raise wherever a worker's death finds us
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        yield iterator, list({*active_children()} - before)
    finally:
        left = {*active_children()} - before
        for process in left:
            process.kill()
        for process in left:
            process.join()
        if left and iterator:
            # Its end would wait for what a killed worker may have locked: it stays to the process's.
            _abandoned.append(iterator)
        if in_main:
            signal.signal(signal.SIGCHLD, handler or signal.SIG_DFL)


@contextmanager
def _signals_put_off() -> Iterator[None]:
    """Answer signals after the block: a fork loses what is raised in it, and new workers have the
    handlers of this process until they begin."""
    came: list[int] = []
    numbers = SIGNALS if _in_main_thread() else ()
    before = {each: signal.signal(each, lambda number, _: came.append(number)) for each in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        for late in came:
            signal.raise_signal(late)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def live_as_long_as_parent() -> None:
    """Let no signal to a whole group of processes end this one before its parent, which may still finish
    a step, and do not outlive it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def how_it_ended(process: BaseProcess) -> str:
    """How a process ended, in words."""
    code = process.exitcode or 0
    if code >= 0:
        return f"ended with exit code {code}"
    number = signal.Signals(-code)
    return f"was killed by {number.name}{CAUSES.get(number, '')}"


def _begin(worker: int) -> None:
    live_as_long_as_parent()
    for number in (signal.SIGBUS, signal.SIGSEGV, signal.SIGFPE):
        signal.signal(number, signal.SIG_DFL)  # torch's handler writes a line of its own
    # A batch that cannot be sent would be waited for for ever.
    Queue._on_queue_feeder_error = staticmethod(lambda *_: os._exit(1))  # type: ignore[attr-defined]
