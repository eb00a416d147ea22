"""The index: one row per image, checked against the facts that the configuration promises."""

from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

SPLITS = ("train", "test", "query", "gallery")

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


def schema(stored: bool) -> "DataFrameSchema":
    """The pandera schema of a layout's table or, where `stored`, of the whole index."""
    import pandera.pandas as pandera

    def text(*checks: pandera.Check, nullable: bool = False) -> pandera.Column:
        is_text = pandera.Check(
            lambda value: isinstance(value, str) and value != "", element_wise=True
        )
        is_utf_8 = pandera.Check(_is_utf_8, element_wise=True, error="is no UTF-8")
        return pandera.Column(object, [is_text, is_utf_8, *checks], nullable=nullable)

    columns = {
        "image": text(pandera.Check(lambda column: ~column.duplicated(), error="occurs twice")),
        "label": pandera.Column("int64", pandera.Check.ge(0)),
        "class_name": text(),
        "superclass": text(nullable=True),
        "split": text(pandera.Check.isin(SPLITS)),
    }
    if stored:
        columns |= {
            "height": pandera.Column("int32", pandera.Check.gt(0)),
            "width": pandera.Column("int32", pandera.Check.gt(0)),
            "offset": pandera.Column("int64", pandera.Check.ge(0)),
        }
    return pandera.DataFrameSchema(columns, strict=True, ordered=True)


def _is_utf_8(name: str) -> bool:
    """Whether a file's name is; Python keeps the bytes of another one as surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def check_index(index: pd.DataFrame, dataset: Dataset) -> None:
    """Check a layout's table (with or without the store's columns) against the dataset's facts.

    Raises:
        LayoutError: a column is missing, has another type or holds a forbidden value.
        ClassOverlapError: a class has images on both sides of the train/test border.
        MissingSuperclassError: the dataset promises super-classes and a class has none.
        CountError: other numbers of images or classes than `dataset.counts`.
    """
    _check_schema(index, dataset.name)
    _check_borders(index, dataset)
    _check_superclasses(index, dataset)
    _check_counts(index, dataset)


def write_index(index: pd.DataFrame, path: Path) -> None:
    """Write the whole index (see COLUMNS) as Parquet: the same rows give the same bytes.

    Raises:
        LayoutError: a column is missing, has another type or holds a forbidden value.
    """
    _check_schema(index, path.name, stored=True)
    arrays = [pa.array(index[field.name].tolist(), field.type) for field in COLUMNS]
    with atomic_file(path) as temporary:
        pq.write_table(pa.Table.from_arrays(arrays, schema=COLUMNS), temporary)


def read_index(path: Path) -> pd.DataFrame:
    """Read an index: `label`, `offset` int64; `height`, `width` int32; else str (or None).

    Raises:
        MissingInputError: no such file.
        ValueError: it is no file, lacks a column, or lacks a value that each image must have.
    """
    if not path.exists():
        raise MissingInputError(path, f"hier prepare {path.parent.name}")
    if not path.is_file():
        raise ValueError("it is no regular file")
    read = pq.read_table(path, schema=COLUMNS)
    _refuse_gaps(path, read)
    return pd.DataFrame(
        {
            field.name: pd.Series(read[field.name].to_pylist(), dtype=object)
            if pa.types.is_string(field.type)
            else read[field.name].to_numpy()
            for field in COLUMNS
        }
    )


def _refuse_gaps(path: Path, read: pa.Table) -> None:
    """A column that a file lacks is read as one without values."""
    there = pq.read_schema(path).names
    for field in COLUMNS:
        if field.name not in there:
            raise ValueError(f"it has no column {field.name}")
        if not field.nullable and read[field.name].null_count:
            raise ValueError(f"its column {field.name} lacks values")


def rows_to_embed(index: pd.DataFrame) -> NDArray[np.int64]:
    """The rows of an index that are embedded and evaluated: all but those for training, int64 (N)."""
    return np.flatnonzero(index["split"] != "train")


def _check_schema(index: pd.DataFrame, name: str, stored: bool | None = None) -> None:
    from pandera.errors import SchemaError

    try:
        schema("offset" in index if stored is None else stored).validate(index)
    except SchemaError as error:
        reason = " ".join(str(error).split())[:300]
        raise LayoutError(f"index of {name}: {reason}") from error


def _check_borders(index: pd.DataFrame, dataset: Dataset) -> None:
    in_train = index["split"] == "train"
    shared = set(index.loc[in_train, "label"]) & set(index.loc[~in_train, "label"])
    if shared:
        names = sorted(set(index.loc[index["label"].isin(shared), "class_name"]))
        raise ClassOverlapError(
            f"{dataset.name}: {len(shared)} classes have training and test images: "
            f"{_few(names)}; mend the layout {dataset.layout} or the archive"
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
            f"{dataset.name}: {len(lacking)} classes have no super-class: {_few(lacking)}; "
            f"mend the archive, or set superclass: false in conf/dataset/{dataset.name}.yaml and "
            "compose again"
        )


def _check_counts(index: pd.DataFrame, dataset: Dataset) -> None:
    in_train = index["split"] == "train"
    promised = {str(split): images for split, images in dataset.counts.images.items()}
    facts = [
        (f"{split} images", promised.get(split, 0), int((index["split"] == split).sum()))
        for split in SPLITS
    ]
    for side, rows, expected in (
        ("train", in_train, dataset.counts.train_classes),
        ("test", ~in_train, dataset.counts.test_classes),
    ):
        facts.append((f"{side} classes", expected, index.loc[rows, "label"].nunique()))
    wrong = [f"{what}: expected {e}, found {f}" for what, e, f in facts if e != f]
    if wrong:
        raise CountError(
            f"{dataset.name}: {'; '.join(wrong)}; replace the archive, "
            f"or correct counts in conf/dataset/{dataset.name}.yaml and compose again"
        )


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
