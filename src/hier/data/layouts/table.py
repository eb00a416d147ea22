"""A table of photos, `*table.csv` or `*table.parquet`: columns `path` (below the photos' folder) and `label`.

Further columns count where they are there: `split` (train and test, or train, query and gallery), `crop`
(left, top, right and bottom in pixels), and one for each level above the class. `columns` of the dataset
names those levels, and what a file calls otherwise.
"""

import re
from pathlib import Path

import pandas as pd

from hier.config.dataset import Columns, Dataset
from hier.data.layouts import missing
from hier.data.layouts.sides import Box, Photo, photos_in, rows_of
from hier.data.layouts.split_file import Line, find_table, read_split, read_table
from hier.errors import LayoutError


def read(root: Path, dataset: Dataset) -> pd.DataFrame:
    """Rows in the order of the table. Raises LayoutError: there is no table, a column that is needed or named
    as a level is missing, a photo is named twice or is not there, a box is none; as `rows_of`."""
    path = find_table(root, "table")
    if path is None:
        raise missing(root / "table.csv")
    there, photos, first = set(photos_in(root)), [], dict[str, str]()
    columns = dataset.columns
    usual = Columns()
    renamed = [own for own, name in ((columns.split, usual.split), (columns.crop, usual.crop)) if own != name]
    for line in read_table(path, (columns.path, columns.label, *columns.above, *renamed)):
        photo = _photo(line, columns)
        if (before := first.setdefault(photo.path, line.where)) != line.where:
            raise LayoutError(f"{line.where}: '{photo.path}' was named before ({before})")
        photos.append(photo)
    if gone := [photo for photo in photos if photo.path not in there]:
        more = f" ({len(gone)} of {len(photos)} are not)" if len(gone) > 1 else ""
        what = f"{gone[0].listed}: '{gone[0].path}' is not among the photos{more}"
        raise LayoutError(f"{what}; a path is written from the folder on")
    _see_that_each_class_has_one_superclass(photos)
    split = read_split(root)
    return rows_of(split(photos) if split else photos, dataset)


def _see_that_each_class_has_one_superclass(photos: list[Photo]) -> None:
    """Raise LayoutError where a label stands under two: it would count as two classes."""
    first: dict[str, Photo] = {}
    for photo in photos:
        before = first.setdefault(photo.names[-1], photo)
        if before.names != photo.names:
            above = " and ".join(f"{'/'.join(of.names[:-1])} ({of.listed})" for of in (before, photo))
            label = f"label '{photo.names[-1]}' is below {above}"
            raise LayoutError(
                f"{label}; a class has one super-class; mend it, or give two classes two labels"
            )


def _photo(line: Line, columns: Columns) -> Photo:
    values = line.values
    names = (*(values[level] for level in reversed(columns.above)), values[columns.label])
    if slash := next((name for name in names[:-1] if "/" in name), None):
        raise LayoutError(f"{line.where}: '{slash}' has a / in it; give each level its own column")
    box, split = values.get(columns.crop), values.get(columns.split, "").lower() or None
    crop = _box(box, line.where) if box else None
    return Photo(values[columns.path].removeprefix("./"), names, split, line.where, crop)


def _box(text: str, where: str) -> Box:
    numbers = re.split(r"[\s,;]+", text.strip("[]() "))
    try:
        left, top, right, bottom = (round(float(number)) for number in numbers)
    except (ValueError, OverflowError):
        raise LayoutError(f"{where}: crop '{text[:60]}' is not left, top, right, bottom in pixels") from None
    if not (0 <= left < right and 0 <= top < bottom):
        raise LayoutError(f"{where}: crop '{text[:60]}' is empty or begins outside of the picture")
    return left, top, right, bottom
