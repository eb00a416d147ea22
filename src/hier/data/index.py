"""The index: one row per image, checked against the facts that the configuration promises."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hier.config.dataset import Dataset
from hier.errors import (
    ClassOverlapError,
    CountError,
    LayoutError,
    MissingInputError,
    MissingSuperclassError,
)
from hier.files.atomic import atomic_file

SPLITS = ("train", "test", "query", "gallery")
SURROGATE = re.compile("[\ud800-\udfff]")
COLUMNS = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),
        pa.field("label", pa.int64(), nullable=False),
        pa.field("class_name", pa.string(), nullable=False),
        pa.field("superclass", pa.string()),
        pa.field("split", pa.string(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
    ]
)


def check_index(index: pd.DataFrame, dataset: Dataset) -> None:
    """Check a layout's table (with or without the store's columns) against the dataset's facts.

    Raises:
        LayoutError: a column is missing, has another type or holds a forbidden value.
        ClassOverlapError: a class has images on both sides of the train/test border.
        MissingSuperclassError: the dataset promises super-classes and a class has none.
        CountError: other numbers of images or classes than `dataset.counts`.
    """
    _check_schema(index, dataset.name, stored="offset" in index)
    _check_borders(index, dataset)
    _check_superclasses(index, dataset)
    _check_counts(index, dataset)


def write_index(index: pd.DataFrame, path: Path) -> None:
    """Write the whole index (see COLUMNS) as Parquet: the same rows give the same bytes.

    Raises LayoutError as `check_index` does.
    """
    _check_schema(index, path.name, stored=True)
    arrays = [pa.array(index[field.name].tolist(), field.type) for field in COLUMNS]
    with atomic_file(path) as temporary:
        pq.write_table(pa.Table.from_arrays(arrays, schema=COLUMNS), temporary)


def read_index(path: Path) -> pd.DataFrame:
    """Read an index: `label`, `offset` int64; `height`, `width` int32; else str (or None). Raises
    MissingInputError: no such file; ValueError: it lacks a column, or a value that each image must have."""
    if not path.exists():
        raise MissingInputError(path, f"hier prepare {path.parent.name}")
    there, read = pq.read_schema(path).names, pq.read_table(path, schema=COLUMNS)
    columns = {}
    for field in COLUMNS:
        if field.name not in there:  # it was read as one without values
            raise ValueError(f"it has no column {field.name}")
        if not field.nullable and read[field.name].null_count:
            raise ValueError(f"its column {field.name} lacks values")
        if pa.types.is_string(field.type):
            columns[field.name] = pd.Series(read[field.name].to_pylist(), dtype=object)
        else:
            columns[field.name] = read[field.name].to_numpy()
    return pd.DataFrame(columns)


def rows_to_embed(index: pd.DataFrame) -> NDArray[np.int64]:
    """The rows of an index that are embedded and evaluated: all but those for training, int64 (N)."""
    return np.flatnonzero(index["split"] != "train")


def few(names: list[str]) -> str:
    """The first of some names, for a message."""
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _check_schema(index: pd.DataFrame, name: str, stored: bool) -> None:
    """Check the columns of a layout's table or, where `stored`, of the whole index."""
    from pandera.errors import SchemaError
    from pandera.pandas import Check, Column, DataFrameSchema

    is_text = Check(lambda value: isinstance(value, str) and value != "", element_wise=True)
    # Python keeps the bytes of a file's name that is no UTF-8 as surrogates.
    is_utf_8 = Check(lambda value: not SURROGATE.search(value), element_wise=True, error="is no UTF-8")
    once = Check(lambda column: ~column.duplicated(), error="occurs twice")
    columns = {
        "image": Column(object, [is_text, is_utf_8, once]),
        "label": Column("int64", Check.ge(0)),
        "class_name": Column(object, [is_text, is_utf_8]),
        "superclass": Column(object, [is_text, is_utf_8], nullable=True),
        "split": Column(object, Check.isin(SPLITS)),
        "crop": Column(object, nullable=True, required=False),
    }
    if stored:
        columns |= {
            "height": Column("int32", Check.gt(0)),
            "width": Column("int32", Check.gt(0)),
            "offset": Column("int64", Check.ge(0)),
        }
    try:
        DataFrameSchema(columns, strict=True, ordered=True).validate(index)
    except SchemaError as error:
        reason = " ".join(str(error).split())[:300]
        raise LayoutError(f"index of {name}: {reason}") from error


def _check_borders(index: pd.DataFrame, dataset: Dataset) -> None:
    in_train = index["split"] == "train"
    shared = index[in_train & index["label"].isin(index.loc[~in_train, "label"])]
    if len(shared):
        raise ClassOverlapError(
            f"{dataset.name}: {shared['label'].nunique()} classes have training and test images: "
            f"{few(sorted(set(shared['class_name'])))}; mend the layout {dataset.layout} or the archive"
        )


def _check_superclasses(index: pd.DataFrame, dataset: Dataset) -> None:
    names = index.groupby("label")[["class_name", "superclass"]].nunique(dropna=False)
    unclear = names.index[(names > 1).any(axis=1)].tolist()
    if unclear:
        raise LayoutError(
            f"{dataset.name}: class {unclear[0]} has two names or two super-classes; "
            f"mend the layout {dataset.layout} or the archive"
        )
    lacking = sorted(set(index.loc[index["superclass"].isna(), "class_name"]))
    if dataset.superclass and lacking:
        raise MissingSuperclassError(
            f"{dataset.name}: {len(lacking)} classes have no super-class: {few(lacking)}; mend the "
            f"archive, or set superclass: false in conf/dataset/{dataset.name}.yaml and compose again"
        )


def _check_counts(index: pd.DataFrame, dataset: Dataset) -> None:
    counts, found = dataset.counts, index["split"].value_counts()
    promised = {str(split): images for split, images in counts.images.items()}
    classes = index.groupby(index["split"] == "train")["label"].nunique()
    facts = [(f"{s} images", promised.get(s, 0), found.get(s, 0)) for s in SPLITS]
    facts.append(("train classes", counts.train_classes, classes.get(True, 0)))
    facts.append(("test classes", counts.test_classes, classes.get(False, 0)))
    wrong = [f"{what}: expected {e}, found {f}" for what, e, f in facts if e != f]
    if wrong:
        raise CountError(
            f"{dataset.name}: {'; '.join(wrong)}; replace the archive, "
            f"or correct counts in conf/dataset/{dataset.name}.yaml and compose again"
        )
