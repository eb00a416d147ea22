"""How far the training of a run has come: its epochs so far, from a checkpoint or from history.csv."""

import csv
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from io import StringIO
from pathlib import Path

from hier.files.checkpoint_names import FOLDER as CHECKPOINTS
from hier.files.checkpoint_names import checkpoint_files, position
from hier.files.lock import LEASE
from hier.files.lock_note import look
from hier.files.lock_owner import is_here, works
from hier.ledger.artifacts import reading
from hier.ledger.locks import FOLDER as LOCKS
from hier.pipeline import HISTORY
from hier.watching.in_checkpoint import Row, as_row, history_in

RECALLS = ("test R@", "held-out R@")


class State(StrEnum):
    """How a run stands."""

    TRAINING = "training"
    STOPPED = "stopped"  # it has a checkpoint, and no process trains it
    NOT_BEGUN = "not begun"
    TRAINED = "trained"


@dataclass(frozen=True)
class Curve:
    """The whole epochs of a run's training, and where it stands after `step` steps of the next one."""

    run: str
    epochs: int  # that it shall have
    state: State
    rows: list[Row]
    step: int = 0

    def terms(self) -> Row:
        """Means of the loss and of its terms over the last epoch; of a loss with one term, the loss alone."""
        last = self.rows[-1] if self.rows else {}
        own = [n for n in last if n not in ("epoch", "loss", "rate") and not n.startswith(RECALLS)]
        return {name: last[name] for name in ("loss", *(own if len(own) > 1 else [])) if name in last}

    def recalls(self) -> tuple[int, Row]:
        """The epoch after which recall was looked at last, and what was seen, shares of 1; 0 and nothing
        where it was not."""
        for row in reversed(self.rows):
            if found := {name: value for name, value in row.items() if name.startswith(RECALLS)}:
                return int(row["epoch"]), found
        return 0, {}


class Looker:
    """Looks at runs, each with its number of epochs, again and again; a checkpoint is read once."""

    def __init__(self, epochs: Mapping[str, int]) -> None:
        self.epochs = epochs
        self._seen: dict[str, tuple[Path, list[Row]]] = {}

    def look(self) -> list[Curve]:
        """How each run stands now. Raises DamagedInputError: a history.csv cannot be read."""
        return [self._curve(run, epochs) for run, epochs in self.epochs.items()]

    def _curve(self, run: str, epochs: int) -> Curve:
        began, (changed, paths) = _began(run), _checkpoints(run)
        history = Path(HISTORY.format(run=run))
        # An older one is of a training before the present one, which has not come to its end.
        ended = _changed(history)
        is_new = ended is not None and ended >= max(began or 0.0, changed)
        if is_new and (whole := _rows_of(history)) is not None:
            return Curve(run, epochs, State.TRAINED, whole)
        path, rows = self._newest(run, paths)
        state = State.STOPPED if paths else State.NOT_BEGUN
        step = position(path)[1] if path else 0
        return Curve(run, epochs, state if began is None else State.TRAINING, rows, step)

    def _newest(self, run: str, paths: list[Path]) -> tuple[Path | None, list[Row]]:
        """The furthest good checkpoint with its rows. Where all have just vanished or are damaged, what was
        seen last; of a run without any, nothing."""
        path, rows = self._seen.get(run, (None, []))
        for each in reversed(paths):
            if each == path:
                return path, rows
            if (found := history_in(each)) is not None:
                self._seen[run] = each, found
                return each, found
        return (path, rows) if paths else (None, [])


def _began(run: str) -> float | None:
    """Since when a process trains a run, in seconds; None where none does. Its note is read, no more: how a
    lock looks at one writes beside it."""
    seen = look(LOCKS / f"train@{run}")
    if seen is None or not (holder := seen.holder):
        return None
    renewed = time.time() - seen.changed / 1e9 < LEASE
    if not (works(holder) if is_here(holder) else renewed):
        return None
    with suppress(ValueError):
        return time.mktime(time.strptime(holder["since"], "%Y-%m-%d %H:%M:%S"))
    return 0.0


def _checkpoints(run: str) -> tuple[float, list[Path]]:
    """When a run's newest checkpoint was written, and those of the same inputs, settings and code, the
    furthest last. Others, of a training that was given up, may lie beside them."""
    folders = [folder for folder in (CHECKPOINTS / run).glob("*") if folder.is_dir()]
    found = [(_changed(path) or 0.0, folder) for folder in folders for path in checkpoint_files(folder)]
    if not found:
        return 0.0, []
    changed, newest = max(found)
    return changed, checkpoint_files(newest)


def _changed(path: Path) -> float | None:
    """When a file was written; None where it is not there, any more perhaps."""
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return None


def _rows_of(path: Path) -> list[Row] | None:
    """The rows of a history.csv; None where it has just vanished. DamagedInputError where it is not what
    training writes."""
    with reading(path):
        try:
            table = csv.DictReader(StringIO(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        if lacking := {"epoch", "loss", "rate"} - set(table.fieldnames or ()):
            raise ValueError(f"it has no column {min(lacking)}")
        return [as_row(row) for row in table]
