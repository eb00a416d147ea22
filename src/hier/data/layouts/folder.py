"""A folder for each class: `<class>/<photo>`, or `<super-class>/<class>/<photo>` of any depth.

Above them may stand folders `train` and `test`, or `train`, `query` and `gallery`, that say the split; a file
`*split.csv` beside the list of photos may say it, too (see table.py).
"""

from pathlib import Path

import pandas as pd

from hier.config.dataset import Dataset
from hier.data.index import SPLITS, few
from hier.data.layouts.sides import Photo, photos_in, rows_of
from hier.data.layouts.split_file import read_split
from hier.errors import LayoutError

OTHER_SIDES = ("dev", "val", "valid", "validation", "training", "testing")  # which no protocol here has


def read(root: Path, dataset: Dataset) -> pd.DataFrame:
    """Rows in the order of the photos' paths. Raises LayoutError: photos lie in no folder, or at different
    depths; as `rows_of`."""
    paths = photos_in(root)
    if loose := [path for path in paths if "/" not in path]:
        lie = f"{len(loose)} photos lie in no folder of a class ({few(loose)})"
        raise LayoutError(f"{dataset.name}: {lie}; put each into a folder named after its class")
    parts = [tuple(path.split("/")) for path in paths]
    in_sides = says_split(paths)
    if not in_sides:
        _see_that_no_split_is_meant(parts, dataset)
    split = read_split(root)
    photos = []
    for path, (*folders, _) in zip(paths, parts, strict=True):
        side = folders.pop(0).lower() if in_sides else None
        photos.append(Photo(path, tuple(folders), side, path))
    _see_that_all_are_as_deep(photos, dataset)
    return rows_of(split(photos) if split else photos, dataset)


def says_split(paths: list[str]) -> bool:
    """Whether the uppermost folders of the paths are those of splits, with folders below them."""
    parts = [path.split("/") for path in paths]
    return {own[0].lower() for own in parts} <= set(SPLITS) and all(len(own) > 2 for own in parts)


def _see_that_no_split_is_meant(parts: list[tuple[str, ...]], dataset: Dataset) -> None:
    """Raise LayoutError where folders would be taken for classes, or levels above them, and look like sides:
    the same class below two of them would count as two classes."""
    tops = {own[0] for own in parts}
    sides = sorted(top for top in tops if top.lower() in (*SPLITS, *OTHER_SIDES))
    if len(sides) > 1 or len(sides) == len(tops):
        raise LayoutError(
            f"{dataset.name}: the folders {few(sides)} look like sides of a split, and are none: those are "
            "train and test, or train, query and gallery, with folders of classes below; rename or merge them"
        )


def _see_that_all_are_as_deep(photos: list[Photo], dataset: Dataset) -> None:
    """Raise LayoutError where one class is a level and another a level above it."""
    by_depth = {len(photo.names): photo.path for photo in reversed(photos)}
    if len(by_depth) > 1:
        (low, first), *_, (high, last) = sorted(by_depth.items())
        raise LayoutError(
            f"{dataset.name}: photos lie at different depths: '{first}' in {low}, '{last}' in {high}; "
            "each class must have as many folders above it"
        )
