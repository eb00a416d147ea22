import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.io import savemat

from fakes.archives import make_cars_half
from hier.config.dataset import Dataset
from hier.data.archive import unpack
from hier.errors import LayoutError, UnknownNameError
from hier.evaluation.hierarchy.levels import levels_of
from hier.registry import LAYOUTS

ROOT = Path(__file__).parents[2]
COLUMNS = ["image", "label", "class_name", "superclass", "split"]


def dataset(name):
    text = (ROOT / f"conf/dataset/{name}.yaml").read_text(encoding="utf-8")
    return Dataset.model_validate(yaml.safe_load(text))


@pytest.fixture
def real_data():
    places = [ROOT.parent / "shared/data", Path(os.environ.get("HIER_MIRROR") or ROOT)]
    for place in places:
        if (place / "GroceryStoreDataset-fc80ba90.tar").exists():
            return place
    return pytest.skip("the real archives are not there; set HIER_MIRROR to their folder")


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def rows(table):
    assert list(table.columns) == COLUMNS
    assert table["label"].dtype == "int64"
    return [tuple(row) for row in table.itertuples(index=False)]


CUB = {
    "CUB_200_2011/classes.txt": "1 001.Auk\n2 002.Bee.eater\n3 003.Crow\n4 004.Duck\n",
    "CUB_200_2011/images.txt": (
        "2 001.Auk/b.jpg\n1 001.Auk/a.jpg\n3 002.Bee.eater/c.jpg\n"
        "4 003.Crow/d.jpg\n5 003.Crow/._d.jpg\n6 004.Duck/e.jpg\n"
    ),
    "CUB_200_2011/image_class_labels.txt": "1 1\n2 1\n3 2\n4 3\n5 3\n6 4\n",
    "CUB_200_2011/train_test_split.txt": "1 0\n2 1\n3 0\n4 1\n5 1\n6 0\n",
    "attributes.txt": "1 has_bill_shape::curved\n",
}


class TestCub:
    def test_rows(self, tmp_path):
        write(tmp_path, CUB)
        images = "CUB_200_2011/images"
        assert rows(LAYOUTS.module("cub").read(tmp_path, dataset("demo"))) == [
            (f"{images}/001.Auk/a.jpg", 0, "Auk", None, "train"),
            (f"{images}/001.Auk/b.jpg", 0, "Auk", None, "train"),
            (f"{images}/002.Bee.eater/c.jpg", 1, "Bee.eater", None, "train"),
            (f"{images}/003.Crow/d.jpg", 2, "Crow", None, "test"),
            (f"{images}/004.Duck/e.jpg", 3, "Duck", None, "test"),
        ]

    def test_superclasses_where_the_file_is_there(self, tmp_path):
        write(tmp_path, CUB | {"CUB_200_2011/superclasses.txt": "1 A/A1\n3 A/A1\n4 B/B 2\n"})
        table = LAYOUTS.module("cub").read(tmp_path / "CUB_200_2011", dataset("demo"))
        assert table["superclass"].tolist() == ["A/A1", "A/A1", None, "A/A1", "B/B 2"]
        assert table["image"][0] == "images/001.Auk/a.jpg"

    @pytest.mark.parametrize("file", ["classes.txt", "images.txt", "image_class_labels.txt"])
    def test_missing_metadata(self, tmp_path, file):
        write(tmp_path, {k: v for k, v in CUB.items() if not k.endswith(f"/{file}")})
        with pytest.raises(LayoutError, match=f"{file} is missing: expected at {tmp_path}"):
            LAYOUTS.module("cub").read(tmp_path, dataset("demo"))

    @pytest.mark.parametrize(
        ("file", "content", "message"),
        [
            ("images.txt", "1 a.jpg\n\nx b.jpg\n", r"images\.txt, line 3: expected <image id> <fi"),
            ("images.txt", "1 a.jpg\n1 b.jpg\n", r"images\.txt, line 2: id 1 occurs twice"),
            ("classes.txt", "1\n", r"classes\.txt, line 1: expected <class id> <name>, found '1'"),
            ("image_class_labels.txt", "1 9\n", r"labels\.txt: image 1 has class '9', not in"),
            ("image_class_labels.txt", "2 1\n", r"labels\.txt: no class for image 1 \(001\.Auk/a"),
        ],
    )
    def test_bad_metadata(self, tmp_path, file, content, message):
        write(tmp_path, CUB | {f"CUB_200_2011/{file}": content})
        with pytest.raises(LayoutError, match=message):
            LAYOUTS.module("cub").read(tmp_path, dataset("demo"))

    def test_metadata_that_is_not_text(self, tmp_path):
        write(tmp_path, CUB)
        (tmp_path / "CUB_200_2011/images.txt").write_bytes(b"1 \xff\xfe.jpg\n")
        with pytest.raises(LayoutError, match=r"images\.txt is not UTF-8"):
            LAYOUTS.module("cub").read(tmp_path, dataset("demo"))


HEADER = "Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int),Icon,Text\n"
CLASSES = "Gala,0,Apple,0,i,d\nFuji,1,Apple,0,i,d\nLeek,2,Leek,1,i,d"
APPLE = "Fruit/Apple"
GROCERY = {
    "top/dataset/classes.csv": HEADER + CLASSES,
    "top/dataset/train.txt": f"train/{APPLE}/Gala/1.jpg, 0, 0\ntrain/{APPLE}/Fuji/1.jpg, 1, 0\n",
    "top/dataset/val.txt": f"val/{APPLE}/Fuji/2.jpg, 1, 0\nval/Vegetables/Leek/2.jpg, 2, 1\n",
    "top/dataset/test.txt": f"test/{APPLE}/Gala/3.jpg, 0, 0\ntest/{APPLE}/Fuji/3.jpg, 1, 0\n",
}


class TestGrocery:
    def test_rows(self, tmp_path):
        write(tmp_path, GROCERY)
        top = "top/dataset"
        assert rows(LAYOUTS.module("grocery").read(tmp_path, dataset("grocery"))) == [
            (f"{top}/train/Fruit/Apple/Gala/1.jpg", 0, "Gala", "Fruit/Apple", "train"),
            (f"{top}/train/Fruit/Apple/Fuji/1.jpg", 1, "Fuji", "Fruit/Apple", "gallery"),
            (f"{top}/val/Fruit/Apple/Fuji/2.jpg", 1, "Fuji", "Fruit/Apple", "gallery"),
            (f"{top}/val/Vegetables/Leek/2.jpg", 2, "Leek", "Vegetables/Leek", "train"),
            (f"{top}/test/Fruit/Apple/Gala/3.jpg", 0, "Gala", "Fruit/Apple", "train"),
            (f"{top}/test/Fruit/Apple/Fuji/3.jpg", 1, "Fuji", "Fruit/Apple", "query"),
        ]
        inner = LAYOUTS.module("grocery").read(tmp_path / "top", dataset("grocery"))
        assert inner["image"][0] == "dataset/train/Fruit/Apple/Gala/1.jpg"

    @pytest.mark.parametrize(
        ("file", "content", "message"),
        [
            ("val.txt", "val/Fruit/Kiwi/1.jpg, 0\n", r"val\.txt, line 1: expected <list>/<dep"),
            ("val.txt", "1.jpg, 0, 0\n", r"val\.txt, line 1: expected <list>/<department>"),
            (
                "val.txt",
                "v/F/K/1.jpg, 7, 0\n",
                r"val\.txt, line 1: class 7 in coarse class 0 is no",
            ),
            (
                "val.txt",
                "v/F/K/1.jpg, 0, 1\n",
                r"val\.txt, line 1: class 0 in coarse class 1 is no",
            ),
            (
                "classes.csv",
                HEADER + "Gala,zero,Apple,0\n",
                r"classes\.csv, line 2: expected <name",
            ),
        ],
    )
    def test_bad_metadata(self, tmp_path, file, content, message):
        write(tmp_path, GROCERY | {f"top/dataset/{file}": content})
        with pytest.raises(LayoutError, match=message):
            LAYOUTS.module("grocery").read(tmp_path, dataset("grocery"))

    def test_missing_list(self, tmp_path):
        write(tmp_path, {k: v for k, v in GROCERY.items() if "test.txt" not in k})
        with pytest.raises(LayoutError, match=r"test\.txt is missing"):
            LAYOUTS.module("grocery").read(tmp_path, dataset("grocery"))

    def test_the_real_lists(self, tmp_path, real_data):
        with tarfile.open(real_data / "GroceryStoreDataset-fc80ba90.tar") as tar:
            for member in tar:
                if member.name.endswith(("/train.txt", "/val.txt", "/test.txt", "/classes.csv")):
                    path = tmp_path / member.name  # extract() has no filter before Python 3.11.4
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(tar.extractfile(member).read())
        table = LAYOUTS.module("grocery").read(tmp_path, dataset("grocery"))
        assert table["split"].value_counts().to_dict() == {
            "train": 2781,
            "gallery": 1443,
            "query": 1197,
        }
        assert table.groupby("split")["label"].nunique().to_dict() == {
            "train": 41,
            "gallery": 40,
            "query": 40,
        }
        assert table["superclass"].nunique() == 43
        assert levels_of(table, dataset("grocery").levels, "grocery").codes.max(1).tolist() == [
            80, 42, 2,
        ]  # fmt: skip
        assert {name.split("/")[0] for name in table["superclass"]} == {
            "Fruit",
            "Packages",
            "Vegetables",
        }
        assert table["image"].is_unique


@pytest.fixture
def cars_half(tmp_path):
    """A small archive of that layout, unpacked: four classes, of each the first and the third photo."""
    make_cars_half(tmp_path, classes=4, images=2)
    unpack(tmp_path / "cars_half.tar", tmp_path / "root")
    return tmp_path / "root" / "car_dataset1-2ac69202"


class TestCarsHalf:
    def test_rows(self, cars_half):
        suv = ("AM General Hummer SUV 2000", "SUV", "train")
        rl = ("Acura RL Sedan 2012", "Sedan", "train")
        tl = ("Acura TL Sedan 2012", "Sedan", "test")
        type_s = ("Acura TL Type-S 2008", "Sedan", "test")
        expected = [
            ("cars_train/00001.jpg", 3, *type_s),
            ("cars_train/00002.jpg", 2, *tl),
            ("cars_train/00003.jpg", 1, *rl),
            ("cars_train/00004.jpg", 0, *suv),
            ("cars_train/00009.jpg", 3, *type_s),  # line 9 is its label, though it is the fifth that is there
            ("cars_train/00010.jpg", 2, *tl),
            ("cars_train/00011.jpg", 1, *rl),
            ("cars_train/00012.jpg", 0, *suv),
        ]
        read = LAYOUTS.module("cars_half").read
        assert rows(read(cars_half, dataset("cars_half"))) == expected
        top = cars_half.name
        assert rows(read(cars_half.parent, dataset("cars_half"))) == [
            (f"{top}/{image}", *rest) for image, *rest in expected
        ]

    @pytest.mark.parametrize("file", ["cars_meta.mat", "train_perfect_preds.txt", "cars_train"])
    def test_missing_files(self, cars_half, file):
        (cars_half / file).rename(cars_half.parent / "elsewhere")
        with pytest.raises(LayoutError, match=f"{file} is missing: expected at "):
            LAYOUTS.module("cars_half").read(cars_half, dataset("cars_half"))

    @pytest.mark.parametrize(
        ("lines", "message"),
        [
            ("4\n3\n2\n1\n" * 2, r"preds\.txt has no line 9, the class of cars_train/00009\.jpg"),
            ("4\n3\n\n1\n", r"preds\.txt has no line 3, the class of cars_train/00003\.jpg"),
            ("4\n5\n", r"preds\.txt, line 2: expected a class id from 1 to 4, found '5'"),
            ("4\n0\n", r"preds\.txt, line 2: expected a class id from 1 to 4, found '0'"),
            ("Acura\n", r"preds\.txt, line 1: expected a class id from 1 to 4, found 'Acura'"),
        ],
    )  # fmt: skip
    def test_bad_labels(self, cars_half, lines, message):
        (cars_half / "train_perfect_preds.txt").write_text(lines)
        with pytest.raises(LayoutError, match=message):
            LAYOUTS.module("cars_half").read(cars_half, dataset("cars_half"))

    @pytest.mark.parametrize("name", ["1.jpg", "00001.png", "0000x.jpg", "00001 (1).jpg"])
    def test_a_photo_without_a_number(self, cars_half, name):
        (cars_half / "cars_train" / name).touch()
        (cars_half / "cars_train/.DS_Store").touch()
        with pytest.raises(LayoutError, match=r"expected photos <number of five digits>\.jpg, found '.+'"):
            LAYOUTS.module("cars_half").read(cars_half, dataset("cars_half"))

    @pytest.mark.parametrize(
        ("name", "body"),
        [
            ("Ram C/V Cargo Van Minivan 2012", "Minivan"),
            ("Ford E-Series Wagon Van 2012", "Van"),
            ("Infiniti G Coupe IPL 2012", "Coupe"),
            ("Ford Ranger SuperCab 2011", "Pickup"),
            ("Dodge Ram Pickup 3500 Quad Cab 2009", "Pickup"),
            ("Chevrolet HHR SS 2010", "Wagon"),
        ],
    )
    def test_body_types(self, cars_half, name, body):
        savemat(
            cars_half / "cars_meta.mat",
            {"class_names": np.array([["A SUV 2000"] * 3 + [name]], dtype=object)},
        )
        table = LAYOUTS.module("cars_half").read(cars_half, dataset("cars_half"))
        assert table["superclass"].tolist()[:2] == [body, "SUV"]

    @pytest.mark.parametrize(
        "name", ["Acura TL Type-R 2008", "Coupe", "Audi TT Coupe", "Audi TT Coupe 2012 x"]
    )
    def test_a_class_without_a_body_type(self, cars_half, name):
        savemat(cars_half / "cars_meta.mat", {"class_names": np.array([["A SUV 2000", name]], dtype=object)})
        with pytest.raises(
            LayoutError, match=f"meta\\.mat: class '{name}' says no body type; expected one of Conv"
        ):
            LAYOUTS.module("cars_half").read(cars_half, dataset("cars_half"))

    def test_the_real_labels(self, tmp_path, real_data):
        if not (real_data / "cars196-train16-2ac69202.tar").exists():
            pytest.skip("the real archive of cars_half is not there")
        with tarfile.open(real_data / "cars196-train16-2ac69202.tar") as tar:
            for member in filter(tarfile.TarInfo.isfile, tar):  # of the photos, names are enough
                path = tmp_path / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                photo = member.name.endswith(".jpg")
                path.write_bytes(b"" if photo else tar.extractfile(member).read())
        table = LAYOUTS.module("cars_half").read(tmp_path, dataset("cars_half"))
        assert (table.groupby("label").size() == 16).all()
        assert table["split"].value_counts().to_dict() == {"train": 1568, "test": 1568}
        assert sorted(table.loc[table["split"] == "train", "label"].unique()) == [*range(98)]
        assert table.groupby("superclass")["label"].nunique().to_dict() == {
            "Sedan": 50, "SUV": 35, "Coupe": 33, "Convertible": 26, "Pickup": 18, "Hatchback": 14,
            "Van": 7, "Wagon": 7, "Minivan": 6,
        }  # fmt: skip
        assert levels_of(table, dataset("cars_half").levels, "cars_half").codes.max(1).tolist() == [195, 8]


OMNIGLOT = [
    "images_background/Latin/character02/0002_01.png",
    "images_background/Latin/character01/0001_02.png",
    "images_background/Latin/character01/0001_01.png",
    "images_background/Greek/character01/0003_01.png",
    "images_evaluation/ULOG/character01/0004_01.png",
    "images_evaluation/ULOG/character01/._0004_01.png",
]


class TestOmniglot:
    @pytest.mark.parametrize("top", ["", "Omniglot Dataset/"])
    def test_rows(self, tmp_path, top):
        write(tmp_path, {f"{top}{name}": "" for name in OMNIGLOT})
        back, evaluation = f"{top}images_background", f"{top}images_evaluation"
        assert rows(LAYOUTS.module("omniglot").read(tmp_path, dataset("omniglot"))) == [
            (f"{back}/Greek/character01/0003_01.png", 0, "Greek/character01", "Greek", "train"),
            (f"{back}/Latin/character01/0001_01.png", 1, "Latin/character01", "Latin", "train"),
            (f"{back}/Latin/character01/0001_02.png", 1, "Latin/character01", "Latin", "train"),
            (f"{back}/Latin/character02/0002_01.png", 2, "Latin/character02", "Latin", "train"),
            (f"{evaluation}/ULOG/character01/0004_01.png", 3, "ULOG/character01", "ULOG", "test"),
        ]

    def test_a_side_that_is_missing(self, tmp_path):
        write(tmp_path, {name: "" for name in OMNIGLOT if "background" in name})
        with pytest.raises(LayoutError, match="images_evaluation: no such folder"):
            LAYOUTS.module("omniglot").read(tmp_path, dataset("omniglot"))

    def test_a_side_that_is_empty(self, tmp_path):
        write(tmp_path, {name: "" for name in OMNIGLOT if "background" in name})
        (tmp_path / "images_evaluation").mkdir()
        with pytest.raises(LayoutError, match="images_evaluation: no folders <alphabet>"):
            LAYOUTS.module("omniglot").read(tmp_path, dataset("omniglot"))

    def test_the_real_archive(self, tmp_path, real_data):
        with tarfile.open(real_data / "omniglot-png-8aae456.tar.gz") as tar:
            for member in tar:  # names are enough
                path = tmp_path / member.name
                if member.isdir():
                    path.mkdir()
                elif member.name.endswith("_01.png"):
                    path.touch()
        table = LAYOUTS.module("omniglot").read(tmp_path, dataset("omniglot"))
        assert table["split"].value_counts().to_dict() == {"train": 964, "test": 659}
        assert table["label"].tolist() == list(range(964 + 659))
        assert table.groupby("split")["superclass"].nunique().to_dict() == {"test": 20, "train": 30}
        assert len(levels_of(table, dataset("omniglot").levels, "omniglot").titles) == 2


def test_every_layout_is_registered_and_others_are_named():
    modules = {path.stem for path in (ROOT / "src/hier/data/layouts").glob("*.py")}
    modules -= {"__init__", "matlab", "sides", "split_file"}  # what layouts share
    assert set(LAYOUTS.names()) == modules
    with pytest.raises(
        UnknownNameError, match="unknown layout 'cubs'; choose from: cars, cars_half, cub, folder, grocery"
    ):
        LAYOUTS.module("cubs")


OUT = [
    "/etc/passwd",
    "../../../outside/a.jpg",
    "a/../../../../b.jpg",
    "a\\..\\..\\b.jpg",
]
DIGITS = "1" * 5000


@pytest.mark.parametrize("out", OUT)
def test_an_image_outside_of_the_archive_is_refused_with_list_and_line(tmp_path, out):
    lists = {
        "cub": (CUB, "CUB_200_2011/images.txt", "1 001.Auk/a.jpg\n2 FILE\n", "images.txt, line 2"),
        "grocery": (GROCERY, "top/dataset/val.txt", "FILE, 2, 1\n", "val.txt, line 1"),
        "sop": (SOP, "Ebay_test.txt", f"{SOP_HEAD}\n1 1 1 FILE\n", "Ebay_test.txt, line 2"),
        "inshop": (
            {}, "list_eval_partition.txt",
            "1\nimage_name item_id evaluation_status\nimg/FILE id_1 train\n",
            "list_eval_partition.txt, line 3",
        ),
    }  # fmt: skip
    for name, (files, file, content, where) in lists.items():
        folder = tmp_path / name
        given = out
        if name == "sop":  # one slash, and a product's number
            given = {"/etc/passwd": "/passwd_1.jpg"}.get(out, "../b_1.jpg")
        elif name == "grocery":
            given = {"a\\..\\..\\b.jpg": "a/b/..\\c.jpg"}.get(out, out)
        elif name == "inshop":
            given = "a/b/../../../../c.jpg"
        write(folder, files | {file: content.replace("FILE", given)})
        with pytest.raises(LayoutError, match=r"is absolute|leads out of the folder") as caught:
            LAYOUTS.module(name).read(folder, dataset("demo"))
        assert f"{where}: image '" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_image_that_no_file_system_can_name_is_refused_with_list_and_line(tmp_path):
    write(tmp_path, CUB | {"CUB_200_2011/images.txt": "1 001.Auk/a.jpg\n2 001.Auk/b\0.jpg\n"})
    with pytest.raises(LayoutError, match=r"images\.txt, line 2: image '.*' has a NUL in it"):
        LAYOUTS.module("cub").read(tmp_path, dataset("demo"))


SOP_HEAD = "image_id class_id super_class_id path"
SOP = {f"Ebay_{side}.txt": f"{SOP_HEAD}\n1 1 1 fan_final/1_0.JPG\n" for side in ("train", "test")}


@pytest.mark.parametrize(
    ("name", "files", "file", "content"),
    [
        ("cub", CUB, "CUB_200_2011/images.txt", f"{DIGITS} 001.Auk/a.jpg\n"),
        ("cub", CUB, "CUB_200_2011/classes.txt", f"{DIGITS} 001.Auk\n"),
        ("cub", CUB, "CUB_200_2011/image_class_labels.txt", f"1 {DIGITS}\n"),
        ("cub", CUB, "CUB_200_2011/image_class_labels.txt", f"{DIGITS} 1\n"),
        ("grocery", GROCERY, "top/dataset/val.txt", f"v/F/K/1.jpg, {DIGITS}, 0\n"),
        ("grocery", GROCERY, "top/dataset/val.txt", "a//, 0, 0\n"),
        ("grocery", GROCERY, "top/dataset/classes.csv", f"{HEADER}Gala,{DIGITS},Apple,0\n"),
        ("grocery", GROCERY, "top/dataset/classes.csv", f"{HEADER}Gala,²,Apple,0\n"),
        ("sop", SOP, "Ebay_test.txt", f"{SOP_HEAD}\n1 {DIGITS} 1 fan_final/1_0.JPG\n"),
        ("sop", SOP, "Ebay_test.txt", f"{SOP_HEAD}\n1 {'1' * 30} 1 fan_final/1_0.JPG\n"),
        (
            "inshop",
            {},
            "list_eval_partition.txt",
            f"{DIGITS}\nimage_name item_id evaluation_status",
        ),
    ],
)
def test_a_number_that_no_id_can_be(tmp_path, name, files, file, content):
    write(tmp_path, files | {file: content})
    with pytest.raises(LayoutError) as caught:
        LAYOUTS.module(name).read(tmp_path, dataset("demo"))
    text = str(caught.value)
    assert file.rpartition("/")[2] in text
    assert len(text) < 800
