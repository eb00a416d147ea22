"""What training needs to go on after a break: written whole at each epoch's end, outside the outputs."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hier.provenance.atomic import atomic_file

FOLDER = Path(".checkpoints")
KEPT = 2


@dataclass
class Checkpoints:
    """The checkpoints of one run. Those with another `identity` (inputs, settings, code) are not used."""

    run: str
    identity: str
    folder: Path = FOLDER

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Write the state at the end of `epoch`; keep the last two."""
        with atomic_file(self._path(epoch)) as path:
            torch.save({"identity": self.identity, "epoch": epoch, **state}, path)
        for old in self._paths()[:-KEPT]:
            old.unlink()

    def latest(self) -> dict[str, Any] | None:
        """The newest checkpoint of this identity, or None."""
        for path in reversed(self._paths()):
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            if state["identity"] == self.identity:
                return state
        return None

    def last_good(self) -> str:
        """Where the newest checkpoint lies, in words."""
        paths = self._paths()
        return str(paths[-1]) if paths else "none, it was the first epoch"

    def clear(self) -> None:
        """Remove all of the run's checkpoints, once its outputs are in place."""
        shutil.rmtree(self.folder / self.run, ignore_errors=True)

    def _path(self, epoch: int) -> Path:
        return self._home() / f"epoch-{epoch:04d}.pt"

    def _paths(self) -> list[Path]:
        return sorted(self._home().glob("epoch-*.pt"))

    def _home(self) -> Path:
        # A folder for each identity: another's checkpoints neither count among the kept nor are used.
        return self.folder / self.run / self.identity[:16]
