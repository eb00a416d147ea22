"""Grocery Store (Klasson et al., WACV 2019): `dataset/{train,val,test}.txt` and `classes.csv`.

The protocol is one of unseen classes, made here (the authors' own is classification): even fine
ids are for training, with the images of all three lists; odd fine ids are unseen, with `test.txt`
as queries and `train.txt` + `val.txt` as gallery. The lists show other visits to the shops, so
that query and gallery are not near-duplicates.
"""

import csv
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from hier.config.dataset import Dataset
from hier.data.layouts import Row, bad_line, number, read_lines, table
from hier.errors import LayoutError

SIDE = {"train": "gallery", "val": "gallery", "test": "query"}  # of the odd classes


class _Class(NamedTuple):
    name: str
    coarse: str
    coarse_id: int


def read(root: Path, dataset: Dataset) -> pd.DataFrame:
    """Rows in the order of `train.txt`, `val.txt`, `test.txt`; labels are the fine ids.

    The super-class is `<department>/<coarse name>`, such as `Fruit/Apple`.

    Raises:
        LayoutError: a list or `classes.csv` is missing, or has a bad line.
    """
    top = _top(root)
    classes = _read_classes(top / "classes.csv")
    prefix = PurePosixPath(top.relative_to(root).as_posix())
    rows = []
    for name, side in SIDE.items():
        path = top / f"{name}.txt"
        for at, line in read_lines(path):
            file, label = _parse(path, at, line, classes)
            rows.append(
                Row(
                    image=str(prefix / file),
                    label=label,
                    class_name=classes[label].name,
                    superclass=f"{PurePosixPath(file).parts[1]}/{classes[label].coarse}",
                    split="train" if label % 2 == 0 else side,
                    listed=f"{path}, line {at}",
                )
            )
    return table(rows)


def _top(root: Path) -> Path:
    """The folder `dataset`, in `root` or in the archive's top folder."""
    inner = [folder for folder in sorted(root.glob("*/dataset")) if folder.is_dir()]
    return root / "dataset" if (root / "dataset").is_dir() or not inner else inner[0]


def _parse(path: Path, at: int, line: str, classes: dict[int, _Class]) -> tuple[str, int]:
    file, *ids = (part.strip() for part in line.split(","))
    label, coarse = map(number, ids) if len(ids) == 2 else (None, None)
    if label is None or coarse is None or len(PurePosixPath(file).parts) < 3:
        raise bad_line(path, at, line, "<list>/<department>/…/<file>, <fine id>, <coarse id>")
    if label not in classes or classes[label].coarse_id != coarse:
        raise LayoutError(
            f"{path}, line {at}: class {label} in coarse class {coarse} is not in classes.csv"
        )
    return file, label


def _read_classes(path: Path) -> dict[int, _Class]:
    classes: dict[int, _Class] = {}
    for at, line in read_lines(path)[1:]:
        fields = next(csv.reader([line]))
        fine, coarse = (number(fields[1]), number(fields[3])) if len(fields) > 3 else (None, None)
        if fine is None or coarse is None:
            raise bad_line(path, at, line, "<name>,<fine id>,<coarse name>,<coarse id>,…")
        classes[fine] = _Class(fields[0], fields[2], coarse)
    return classes
