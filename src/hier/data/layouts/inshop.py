"""In-Shop Clothes Retrieval (DeepFashion; Liu et al., CVPR 2016): `list_eval_partition.txt`.

It stands beside `img/` (or in `Eval/`, as on the authors' drive, where `img/` is in `Img/`). It
begins with the number of images and a header, and gives image, item and part (train, query,
gallery) in padded columns.
"""

from pathlib import Path

import pandas as pd

from hier.config.dataset import Dataset
from hier.data.layouts import ID, Line, Row, base, below, is_there, read_lines, to_table
from hier.errors import LayoutError

LIST = "list_eval_partition.txt"
HEADER = "image_name item_id evaluation_status"
LINE = r"(img(?:/[^\s/]*){4,})\s+(id_[0-9]+)\s+(\S+)"
FORM = "img/<people>/<category>/<item>/<file> id_<digits> <status>"
HIGH = "img_highres"
STATUS = ("train", "query", "gallery")


def read(root: Path, dataset: Dataset) -> pd.DataFrame:
    """Rows in the order of the list; labels count the item ids (which have gaps) in order.

    An item's super-class, such as `WOMEN/Dresses`, is that in the path of its first image. Raises
    LayoutError where the list is missing, or its number of images, its header or a line is bad.
    """
    path = base(root, "Eval", LIST) / LIST
    lines = _read_list(path)
    parsed = [line.match(LINE, FORM).groups() for line in lines]
    top = _top(root, parsed[0][0]) if parsed else root
    labels = {item: label for label, item in enumerate(sorted({item for _, item, _ in parsed}))}
    superclasses: dict[str, str] = {}
    rows = []
    for line, (image, item, status) in zip(lines, parsed, strict=True):
        if status not in STATUS:
            raise LayoutError(f"{line}: unknown status '{status}'; expected {', '.join(STATUS)}")
        superclass = superclasses.setdefault(item, "/".join(image.split("/")[1:-2]))
        image = below(root, top, image)
        rows.append(Row(image, labels[item], item, superclass, status, str(line)))
    return to_table(rows)


def _read_list(path: Path) -> list[Line]:
    """The lines after count and header, which must be as they should."""
    count, header, *lines = read_lines(path, least=2)
    count.match(ID, "the number of images")
    header.match(HEADER.replace(" ", r"\s+"), f"the header '{HEADER}'")
    if int(count.text) != len(lines):
        announced = f"{count.text} images are announced, {len(lines)} are listed"
        raise LayoutError(f"{count}: {announced}; is the file cut short?")
    return lines


def _top(root: Path, image: str) -> Path:
    """The folder that the list's paths begin in: it holds `img`, and that `MEN` or `WOMEN`."""
    people = "/".join(image.split("/")[:2])
    top = base(root, "", people)
    if not is_there(top / people) and (other := base(root, "", HIGH) / HIGH).exists():
        raise LayoutError(
            f"{other} holds the high-resolution images; the paper's are the low-resolution ones, "
            "in Img/img.zip of the authors' drive"
        )
    return top
