"""The paper's datasets, from small archives of the genuine layout to index and store."""

import io
import shutil
import tarfile
import zipfile
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

from fakes.archives import make_cars, make_cars_halves, make_cub, make_inshop, make_sop
from fakes.server import serve
from fakes.settings import dataset
from hier.config.dataset import Subset
from hier.data.archive import unpack
from hier.data.index import read_index
from hier.data.prepare import prepare
from hier.data.store import ImageStore
from hier.errors import ClassOverlapError, ConfigError, CountError, ImageError, LayoutError
from hier.evaluation.hierarchy.levels import levels_of
from hier.registry import LAYOUTS

MAKE = {
    "cub": make_cub,
    "cars": make_cars,
    "cars (halves)": make_cars_halves,
    "sop": make_sop,
    "inshop": make_inshop,
}


def unpacked(archives, folder):
    """What `prepare` gives to a layout."""
    for file in sorted(archives.iterdir()):
        if file.suffix in (".mat", ".txt"):
            shutil.copyfile(file, folder / file.name)
        else:
            unpack(file, folder)
    return folder


@pytest.fixture
def made(tmp_path):
    """Make a small dataset of four classes of two images and unpack it."""

    def make(name):
        for folder in ("archives", "root"):
            (tmp_path / folder).mkdir()
        MAKE[name](tmp_path / "archives", classes=4, images=2)
        return unpacked(tmp_path / "archives", tmp_path / "root")

    return make


def read(root, name):
    table = LAYOUTS.module(name).read(root, dataset(name))
    assert list(table.columns) == ["image", "label", "class_name", "superclass", "split"]
    assert table["label"].dtype == "int64"
    rows = [tuple(row) for row in table.itertuples(index=False)]
    assert all((root / image).is_file() for image, *_ in rows)
    return rows


class TestRows:
    def test_cub(self, made):
        root = made("cub")
        assert (root / "attributes.txt").exists()
        albatross = "CUB_200_2011/images/001.Black_footed_Albatross/Black_footed_Albatross"
        laysan = "CUB_200_2011/images/002.Laysan_Albatross/Laysan_Albatross"
        sooty = "CUB_200_2011/images/003.Sooty_Albatross/Sooty_Albatross"
        ani = "CUB_200_2011/images/004.Groove_billed_Ani/Groove_billed_Ani"
        assert read(root, "cub") == [
            (f"{albatross}_0001_796000.jpg", 0, "Black_footed_Albatross", None, "train"),
            (f"{albatross}_0002_796001.jpg", 0, "Black_footed_Albatross", None, "train"),
            (f"{laysan}_0001_796002.jpg", 1, "Laysan_Albatross", None, "train"),
            (f"{laysan}_0002_796003.jpg", 1, "Laysan_Albatross", None, "train"),
            (f"{sooty}_0001_796004.jpg", 2, "Sooty_Albatross", None, "test"),
            (f"{sooty}_0002_796005.jpg", 2, "Sooty_Albatross", None, "test"),
            (f"{ani}_0001_796006.jpg", 3, "Groove_billed_Ani", None, "test"),
            (f"{ani}_0002_796007.jpg", 3, "Groove_billed_Ani", None, "test"),
        ]

    def test_cars(self, made):
        assert read(made("cars"), "cars") == [
            ("car_ims/000001.jpg", 0, "AM General Hummer SUV 2000", None, "train"),
            ("car_ims/000002.jpg", 0, "AM General Hummer SUV 2000", None, "train"),
            ("car_ims/000003.jpg", 1, "Acura RL Sedan 2012", None, "train"),
            ("car_ims/000004.jpg", 1, "Acura RL Sedan 2012", None, "train"),
            ("car_ims/000005.jpg", 2, "Acura TL Sedan 2012", None, "test"),
            ("car_ims/000006.jpg", 2, "Acura TL Sedan 2012", None, "test"),
            ("car_ims/000007.jpg", 3, "Acura TL Type-S 2008", None, "test"),
            ("car_ims/000008.jpg", 3, "Acura TL Type-S 2008", None, "test"),
        ]

    def test_cars_in_halves(self, made):
        assert read(made("cars (halves)"), "cars") == [
            ("cars_train/00001.jpg", 3, "Acura TL Type-S 2008", None, "test"),
            ("cars_train/00002.jpg", 2, "Acura TL Sedan 2012", None, "test"),
            ("cars_train/00003.jpg", 1, "Acura RL Sedan 2012", None, "train"),
            ("cars_train/00004.jpg", 0, "AM General Hummer SUV 2000", None, "train"),
            ("cars_test/00001.jpg", 3, "Acura TL Type-S 2008", None, "test"),
            ("cars_test/00002.jpg", 2, "Acura TL Sedan 2012", None, "test"),
            ("cars_test/00003.jpg", 1, "Acura RL Sedan 2012", None, "train"),
            ("cars_test/00004.jpg", 0, "AM General Hummer SUV 2000", None, "train"),
        ]

    def test_cars_with_the_test_labels_in_the_devkit(self, made):
        root = made("cars (halves)")
        name = "cars_test_annos_withlabels.mat"
        expected = read(root, "cars")
        (root / name).rename(root / "devkit" / name)
        assert read(root, "cars") == expected

    def test_one_car_is_enough(self, made):
        root = made("cars")
        annotations = np.array(
            [[("car_ims/000001.jpg", 1)]],
            dtype=[("relative_im_path", object), ("class", object)],
        )
        savemat(root / "cars_annos.mat", {"annotations": annotations, "class_names": "Mini"})
        assert read(root, "cars") == [("car_ims/000001.jpg", 0, "Mini", None, "test")]

    def test_sop(self, made):
        top, coffee = "Stanford_Online_Products", ("coffee_maker", "test")
        expected = [
            (f"{top}/bicycle_final/111085122871_0.JPG", 0, "111085122871", "bicycle", "train"),
            (f"{top}/bicycle_final/111085122871_1.JPG", 0, "111085122871", "bicycle", "train"),
            (f"{top}/cabinet_final/111085123871_0.JPG", 1, "111085123871", "cabinet", "train"),
            (f"{top}/cabinet_final/111085123871_1.JPG", 1, "111085123871", "cabinet", "train"),
            (f"{top}/chair_final/111085124871_0.JPG", 2, "111085124871", "chair", "test"),
            (f"{top}/chair_final/111085124871_1.JPG", 2, "111085124871", "chair", "test"),
            (f"{top}/coffee_maker_final/111085125871_0.JPG", 3, "111085125871", *coffee),
            (f"{top}/coffee_maker_final/111085125871_1.JPG", 3, "111085125871", *coffee),
        ]
        root = made("sop")
        assert read(root, "sop") == expected
        inner = [(image.removeprefix(f"{top}/"), *rest) for image, *rest in expected]
        assert read(root / top, "sop") == inner

    def test_inshop(self, made):
        dresses, blouses = "img/WOMEN/Dresses/id_00000011", "img/WOMEN/Blouses_Shirts/id_00000008"
        tees, denim = "img/MEN/Tees_Tanks/id_00000005", "img/MEN/Denim/id_00000002"
        expected = [
            (f"{dresses}/01_1_front.jpg", 3, "id_00000011", "WOMEN/Dresses", "query"),
            (f"{dresses}/01_2_side.jpg", 3, "id_00000011", "WOMEN/Dresses", "gallery"),
            (f"{blouses}/01_1_front.jpg", 2, "id_00000008", "WOMEN/Blouses_Shirts", "query"),
            (f"{blouses}/01_2_side.jpg", 2, "id_00000008", "WOMEN/Blouses_Shirts", "gallery"),
            (f"{tees}/01_1_front.jpg", 1, "id_00000005", "MEN/Tees_Tanks", "train"),
            (f"{tees}/01_2_side.jpg", 1, "id_00000005", "MEN/Tees_Tanks", "train"),
            (f"{denim}/01_1_front.jpg", 0, "id_00000002", "MEN/Denim", "train"),
            (f"{denim}/01_2_side.jpg", 0, "id_00000002", "MEN/Denim", "train"),
        ]
        root = made("inshop")
        assert read(root, "inshop") == expected
        (root / "Eval").mkdir()
        (root / "list_eval_partition.txt").rename(root / "Eval/list_eval_partition.txt")
        assert read(root, "inshop") == expected

    def test_one_class_has_one_name_and_one_superclass(self, made):
        root = made("sop")
        path = root / "Stanford_Online_Products/Ebay_train.txt"
        lines = ["image_id class_id super_class_id path", "1 1 1 fan_final/7_0.JPG"]
        path.write_text("\n".join([*lines, "2 1 1 fan_final/8_0.JPG"]), encoding="utf-8")
        table = LAYOUTS.module("sop").read(root, dataset("sop"))
        assert table["class_name"].tolist()[:2] == ["7", "7"]


class TestBadMetadata:
    @pytest.mark.parametrize("name", ["Ebay_train.txt", "Ebay_test.txt"])
    def test_sop_lacks_a_list(self, made, name):
        root = made("sop")
        (root / "Stanford_Online_Products" / name).unlink()
        with pytest.raises(LayoutError, match=rf"{name} is missing: expected at {root}"):
            read(root, "sop")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", r"line 1: expected the header 'image_id class_id super_class_id path', found ''"),
            ("1 1 1 fan_final/1_0.JPG", r"line 1: expected the header .*, found '1 1 1 fan_final"),
            (
                "HEADER\n1 x 1 fan_final/1_0.JPG",
                r"line 2: expected <image id> <class id> .* 'x?1 x",
            ),
            ("HEADER\n\n1 0 1 fan_final/1_0.JPG", r"line 3: expected <image id> <class id>"),
            ("HEADER\n1 1 fan_final/1_0.JPG", r"line 2: expected <image id>"),
            ("HEADER\n1 1 1 1_0.JPG", r"line 2: expected .*<super-class>_final/<product id>_"),
            ("HEADER\n1 1 1 fan_final/1.JPG", r"line 2: expected .*<product id>_<number>\.JPG"),
            ("HEADER\n1", r"line 2: expected <image id>"),
        ],
    )
    def test_sop(self, made, content, message):
        root = made("sop")
        path = root / "Stanford_Online_Products/Ebay_test.txt"
        header = "image_id class_id super_class_id path"
        path.write_text(content.replace("HEADER", header), encoding="utf-8")
        with pytest.raises(LayoutError, match=rf"Ebay_test\.txt, {message}"):
            read(root, "sop")

    def test_inshop_lacks_its_list(self, made):
        root = made("inshop")
        (root / "list_eval_partition.txt").unlink()
        with pytest.raises(LayoutError, match=r"list_eval_partition\.txt is missing: expected at"):
            read(root, "inshop")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", r"line 1: expected the number of images, found ''"),
            ("HEADER\n", r"line 1: expected the number of images, found 'image_name item_id ev"),
            ("1\n", r"line 2: expected the header 'image_name item_id evaluation_status', found"),
            ("1\nimg/M/D/id_1/a.jpg id_1 train", r"line 2: expected the header 'image_name item"),
            ("2\nHEADER\nimg/M/D/id_1/a.jpg id_1 train", r"line 1: 2 images are announced, 1 are"),
            ("1\nHEADER\nimg/M/D/id_1/a.jpg id_1 val", r"line 3: unknown status 'val'; expected "),
            ("1\nHEADER\nimg/M/D/id_1/a.jpg one train", r"line 3: expected img/<people>/<catego"),
            ("1\nHEADER\nimg/M/D/id_1/a.jpg 1 train", r"line 3: expected img/<people>/<catego"),
            ("1\nHEADER\nimg/M/a.jpg id_1 train", r"line 3: expected img/<people>/<category>"),
            ("1\nHEADER\nimg/M/D/id_1/a.jpg train", r"line 3: expected .* id_<digits> <status>"),
        ],
    )
    def test_inshop(self, made, content, message):
        root = made("inshop")
        header = "image_name item_id evaluation_status"
        path = root / "list_eval_partition.txt"
        path.write_text(content.replace("HEADER", header), encoding="utf-8")
        with pytest.raises(LayoutError, match=rf"list_eval_partition\.txt, {message}"):
            read(root, "inshop")

    def test_cars_lack_both_forms(self, made):
        root = made("cars")
        (root / "cars_annos.mat").unlink()
        with pytest.raises(LayoutError, match=r"expected cars_annos\.mat .* or devkit/cars_meta"):
            read(root, "cars")

    @pytest.mark.parametrize("name", ["devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat"])
    def test_cars_lack_the_labels_of_a_half(self, made, name):
        root = made("cars (halves)")
        (root / name).unlink()
        with pytest.raises(LayoutError, match=f"is missing: expected at {root / name}"):
            read(root, "cars")

    @pytest.mark.parametrize("content", [b"", b"no MATLAB file", b"\x00" * 600, None])
    def test_cars_with_a_damaged_file(self, made, content):
        root = made("cars")
        path = root / "cars_annos.mat"
        path.write_bytes(path.read_bytes()[:-100] if content is None else content)
        with pytest.raises(LayoutError, match=r"cars_annos\.mat cannot be read as a MATLAB file: ."):
            read(root, "cars")

    @pytest.mark.parametrize("variable", ["annotations", "class_names"])
    def test_cars_without_a_variable(self, made, variable):
        root = made("cars")
        path = root / "cars_annos.mat"
        found = loadmat(path)
        kept = {k: v for k, v in found.items() if k != variable and not k.startswith("__")}
        savemat(path, kept)
        with pytest.raises(LayoutError, match=rf"annos\.mat: expected a variable {variable}, ther"):
            read(root, "cars")

    @pytest.mark.parametrize(
        ("fields", "missing"),
        [
            (["fname", "bbox_x1", "test"], "class or relative_im_path"),
            (["relative_im_path", "bbox_x1"], "class"),
        ],
    )
    def test_cars_without_a_field(self, made, fields, missing):
        root = made("cars")
        annotations = np.array([[tuple("a" for _ in fields)]], dtype=[(f, object) for f in fields])
        names = np.array([["A", "B"]], dtype=object)
        savemat(root / "cars_annos.mat", {"annotations": annotations, "class_names": names})
        with pytest.raises(LayoutError, match=f"annotations has no field {missing}$"):
            read(root, "cars")

    def test_cars_whose_annotations_are_no_struct(self, made):
        root = made("cars")
        savemat(root / "cars_annos.mat", {"annotations": [1, 2], "class_names": "A"})
        with pytest.raises(LayoutError, match="annotations has no field class or relative_im_path"):
            read(root, "cars")

    @pytest.mark.parametrize("label", [0, 3, "x", -1, [1, 2], 1.5, "²", "1" * 5000])
    def test_cars_with_a_class_that_does_not_exist(self, made, label):
        root = made("cars")
        annotations = np.array(
            [[("car_ims/1.jpg", 1), ("car_ims/2.jpg", label)]],
            dtype=[("relative_im_path", object), ("class", object)],
        )
        names = np.array([["A", "B"]], dtype=object)
        savemat(root / "cars_annos.mat", {"annotations": annotations, "class_names": names})
        message = r"annotation 2 \(car_ims/2\.jpg\): class is '.*', expected an id from 1 to 2"
        with pytest.raises(LayoutError, match=message):
            read(root, "cars")

    @pytest.mark.parametrize("file", ["/etc/passwd", "../../a.jpg"])
    def test_cars_outside_of_the_archive(self, made, file):
        root = made("cars")
        annotations = np.array(
            [[("car_ims/1.jpg", 1), (file, 2)]],
            dtype=[("relative_im_path", object), ("class", object)],
        )
        names = np.array([["A", "B"]], dtype=object)
        savemat(root / "cars_annos.mat", {"annotations": annotations, "class_names": names})
        with pytest.raises(LayoutError, match=rf"annos\.mat, annotation 2: image '{file}' (is|leads)"):
            read(root, "cars")


@pytest.fixture
def outputs(tmp_path):
    return tmp_path / "out/index.parquet", tmp_path / "out/images.npy"


@pytest.fixture
def archives(tmp_path):
    (tmp_path / "archives").mkdir()
    return tmp_path / "archives"


def nothing_left(outputs):
    return not list(outputs[0].parent.iterdir())


def member_of(archives, name):
    """The content of a file in any of the archives (below their one top folder, for SOP)."""
    if name.endswith(".JPG"):
        name = f"Stanford_Online_Products/{name}"
    for path in archives.iterdir():
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as opened:
                if name in opened.namelist():
                    return opened.read(name)
        elif path.suffix == ".tgz":
            with tarfile.open(path) as tar:
                if name in tar.getnames():
                    return tar.extractfile(name).read()
    raise AssertionError(name)


@pytest.mark.parametrize("name", MAKE)
class TestPrepare:
    def test_facts_and_images(self, archives, outputs, name):
        counts = MAKE[name](archives)
        prepare(dataset(name, counts=counts), archives, *outputs)
        index = read_index(outputs[0])
        assert index["split"].value_counts().to_dict() == counts["images"]
        in_train = index["split"] == "train"
        train, test = set(index.loc[in_train, "label"]), set(index.loc[~in_train, "label"])
        assert (train, test) == ({0, 1, 2, 3}, {4, 5, 6, 7})
        assert index["superclass"].notna().all() == dataset(name).superclass
        assert levels_of(index, dataset(name).levels, name).titles == dataset(name).levels
        store, turned = ImageStore(outputs[1], index), 0
        for row, image in enumerate(index["image"]):
            with Image.open(io.BytesIO(member_of(archives, image))) as opened:
                expected = np.asarray(opened.convert("RGB"))
                turned += opened.getexif().get(0x0112) == 6
            assert expected.shape == (36, 48, 3)  # as in the file, whatever its EXIF rotation
            np.testing.assert_array_equal(store[row], expected)
        assert turned == 8

    def test_wrong_counts(self, archives, outputs, name):
        counts = MAKE[name](archives)
        counts["images"]["train"] += 1
        counts["test_classes"] -= 1
        message = "train images: expected 17, found 16; test classes: expected 3, found 4"
        with pytest.raises(CountError, match=message):
            prepare(dataset(name, counts=counts), archives, *outputs)
        assert nothing_left(outputs)

    def test_as_configured_the_small_archives_are_refused(self, archives, outputs, name):
        MAKE[name](archives)
        with pytest.raises(CountError, match=r"train images: expected \d+, found 16"):
            prepare(dataset(name), archives, *outputs)

    def test_an_image_that_cannot_be_decoded(self, archives, outputs, name, monkeypatch):
        draw = "fakes.archives.jpeg"
        monkeypatch.setattr(draw, lambda label, number, size: b"\xff\xd8\xff no image")
        counts = MAKE[name](archives)
        with pytest.raises(ImageError, match=rf"cannot decode \S+\.(jpg|JPG) .* of {name[:3]}"):
            prepare(dataset(name, counts=counts), archives, *outputs)
        assert nothing_left(outputs)

    def test_a_subset(self, archives, outputs, name):
        counts = MAKE[name](archives)
        part = Subset(classes=2, images=2)
        prepare(dataset(name, counts=counts, subset=part), archives, *outputs)
        index = read_index(outputs[0])
        assert sorted(index["label"].unique()) == [0, 2, 4, 6]
        assert (index.groupby(["label", "split"]).size() == 2).all()
        assert len(index) == (12 if name == "inshop" else 8)
        assert ImageStore(outputs[1], index)[len(index) - 1].shape == (36, 48, 3)
        counts["train_classes"] += 1  # the facts of the whole are checked all the same
        with pytest.raises(CountError, match="train classes: expected 5, found 4"):
            prepare(dataset(name, counts=counts, subset=part), archives, *outputs)

    def test_a_subset_that_asks_too_much(self, archives, outputs, name):
        counts = MAKE[name](archives)
        part = Subset(classes=5, images=2)
        with pytest.raises(ConfigError, match="there are only 4 training classes"):
            prepare(dataset(name, counts=counts, subset=part), archives, *outputs)
        assert nothing_left(outputs)


def test_overlapping_classes_of_sop(archives, outputs):
    counts = make_sop(archives)
    rewrite_zip(archives / "Stanford_Online_Products.zip", "Ebay_test.txt", b"17 5 5", b"17 4 5")
    with pytest.raises(ClassOverlapError, match="1 classes have training and test images: 1110851"):
        prepare(dataset("sop", counts=counts), archives, *outputs)
    assert nothing_left(outputs)


def test_overlapping_classes_of_inshop(archives, outputs):
    counts = make_inshop(archives)
    path = archives / "list_eval_partition.txt"
    path.write_bytes(path.read_bytes().replace(b" train ", b" query ", 1))
    with pytest.raises(ClassOverlapError, match=r"1 classes have .* test images: id_00000011"):
        prepare(dataset("inshop", counts=counts), archives, *outputs)


def rewrite_zip(path, name, old, new):
    with zipfile.ZipFile(path) as opened:
        content = {entry.filename: opened.read(entry) for entry in opened.infolist()}
    with zipfile.ZipFile(path, "w") as opened:
        for file, data in content.items():
            assert old in data or not file.endswith(name)
            opened.writestr(file, data.replace(old, new, 1) if file.endswith(name) else data)


def test_the_two_sources_of_cars_hold_the_same_classes_and_images(tmp_path):
    tables = []
    for make in (make_cars, make_cars_halves):
        archives = tmp_path / make.__name__
        archives.mkdir()
        counts = make(archives)
        out = archives / "index.parquet", archives / "images.npy"
        prepare(dataset("cars", counts=counts), archives, *out)
        index = read_index(out[0])
        store = ImageStore(out[1], index)
        images = sorted((c, store[row].tobytes()) for row, c in enumerate(index["class_name"]))
        tables.append((images, index.groupby("class_name")["split"].unique().map(list).to_dict()))
    assert tables[0] == tables[1]


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("cub", [["CUB_200_2011.tgz"]]),
        (
            "cars",
            [
                ["car_ims.tgz", "cars_annos.mat"],
                [
                    "cars_train.tgz",
                    "cars_test.tgz",
                    "car_devkit.tgz",
                    "cars_test_annos_withlabels.mat",
                ],
            ],
        ),
        ("sop", [["Stanford_Online_Products.zip"]]),
        ("inshop", [["img.zip", "list_eval_partition.txt"]]),
    ],
)
def test_configurations_name_the_files_that_the_fakes_make(tmp_path, name, files):
    configured = dataset(name)
    assert configured.name == configured.layout == name
    assert [[file.name for file in source.files] for source in configured.sources] == files
    makers = [make for key, make in MAKE.items() if key.split()[0] == name]
    for make, source in zip(makers, files, strict=True):
        (tmp_path / make.__name__).mkdir()
        make(tmp_path / make.__name__, classes=2, images=1)
        assert sorted(path.name for path in (tmp_path / make.__name__).iterdir()) == sorted(source)
    assert configured.limits.files > sum(configured.counts.images.values())
    assert (configured.by_hand is None) == (name in ("cub", "sop"))


def test_the_server_sends_parts(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    with serve(tmp_path) as served:
        answers = []
        for wanted in (None, "bytes=4-", "bytes=2-3"):
            headers = {} if wanted is None else {"Range": wanted}
            with urlopen(Request(f"{served.url}/file", headers=headers)) as answer:
                answers.append((answer.status, answer.headers["Content-Range"], answer.read()))
    assert answers == [
        (200, None, b"0123456789"),
        (206, "bytes 4-9/10", b"456789"),
        (206, "bytes 2-3/10", b"23"),
    ]
    assert served.requests == [("/file", None), ("/file", "bytes=4-"), ("/file", "bytes=2-3")]
