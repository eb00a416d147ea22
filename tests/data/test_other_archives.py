"""Archives that are sound, and yet not as the authors' are: closed, packed otherwise, in another tree."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fakes.archives import (
    make_cars,
    make_cars_halves,
    make_cub,
    make_inshop,
    make_sop,
    mark,
    repack,
)
from fakes.settings import dataset
from hier.config.dataset import File, Source
from hier.data.archive import check, members, unpack
from hier.data.download import download
from hier.data.index import read_index
from hier.data.prepare import prepare
from hier.data.store import ImageStore
from hier.errors import ArchiveError, LayoutError

MAKE = {
    "cub": (make_cub, "CUB_200_2011.tgz"),
    "cars": (make_cars, "car_ims.tgz"),
    "cars (halves)": (make_cars_halves, "cars_train.tgz"),
    "sop": (make_sop, "Stanford_Online_Products.zip"),
    "inshop": (make_inshop, "img.zip"),
}
CLOSED = {  # flags and method of a zip's members, and what is said of them
    "ZipCrypto": (1, None, "is encrypted; its authors give out the password"),
    "AES": (1, 99, "is encrypted; its authors give out the password"),
    "deflate64": (0, 9, "is packed with deflate64, which Python cannot unpack"),
    "PPMd": (0, 98, "is packed with PPMd, which Python cannot unpack"),
    "xz": (0, 95, "is packed with xz, which Python cannot unpack"),
    "unheard of": (0, 77, "is packed with method 77, which Python cannot unpack"),
}
BEGINNINGS = {
    b"Rar!\x1a\x07\x01\x00": "a RAR archive, whatever its name says",
    b"Rar!\x1a\x07\x00": "a RAR archive, whatever its name says",
    b"7z\xbc\xaf\x27\x1c\x00\x04": "a 7z archive, whatever its name says",
    b"\x28\xb5\x2f\xfd\x04": "packed with zstd, whatever its name says",
}
READ = {
    "unpack": lambda path: unpack(path, path.parent / "out"),
    "check": check,
    "members": lambda path: list(members(path)),
}


def again(name):
    return (
        f"; unpack it and pack it again as a plain zip of that name: 7z x -ounpacked {name} && "
        f"(cd unpacked && zip -qr ../plain.zip .) && mv plain.zip {name}"
    )


def zip_of(path, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as opened:
        opened.writestr("a/", "")
        opened.writestr("a/b.txt", b"one" * 100)
    return path


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("kind", CLOSED)
def test_a_closed_zip_says_what_it_is(tmp_path, kind, read):
    flags, method, says = CLOSED[kind]
    path = zip_of(tmp_path / "img.zip")
    mark(path, flags, method)
    with pytest.raises(ArchiveError) as caught:
        READ[read](path)
    assert str(caught.value) == f"{path}: member 'a/' {says}{again('img.zip')}"


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("name", ["img.zip", "CUB_200_2011.tgz"])
def test_another_format_says_what_it_is(tmp_path, beginning, read, name):
    (tmp_path / name).write_bytes(beginning + bytes(1000))
    with pytest.raises(ArchiveError) as caught:
        READ[read](tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}: {BEGINNINGS[beginning]}{again(name)}"


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_python_can_unpack_is_unpacked(tmp_path, method):
    unpack(zip_of(tmp_path / "a.zip", method), tmp_path / "out")
    assert (tmp_path / "out/a/b.txt").read_bytes() == b"one" * 100


def test_the_command_makes_an_archive_that_is_taken(tmp_path):
    """Its second half, that is; 7z is not at hand everywhere."""
    if shutil.which("zip") is None:
        pytest.skip("needs the program zip")
    import subprocess

    zip_of(tmp_path / "img.zip")
    with zipfile.ZipFile(tmp_path / "img.zip") as opened:
        opened.extractall(tmp_path / "unpacked")
    command = again("img.zip").partition(" && ")[2]
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    assert dict(members(tmp_path / "img.zip")) == {"a/b.txt": b"one" * 100}


@pytest.mark.parametrize("kind", ["ZipCrypto", "AES", "deflate64"])
def test_hier_download_names_the_place_and_the_command(from_here_alone, out, kind):
    hand = Path("downloads/inshop")
    hand.mkdir(parents=True)
    make_inshop(hand)
    flags, method, says = CLOSED[kind]
    mark(hand / "img.zip", flags, method)
    with pytest.raises(ArchiveError) as caught:
        download(dataset("inshop", mirrors=[]), out)
    text = str(caught.value)
    assert text.startswith("img.zip from downloads/inshop/img.zip: member 'img/WOMEN/Dresses/id_")
    assert text.endswith(says + again("img.zip"))
    assert "\n" not in text
    assert not out.exists()


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_hier_download_knows_a_rar_by_what_is_in_it(from_here_alone, out, beginning):
    hand = Path("downloads/inshop")
    hand.mkdir(parents=True)
    make_inshop(hand)
    (hand / "img.zip").write_bytes(beginning + bytes(1000))
    with pytest.raises(ArchiveError) as caught:
        download(dataset("inshop", mirrors=[]), out)
    says = BEGINNINGS[beginning] + again("img.zip")
    assert str(caught.value) == f"img.zip from downloads/inshop/img.zip: {says}"


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html><html>", b"\xef\xbb\xbf\r\n<HTML>\n", b"<?xml version='1.0'?>\n"]
)
@pytest.mark.parametrize("proof", [{"unproved": "none is published"}, {"sha256": "0" * 64}])
def test_a_web_page_in_the_place_of_an_archive_is_called_one(from_here_alone, out, page, proof):
    hand = Path("downloads/cub")
    hand.mkdir(parents=True)
    (hand / "birds.zip").write_bytes(page + b"<title>Google Drive - Virus scan warning</title>")
    source = Source(files=[File(name="birds.zip", **proof)])
    with pytest.raises(ArchiveError) as caught:
        download(dataset("cub", sources=[source], mirrors=[]), out)
    begins = "birds.zip from downloads/cub/birds.zip: it is a web page, not an archive"
    assert str(caught.value).startswith(begins)
    assert not out.exists()


@pytest.fixture
def archives(tmp_path):
    (tmp_path / "archives").mkdir()
    return tmp_path / "archives"


@pytest.fixture
def prepared(tmp_path):
    """Prepare a dataset; its index, and the images of its store."""

    def run(configured, archives, name="out"):
        outputs = tmp_path / name / "index.parquet", tmp_path / name / "images.npy"
        prepare(configured, archives, *outputs)
        index = read_index(outputs[0])
        store = ImageStore(outputs[1], index)
        return index, [store[row] for row in range(len(index))]

    return run


@pytest.mark.parametrize("name", MAKE)
def test_a_closed_archive_of_any_dataset_is_refused(archives, prepared, name):
    make, archive = MAKE[name]
    counts = make(archives)
    (archives / archive).write_bytes(b"Rar!\x1a\x07\x00" + bytes(100))
    with pytest.raises(ArchiveError, match="a RAR archive, whatever its name says"):
        prepared(dataset(name, counts=counts), archives)
    zip_of(archives / archive)
    mark(archives / archive, 1)
    with pytest.raises(ArchiveError, match=r"member 'a/' is encrypted; its authors give out"):
        prepared(dataset(name, counts=counts), archives)


TOPS = {
    "a top folder": lambda name: f"copy/{name}",
    "a top folder with blanks": lambda name: f"The [whole] Benchmark (2)/data/{name}",
}


@pytest.mark.parametrize("top", TOPS)
@pytest.mark.parametrize("name", MAKE)
def test_other_folders_around_it_change_no_image_and_no_label(archives, prepared, name, top):
    make, archive = MAKE[name]
    counts = make(archives)
    expected, images = prepared(dataset(name, counts=counts), archives, "before")
    # A file beside it: what is the only folder in an archive is looked into anyway.
    repack(archives / archive, TOPS[top], {"README.txt": b"a copy", "__MACOSX/a/._b": b""})
    found, same = prepared(dataset(name, counts=counts), archives, "after")
    rest = [column for column in expected if column != "image"]
    pd.testing.assert_frame_equal(found[rest], expected[rest])
    for was, now in zip(expected["image"], found["image"], strict=True):
        assert now in (was, TOPS[top](was), TOPS[top](f"{archive.partition('.')[0]}/{was}"))
    assert [i.tobytes() for i in same] == [i.tobytes() for i in images]


DRIVE = "In-shop Clothes Retrieval Benchmark"


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: f"{DRIVE}/Img/{name}",
        lambda name: f"Img/{name}",
        lambda name: f"img/{name}",
        lambda name: f"{DRIVE}/{name}",
    ],
)
@pytest.mark.parametrize("beside", [True, False])
def test_the_tree_of_in_shops_drive(archives, prepared, rename, beside):
    """The list lies beside img.zip or, where the whole drive was packed, in Eval/ alone."""
    counts = make_inshop(archives)
    expected, images = prepared(dataset("inshop", counts=counts), archives, "before")
    path = archives / "list_eval_partition.txt"
    more = {f"{DRIVE}/Anno/list_bbox_inshop.txt": b"0\n", f"{DRIVE}/README.txt": b""}
    if not beside:
        more[f"{DRIVE}/Eval/{path.name}"] = path.read_bytes()
        path.unlink()
    repack(archives / "img.zip", rename, more)
    found, same = prepared(dataset("inshop", counts=counts), archives, "after")
    assert found["image"].str.endswith(tuple(expected["image"])).all()
    rest = [column for column in expected if column != "image"]
    pd.testing.assert_frame_equal(found[rest], expected[rest])
    for now, then in zip(same, images, strict=True):
        np.testing.assert_array_equal(now, then)


def refused(prepared, configured, archives):
    """What is said of archives that are in another tree."""
    with pytest.raises(LayoutError) as caught:
        prepared(configured, archives)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(f"hier download --force {configured.name}")
    return text


@pytest.mark.parametrize("rename", [lambda n: f"img_highres{n[3:]}", lambda n: f"Img/img_highres{n[3:]}"])
def test_the_high_resolution_folder_is_known(archives, prepared, rename):
    counts = make_inshop(archives)
    repack(archives / "img.zip", rename)
    text = refused(prepared, dataset("inshop", counts=counts), archives)
    assert "img_highres holds the high-resolution images; the paper's are" in text
    assert "in Img/img.zip of the authors' drive" in text


def test_an_archive_in_the_archive_is_named(archives, prepared):
    counts = make_inshop(archives)
    inner = (archives / "img.zip").read_bytes()
    repack(archives / "img.zip", lambda n: f"Anno/{n}.txt", {f"{DRIVE}/Img/img.zip": inner})
    text = refused(prepared, dataset("inshop", counts=counts), archives)
    assert f"({DRIVE}/Img/img.zip in it is an archive of its own; is that the one" in text


@pytest.mark.parametrize("name", ["cub", "sop"])
def test_an_archive_in_an_archive_of_lists_is_named(archives, prepared, name):
    make, archive = MAKE[name]
    counts = make(archives)
    inner = (archives / archive).read_bytes()
    for old in archives.iterdir():
        old.unlink()
    (archives / archive).write_bytes(zip_with({f"a/{archive}": inner, "b.txt": b""}))
    text = refused(prepared, dataset(name, counts=counts), archives)
    assert f"(a/{archive} in it is an archive of its own; is that the one that is meant?)" in text


def zip_with(content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        for name, data in content.items():
            opened.writestr(name, data)
    return stream.getvalue()


def test_another_tree_is_told_by_what_is_there(archives, prepared):
    counts = make_inshop(archives)
    repack(archives / "img.zip", lambda name: name.replace("img/", "pictures/"))
    text = refused(prepared, dataset("inshop", counts=counts), archives)
    assert text.startswith(
        "inshop: none of its 32 images is in the archive; expected img/WOMEN/Dresses/id_00000023/"
        "01_1_front.jpg, found the folders pictures; Sign the agreement of DeepFashion"
    )
    assert "take Img/img.zip (low resolution, not img_highres.zip) and Eval/" in text


def test_a_name_that_no_file_can_have_is_not_there(archives, prepared):
    make_inshop(archives)
    name = f"img/{'W' * 300}/Dresses/id_1/a.jpg"
    lines = [
        "2",
        "image_name item_id evaluation_status",
        f"{name} id_1 train",
        f"{name}2 id_2 query",
    ]
    (archives / "list_eval_partition.txt").write_text("\n".join(lines))
    counts = {
        "images": {"train": 1, "query": 1, "gallery": 1},
        "train_classes": 1,
        "test_classes": 1,
    }
    configured = dataset("inshop", counts=counts)
    configured.counts.images.pop("gallery")
    assert "none of its 2 images is in the archive" in refused(prepared, configured, archives)


@pytest.mark.parametrize("name", MAKE)
def test_two_copies_in_an_archive_are_not_chosen_from(archives, prepared, name):
    make, archive = MAKE[name]
    counts = make(archives)
    first = archives / "first"
    shutil.copy(archives / archive, first)
    repack(archives / archive, lambda n: f"one/{n}")
    names = dict(members(first))
    first.unlink()
    repack(archives / archive, lambda n: n, {f"two/{n}": data for n, data in names.items()})
    text = refused(prepared, dataset(name, counts=counts), archives)
    assert "is in one" in text
    assert "and in two" in text
    assert "only one of them can be meant" in text


def test_larger_images_than_promised_are_another_sets(archives, prepared):
    counts = make_inshop(archives, size=400)
    text = refused(prepared, dataset("inshop", counts=counts), archives)
    assert text.startswith(
        "inshop: img/WOMEN/Dresses/id_00000023/01_1_front.jpg has 400 × 300 pixels, and 256 × 256 "
        "are promised (image_size in conf/dataset/inshop.yaml); is it of a set of higher resolution?"
    )
    prepared(dataset("inshop", counts=counts, image_size=None), archives)
    prepared(dataset("inshop", counts=counts, image_size=[400, 300]), archives, "again")


def test_smaller_images_than_promised_are_told(archives, prepared, capsys):
    counts = make_inshop(archives, size=48)
    prepared(dataset("inshop", counts=counts), archives)
    assert capsys.readouterr().err == (
        "inshop: 32 of 32 images have fewer than the 256 × 256 pixels that are promised "
        "(such as img/WOMEN/Dresses/id_00000023/01_1_front.jpg, 48 × 36)\n"
    )


def test_images_of_the_promised_size_are_taken_without_a_word(archives, prepared, capsys):
    counts = make_inshop(archives, size=48)
    prepared(dataset("inshop", counts=counts, image_size=[48, 36]), archives)
    assert capsys.readouterr().err == ""


def test_the_paper_takes_in_shop_at_256_pixels():
    assert dataset("inshop").image_size == [256, 256]
    assert dataset("cub").image_size is None


def test_a_contents_digest_of_a_closed_archive_says_so_too(from_here_alone, out):
    hand = Path("downloads/cub")
    hand.mkdir(parents=True)
    mark(zip_of(hand / "a.zip"), 1)
    source = Source(files=[File(name="a.zip", contents="0" * 64)])
    with pytest.raises(ArchiveError, match=r"^a\.zip from downloads/cub/a\.zip: member 'a/' is encr"):
        download(dataset("cub", sources=[source], mirrors=[]), out)
