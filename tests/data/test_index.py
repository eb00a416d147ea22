import numpy as np
import pandas as pd
import pytest

from hier.config.dataset import Counts, Dataset, Generate
from hier.data.index import check_index, read_index, write_index
from hier.data.layouts import Row, to_table
from hier.errors import (
    ClassOverlapError,
    CountError,
    LayoutError,
    MissingInputError,
    MissingSuperclassError,
)

DATASET = Dataset(
    name="tiny",
    layout="cub",
    generate=Generate(seed=0, branching=[2, 2], images_per_class=1, size=16),
    superclass=True,
    levels=["class", "kind"],
    counts=Counts(images={"train": 2, "query": 1, "gallery": 1}, train_classes=2, test_classes=1),
    store_size=8,
    ks=[1],
)

ROWS = [
    Row("a/1.jpg", 0, "Auk", "A", "train"),
    Row("b/1.jpg", 4, "Bee", "A/B", "train"),
    Row("c/1.jpg", 7, "Crow", "C", "query"),
    Row("c/2.jpg", 7, "Crow", "C", "gallery"),
]


def stored(rows=ROWS):
    n = len(rows)
    return to_table(rows).assign(
        height=np.full(n, 8, np.int32),
        width=np.full(n, 9, np.int32),
        offset=np.arange(n, dtype=np.int64) * 216,
    )


def replaced(row, **values):
    return [r._replace(**values) if i == row else r for i, r in enumerate(ROWS)]


def test_a_good_index_passes_with_and_without_the_stores_columns():
    check_index(to_table(ROWS), DATASET)
    check_index(stored(), DATASET)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": {"train": 3, "query": 1, "gallery": 1}}, "train images: expected 3, found 2"),
        (
            {"images": {"train": 2, "query": 2}},
            "query images: expected 2, found 1; gallery images: ",
        ),
        ({"images": {"train": 2, "query": 1}}, "gallery images: expected 0, found 1"),
        ({"train_classes": 5}, "train classes: expected 5, found 2"),
        ({"test_classes": 2}, "test classes: expected 2, found 1"),
    ],
)
def test_wrong_counts_say_expected_and_found(changes, message):
    counts = DATASET.counts.model_copy(update=changes)
    with pytest.raises(CountError, match=message) as caught:
        check_index(to_table(ROWS), DATASET.model_copy(update={"counts": counts}))
    assert "conf/dataset/tiny.yaml" in str(caught.value)


def test_a_class_on_both_sides_is_named():
    crossing = replaced(3, split="train")
    with pytest.raises(ClassOverlapError, match="1 classes have training and test images: Crow;"):
        check_index(to_table(crossing), DATASET)


def test_a_class_without_superclass_is_named():
    lacking = to_table(replaced(1, superclass=None))
    with pytest.raises(MissingSuperclassError, match="1 classes have no super-class: Bee;"):
        check_index(lacking, DATASET)
    check_index(lacking, DATASET.model_copy(update={"superclass": False}))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (replaced(0, split="validation"), "split"),
        (replaced(0, label=-1), "label"),
        (replaced(0, class_name=""), "class_name"),
        (replaced(0, image="b/1.jpg"), "image"),
        (replaced(3, superclass="D"), "class 7 has two names or two super-classes"),
        (replaced(3, class_name="Raven"), "class 7 has two names or two super-classes"),
    ],
)
def test_forbidden_values_are_named(rows, message):
    with pytest.raises(LayoutError, match=message) as caught:
        check_index(to_table(rows), DATASET)
    assert "\n" not in str(caught.value)


def test_a_missing_column_is_named():
    with pytest.raises(LayoutError, match="split"):
        check_index(to_table(ROWS).drop(columns="split"), DATASET)


def test_round_trip_keeps_values_types_and_none(tmp_path):
    index = stored(replaced(1, superclass=None))
    write_index(index, tmp_path / "index.parquet")
    read = read_index(tmp_path / "index.parquet")
    pd.testing.assert_frame_equal(read, index)
    assert read["superclass"][1] is None
    assert read["label"].tolist() == [0, 4, 7, 7]


def test_same_rows_same_bytes(tmp_path):
    write_index(stored(), tmp_path / "one.parquet")
    write_index(stored(), tmp_path / "two.parquet")
    write_index(stored(replaced(0, split="test")), tmp_path / "other.parquet")
    one, two, other = ((tmp_path / f"{n}.parquet").read_bytes() for n in ("one", "two", "other"))
    assert one == two != other


def test_an_index_without_the_stores_columns_is_not_written(tmp_path):
    with pytest.raises(LayoutError, match="height"):
        write_index(to_table(ROWS), tmp_path / "index.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_index_names_the_stage(tmp_path):
    with pytest.raises(MissingInputError, match=r"index\.parquet is missing; .*hier prepare"):
        read_index(tmp_path / "index.parquet")
