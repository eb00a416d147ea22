"""What a user can get wrong, one class each. The message is one line: what, where, and the mend.

The command line prints the message alone (`--debug` adds the trace) and exits with `exit_code`.
"""

import copyreg
from pathlib import Path
from typing import Any


class HierError(Exception):
    """Base of every error that a user can mend."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Arrive as itself from another process, whatever the class takes to be made."""
        return copyreg.__newobj__, (type(self), *self.args)  # type: ignore[attr-defined]


class ConfigError(HierError):
    """A key that does not exist, or a value of the wrong type or out of range."""

    exit_code = 2


class NoProjectError(HierError):
    """The current folder belongs to no project."""

    def __init__(self, folder: object) -> None:
        super().__init__(
            f"{folder} is in no project: neither it nor a folder above it holds conf/suite or src/hier; "
            "change to the folder that you cloned or unpacked"
        )


class ForeignCodeError(HierError):
    """The code that runs is not the project's, whose source a record would name."""

    def __init__(self, own: Path, running: Path) -> None:
        whole = (own / "__init__.py").exists()
        mend = f"start it with PYTHONPATH={own.parent}" if whole else f"git checkout {own}"
        super().__init__(
            f"{running} is what runs, not this project's {own}, which a record would name; "
            f"nothing was written. Mend it with: {mend}"
        )


class UnknownNameError(ConfigError, ValueError):
    """A dataset, backbone, method, suite or run that does not exist; the valid ones are listed. As a
    ValueError it is what a validator of pydantic says of a wrong value."""

    def __init__(self, kind: str, name: str, valid: list[str]) -> None:
        name = " ".join(name.split())[:100]
        if kind == "dataset" and Path(f"conf/dataset/{name}.yaml").is_file():
            # There is one of that name, but it is not among those that params.yaml has.
            own = Path(f"conf/suite/{name}.yaml").is_file()
            suite = f"suite={name}" if own else f"suite=table1 --dataset {name}"
            super().__init__(
                f"dataset '{name}' is not in params.yaml (which has {', '.join(valid)}); "
                f"choose it first, e.g. with: hier compose {suite}"
            )
        else:
            there = f"choose from: {', '.join(valid)}" if valid else "there is none"
            super().__init__(f"unknown {kind} '{name}'; {there}")


class MissingInputError(HierError):
    """A file that an earlier stage should have written is not there."""

    def __init__(self, path: object, command: str) -> None:
        super().__init__(f"{path} is missing; make it with: {command}")


class DamagedInputError(HierError):
    """A file that an earlier stage wrote cannot be read."""

    def __init__(self, path: object, command: str, reason: Exception) -> None:
        super().__init__(f"{path} is damaged ({' '.join(str(reason).split())}); make it anew with: {command}")


class DownloadError(HierError):
    """No source of a dataset's file could be read."""


class NoDataError(DownloadError):
    """A file is in none of the places where it was looked for."""


class ChecksumError(HierError):
    """A file arrived, but its content is not what the configuration promises."""

    def __init__(self, file: str, expected: str, found: str, source: str) -> None:
        super().__init__(
            f"{file} from {source}: expected {expected}, found {found}; nothing was kept. "
            "Replace that copy, or remove it so that the next place is tried; only where you are "
            "sure that it is right, correct the checksum in conf/ and compose again"
        )


class ChangedPhotosError(HierError):
    """Photos that are read where they lie are not those that were added."""

    def __init__(self, dataset: str, folder: object, changes: str) -> None:
        super().__init__(
            f"the photos in {folder} are not those that were added as {dataset}: {changes}; put them back, "
            f"or take them as they are with: hier dataset add {folder} --name {dataset} --replace"
        )


class ArchiveError(HierError):
    """An archive is damaged or holds a member that must not be unpacked."""


class LayoutError(HierError):
    """An archive's files are not laid out as its dataset's layout says."""


class ImageError(HierError):
    """An image cannot be decoded."""

    def __init__(
        self, dataset: str, image: str, class_name: str, reason: str, in_place: bool = False
    ) -> None:
        mend = (
            f"mend it, then: hier dataset add PHOTOS --name {dataset} --replace"
            if in_place
            else "replace the archive"
        )
        super().__init__(
            f"cannot decode {image} (class {class_name}) of {dataset}: {reason}; {mend}, "
            f"or leave the image out: add exclude: ['{image}'] to conf/dataset/{dataset}.yaml, lower "
            "its counts by what is left out, and compose again"
        )


class ClassOverlapError(HierError):
    """A class has images on both sides of the train/test border."""


class MissingSuperclassError(HierError):
    """A dataset that promises super-classes lacks one for some class."""


class CountError(HierError):
    """A dataset holds another number of images or classes than the configuration promises."""


class WeightsError(HierError):
    """Pretrained weights are missing, or are not the ones that the configuration names."""


class CardError(HierError):
    """The folder in which processes say which GPU they hold cannot be used."""

    def __init__(self, folder: object, reason: str) -> None:
        super().__init__(
            f"cannot keep the locks of GPUs in {folder}: {reason}; remove it, or set TMPDIR to "
            "another folder, the same for all your jobs on this machine"
        )


class WorkerError(HierError):
    """A process that loads images died, failed or does not answer."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"a worker that loads images {what}. Give it more memory (df -h /dev/shm; of a container: "
            "--shm-size) or load without workers: compose with runtime.workers=0; if images.npy was "
            "cut short, make it anew with: hier prepare DATASET"
        )


class ProcessError(HierError):
    """A process that computes a part of each batch of a run is gone."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"a process that trains the run with this one {what}; the same command goes on from the last "
            "checkpoint. With runtime.processes=1 one process does all, to the same bytes"
        )


class DivergedError(HierError):
    """The loss became NaN or infinite."""


class DiskFullError(HierError):
    """No space left on the device; nothing half-written was kept."""


class ReproductionError(HierError):
    """`hier verify` found a cell that was not run, is stale or is out of tolerance."""


class ConflictError(HierError):
    """A file has the marks of a merge that was not finished; says what mends it."""


class TamperedError(HierError):
    """Bytes are not what a record or dvc.lock says that they are."""

    exit_code = 3


class BusyError(HierError):
    """Another process works on the same job; the message says which."""

    exit_code = 4


class RemoteError(HierError):
    """A DVC remote cannot be used, or lacks what dvc.lock names."""


class StaleError(HierError):
    """A result is not what its inputs, parameters and code now say; it was not adopted."""


class RerunError(HierError):
    """A run that was rebuilt gave other bytes."""

    exit_code = 5


class PictureError(HierError):
    """An image that a user gives to a model cannot be read."""
