"""Cars-196 (Krause et al., 2013): images in one archive or in two halves, labels in MATLAB files.

Either `car_ims/` and `cars_annos.mat`, or `cars_train/` and `cars_test/` with `devkit/` and
`cars_test_annos_withlabels.mat`: the same images under other names and in another order. The first
half of the class ids is for training, the second half is unseen; the authors' own halves (for
classification) play no part.
"""

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hier.config.dataset import Dataset
from hier.data.layouts import Row, base, below, number, table
from hier.errors import LayoutError

WHOLE = "cars_annos.mat"
IMAGES = "car_ims"
META = "devkit/cars_meta.mat"
HALVES = {
    "cars_train": ("devkit/cars_train_annos.mat",),
    "cars_test": ("cars_test_annos_withlabels.mat", "devkit/cars_test_annos_withlabels.mat"),
}
UNREADABLE = (ValueError, TypeError, KeyError, IndexError, NotImplementedError, OSError, zlib.error)


def read(root: Path, dataset: Dataset) -> pd.DataFrame:
    """One row per annotation, in the files' order (training half first); labels are ids less 1.

    Raises:
        LayoutError: a `.mat` file is missing, damaged or without an expected variable or field, or
            an annotation's class is not an id of `class_names`.
    """
    whole, meta = base(root, "", WHOLE) / WHOLE, base(root, "", META) / META
    if whole.exists():
        top = base(root, "", IMAGES)
        return table(_rows(whole, "relative_im_path", below(root, top, ""), _names(whole)))
    if not meta.exists():
        raise LayoutError(
            f"{root}: expected {WHOLE} (beside car_ims/) or {META} (beside cars_train/ and "
            "cars_test/); is this the right archive?"
        )
    names = _names(meta)
    rows: list[Row] = []
    for folder, places in HALVES.items():
        top = base(root, "", folder)
        rows += _rows(_first(root, places), "fname", below(root, top, f"{folder}/"), names)
    return table(rows)


def _first(root: Path, places: tuple[str, ...]) -> Path:
    """The first of the places that exists, else the first of all."""
    found = [base(root, "", place) / place for place in places]
    return next((path for path in found if path.exists()), found[0])


def _rows(path: Path, field: str, prefix: str, names: list[str]) -> Iterable[Row]:
    found = _variable(path, "annotations")
    missing = {field, "class"} - set(found.dtype.names or ())
    if missing:
        raise LayoutError(f"{path}: annotations has no field {' or '.join(sorted(missing))}")
    for row, (file, label) in enumerate(zip(found[field], found["class"], strict=True), start=1):
        if not _is_id(label, len(names)):
            raise LayoutError(
                f"{path}, annotation {row} ({file}): class is '{label}', "
                f"expected an id from 1 to {len(names)}"
            )
        index = int(label) - 1
        split = "train" if index < len(names) // 2 else "test"
        yield Row(f"{prefix}{file}", index, names[index], None, split, f"{path}, annotation {row}")


def _is_id(value: Any, most: int) -> bool:
    """Whether it is a whole number from 1 to `most`."""
    return np.ndim(value) == 0 and 1 <= (number(str(value)) or 0) <= most


def _names(path: Path) -> list[str]:
    return [str(name) for name in _variable(path, "class_names")]


def _variable(path: Path, name: str) -> Any:
    """A variable of a MATLAB file as an array of one dimension.

    Raises:
        LayoutError: the file is missing or damaged, or the variable is not in it.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if not path.exists():
        raise LayoutError(f"{path.name} is missing: expected at {path}; is this the right archive?")
    try:
        found = loadmat(path, squeeze_me=True, variable_names=[name])
    except (MatReadError, *UNREADABLE) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise LayoutError(f"{path} cannot be read as a MATLAB file: {reason}") from error
    if name not in found:
        raise LayoutError(f"{path}: expected a variable {name}, there is none")
    return np.atleast_1d(found[name])
