"""Stanford Online Products (Song et al., CVPR 2016): `Ebay_train.txt` and `Ebay_test.txt`.

Their lines give image id, class id, super-class id and path; the classes of the two are disjoint.
"""

from pathlib import Path

import pandas as pd

from hier.config.dataset import Dataset
from hier.data.layouts import Row, base, below, read_lines, to_table

LISTS = {"train": "Ebay_train.txt", "test": "Ebay_test.txt"}
HEADER = "image_id class_id super_class_id path"
ID = "[1-9][0-9]{0,17}"
LINE = rf"{ID}\s+({ID})\s+{ID}\s+(([^/]*?)(?:_final)?/([^/]+)_[^/]*)"
FORM = "<image id> <class id> <super-class id> <super-class>_final/<product id>_<number>.JPG"


def read(root: Path, dataset: Dataset) -> pd.DataFrame:
    """Rows in the order of the training list, then the test list; labels are class ids less 1.

    A class is called by the product id in the name of its first image, and that image's folder
    without `_final` is its super-class. Raises LayoutError where a list is missing, or has another
    header or a bad line.
    """
    top = base(root, "Stanford_Online_Products", LISTS["train"])
    names: dict[str, tuple[str, str]] = {}
    rows = []
    for split, name in LISTS.items():
        header, *lines = read_lines(top / name, least=1)
        header.match(HEADER.replace(" ", r"\s+"), f"the header '{HEADER}'")
        for line in lines:
            class_id, file, *found = line.match(LINE, FORM).groups()
            superclass, product = names.setdefault(class_id, (found[0], found[1]))
            image = below(root, top, file)
            rows.append(Row(image, int(class_id) - 1, product, superclass, split, str(line)))
    return to_table(rows)
