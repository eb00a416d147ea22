"""Batches of n images of B/n classes, as a function of (seed, epoch)."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hier.config.run import Sampler
from hier.data.sampling import epoch_batches
from hier.errors import ConfigError


def labels_of(*sizes, step=1):
    """`sizes[c]` images of each class, their order shuffled; class c is called c · step."""
    labels = np.repeat(np.arange(len(sizes)) * step, sizes)
    return np.random.default_rng(0).permutation(labels)


@st.composite
def settings_of_an_epoch(draw):
    n = draw(st.integers(1, 4))
    per_batch = draw(st.integers(1, 5))
    size = max(n * per_batch, 2)
    n = size // per_batch
    sizes = draw(st.lists(st.integers(1, 9), min_size=per_batch, max_size=12))
    sizes[0] += max(size - sum(sizes), 0)
    labels = labels_of(*sizes, step=draw(st.sampled_from([1, 7])))
    sampler = Sampler(batch_size=size, images_per_class=n)
    return labels, sampler, draw(st.integers(0, 2**40)), draw(st.integers(0, 1000))


@settings(deadline=None, derandomize=True)
@given(settings_of_an_epoch())
def test_every_batch_holds_n_images_of_distinct_classes_side_by_side(case):
    labels, sampler, seed, epoch = case
    batches = epoch_batches(labels, sampler, seed, epoch)
    assert batches.dtype == np.int64
    assert batches.shape == (len(labels) // sampler.batch_size, sampler.batch_size)
    classes = labels[batches].reshape(len(batches), -1, sampler.images_per_class)
    assert (classes == classes[:, :, :1]).all()
    for batch in classes[:, :, 0]:
        assert len(set(batch.tolist())) == sampler.batch_size // sampler.images_per_class


@settings(deadline=None, derandomize=True)
@given(settings_of_an_epoch())
def test_the_images_of_a_class_come_in_whole_rounds(case):
    labels, sampler, seed, epoch = case
    drawn = epoch_batches(labels, sampler, seed, epoch).ravel()
    for c in np.unique(labels):
        members = set(np.flatnonzero(labels == c).tolist())
        visits = [position for position in drawn.tolist() if labels[position] == c]
        for start in range(0, len(visits), len(members)):
            round_ = visits[start : start + len(members)]
            assert len(set(round_)) == len(round_)
            if len(round_) == len(members):
                assert set(round_) == members


@settings(deadline=None, derandomize=True)
@given(settings_of_an_epoch())
def test_the_same_seed_and_epoch_give_the_same_batches(case):
    labels, sampler, seed, epoch = case
    np.random.seed(0)
    torch.manual_seed(0)
    states = np.random.get_state()[1].copy(), torch.get_rng_state()
    first = epoch_batches(labels, sampler, seed, epoch)
    assert (np.random.get_state()[1] == states[0]).all()
    assert torch.equal(torch.get_rng_state(), states[1])
    np.random.seed(1)
    torch.manual_seed(1)
    np.testing.assert_array_equal(first, epoch_batches(labels.copy(), sampler, seed, epoch))


@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.integers(0, 2**40), st.integers(0, 1000))
def test_another_seed_or_epoch_gives_other_batches(seed, epoch):
    labels, sampler = labels_of(*[6] * 10), Sampler(batch_size=12, images_per_class=3)
    epochs = [
        epoch_batches(labels, sampler, *position).tobytes()
        for position in ((seed, epoch), (seed + 1, epoch), (seed, epoch + 1))
    ]
    assert len(set(epochs)) == 3


def test_whole_rounds_show_each_image_equally_often():
    labels = labels_of(5, 5)
    sampler = Sampler(batch_size=10, images_per_class=5)
    for epoch in range(20):
        assert sorted(epoch_batches(labels, sampler, 0, epoch)[0].tolist()) == list(range(10))


def test_classes_smaller_than_n_repeat_their_images():
    labels = np.array([4, 4, 4, 4, 4, 4, 9, 8, 8])
    sampler = Sampler(batch_size=9, images_per_class=3)
    [batch] = epoch_batches(labels, sampler, 0, 0).tolist()
    drawn = {c: [i for i in batch if labels[i] == c] for c in (4, 8, 9)}
    assert len(set(drawn[4])) == 3
    assert drawn[9] == [6, 6, 6]
    assert set(drawn[8]) == {7, 8}
    assert len(drawn[8]) == 3


def test_every_class_is_as_likely_whatever_its_size():
    sizes = [2, 4, 8, 16, 30, 4, 4, 4]
    labels, sampler = labels_of(*sizes), Sampler(batch_size=12, images_per_class=4)
    batches = np.concatenate([epoch_batches(labels, sampler, 3, epoch) for epoch in range(400)])
    visits = np.bincount(labels[batches].ravel(), minlength=8) / 4
    chance = 3 / 8  # three of eight classes in each batch
    deviation = np.sqrt(len(batches) * chance * (1 - chance))
    assert len(batches) == 400 * 6
    assert (np.abs(visits - len(batches) * chance) < 4 * deviation).all()


def test_every_pair_of_classes_meets():
    labels, sampler = labels_of(*[4] * 6), Sampler(batch_size=4, images_per_class=2)
    batches = np.concatenate([epoch_batches(labels, sampler, 0, epoch) for epoch in range(100)])
    pairs = {tuple(sorted(set(row))) for row in labels[batches].tolist()}
    assert len(pairs) == 15


def test_images_of_a_class_meet_in_every_combination():
    labels, sampler = labels_of(4, 4), Sampler(batch_size=4, images_per_class=2)
    batches = np.concatenate([epoch_batches(labels, sampler, 0, epoch) for epoch in range(200)])
    pairs = batches.reshape(-1, 2)
    together = {tuple(sorted(pair)) for pair in pairs[labels[pairs[:, 0]] == 0].tolist()}
    assert len({pair for pair in together if pair[0] != pair[1]}) == 6


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((3, 2, 2), "needs 8 images of 4 classes; the training set has 7 of 3"),
        ((9, 9, 9), "needs 8 images of 4 classes; the training set has 27 of 3"),
        ((1, 1, 1, 1, 1), "needs 8 images of 4 classes; the training set has 5 of 5"),
        ((), "needs 8 images of 4 classes; the training set has 0 of 0"),
    ],
)
def test_too_few_images_or_classes_are_an_error(sizes, message):
    sampler = Sampler(batch_size=8, images_per_class=2)
    with pytest.raises(ConfigError, match=message) as caught:
        epoch_batches(labels_of(*sizes).astype(np.int64), sampler, 0, 0)
    assert str(caught.value).startswith("sampler.batch_size 8 with images_per_class 2 ")
    assert "\n" not in str(caught.value)


def test_just_enough_is_enough():
    labels, sampler = labels_of(2, 2, 2, 2), Sampler(batch_size=8, images_per_class=2)
    assert sorted(epoch_batches(labels, sampler, 0, 0)[0].tolist()) == list(range(8))
