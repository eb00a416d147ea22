import io
import tarfile
from collections import Counter
from itertools import combinations, takewhile

import numpy as np
import pytest
from PIL import Image

from hier.config.dataset import Generate
from hier.data import demo

SMALL = Generate(seed=0, branching=[2, 3, 2], images_per_class=2, size=32)
FULL = Generate(seed=0, branching=[4, 4, 4], images_per_class=24, size=64)


def archive(generate, folder, name="demo.tgz"):
    demo.write_archive(generate, folder / name)
    return folder / name


def text(path, member):
    with tarfile.open(path) as tar:
        return tar.extractfile(f"CUB_200_2011/{member}").read().decode()


def shared_levels(one, two):
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=True)))


def test_same_configuration_same_bytes_other_seed_other_bytes(tmp_path):
    first = archive(SMALL, tmp_path, "first.tgz").read_bytes()
    assert archive(SMALL, tmp_path, "second.tgz").read_bytes() == first
    other = SMALL.model_copy(update={"seed": 1})
    assert archive(other, tmp_path, "other.tgz").read_bytes() != first


def test_archive_carries_no_time_and_no_owner(tmp_path):
    path = archive(SMALL, tmp_path)
    assert path.read_bytes()[4:8] == b"\0\0\0\0"  # gzip's time stamp
    with tarfile.open(path) as tar:
        for member in tar:
            assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")


def test_archive_has_the_layout_of_cub(tmp_path):
    path = archive(SMALL, tmp_path)
    assert text(path, "classes.txt").splitlines()[:2] == ["1 001.A1-1", "2 002.A2-1"]
    assert text(path, "superclasses.txt").splitlines()[:2] == ["1 A/A1", "2 A/A2"]
    assert text(path, "superclasses.txt").splitlines()[-1] == "12 B/B3"
    assert text(path, "images.txt").splitlines()[2] == "3 002.A2-1/A2-1_0001.jpg"
    assert text(path, "image_class_labels.txt").splitlines()[2] == "3 2"
    split = text(path, "train_test_split.txt").splitlines()
    assert (split[11], split[12]) == ("12 1", "13 0")
    with tarfile.open(path) as tar:
        jpeg = tar.extractfile("CUB_200_2011/images/002.A2-1/A2-1_0001.jpg").read()
    with Image.open(io.BytesIO(jpeg)) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (32, 32))


def test_an_image_depends_on_no_other_image():
    more = SMALL.model_copy(update={"images_per_class": 50, "branching": [2, 3, 4]})
    by_path = {leaf.path: leaf for leaf in demo.leaves(more)}
    for leaf in demo.leaves(SMALL)[3:5]:
        np.testing.assert_array_equal(
            demo.draw_image(more, by_path[leaf.path], 1), demo.draw_image(SMALL, leaf, 1)
        )


def test_images_of_a_class_differ():
    leaf = demo.leaves(SMALL)[0]
    assert len({demo.draw_image(SMALL, leaf, number).tobytes() for number in range(20)}) == 20


def test_half_of_every_family_and_genus_is_unseen():
    classes = demo.leaves(FULL)
    assert len({leaf.names[-1] for leaf in classes}) == len({leaf.path for leaf in classes}) == 64
    first, second = classes[:32], classes[32:]
    for depth, expected in ((1, 8), (2, 2)):
        for half in (first, second):
            counts = Counter(leaf.names[:depth] for leaf in half)
            assert set(counts.values()) == {expected}
            assert len(counts) == 4**depth


def test_names_stay_unique_beyond_the_alphabet():
    wide = Generate(seed=0, branching=[30, 2], images_per_class=1, size=16)
    names = [leaf.names for leaf in demo.leaves(wide)]
    assert len(set(names)) == 60
    assert ("Z", "Z1") in names
    assert ("AA", "AA1") in names


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_nearer_to_the_root_two_classes_part_the_more_they_differ(seed):
    classes = demo.leaves(FULL.model_copy(update={"seed": seed}))
    drawn = [demo.draw(leaf.look, 64).astype(float) for leaf in classes]
    apart = {0: [], 1: [], 2: []}
    for one, two in combinations(range(len(classes)), 2):
        level = shared_levels(classes[one].path, classes[two].path)
        apart[level].append(np.sqrt(np.mean((drawn[one] - drawn[two]) ** 2)))
    means = [np.mean(apart[level]) for level in range(3)]
    assert means[0] > 1.1 * means[1]
    assert means[1] > 1.2 * means[2]
    assert min(apart[2]) > 5  # grey levels: even sisters are not twins


def test_a_look_is_mirror_symmetric():
    for leaf in demo.leaves(FULL)[::7]:
        drawn = demo.draw(leaf.look, 64).astype(int)
        assert np.abs(drawn - drawn[:, ::-1]).max() <= 1


def test_raw_pixels_and_colour_retrieve_badly():
    classes = demo.leaves(FULL)[32:]
    images = np.stack([demo.draw_image(FULL, leaf, i) for leaf in classes for i in range(24)])
    labels = np.repeat(np.arange(32), 24)

    def recall_at_1(features):
        squares = (features**2).sum(axis=1)
        distance = squares[:, None] + squares[None] - 2 * features @ features.T
        np.fill_diagonal(distance, np.inf)
        return (labels[distance.argmin(axis=1)] == labels).mean()

    flat = images.reshape(len(images), -1).astype(np.float32) / 255
    assert recall_at_1(flat) < 0.25
    assert recall_at_1(flat.reshape(len(images), -1, 3).mean(axis=1)) < 0.08  # chance: 0.03
