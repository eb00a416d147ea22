"""Stanford Online Products (Song et al., CVPR 2016): `Ebay_train.txt` and `Ebay_test.txt`.

Their lines give image id, class id, super-class id and path; the classes of the two are disjoint.
"""

from pathlib import Path, PurePosixPath

import pandas as pd

from hier.config.dataset import Dataset
from hier.data.layouts import Row, bad_line, base, number, read_lines, table

LISTS = {"train": "Ebay_train.txt", "test": "Ebay_test.txt"}
HEADER = "image_id class_id super_class_id path"


def read(root: Path, dataset: Dataset) -> pd.DataFrame:
    """Rows in the order of the training list, then the test list; labels are class ids less 1.

    A class is called by the product id in the name of its first image, and that image's folder
    without `_final` is its super-class.

    Raises:
        LayoutError: a list is missing, or has another header or a bad line.
    """
    top = base(root, "Stanford_Online_Products", LISTS["train"])
    prefix = PurePosixPath(top.relative_to(root).as_posix())
    names: dict[int, tuple[str, str]] = {}
    rows = []
    for split, name in LISTS.items():
        for at, label, file in _read_list(top / name):
            product, superclass = names.setdefault(label, _names(file))
            listed = f"{top / name}, line {at}"
            rows.append(Row(str(prefix / file), label, product, superclass, split, listed))
    return table(rows)


def _names(file: str) -> tuple[str, str]:
    """Product id and super-class of `<super-class>_final/<product id>_<number>.JPG`."""
    path = PurePosixPath(file)
    return path.stem.rpartition("_")[0], path.parts[0].removesuffix("_final")


def _read_list(path: Path) -> list[tuple[int, int, str]]:
    """Number, 0-based class and file of every line."""
    lines = read_lines(path)
    at, header = lines[0] if lines else (1, "")
    if header.split() != HEADER.split():
        raise bad_line(path, at, header, f"the header '{HEADER}'")
    return [(at, *_parse(path, at, line)) for at, line in lines[1:]]


def _parse(path: Path, at: int, line: str) -> tuple[int, str]:
    *ids, file = line.split(maxsplit=3)
    numeric = len(ids) == 3 and all(number(i) for i in ids)
    if not numeric or file.count("/") != 1 or not all(_names(file)):
        raise bad_line(
            path,
            at,
            line,
            "<image id> <class id> <super-class id> <super-class>_final/<product id>_<number>.JPG",
        )
    return int(ids[1]) - 1, file
