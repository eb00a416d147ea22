"""A table of photos, `*table.csv` or `*table.parquet`: columns `path` (below the photos' folder) and `label`.

Further columns count where they are there: `split` (train and test, or train, query and gallery), `crop`
(left, top, right and bottom in pixels), and one for each level that the dataset's `levels` names above the
class. `columns` of the dataset says what a file calls otherwise.
"""

import re
from pathlib import Path

import pandas as pd

from hier.config.dataset import Dataset
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
    above = tuple(reversed(dataset.levels[1:]))
    there, photos, first = set(photos_in(root)), [], dict[str, str]()
    named: dict[str, str] = {
        "path": "path",
        "label": "label",
        "split": "split",
        "crop": "crop",
    } | dataset.columns
    needed = [named[column] for column in ("path", "label", *dataset.columns)]
    for line in read_table(path, (*dict.fromkeys(needed), *above)):
        photo = _photo(line, named, above)
        if (before := first.setdefault(photo.path, line.where)) != line.where:
            raise LayoutError(f"{line.where}: '{photo.path}' was named before ({before})")
        photos.append(photo)
    if gone := [photo for photo in photos if photo.path not in there]:
        more = f" ({len(gone)} of {len(photos)} are not)" if len(gone) > 1 else ""
        raise LayoutError(f"{gone[0].listed}: '{gone[0].path}' is not among the photos{more}")
    split = read_split(root)
    return rows_of(split(photos) if split else photos, dataset)


def _photo(line: Line, named: dict[str, str], above: tuple[str, ...]) -> Photo:
    values = {column: line.values.get(own, "") for column, own in named.items()}
    names = (*(line.values[level] for level in above), values["label"])
    if slash := next((name for name in names[:-1] if "/" in name), None):
        raise LayoutError(f"{line.where}: '{slash}' has a / in it; give each level its own column")
    crop = _box(values["crop"], line.where) if values["crop"] else None
    return Photo(values["path"].removeprefix("./"), names, values["split"] or None, line.where, crop)


def _box(text: str, where: str) -> Box:
    numbers = re.split(r"[\s,;]+", text.strip("[]() "))
    try:
        left, top, right, bottom = (round(float(number)) for number in numbers)
    except (ValueError, OverflowError):
        raise LayoutError(f"{where}: crop '{text[:60]}' is not left, top, right, bottom in pixels") from None
    if not (0 <= left < right and 0 <= top < bottom):
        raise LayoutError(f"{where}: crop '{text[:60]}' is empty or begins outside of the picture")
    return left, top, right, bottom
