"""Where a dataset's files are looked for, and which local file a download takes."""

import os
from collections.abc import Iterable
from pathlib import Path

from hier.config.dataset import Dataset, File, Source
from hier.data.fetch import local, mirrors_of_environment, places_of

MANUAL_DIR = Path(
    "downloads"
)  # <dataset>/ in it is for files put there by hand, and for parts of files


def by_hand(dataset: Dataset) -> Path:
    """The folder for a dataset's files that are put there by hand."""
    return MANUAL_DIR / dataset.name


def mirrors_of(dataset: Dataset) -> list[str]:
    """The folders and addresses that come before a file's own address, in order.

    Raises:
        ConfigError: HIER_MIRROR names what can be neither.
    """
    return [*mirrors_of_environment(), str(by_hand(dataset)), *dataset.mirrors]


def source_of(dataset: Dataset, names: Iterable[str]) -> Source | None:
    """The first source all of whose files are among `names`."""
    there = set(names)
    complete = (s for s in dataset.sources if {file.name for file in s.files} <= there)
    return next(complete, None)


def taken_from(file: File, mirrors: Iterable[str]) -> Path | None:
    """The local file that `file` would be taken from; None where there is none, or an address, which
    may have it, comes before it."""
    for place in places_of(file, mirrors):
        path = local(place)
        if path is None:
            return None
        if path.is_file() and os.access(path, os.R_OK):
            return path
    return None
