"""Levels of classes from an index, and the balanced choice of images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.trees import index_of, levels_by
from hier.errors import ConfigError
from hier.evaluation.hierarchy.levels import balanced, levels_of

BIRDS = index_of(["owl", "gull", "tern", "owl"], ["A/A2", "B/A2", "B/A2", "A/A2"])


def test_levels_are_the_class_its_super_class_and_the_parts_before_it():
    levels = levels_of(BIRDS, ["species", "genus", "family"], "birds")
    named = [[names[code] for code in codes] for codes, names in zip(levels.codes, levels.names, strict=True)]
    assert levels.titles == ["species", "genus", "family"]
    assert named == [
        ["owl", "gull", "tern", "owl"],
        ["A/A2", "B/A2", "B/A2", "A/A2"],  # two genera of one name, in two families
        ["A", "B", "B", "A"],
    ]


def test_classes_are_told_by_their_label_not_by_their_name():
    index = BIRDS.assign(class_name="<script>", superclass=None)
    levels = levels_of(index, ["class"], "birds")
    assert levels.names == [["<script>"] * 3]
    assert levels.codes.tolist() == [index["label"].tolist()]


def test_where_a_class_has_no_super_class_only_classes_are_looked_at():
    index = BIRDS.assign(superclass=["A", None, "B", "A"])
    assert levels_of(index, ["class"], "birds").codes.shape == (1, 4)


@pytest.mark.parametrize(
    ("titles", "superclass", "said"),
    [
        (["class"], BIRDS["superclass"], "names 1 (class), but its classes have 3 (such as gull, A/A2, A)"),
        (["a", "b", "c"], None, "names 3 (a, b, c), but its classes have 1 (such as gull)"),
        (["a", "b", "c"], "A", "names 3 (a, b, c), but its classes have 2 (such as gull, A)"),
    ],
)  # fmt: skip
def test_titles_that_do_not_fit_the_index_are_an_error(titles, superclass, said):
    with pytest.raises(ConfigError) as caught:
        levels_of(BIRDS.assign(superclass=superclass), titles, "birds")
    mend = "; correct levels in conf/dataset/birds.yaml and compose again"
    assert str(caught.value) == f"birds: levels {said}{mend}"


def test_a_subset_keeps_numbers_and_names():
    levels = levels_of(BIRDS, ["species", "genus", "family"], "birds")
    part = levels.of(np.array([1, 0]))
    assert part.names == levels.names
    assert part.codes.tolist() == levels.codes[:, [1, 0]].tolist()


# --- the choice ----------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 8), min_size=1, max_size=80),
    st.integers(1, 60),
    st.integers(1, 5),
    st.integers(1, 4),
)
def test_a_choice_is_balanced_and_the_same_each_time(classes, limit, of_each, kinds):
    levels = levels_by([classes, [code % kinds for code in classes]])
    chosen = balanced(levels, limit, of_each)
    assert len(set(chosen.tolist())) == len(chosen) <= limit
    assert np.array_equal(chosen, balanced(levels, limit, of_each))
    there = np.bincount(levels.codes[0])
    taken = np.bincount(levels.codes[0, chosen], minlength=len(there))
    kept = taken > 0
    assert kept.sum() == min(len(there), max(1, limit // of_each))
    # A class has fewer than another only by one turn, or because it has no more.
    assert all(n == there[c] or n >= taken.max() - 1 for c, n in enumerate(taken) if kept[c])
    assert taken.sum() == min(limit, there[kept].sum())
    for end in range(len(chosen)):  # any first part is balanced, too
        first = np.bincount(levels.codes[0, chosen[:end]], minlength=len(there))
        assert all(n == there[c] or n >= first.max() - 1 for c, n in enumerate(first) if kept[c])


def test_classes_are_left_out_evenly_through_the_tree():
    kinds = np.repeat(np.arange(10), 30)  # 10 kinds of 10 classes of 3 images
    levels = levels_by([np.arange(300) // 3, kinds])
    chosen = balanced(levels, 60, 3)
    assert np.bincount(levels.codes[1, chosen]).tolist() == [6] * 10
    assert np.bincount(levels.codes[0, chosen], minlength=100).max() == 3
