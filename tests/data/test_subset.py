"""A tiny part of each side, the same each time."""

import pytest

from hier.config.dataset import Subset
from hier.data.layouts import Row, to_table
from hier.data.prepare import take
from hier.errors import ConfigError


def index(**sizes):
    """`train="3 1"`: a class of three images, then one of one; `test="2/1"`: 2 queries, 1 gallery."""
    rows, label = [], 0
    for side, text in sizes.items():
        for counts in text.split():
            splits = [side] if "/" not in counts else ["query", "gallery"]
            for split, number in zip(splits, map(int, counts.split("/")), strict=True):
                rows += [
                    Row(f"{split}/{label}/{i}.jpg", label, f"c{label}", None, split) for i in range(number)
                ]
            label += 1
    return to_table(rows)


def kept(part):
    return part.groupby("split")["label"].unique().map(sorted).to_dict()


def test_classes_are_spread_and_the_first_images_are_taken():
    whole = index(train="5 5 5 5 5 5 5", test="5 5 5 5 5")
    part = take(whole, Subset(classes=3, images=2))
    assert kept(part) == {"train": [0, 2, 4], "test": [7, 8, 10]}
    assert part["image"].tolist() == [
        f"{split}/{label}/{i}.jpg"
        for split, labels in (("train", (0, 2, 4)), ("test", (7, 8, 10)))
        for label in labels
        for i in (0, 1)
    ]
    assert part.index.tolist() == list(range(12))
    assert part.dtypes.equals(whole.dtypes)


def test_the_order_of_the_index_is_kept_and_decides():
    whole = index(train="3 3", test="3 3").iloc[::-1].reset_index(drop=True)
    part = take(whole, Subset(classes=2, images=2))
    assert part["image"].tolist() == [
        f"{split}/{label}/{i}.jpg"
        for split, labels in (("test", (3, 2)), ("train", (1, 0)))
        for label in labels
        for i in (2, 1)
    ]
    assert take(whole, Subset(classes=2, images=2)).equals(part)


def test_classes_with_one_image_are_the_last_resort():
    whole = index(train="1 2 1 3 2", test="1 1 2 1")
    assert kept(take(whole, Subset(classes=3, images=4))) == {
        "train": [1, 3, 4],
        "test": [5, 6, 7],
    }
    assert kept(take(whole, Subset(classes=4, images=4)))["train"] == [0, 1, 3, 4]


def test_a_class_needs_query_and_gallery():
    whole = index(train="2 2", test="2/0 0/3 1/1 4/5 0/2")
    part = take(whole, Subset(classes=2, images=3))
    assert kept(part) == {"train": [0, 1], "query": [4, 5], "gallery": [4, 5]}
    assert part["split"].value_counts().to_dict() == {"train": 4, "query": 4, "gallery": 4}


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"train": "2 2", "test": "2 2 2"}, "subset.classes 3: there are only 2 training classes"),
        ({"train": "2 2 2", "test": "2 1"}, "subset.classes 3: there are only 2 test classes"),
    ],
)
def test_too_few_classes_are_an_error(sizes, message):
    with pytest.raises(ConfigError, match=message):
        take(index(**sizes), Subset(classes=3, images=2))
