"""In-Shop Clothes Retrieval (DeepFashion; Liu et al., CVPR 2016): `list_eval_partition.txt`.

It stands beside `img/` (or in `Eval/`, as on the authors' drive, where `img/` is in `Img/`). It
begins with the number of images and a header, and gives image, item and part (train, query,
gallery) in padded columns.
"""

from pathlib import Path

import pandas as pd

from hier.config.dataset import Dataset
from hier.data.layouts import Row, bad_line, base, below, is_there, number, read_lines, table
from hier.errors import LayoutError

LIST = "list_eval_partition.txt"
HEADER = "image_name item_id evaluation_status"
HIGH = "img_highres"
STATUS = ("train", "query", "gallery")


def read(root: Path, dataset: Dataset) -> pd.DataFrame:
    """Rows in the order of the list; labels count the item ids (which have gaps) in order.

    An item's super-class, such as `WOMEN/Dresses`, is that in the path of its first image.

    Raises:
        LayoutError: the list is missing, its first line is not the number of its images, its
            header is another, or a line is bad.
    """
    path = base(root, "Eval", LIST) / LIST
    parsed = [(at, *_parse(path, at, line)) for at, line in _read_list(path)]
    top = _top(root, parsed[0][1]) if parsed else root
    labels = {item: label for label, item in enumerate(sorted({row[2] for row in parsed}))}
    superclasses: dict[str, str] = {}
    rows = []
    for at, image, item, status in parsed:
        superclass = superclasses.setdefault(item, "/".join(image.split("/")[1:-2]))
        image = below(root, top, image)
        rows.append(Row(image, labels[item], item, superclass, status, f"{path}, line {at}"))
    return table(rows)


def _top(root: Path, image: str) -> Path:
    """The folder that the list's paths begin in: it holds `img`, and that `MEN` or `WOMEN`."""
    people = "/".join(image.split("/")[:2])
    top = base(root, "", people)
    if not is_there(top / people):
        other = base(root, "", HIGH) / HIGH
        if other.exists():
            raise LayoutError(
                f"{other} holds the high-resolution images; the paper's are the low-resolution ones, "
                "in Img/img.zip of the authors' drive"
            )
    return top


def _read_list(path: Path) -> list[tuple[int, str]]:
    """The numbered lines after count and header, which must be as they should."""
    lines = read_lines(path)
    announced = number(lines[0][1]) if lines else None
    if announced is None:
        raise bad_line(path, *(lines[0] if lines else (1, "")), "the number of images")
    at, header = lines[1] if len(lines) > 1 else (2, "")
    if header.split() != HEADER.split():
        raise bad_line(path, at, header, f"the header '{HEADER}'")
    if announced != len(lines) - 2:
        raise LayoutError(
            f"{path}, line {lines[0][0]}: {lines[0][1]} images are announced, "
            f"{len(lines) - 2} are listed; is the file cut short?"
        )
    return lines[2:]


def _parse(path: Path, number: int, line: str) -> tuple[str, str, str]:
    """Image, item and part of the evaluation."""
    fields = line.split()
    if len(fields) != 3 or not _is_image(fields[0]) or not _is_item(fields[1]):
        raise bad_line(
            path, number, line, "img/<people>/<category>/<item>/<file> id_<digits> <status>"
        )
    if fields[2] not in STATUS:
        raise LayoutError(
            f"{path}, line {number}: unknown status '{fields[2]}'; expected {', '.join(STATUS)}"
        )
    return fields[0], fields[1], fields[2]


def _is_image(name: str) -> bool:
    return name.startswith("img/") and name.count("/") >= 4


def _is_item(name: str) -> bool:
    digits = name.removeprefix("id_")
    return digits != name and digits.isascii() and digits.isdigit()
