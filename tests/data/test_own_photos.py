"""Photos that are read where they lie, and what the layouts `folder` and `table` make of them."""

import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hier.config.dataset import Dataset, Unseen
from hier.data.download import download
from hier.data.index import read_index
from hier.data.layouts.sides import draw_unseen
from hier.data.prepare import prepare
from hier.data.store import ImageStore
from hier.errors import ChangedPhotosError, ImageError, LayoutError, NoDataError
from hier.files.hashing import Hasher, hash_file
from hier.jobs import job
from hier.ledger.arrival import changed_source

LIST = "mine-photos.sha256"


def shade(name):
    """A colour of its own for each path."""
    return tuple(np.random.default_rng(list(name.encode())).integers(0, 256, 3).tolist())


def photo(root, name, size=(12, 10)):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, shade(name)).save(path)


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    for name in ("a/x", "a/y", "b/z", "b/w"):
        for i in range(3):
            photo(root, f"{name}/{i}.png")
    return root


def dataset(files, images, layout="folder", train=2, test=2, **settings):
    return Dataset.model_validate(
        {
            "name": "mine", "layout": layout, "sources": [{"files": files}], "superclass": True,
            "levels": ["class", "superclass"], "store_size": "exact", "ks": [1],
            "counts": {"images": images, "train_classes": train, "test_classes": test},
            "unseen": {"share": 0.5, "seed": 0},
        } | settings
    )  # fmt: skip


def in_place(photos, images=None, **settings):
    """The dataset of the photos as they are, and its archive's folder."""
    from hier.data.in_place import list_photos

    path = photos.parent / LIST
    path.write_text(list_photos(photos, "mine"))
    files = [{"name": LIST, "folder": str(photos), "sha256": hash_file(path).sha256}]
    return dataset(files, images or {"train": 6, "test": 6}, **settings)


def prepared(of, folder):
    download(of, folder / "archive")
    prepare(of, folder / "archive", folder / "index.parquet", folder / "images.npy")
    index = read_index(folder / "index.parquet")
    return index, ImageStore(folder / "images.npy", index)


def test_photos_in_folders_are_read_where_they_lie(photos, tmp_path):
    index, store = prepared(in_place(photos), tmp_path / "data")
    assert index["image"].tolist() == sorted(
        f"{n}/{i}.png" for n in ("a/x", "a/y", "b/z", "b/w") for i in range(3)
    )
    for row, image in enumerate(index["image"]):
        assert (store[row] == shade(image)).all()
    assert (index["class_name"] + "<" + index["superclass"]).unique().tolist() == ["x<a", "y<a", "w<b", "z<b"]
    assert index.groupby("superclass")["split"].nunique().tolist() == [2, 2]
    assert [path.name for path in (tmp_path / "data/archive").iterdir()] == [LIST]


def test_an_archive_with_such_folders_gives_the_same(photos, tmp_path):
    index, _ = prepared(in_place(photos), tmp_path / "data")
    path = tmp_path / "mine.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for image in sorted(photos.rglob("*.png")):
            archive.write(image, f"mine/{image.relative_to(photos)}")
    file = {"name": path.name, "url": path.as_uri(), "sha256": hash_file(path).sha256}
    other, _ = prepared(dataset([file], {"train": 6, "test": 6}), tmp_path / "other")
    assert other.equals(index)


def test_classes_of_one_name_are_told_apart(photos, tmp_path):
    (photos / "b/z").rename(photos / "b/x")
    index, _ = prepared(in_place(photos), tmp_path / "data")
    assert index["class_name"].unique().tolist() == ["a/x", "y", "w", "b/x"]


def test_a_crop_is_what_is_stored(photos, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photos / "a/x/0.png")
    names = [str(path.relative_to(photos)) for path in sorted(photos.rglob("*.png"))]
    lines = [f"{n},{n[2]},{n[0]},{'train' if n[2] in 'xz' else 'test'}," for n in names]
    lines[0] += '"2, 3, 7, 9"'
    text = "\n".join(["path,label,superclass,split,crop", *lines])
    path = tmp_path / "labels.csv"
    path.write_text(text)
    table = {"name": "mine-table.csv", "url": path.as_uri(), "sha256": hash_file(path).sha256}
    of = in_place(photos, layout="table", unseen=None, columns={"above": ["superclass"]})
    of = of.model_validate(
        of.model_dump() | {"sources": [{"files": [of.sources[0].files[0].model_dump(), table]}]}
    )
    index, store = prepared(of, tmp_path / "data")
    assert (store[0] == pixels[3:9, 2:7]).all()
    assert store[1].shape == (10, 12, 3)
    assert "crop" not in index
    path.write_text(text.replace("7, 9", "7, 11"))
    table["sha256"] = hash_file(path).sha256
    of = of.model_validate(
        of.model_dump() | {"sources": [{"files": [of.sources[0].files[0].model_dump(), table]}]}
    )
    with pytest.raises(
        ImageError, match=r"its crop \(2, 3, 7, 11\) leads out of its 12 × 10 pixels; mend it, then"
    ):
        prepared(of, tmp_path / "data")


CHANGES = {
    "1 changed (such as a/x/1.png)": lambda root: photo(root, "a/x/1.png", (3, 3)),
    "1 missing (such as b/z/2.png)": lambda root: (root / "b/z/2.png").unlink(),
    "1 new (such as b/z/9.png)": lambda root: photo(root, "b/z/9.png"),
}


@pytest.mark.parametrize(("said", "change"), CHANGES.items(), ids=CHANGES)
def test_what_changed_since_is_named_whatever_stage_meets_it(said, change, photos, tmp_path, monkeypatch):
    of = in_place(photos)
    prepared(of, tmp_path / "data")
    change(photos)
    with pytest.raises(ChangedPhotosError) as in_prepare:
        prepare(of, tmp_path / "data/archive", tmp_path / "data/index.parquet", tmp_path / "data/images.npy")
    with pytest.raises(ChangedPhotosError) as in_download:
        download(of, tmp_path / "data/archive")
    mend = f"hier dataset add {photos} --name mine --replace"
    for caught in (in_prepare, in_download):
        assert said in str(caught.value)
        assert mend in str(caught.value)
    assert (tmp_path / "data/archive" / LIST).is_file()  # what was downloaded stays

    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").rename(tmp_path / "now")
    (tmp_path / "data/mine").parent.mkdir()
    (tmp_path / "now").rename(tmp_path / "data/mine")
    found = changed_source(job_of(of), Hasher())
    assert said in found
    assert mend in found


def job_of(of):
    from hier.config.settings import Settings

    return job("download", "mine", Settings({}, {"mine": of.model_dump()}, {}))


def test_what_is_as_it_was_says_nothing(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    of = in_place(photos)
    prepared(of, Path("data/mine"))
    assert changed_source(job_of(of), Hasher()) is None


def test_a_folder_that_is_gone_is_no_data(photos, tmp_path):
    of = in_place(photos)
    photos.rename(tmp_path / "elsewhere")
    with pytest.raises(NoDataError, match=r"photos is not there, in which the photos of mine lie"):
        download(of, tmp_path / "data/archive")
    assert "is not there" in (tmp_path / "data/no-data.txt").read_text()


def test_links_lead_nowhere(photos, tmp_path):
    (photos / "a/x/secret.png").symlink_to(tmp_path / "secret.png")
    (photos / "a/loop").symlink_to(photos)
    photo(tmp_path, "secret.png")
    index, _ = prepared(in_place(photos), tmp_path / "data")
    assert len(index) == 12


def test_a_name_that_no_line_can_hold_is_refused(photos):
    photo(photos, "a/x/two\nlines.png")
    with pytest.raises(
        LayoutError, match=r"the name 'a/x/two\\nlines.png' cannot be listed; rename that file"
    ):
        in_place(photos)


def test_of_each_super_class_a_share_is_unseen_and_none_is_lost():
    for seed in range(20):
        for share in (0.1, 0.3, 0.5, 0.8):
            sizes = np.random.default_rng(seed).integers(1, 9, 12)
            classes = [(f"s{s:02}", f"c{c}") for s, size in enumerate(sizes) for c in range(size)]
            unseen = draw_unseen(classes, Unseen(share=share, seed=seed))
            of = Counter(parent for parent, _ in unseen)
            for s, size in enumerate(sizes):
                if size > 1:
                    assert 1 <= of[f"s{s:02}"] <= size - 1
            assert unseen == draw_unseen(classes, Unseen(share=share, seed=seed))
    flat = [(f"c{i}",) for i in range(10)]
    drawn = [frozenset(draw_unseen(flat, Unseen(share=0.3, seed=seed))) for seed in range(10)]
    assert {len(each) for each in drawn} == {3}
    assert len(set(drawn)) > 5


def test_super_classes_of_one_class_share_as_all_do():
    classes = [(f"s{i}", "only") for i in range(10)]
    assert len(draw_unseen(classes, Unseen(share=0.5, seed=0))) == 5
