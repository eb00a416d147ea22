"""Cars-196 (Krause et al., 2013): images in one archive or in two halves, labels in MATLAB files.

Either `car_ims/` and `cars_annos.mat`, or `cars_train/` and `cars_test/` with `devkit/` and
`cars_test_annos_withlabels.mat`: the same images under other names and in another order. The first
half of the class ids is for training, the second half is unseen; the authors' own halves (for
classification) play no part.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from hier.config.dataset import Dataset
from hier.data.layouts import Row, base, below, number, to_table
from hier.data.layouts.matlab import read_names, read_variable
from hier.errors import LayoutError

WHOLE = "cars_annos.mat"
IMAGES = "car_ims"
META = "devkit/cars_meta.mat"
NAMES = "class_names"  # the variable in either
# Each half's images, and its labels with the folder in which they usually lie.
HALVES = {
    "cars_train": ("devkit", "cars_train_annos.mat"),
    "cars_test": ("", "cars_test_annos_withlabels.mat"),
}


def read(root: Path, dataset: Dataset) -> pd.DataFrame:
    """One row per annotation, in the files' order (training half first); labels are ids less 1.

    Raises LayoutError where a `.mat` file is missing, damaged or lacks a variable or field, or an
    annotation's class is not an id of `class_names`.
    """
    whole, meta = base(root, "", WHOLE) / WHOLE, base(root, "", META) / META
    if whole.exists():
        top = base(root, "", IMAGES)
        return to_table(_rows(whole, "relative_im_path", root, top, read_names(whole, NAMES)))
    if not meta.exists():
        raise LayoutError(
            f"{root}: expected {WHOLE} (beside car_ims/) or {META} (beside cars_train/ and "
            "cars_test/); is this the right archive?"
        )
    names = read_names(meta, NAMES)
    rows: list[Row] = []
    for half, (usual, labels) in HALVES.items():
        top = base(root, "", half)
        rows += _rows(base(root, usual, labels) / labels, "fname", root, top / half, names)
    return to_table(rows)


def _rows(path: Path, field: str, root: Path, folder: Path, names: list[str]) -> Iterable[Row]:
    """The annotations in a file, whose `field` is an image's path below `folder`."""
    found = read_variable(path, "annotations")
    lacking = {field, "class"} - set(found.dtype.names or ())
    if lacking:
        raise LayoutError(f"{path}: annotations has no field {' or '.join(sorted(lacking))}")
    for row, (file, label) in enumerate(zip(found[field], found["class"], strict=True), start=1):
        where, most = f"{path}, annotation {row}", len(names)
        class_id = (number(str(label)) if np.ndim(label) == 0 else None) or 0
        if not 1 <= class_id <= most:
            wrong = f"class is '{label}', expected an id from 1 to {most}"
            raise LayoutError(f"{where} ({file}): {wrong}")
        split = "train" if class_id <= most // 2 else "test"
        image = below(root, folder, str(file))
        yield Row(image, class_id - 1, names[class_id - 1], None, split, where)
