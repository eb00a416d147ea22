import errno
import hashlib
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from hier.config.dataset import Counts, Dataset, Generate, Subset
from hier.data.download import download
from hier.data.index import read_index
from hier.data.prepare import prepare
from hier.data.store import ImageStore
from hier.errors import (
    ArchiveError,
    ConfigError,
    CountError,
    DiskFullError,
    ImageError,
    LayoutError,
    MissingInputError,
)
from hier.evaluation.hierarchy.levels import levels_of

SAFELY = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.4 and later

CONF = Path(__file__).parents[2] / "conf/dataset"

TINY = Dataset(
    name="tiny",
    layout="cub",
    generate=Generate(seed=0, branching=[2, 2, 2], images_per_class=2, size=16),
    superclass=True,
    levels=["species", "genus", "family"],
    counts=Counts(images={"train": 8, "test": 8}, train_classes=4, test_classes=4),
    store_size=16,
    ks=[1],
)


@pytest.fixture
def archives(tmp_path):
    download(TINY, tmp_path / "archive")
    return tmp_path / "archive"


@pytest.fixture
def outputs(tmp_path):
    return tmp_path / "out/index.parquet", tmp_path / "out/images.npy"


def nothing_left(outputs):
    folder = outputs[0].parent
    return not folder.exists() or not list(folder.iterdir())


def changed(archives, change):
    """Unpack the archive, let `change` work on its folder, and pack it again."""
    folder = archives.parent / "unpacked"
    with tarfile.open(archives / "tiny.tgz") as tar:
        tar.extractall(folder, **SAFELY)
    change(folder / "CUB_200_2011")
    with tarfile.open(archives / "tiny.tgz", "w:gz") as tar:
        tar.add(folder / "CUB_200_2011", "CUB_200_2011")
    shutil.rmtree(folder)


def digests(outputs):
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in outputs]


def test_index_and_store_hold_what_the_archive_holds(archives, outputs):
    prepare(TINY, archives, *outputs)
    assert sorted(path.name for path in outputs[0].parent.iterdir()) == [
        "images.npy",
        "index.parquet",
    ]
    index = read_index(outputs[0])
    assert index["split"].value_counts().to_dict() == {"train": 8, "test": 8}
    assert index.iloc[3].to_dict() == {
        "image": "images/002.A2-1/A2-1_0002.jpg",
        "label": 1,
        "class_name": "A2-1",
        "superclass": "A/A2",
        "split": "train",
        "height": 16,
        "width": 16,
        "offset": 3 * 16 * 16 * 3,
    }
    store = ImageStore(outputs[1], index)
    with (
        tarfile.open(archives / "tiny.tgz") as tar,
        Image.open(tar.extractfile("CUB_200_2011/images/002.A2-1/A2-1_0002.jpg")) as image,
    ):
        np.testing.assert_array_equal(store[3], np.asarray(image))


def test_the_same_archive_gives_the_same_bytes(archives, outputs, tmp_path):
    prepare(TINY, archives, *outputs)
    again = tmp_path / "again/index.parquet", tmp_path / "again/images.npy"
    prepare(TINY, archives, *again)
    assert digests(outputs) == digests(again)


def test_excluded_images_are_dropped(archives, outputs):
    excluded = ["images/001.A1-1/A1-1_0002.jpg"]
    counts = TINY.counts.model_copy(update={"images": {"train": 7, "test": 8}})
    prepare(TINY.model_copy(update={"exclude": excluded, "counts": counts}), archives, *outputs)
    index = read_index(outputs[0])
    assert len(index) == 15
    assert excluded[0] not in set(index["image"])
    assert index["offset"].tolist() == [i * 16 * 16 * 3 for i in range(15)]


def test_an_excluded_name_that_does_not_exist_is_an_error(archives, outputs):
    dataset = TINY.model_copy(update={"exclude": ["images/typo.jpg"]})
    with pytest.raises(ConfigError, match=r"tiny: exclude names .* do not exist: images/typo\.jpg"):
        prepare(dataset, archives, *outputs)
    assert nothing_left(outputs)


def test_wrong_counts_are_found_before_anything_is_written(archives, outputs):
    counts = TINY.counts.model_copy(update={"train_classes": 5})
    with pytest.raises(CountError, match="train classes: expected 5, found 4"):
        prepare(TINY.model_copy(update={"counts": counts}), archives, *outputs)
    assert nothing_left(outputs)


def test_a_truncated_image_is_named_and_nothing_is_left(archives, outputs):
    def cut(top):
        image = top / "images/003.B1-1/B1-1_0001.jpg"
        image.write_bytes(image.read_bytes()[:-200])

    changed(archives, cut)
    with pytest.raises(ImageError, match=r"images/003\.B1-1/B1-1_0001\.jpg \(class B1-1\) of tiny"):
        prepare(TINY, archives, *outputs)
    assert nothing_left(outputs)


def test_an_excluded_image_may_be_broken(archives, outputs):
    changed(archives, lambda top: (top / "images/001.A1-1/A1-1_0002.jpg").write_text("broken"))
    counts = TINY.counts.model_copy(update={"images": {"train": 7, "test": 8}})
    excluded = ["images/001.A1-1/A1-1_0002.jpg"]
    prepare(TINY.model_copy(update={"exclude": excluded, "counts": counts}), archives, *outputs)
    assert len(read_index(outputs[0])) == 15


def test_missing_metadata_is_named(archives, outputs):
    changed(archives, lambda top: (top / "images.txt").unlink())
    with pytest.raises(LayoutError, match=r"images\.txt is missing"):
        prepare(TINY, archives, *outputs)
    assert nothing_left(outputs)


def test_paths_of_the_unpacked_files_are_given_as_in_the_archive(archives, outputs):
    def out(top):
        lines = (top / "images.txt").read_text().splitlines()
        (top / "images.txt").write_text("\n".join([*lines[:-1], "16 ../../../secret.jpg"]))

    changed(archives, out)
    with pytest.raises(LayoutError) as caught:
        prepare(TINY, archives, *outputs)
    assert str(caught.value) == (
        "CUB_200_2011/images.txt, line 16: image 'images/../../../secret.jpg' leads out of the folder; "
        "is this the right archive?; make it anew with: hier download --force tiny"
    )
    assert nothing_left(outputs)
    by_hand = TINY.model_copy(update={"generate": None})
    changed(archives, lambda top: (top / "classes.txt").unlink())
    with pytest.raises(LayoutError) as caught:
        prepare(by_hand, archives, *outputs)
    assert str(caught.value) == (
        "classes.txt is missing: expected at CUB_200_2011/classes.txt; is this the right archive?; "
        "replace tiny.tgz where it came from (by hand: downloads/tiny/), then: "
        "hier download --force tiny"
    )


def test_a_subset_says_which_classes_are_smaller(archives, outputs, capsys):
    dataset = TINY.model_copy(update={"subset": Subset(classes=2, images=5)})
    prepare(dataset, archives, *outputs)
    assert len(read_index(outputs[0])) == 8
    said = "dataset.subset.images 5: 4 of 4 classes (by split) have fewer, and give all that they have"
    assert said in capsys.readouterr().err
    prepare(TINY.model_copy(update={"subset": Subset(classes=2, images=2)}), archives, *outputs)
    assert "fewer" not in capsys.readouterr().err


def test_a_truncated_archive_is_named(archives, outputs):
    path = archives / "tiny.tgz"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ArchiveError, match=r"tiny\.tgz: damaged or cut short"):
        prepare(TINY, archives, *outputs)
    assert nothing_left(outputs)


@pytest.mark.parametrize("make", [True, False])
def test_no_archive_names_the_stage(tmp_path, outputs, make):
    if make:
        (tmp_path / "archive").mkdir()
    with pytest.raises(MissingInputError, match="hier download tiny"):
        prepare(TINY, tmp_path / "archive", *outputs)


@pytest.mark.parametrize("where", ["hier.data.prepare.unpack", "hier.data.store._decode"])
def test_a_full_disk_is_clear_and_leaves_nothing(archives, outputs, monkeypatch, where):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(where, full)
    with pytest.raises(DiskFullError, match="no space left while writing"):
        prepare(TINY, archives, *outputs)
    assert nothing_left(outputs)


def test_one_archive_or_two_of_the_same_images_give_the_same_index(tmp_path):
    drawing = tmp_path / "drawing.png"
    Image.new("1", (105, 105), 1).save(drawing)
    sides = {"images_background": "Latin", "images_evaluation": "ULOG"}
    names = {side: f"{side}/{alphabet}/character01/1.png" for side, alphabet in sides.items()}
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    with tarfile.open(tmp_path / "one/all.tar.gz", "w:gz") as tar:
        for side, name in names.items():
            tar.add(drawing, f"Omniglot Dataset/{name}")
            with zipfile.ZipFile(tmp_path / f"two/{side}.zip", "w") as opened:
                opened.write(drawing, name)
    counts = Counts(images={"train": 1, "test": 1}, train_classes=1, test_classes=1)
    dataset = TINY.model_copy(update={"layout": "omniglot", "counts": counts, "store_size": 32})
    written = []
    for folder in ("one", "two"):
        out = tmp_path / f"{folder}.parquet", tmp_path / f"{folder}.npy"
        prepare(dataset, tmp_path / folder, *out)
        written.append(digests(out))
    assert written[0] == written[1]
    assert read_index(tmp_path / "two.parquet")["image"].tolist() == list(names.values())


@pytest.mark.parametrize("name", ["cars_half", "demo", "grocery", "omniglot"])
def test_configurations_are_valid(name):
    text = (CONF / f"{name}.yaml").read_text(encoding="utf-8")
    dataset = Dataset.model_validate(yaml.safe_load(text))
    assert dataset.name == name
    assert text.startswith("# ")


def test_the_demo_as_configured(tmp_path):
    text = (CONF / "demo.yaml").read_text(encoding="utf-8")
    dataset = Dataset.model_validate(yaml.safe_load(text))
    download(dataset, tmp_path / "archive")
    prepare(dataset, tmp_path / "archive", tmp_path / "index.parquet", tmp_path / "images.npy")
    index = read_index(tmp_path / "index.parquet")
    assert levels_of(index, dataset.levels, "demo").codes.max(1).tolist() == [63, 15, 3]
    families = index["superclass"].str.split("/").str[0]
    assert index.groupby([families, "split"])["label"].nunique().unique().tolist() == [8]
    assert index.groupby(["superclass", "split"])["label"].nunique().unique().tolist() == [2]
    assert ImageStore(tmp_path / "images.npy", index)[1535].shape == (64, 64, 3)
