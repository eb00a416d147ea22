"""Checkpoints as files: their names hold where training stood and the hash of their bytes.

`e0003-s00012.<sha256>.pt` was written after 3 whole epochs and 12 steps of the next one. What is
needed to find and prove them stands here, apart from torch.
"""

import re
import shutil
from hashlib import file_digest
from pathlib import Path

FOLDER = Path(".checkpoints")
NAME = re.compile(r"e(\d+)-s(\d+)\.([0-9a-f]{64})\.pt")


def clear_checkpoints(run: str, folder: Path = FOLDER) -> None:
    """Remove all of a run's checkpoints, once its outputs and their record are in place."""
    shutil.rmtree(folder / run, ignore_errors=True)


def stem(epoch: int, step: int) -> str:
    """The start of a checkpoint's name."""
    return f"e{epoch:04d}-s{step:05d}"


def position(path: Path) -> tuple[int, int]:
    """Epochs and steps done, as a checkpoint's name says; ValueError where it is no such name."""
    if match := NAME.fullmatch(path.name):
        return int(match[1]), int(match[2])
    raise ValueError(f"{path} is not named as a checkpoint is")


def checkpoint_files(folder: Path) -> list[Path]:
    """The checkpoints that lie in `folder` itself, the furthest last."""
    paths = (path for path in folder.glob("*.pt") if NAME.fullmatch(path.name))
    return sorted(paths, key=lambda path: (position(path), path.name))


def is_damaged(path: Path) -> bool:
    """Whether a checkpoint's bytes are not those that its name promises."""
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest() != path.name.split(".")[1]


def damaged_checkpoints(folder: Path) -> list[Path]:
    """The damaged ones of all checkpoints below `folder`, whatever their run and identity."""
    paths = (path for path in folder.rglob("*.pt") if NAME.fullmatch(path.name))
    return sorted(path for path in paths if is_damaged(path))
