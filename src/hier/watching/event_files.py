"""The same numbers for TensorBoard: event files, to which only epochs that are new are added."""

import logging
import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from hier.errors import ConfigError, HierError
from hier.project import LINKABLE
from hier.watching.curves import Curve
from hier.watching.in_checkpoint import Row

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

ROUNDED = 1e-6  # event files hold float32


class MissingTensorBoardError(HierError):
    """The package that writes event files is not installed."""


class EventFiles(ExitStack):
    """A folder of event files, below it one for each run. A scalar is named as a column of history.csv.

    What earlier processes added is read from the files. Where an epoch is another now, as of a run that is
    trained anew, TensorBoard is told to forget it and those after it.
    """

    def __init__(self, folder: Path) -> None:
        """Raises MissingTensorBoardError: tensorboard is not installed; ConfigError: the folder is one of the
        pipeline's own."""
        super().__init__()
        full = folder.resolve()
        if own := next((name for name in LINKABLE if full.is_relative_to(Path(name).resolve())), None):
            raise ConfigError(
                f"--tensorboard: {folder} is in {own}/, which the pipeline makes; name another folder, "
                "such as logs/tensorboard"
            )
        _require_tensorboard()
        self.folder = folder
        self._added: dict[str, dict[int, Row]] = {}
        self._writers: dict[str, SummaryWriter] = {}

    def add(self, curve: Curve) -> None:
        """Add the epochs of a run that are not there yet, and let whoever reads the files have them."""
        if curve.run not in self._added:
            self._added[curve.run] = _epochs_in(self.folder / curve.run)
        added = self._added[curve.run]
        new = {int(row["epoch"]): row for row in curve.rows}
        first = next((epoch for epoch, row in new.items() if not _is_same(row, added.get(epoch))), None)
        if first is None:
            return
        writer = self._writer(curve.run, first)
        for epoch, row in new.items():
            if epoch >= first:
                for name, value in row.items():
                    if name != "epoch":
                        writer.add_scalar(name, value, epoch)
        writer.flush()
        self._added[curve.run] = new

    def _writer(self, run: str, first: int) -> "SummaryWriter":
        """What adds to a run's files from its epoch `first` on; a new one where that is there already."""
        from torch.utils.tensorboard import SummaryWriter

        again = any(epoch >= first for epoch in self._added[run])
        if again or run not in self._writers:
            if run in self._writers:
                self._writers[run].close()
            writer = SummaryWriter(str(self.folder / run), purge_step=first if again else None)
            self._writers[run] = writer
            self.callback(writer.close)
        return self._writers[run]


def _require_tensorboard() -> None:
    """Raises MissingTensorBoardError: it is not installed."""
    try:
        import tensorboard.backend  # noqa: F401  # a folder of the name tensorboard would be a module, too
    except ImportError:
        raise MissingTensorBoardError(
            "tensorboard is not installed; install it with: pip install tensorboard"
        ) from None


def _epochs_in(folder: Path) -> dict[int, Row]:
    """What the event files of a folder hold, by epoch."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of what is forgotten, which is meant
    found: dict[int, Row] = {}
    if folder.is_dir():
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
        for name in events.Tags()["scalars"]:
            for event in events.Scalars(name):
                found.setdefault(event.step, {"epoch": event.step})[name] = event.value
    return found


def _is_same(row: Row, added: Row | None) -> bool:
    """Whether an epoch was added whole, with the values that it has now."""
    if added is None or row.keys() != added.keys():
        return False
    return all(math.isclose(value, added[name], rel_tol=ROUNDED) for name, value in row.items())
