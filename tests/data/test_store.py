import errno
import pickle

import numpy as np
import pytest
from PIL import Image

from fakes.pictures import dataset_of, index_of, noise
from hier.data.index import read_index, write_index
from hier.data.store import ImageStore, write_store
from hier.errors import DiskFullError, ImageError, LayoutError, MissingInputError, StaleError

DATASET = dataset_of(store_size=8)


def store_of(folder, *names):
    index = write_store(folder, index_of(*names), DATASET, folder / "images.npy")
    return ImageStore(folder / "images.npy", index), index


def test_images_at_the_stores_size_are_kept_as_decoded(tmp_path):
    Image.fromarray(noise(8, 12)).save(tmp_path / "a.png")
    Image.fromarray(noise(20, 8, seed=1)).save(tmp_path / "b.png")
    store, index = store_of(tmp_path, "a.png", "b.png")
    np.testing.assert_array_equal(store[0], noise(8, 12))
    np.testing.assert_array_equal(store[1], noise(20, 8, seed=1))
    assert index[["height", "width", "offset"]].values.tolist() == [[8, 12, 0], [20, 8, 288]]
    assert [str(index[c].dtype) for c in ("height", "width", "offset")] == [
        "int32",
        "int32",
        "int64",
    ]
    flat = np.load(tmp_path / "images.npy")
    assert (flat.shape, flat.dtype, len(store)) == ((288 + 480,), np.uint8, 2)


def test_large_images_shrink_bicubically_to_the_short_side(tmp_path):
    Image.fromarray(noise(33, 50)).save(tmp_path / "wide.png")
    Image.fromarray(noise(50, 16)).save(tmp_path / "tall.png")
    store, _ = store_of(tmp_path, "wide.png", "tall.png")
    expected = Image.fromarray(noise(33, 50)).resize((12, 8), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(store[0], np.asarray(expected))
    assert store[1].shape == (25, 8, 3)


def test_exact_keeps_every_pixel(tmp_path):
    Image.fromarray(noise(33, 50)).save(tmp_path / "a.png")
    exact = DATASET.model_copy(update={"store_size": "exact"})
    index = write_store(tmp_path, index_of("a.png"), exact, tmp_path / "images.npy")
    np.testing.assert_array_equal(ImageStore(tmp_path / "images.npy", index)[0], noise(33, 50))


def test_small_images_are_not_enlarged(tmp_path):
    Image.fromarray(noise(5, 40)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(store_of(tmp_path, "a.png")[0][0], noise(5, 40))


def test_exif_rotation_is_left_as_it_is(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a viewer would turn it by 90°
    Image.fromarray(noise(8, 16)).save(tmp_path / "a.png", exif=exif)
    store, _ = store_of(tmp_path, "a.png")
    np.testing.assert_array_equal(store[0], noise(8, 16))


@pytest.mark.parametrize("kind", ["truncated jpg", "truncated png", "text", "empty", "missing"])
def test_a_bad_image_is_named_with_its_class(tmp_path, kind):
    Image.fromarray(noise(8, 8)).save(tmp_path / "good.png")
    bad = tmp_path / ("bad.jpg" if kind == "truncated jpg" else "bad.png")
    if kind.startswith("truncated"):
        Image.fromarray(noise(64, 64)).save(bad)
        bad.write_bytes(bad.read_bytes()[:1500])
    elif kind != "missing":
        bad.write_text("no image" if kind == "text" else "")
    with pytest.raises(ImageError, match=rf"cannot decode {bad.name} \(class class 1\) of tiny") as c:
        store_of(tmp_path, "good.png", bad.name)
    assert "\n" not in str(c.value)
    assert f"exclude: ['{bad.name}']" in str(c.value)
    assert "lower its counts by what is left out, and compose again" in str(c.value)
    assert not [p for p in tmp_path.iterdir() if "images.npy" in p.name]


@pytest.mark.parametrize("name", ["link.png", "folder/a.png"])
def test_an_image_behind_a_link_out_is_refused(tmp_path, name):
    """No archive can hold such a link, but this is where files are opened."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
    Image.fromarray(noise(8, 8)).save(outside / "a.png")
    (inside / "link.png").symlink_to(outside / "a.png")
    (inside / "folder").symlink_to(outside)
    with pytest.raises(LayoutError, match=rf"tiny: image '{name}' \(class class 0\) leads out of"):
        write_store(inside, index_of(name), DATASET, tmp_path / "images.npy")
    assert not (tmp_path / "images.npy").exists()
    (inside / "b.png").symlink_to("c.png")
    Image.fromarray(noise(8, 8)).save(inside / "c.png")
    write_store(inside, index_of("b.png"), DATASET, tmp_path / "images.npy")


def test_a_full_disk_is_clear_and_leaves_nothing(tmp_path, monkeypatch):
    Image.fromarray(noise(8, 8)).save(tmp_path / "a.png")

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hier.data.store._write_header", full)
    with pytest.raises(DiskFullError, match=r"no space left while writing .*images\.npy"):
        store_of(tmp_path, "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_the_store_survives_pickling_and_the_index_parquet(tmp_path):
    Image.fromarray(noise(8, 9)).save(tmp_path / "a.png")
    Image.fromarray(noise(9, 8)).save(tmp_path / "b.png")
    store, index = store_of(tmp_path, "a.png", "b.png")
    store[0]
    assert len(pickle.dumps(store)) < 2000
    write_index(index, tmp_path / "index.parquet")
    again = ImageStore(tmp_path / "images.npy", read_index(tmp_path / "index.parquet"))
    for copy in (pickle.loads(pickle.dumps(store)), again):
        np.testing.assert_array_equal(copy[1], noise(9, 8))


def test_the_file_cannot_be_changed_through_what_it_returns(tmp_path):
    Image.fromarray(noise(8, 8)).save(tmp_path / "a.png")
    store, _ = store_of(tmp_path, "a.png")
    with pytest.raises(ValueError, match="read-only"):
        store[0][:] = 0


def test_pixels_are_read_only_where_they_are_looked_at(tmp_path):
    """An image is a view of the memory-mapped file: what is cropped away is never read."""
    Image.fromarray(noise(8, 8)).save(tmp_path / "a.png")
    store, _ = store_of(tmp_path, "a.png")
    assert np.shares_memory(store[0], store[0])


def test_a_store_that_is_missing_or_is_of_another_index_is_clear(tmp_path):
    Image.fromarray(noise(8, 8)).save(tmp_path / "a.png")
    store, index = store_of(tmp_path, "a.png")
    with pytest.raises(MissingInputError, match="hier prepare"):
        ImageStore(tmp_path / "other.npy", index)[0]
    with pytest.raises(StaleError, match="holds 192 bytes, its index says 216"):
        ImageStore(store.path, index.assign(width=np.int32(9)))[0]
