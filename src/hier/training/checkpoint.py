"""What training needs to go on after a break: written whole or not at all, outside the outputs."""

import os
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

import torch

from hier.errors import ConfigError
from hier.files.atomic import full_disk_is_clear
from hier.files.checkpoint_names import FOLDER, checkpoint_files, is_damaged, position, stem

KEPT = 2
NEEDED = {"identity", "epoch", "step"}  # beside the state of training, which names its parts
MINUTES = "HIER_CHECKPOINT_MINUTES"


def seconds_between() -> float:
    """Seconds from one checkpoint to the next, from HIER_CHECKPOINT_MINUTES (10; 0: each step).

    It cannot change a result, so it is no setting of a run. Raises ConfigError: it is not a number of 0 or
    more."""
    given = os.environ.get(MINUTES, "10")
    try:
        minutes = float(given)
    except ValueError:
        minutes = -1.0
    if not minutes >= 0:  # NaN is refused, too
        raise ConfigError(f"{MINUTES} must be a number of minutes, 0 or more (given: '{given}')")
    return minutes * 60


@dataclass
class Checkpoints:
    """The checkpoints of one run. Those with another `identity` (inputs, settings, code) are not used."""

    run: str
    identity: str
    folder: Path = FOLDER
    seconds: float = field(default_factory=seconds_between)

    def __post_init__(self) -> None:
        self._since = monotonic()
        self._damaged: set[Path] = set()

    def due(self) -> bool:
        """Whether it is time for the next one."""
        return monotonic() - self._since >= self.seconds

    def save(self, epoch: int, step: int, state: dict[str, Any], fsync: bool = True) -> Path:
        """Write the state after `epoch` whole epochs and `step` steps of the next; keep the last two. With
        `fsync` it waits until the disk has it, so that it outlives a power failure; without, what a power
        failure tears is found by its hash and passed over. Raises DiskFullError: no space is left; the older
        ones are intact."""
        self._remove_leftovers()
        name, home = stem(epoch, step), self._home()
        home.mkdir(parents=True, exist_ok=True)
        temporary = home / f".{name}.{os.getpid()}.part"
        try:
            with full_disk_is_clear(home / name):
                content = {"identity": self.identity, "epoch": epoch, "step": step, **state}
                path = home / f"{name}.{_write(content, temporary, fsync)}.pt"
                temporary.replace(path)
                if fsync:
                    _fsync_folder(home)
        finally:
            temporary.unlink(missing_ok=True)
        self._remove_superseded(path)
        self._since = monotonic()
        return path

    def latest(self) -> dict[str, Any] | None:
        """The newest good checkpoint of this identity, or None; each damaged one is named."""
        for path in reversed(self._paths()):
            state = _read(path)
            if state is None:
                self._damaged.add(path)
                print(f"{path} is damaged; going on from the one before, if any", flush=True)
            elif state["identity"] == self.identity:
                return state
        return None

    def last_good(self) -> str:
        """Where the newest good checkpoint lies, in words."""
        good = (path for path in reversed(self._paths()) if not is_damaged(path))
        return str(next(good, "none, training had just begun"))

    def _remove_superseded(self, newest: Path) -> None:
        """Keep `newest` and the good ones just before it; what lies further on was not gone on from."""
        others = [path for path in self._paths() if path != newest]
        self._damaged.discard(newest)
        good = [path for path in others if position(path) < position(newest) and path not in self._damaged]
        for path in set(others) - set(good[1 - KEPT :]):
            path.unlink()

    def _remove_leftovers(self) -> None:
        """What a killed process left half-written."""
        for path in (self.folder / self.run).rglob(".*.part"):
            path.unlink()

    def _paths(self) -> list[Path]:
        return checkpoint_files(self._home())

    def _home(self) -> Path:
        # A folder for each identity: another's checkpoints neither count among the kept nor are used.
        return self.folder / self.run / self.identity[:16]


class _HashedFile:
    """A file for torch.save that hashes what it writes.

    The first exception is kept for the caller: torch would turn a full disk, and Ctrl-C as well,
    into a RuntimeError about positions in the archive.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.hash = stream, sha256()
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        if self.error is None:
            try:
                self.stream.write(data)
                self.hash.update(data)
            except BaseException as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        """Nothing: `_write` flushes, where an exception is safe."""


def _write(content: dict[str, Any], path: Path, fsync: bool) -> str:
    """Write `content` to `path`; return the SHA-256 of the bytes."""
    with path.open("wb") as stream:
        file = _HashedFile(stream)
        torch.save(content, file)  # type: ignore[arg-type]  # it writes and flushes, no more
        if file.error is not None:
            raise file.error
        stream.flush()
        if fsync:
            os.fsync(stream.fileno())
    return file.hash.hexdigest()


def _read(path: Path) -> dict[str, Any] | None:
    """What a checkpoint holds, or None where it is damaged."""
    try:
        if is_damaged(path):
            return None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever torch or the disk has against it, the one before may do
        return None
    return state if isinstance(state, dict) and state.keys() >= NEEDED else None


def _fsync_folder(folder: Path) -> None:
    """Bring a rename in `folder` to the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
