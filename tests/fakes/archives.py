"""Small archives that are laid out as the paper's are, with their quirks; the images are drawn.

Each function writes files with the genuine names into a folder and returns the `counts` of the
dataset that it made. The first half of the `classes` is for training. Every class has `images`
images; the second is grey, the third CMYK and the fourth carries an EXIF rotation.
"""

import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
BIRDS = [
    "Black_footed_Albatross",
    "Laysan_Albatross",
    "Sooty_Albatross",
    "Groove_billed_Ani",
    "Crested_Auklet",
    "Least_Auklet",
    "Parakeet_Auklet",
    "Rhinoceros_Auklet",
]
CARS = [
    "AM General Hummer SUV 2000",
    "Acura RL Sedan 2012",
    "Acura TL Sedan 2012",
    "Acura TL Type-S 2008",
    "Ram C/V Cargo Van Minivan 2012",
    "Audi S4 Sedan 2012",
    "Audi TT RS Coupe 2012",
    "BMW 3 Series Wagon 2012",
]
PRODUCTS = [
    "bicycle",
    "cabinet",
    "chair",
    "coffee_maker",
    "fan",
    "kettle",
    "lamp",
    "mug",
    "sofa",
    "stapler",
    "table",
    "toaster",
]
CLOTHES = ["MEN/Denim", "MEN/Tees_Tanks", "WOMEN/Blouses_Shirts", "WOMEN/Dresses"]
VIEWS = ["1_front", "2_side", "3_back", "4_full"]
BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")


def jpeg(label: int, number: int, size: int) -> bytes:
    """A drawn JPEG of `size` × ¾ `size` pixels: the colour is the class's, the mark the image's."""
    image = Image.new("RGB", (size, size * 3 // 4), f"hsl({label * 47 % 360}, 70%, 50%)")
    left = size * (number % 5) // 8
    ImageDraw.Draw(image).ellipse((left, size // 4, left + size // 3, size // 2), "white")
    exif = Image.Exif()
    if number % 4 == 1:
        image = image.convert("L")
    elif number % 4 == 2:
        image = image.convert("CMYK")
    elif number % 4 == 3:
        exif[0x0112] = 6  # to be shown a quarter turned
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90, exif=exif)
    return stream.getvalue()


def make_cub(folder: Path, classes: int = 8, images: int = 4, size: int = 48) -> dict:
    """CUB_200_2011.tgz: `attributes.txt` lies beside the folder, and there are `._` files."""
    names = [f"{c + 1:03}.{_name(BIRDS, c)}" for c in range(classes)]
    content: dict[str, bytes] = {"attributes.txt": b"1 has_bill_shape::curved_(up_or_down)\n"}
    lists: dict[str, list[str]] = {"images": [], "image_class_labels": [], "train_test_split": []}
    for number in range(classes * images):
        label, of_class = divmod(number, images)
        file = f"{names[label]}/{names[label].split('.')[1]}_{of_class + 1:04}_{796000 + number}.jpg"
        content[f"CUB_200_2011/images/{file}"] = jpeg(label, of_class, size)
        lists["images"].append(f"{number + 1} {file}")
        lists["image_class_labels"].append(f"{number + 1} {label + 1}")
        lists["train_test_split"].append(f"{number + 1} {number % 2}")
    lists["classes"] = [f"{c + 1} {name}" for c, name in enumerate(names)]
    for name, lines in lists.items():
        content[f"CUB_200_2011/{name}.txt"] = _lines(lines)
    content["CUB_200_2011/README"] = b"Caltech-UCSD Birds 200 (2011)\n"
    content["CUB_200_2011/._images.txt"] = APPLE_DOUBLE
    content[f"CUB_200_2011/images/{names[0]}/._a.jpg"] = APPLE_DOUBLE
    _write_tar(folder / "CUB_200_2011.tgz", content)
    return _counts(classes, images)


def make_cars(folder: Path, classes: int = 8, images: int = 4, size: int = 48) -> dict:
    """car_ims.tgz and cars_annos.mat: class ids from 1, in the classes' order."""
    content, rows = {}, []
    for number in range(classes * images):
        label, of_class = divmod(number, images)
        file = f"car_ims/{number + 1:06}.jpg"
        content[file] = jpeg(label, of_class, size)
        rows.append((file, 1, 2, size, size // 2, label + 1, number % 2))
    _write_tar(folder / "car_ims.tgz", content)
    fields = ("relative_im_path", *BOX, "class", "test")
    annotations = _struct(fields, rows)
    _write_mat(folder / "cars_annos.mat", {"annotations": annotations, "class_names": _cars(classes)})
    return _counts(classes, images)


def make_cars_halves(folder: Path, classes: int = 8, images: int = 4, size: int = 48) -> dict:
    """The same in halves, every other image in each, classes mixed; labels in the devkit and beside."""
    devkit = {"devkit/README.txt": b"This file gives documentation for the cars 196 dataset.\n"}
    meta = folder / "cars_meta.mat"
    _write_mat(meta, {"class_names": _cars(classes)})
    _move_into(devkit, meta)
    for half, labels in enumerate(("cars_train_annos.mat", "cars_test_annos_withlabels.mat")):
        name = ("cars_train", "cars_test")[half]
        content, rows = {}, []
        order = [(c, i) for i in range(images) for c in reversed(range(classes)) if i % 2 == half]
        for number, (label, of_class) in enumerate(order, start=1):
            content[f"{name}/{number:05}.jpg"] = jpeg(label, of_class, size)
            rows.append((1, 2, size, size // 2, label + 1, f"{number:05}.jpg"))
        _write_tar(folder / f"{name}.tgz", content)
        _write_mat(folder / labels, {"annotations": _struct((*BOX, "class", "fname"), rows)})
    _move_into(devkit, folder / "cars_train_annos.mat")
    _write_tar(folder / "car_devkit.tgz", devkit)
    return _counts(classes, images)


def make_cars_half(folder: Path, classes: int = 8, images: int = 4, size: int = 48) -> dict:
    """A part of a half: classes are mixed, and of each the last photo but one is left out, but no label."""
    meta, top = folder / "cars_meta.mat", "car_dataset1-2ac69202"
    _write_mat(meta, {"class_names": _cars(classes)})
    content = {f"{top}/cars_meta.mat": meta.read_bytes()}
    meta.unlink()
    order = [(c, i) for i in range(images + 1) for c in reversed(range(classes))]
    for number, (label, of_class) in enumerate(order, start=1):
        if of_class != images - 1:
            content[f"{top}/cars_train/{number:05}.jpg"] = jpeg(label, of_class, size)
    content[f"{top}/train_perfect_preds.txt"] = _lines([str(label + 1) for label, _ in order])
    _write_tar(folder / "cars_half.tar", content)
    return _counts(classes, images)


def make_sop(folder: Path, classes: int = 8, images: int = 4, size: int = 48) -> dict:
    """Stanford_Online_Products.zip: lists with a header, image ids that run on from list to list."""
    top = "Stanford_Online_Products"
    lists = {"train": ["image_id class_id super_class_id path"]}
    lists["test"] = list(lists["train"])
    content = {f"{top}/Ebay_info.txt": b"class_id super_class_id path\n"}
    for number in range(classes * images):
        label, of_class = divmod(number, images)
        kind = label % len(PRODUCTS)
        file = f"{PRODUCTS[kind]}_final/{111085122871 + 1000 * label}_{of_class}.JPG"
        content[f"{top}/{file}"] = jpeg(label, of_class, size)
        side = "train" if label < classes // 2 else "test"
        lists[side].append(f"{number + 1} {label + 1} {kind + 1} {file}")
    for side, lines in lists.items():
        content[f"{top}/Ebay_{side}.txt"] = _lines(lines)
    content[f"{top}/bicycle_final/._.DS_Store"] = APPLE_DOUBLE
    _write_zip(folder / "Stanford_Online_Products.zip", content)
    return _counts(classes, images)


def make_inshop(folder: Path, classes: int = 8, images: int = 4, size: int = 48) -> dict:
    """img.zip and list_eval_partition.txt: padded columns, item ids with gaps and in no order.

    Of an unseen item every other image is a query, the others are gallery.
    """
    content, lines = {}, []
    for label in reversed(range(classes)):
        item = f"id_{2 + 3 * label:08}"
        for of_class in range(images):
            view = f"{of_class // 4 + 1:02}_{VIEWS[of_class % 4]}"
            file = f"img/{CLOTHES[label % len(CLOTHES)]}/{item}/{view}.jpg"
            content[file] = jpeg(label, of_class, size)
            unseen = ("query", "gallery")[of_class % 2]
            status = "train" if label < classes // 2 else unseen
            lines.append(f"{file:<70} {item} {status:<10}")
    head = [str(len(lines)), "image_name item_id evaluation_status"]
    (folder / "list_eval_partition.txt").write_bytes(_lines(head + lines))
    _write_zip(folder / "img.zip", content)
    half = classes // 2
    unseen = classes - half
    return {
        "images": {
            "train": half * images,
            "query": unseen * (images - images // 2),
            "gallery": unseen * (images // 2),
        },
        "train_classes": half,
        "test_classes": unseen,
    }


def _name(names: list[str], number: int) -> str:
    """One of the genuine names or, beyond them, a made-up one."""
    return names[number] if number < len(names) else f"Class_{number + 1}"


def _counts(classes: int, images: int) -> dict:
    half = classes // 2
    return {
        "images": {"train": half * images, "test": (classes - half) * images},
        "train_classes": half,
        "test_classes": classes - half,
    }


def _lines(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()


def _cars(classes: int) -> np.ndarray:
    """A MATLAB cell array (1 × classes) of names."""
    return np.array([[_name(CARS, c) for c in range(classes)]], dtype=object)


def _struct(fields: tuple[str, ...], rows: list[tuple]) -> np.ndarray:
    """A MATLAB struct array (1 × rows)."""
    return np.array([rows], dtype=[(field, object) for field in fields])


def _write_mat(path: Path, variables: dict) -> None:
    from scipy.io import savemat

    savemat(path, variables, do_compression=True)


def _move_into(devkit: dict[str, bytes], path: Path) -> None:
    devkit[f"devkit/{path.name}"] = path.read_bytes()
    path.unlink()


def _write_tar(path: Path, content: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def _write_zip(path: Path, content: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as opened:
        for name, data in content.items():
            opened.writestr(zipfile.ZipInfo(name), data)


def mark(path: Path, flags: int = 0, method: int | None = None) -> None:
    """Set flags and packing method of every member of a zip, in both of its places.

    Python writes neither encrypted zips nor some methods; what is packed is left as it is.
    """
    with zipfile.ZipFile(path) as opened:
        starts, directory = [e.header_offset for e in opened.infolist()], opened.start_dir
    content = bytearray(path.read_bytes())
    places = [start + 6 for start in starts]
    while content[directory : directory + 4] == b"PK\x01\x02":
        places.append(directory + 8)
        name, extra, comment = struct.unpack_from("<HHH", content, directory + 28)
        directory += 46 + name + extra + comment
    for at in places:
        old = struct.unpack_from("<HH", content, at)
        struct.pack_into("<HH", content, at, old[0] | flags, old[1] if method is None else method)
    path.write_bytes(content)


def repack(path: Path, rename: Callable[[str], str], more: dict[str, bytes] | None = None) -> None:
    """Pack an archive again with other names of its members, and `more` files."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as opened:
            content = {entry.filename: opened.read(entry) for entry in opened.infolist()}
        write = _write_zip
    else:
        with tarfile.open(path) as tar:
            content = {member.name: tar.extractfile(member).read() for member in tar}
        write = _write_tar
    write(path, {rename(name): data for name, data in content.items()} | (more or {}))
