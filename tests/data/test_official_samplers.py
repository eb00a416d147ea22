"""The two official samplers: steps, images of an epoch, and positive pairs that are one photo twice."""

import json

import numpy as np
import pytest

from fakes.steps import FOLDER
from hier.config.run import Sampler
from hier.data.sampling import epoch_batches, steps_per_epoch

DATASETS = json.loads((FOLDER / "samplers.json").read_text())["datasets"]
OFFICIAL = {
    "hier": {"epoch": "images", "replacement": True},
    "hyp": {"epoch": "classes", "replacement": False},
}
SEVERAL = 3  # epochs, as in the file


def labels_of(dataset):
    """A class of each size of the file's histogram, as often as it has it."""
    sizes = [
        int(size) for size, classes in dataset["class_sizes"]["histogram"].items() for _ in range(classes)
    ]
    labels = np.repeat(np.arange(len(sizes)), sizes)
    assert (len(labels), len(sizes)) == (dataset["images"], dataset["classes"])
    return labels


def same_photo_share(rows, n):
    """Of all pairs of images of a class in a batch, those that are one image twice; and the pairs."""
    groups = rows.reshape(-1, n)
    pairs = [groups[:, i] == groups[:, j] for i in range(n) for j in range(i)]
    return np.mean(pairs), np.size(pairs)


@pytest.mark.parametrize("of", OFFICIAL)
@pytest.mark.parametrize("name", DATASETS)
def test_epochs_are_the_official_ones(name, of, capsys):
    dataset, theirs = DATASETS[name], DATASETS[name][of]
    n, batch = theirs["images_per_class"], theirs["batch"]
    sampler = Sampler(batch_size=batch, images_per_class=n, **OFFICIAL[of])
    labels = labels_of(dataset)
    assert steps_per_epoch(len(labels), dataset["classes"], sampler) == theirs["steps_per_epoch"]
    epochs = [epoch_batches(labels, sampler, 0, epoch) for epoch in range(SEVERAL)]
    for rows in epochs:
        assert rows.shape == (theirs["steps_per_epoch"], batch)
        assert rows.size == theirs["images_per_epoch"]
        classes = labels[rows].reshape(len(rows), -1, n)[:, :, 0]
        assert all(len(set(of_batch)) == batch // n for of_batch in classes.tolist())
        if of == "hyp":
            assert len(np.unique(classes)) == classes.size == theirs["classes_in_an_epoch"]
    share, pairs = same_photo_share(np.concatenate(epochs), n)
    official = theirs["same_photo_share_of_positive_pairs"]
    expected = official.get("expected", official["measured"])
    with capsys.disabled():
        print(f"\n{name} {of}: {share:.2%} of {pairs:,} pairs, official {official['measured']:.2%}")
    # Four standard deviations of so many draws.
    assert abs(share - expected) <= 4 * np.sqrt(expected * (1 - expected) / pairs)


@pytest.mark.parametrize("name", ["SOP", "Inshop"])
def test_without_replacement_few_pairs_are_one_photo(name):
    dataset = DATASETS[name]
    sampler = Sampler(batch_size=180, images_per_class=2)
    share, _ = same_photo_share(epoch_batches(labels_of(dataset), sampler, 0, 0), 2)
    print(f"{name}: {share:.2%}")
    assert share < 0.05
