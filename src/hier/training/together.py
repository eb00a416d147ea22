"""Start the other processes of a run, and end them: one leads, which alone writes, measures and is stopped.

The others do what the leader does, from the same settings, images and checkpoint. They keep nothing, so they
are killed when the leader is done, stopped or lost.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch
import torch.distributed as dist

from hier import gpus
from hier.config.run import Run
from hier.data.loading import how_it_ended, live_as_long_as_parent
from hier.errors import HierError, ProcessError
from hier.training.batches import TrainingImages
from hier.training.checkpoint import Checkpoints
from hier.training.group import ALONE, Group
from hier.training.loop import train

HERE = "127.0.0.1"
LOOPBACK = {"linux": "lo", "darwin": "lo0"}
PATIENCE = timedelta(days=7)  # the leader may measure for long; a process that ends is noticed at once
PATIENCE_OF_NCCL = timedelta(hours=1)  # by which alone it notices
LAST_WORDS = 5.0  # seconds in which a process that fails can say why

READY = "ready"


@contextmanager
def together(run: Run, images: TrainingImages, num_classes: int, checkpoints: Checkpoints) -> Iterator[Group]:
    """Let as many processes train the run as its runtime says while the block runs; this one leads.

    Raises ProcessError where one of them ends; whatever HierError ended it."""
    size = run.runtime.processes
    if size == 1:
        yield ALONE
        return
    if name := LOOPBACK.get(sys.platform):
        for library in ("GLOO", "NCCL"):  # else they look for this machine's name in the network
            os.environ.setdefault(f"{library}_SOCKET_IFNAME", name)
    store = dist.TCPStore(HERE, 0, is_master=True, wait_for_workers=False)
    spawn = get_context("spawn")
    followers: list[tuple[SpawnProcess, Connection]] = []
    try:
        for rank in range(1, size):
            ours, theirs = spawn.Pipe()
            group, card = Group(rank, size), gpus.held[rank] if gpus.held else None
            work = (group, store.port, card, theirs, run, images, num_classes, checkpoints)
            follower = spawn.Process(target=_follow, args=work, name=f"{run.name}, process {rank + 1}")
            follower.start()
            theirs.close()
            followers.append((follower, ours))
        for follower, said in followers:
            wait([said, follower.sentinel])
            if not said.poll() or said.recv() != READY:
                raise RuntimeError("a process did not start")
        _join(Group(0, size), store, on_gpus=bool(gpus.held))
        yield Group(0, size)
    except RuntimeError as error:  # of a lost connection, among others
        if cause := _cause(followers):
            raise cause from error
        raise
    finally:
        for follower, _ in followers:
            follower.kill()
        for follower, _ in followers:
            follower.join()
        if dist.is_initialized():
            dist.destroy_process_group()


def _follow(
    group: Group,
    port: int,
    card: int | None,
    leader: Connection,
    run: Run,
    images: TrainingImages,
    num_classes: int,
    checkpoints: Checkpoints,
) -> None:
    """What a process does that does not lead."""
    live_as_long_as_parent()
    if card is not None:
        torch.cuda.set_device(card)
    leader.send(READY)
    try:
        _join(group, dist.TCPStore(HERE, port, is_master=False), on_gpus=card is not None)
        with (
            Path(os.devnull).open("w", encoding="utf-8") as silence,
            redirect_stdout(silence),
            redirect_stderr(silence),
        ):
            train(run, images, num_classes, _ReadOnly(checkpoints), group=group)
    except HierError as error:
        with suppress(OSError):  # the leader may be gone
            leader.send(error)


class _ReadOnly(Checkpoints):
    """Another process's checkpoints, to go on from."""

    def __init__(self, of: Checkpoints) -> None:
        super().__init__(of.run, of.identity, of.folder)

    def due(self) -> bool:
        return False

    def save(self, epoch: int, step: int, state: object, fsync: bool = True) -> Path:
        return self.folder


def _join(group: Group, store: dist.TCPStore, on_gpus: bool) -> None:
    """Make torch's default process group; returns when all have come."""
    backend, timeout = ("nccl", PATIENCE_OF_NCCL) if on_gpus else ("gloo", PATIENCE)
    dist.init_process_group(backend, store=store, rank=group.rank, world_size=group.size, timeout=timeout)


def _cause(followers: list[tuple[SpawnProcess, Connection]]) -> HierError | None:
    """Why a process is gone; None where all are there."""
    gone = wait([follower.sentinel for follower, _ in followers], LAST_WORDS)
    for _, said in followers:
        with suppress(EOFError, OSError):
            while said.poll():
                if isinstance(word := said.recv(), HierError):
                    return word
    ended = [follower for follower, _ in followers if follower.sentinel in gone]
    for follower in ended:  # the sentinel is ready a moment before the exit code is
        follower.join()
    # One that was killed comes first: others end with an error where it is lost to them.
    ended.sort(key=lambda follower: follower.exitcode or 0)
    return ProcessError(how_it_ended(ended[0])) if ended else None
