"""Grocery Store (Klasson et al., WACV 2019): `dataset/{train,val,test}.txt` and `classes.csv`.

The protocol is one of unseen classes, made here (the authors' own is classification): even fine
ids are for training, with the images of all three lists; odd fine ids are unseen, with `test.txt`
as queries and `train.txt` + `val.txt` as gallery. The lists show other visits to the shops, so
that query and gallery are not near-duplicates.
"""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from hier.config.dataset import Dataset
from hier.data.layouts import ID, Row, base, below, read_lines, to_table
from hier.errors import LayoutError

SIDE = {"train": "gallery", "val": "gallery", "test": "query"}  # of the odd classes
LINE = rf"([^,/]*/([^,/]+)/[^,]+?)\s*,\s*({ID})\s*,\s*({ID})"
CLASS = rf"([^,]*),({ID}),([^,]*),({ID})(?:,.*)?"
CLASS_FORM = "<name>,<fine id>,<coarse name>,<coarse id>,…"
FORM = "<list>/<department>/…/<file>, <fine id>, <coarse id>"


class _Class(NamedTuple):
    name: str
    coarse: str
    coarse_id: int


def read(root: Path, dataset: Dataset) -> pd.DataFrame:
    """Rows in the order of `train.txt`, `val.txt`, `test.txt`; labels are the fine ids.

    The super-class is `<department>/<coarse name>`, such as `Fruit/Apple`. Raises LayoutError where a
    list or `classes.csv` is missing, or has a bad line.
    """
    top = base(root, "dataset", "classes.csv")
    classes = _read_classes(top / "classes.csv")
    rows = []
    for name, side in SIDE.items():
        for line in read_lines(top / f"{name}.txt"):
            file, department, *ids = line.match(LINE, FORM).groups()
            label, coarse = map(int, ids)
            if label not in classes or classes[label].coarse_id != coarse:
                found = f"class {label} in coarse class {coarse}"
                raise LayoutError(f"{line}: {found} is not in classes.csv")
            split = "train" if label % 2 == 0 else side
            superclass = f"{department}/{classes[label].coarse}"
            image = below(root, top, file)
            rows.append(Row(image, label, classes[label].name, superclass, split, str(line)))
    return to_table(rows)


def _read_classes(path: Path) -> dict[int, _Class]:
    classes: dict[int, _Class] = {}
    for line in read_lines(path)[1:]:
        name, fine, coarse, coarse_id = line.match(CLASS, CLASS_FORM).groups()
        classes[int(fine)] = _Class(name, coarse, int(coarse_id))
    return classes
