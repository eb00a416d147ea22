"""CUB-200-2011: `images.txt`, `image_class_labels.txt` and `classes.txt` beside `images/`.

The first half of the class ids is for training, the second half is unseen
(`train_test_split.txt` is for classification and plays no part). A tree of classes is known only
where `superclasses.txt` exists (lines `<class id> <path>`).
"""

from pathlib import Path, PurePosixPath

import pandas as pd

from hier.config.dataset import Dataset
from hier.data.layouts import Row, bad_line, base, number, read_lines, table
from hier.errors import LayoutError


def read(root: Path, dataset: Dataset) -> pd.DataFrame:
    """One row per line of `images.txt`, in the order of image ids; labels are class ids less 1.

    Raises:
        LayoutError: metadata missing or bad, an image without a class, or a file not there.
    """
    top = base(root, "CUB_200_2011", "images.txt")
    names = _texts(_read_ids(top / "classes.txt", "<class id> <name>"))
    images = _read_ids(top / "images.txt", "<image id> <file>")
    labels = _read_labels(top / "image_class_labels.txt", names)
    superclasses: dict[int, str] = {}
    if (top / "superclasses.txt").exists():
        superclasses = _texts(_read_ids(top / "superclasses.txt", "<class id> <path>"))
    train = set(sorted(names)[: len(names) // 2])
    prefix = PurePosixPath(top.relative_to(root).as_posix()) / "images"
    rows = []
    for image_id, (line, file) in sorted(images.items()):
        if PurePosixPath(file).name.startswith("._"):
            continue
        if image_id not in labels:
            raise LayoutError(
                f"{top / 'image_class_labels.txt'}: no class for image {image_id} ({file})"
            )
        label = labels[image_id]
        rows.append(
            Row(
                image=str(prefix / file),
                label=label - 1,
                class_name=names[label].split(".", 1)[-1],
                superclass=superclasses.get(label),
                split="train" if label in train else "test",
                listed=f"{top / 'images.txt'}, line {line}",
            )
        )
    return table(rows)


def _read_ids(path: Path, form: str) -> dict[int, tuple[int, str]]:
    """Lines `<id> <text>` as a dictionary of ids to the line's number and its text."""
    found: dict[int, tuple[int, str]] = {}
    for at, line in read_lines(path):
        key, _, text = line.partition(" ")
        found_id = number(key)
        if found_id is None or not text:
            raise bad_line(path, at, line, form)
        if found_id in found:
            raise LayoutError(f"{path}, line {at}: id {key} occurs twice")
        found[found_id] = at, text
    return found


def _texts(found: dict[int, tuple[int, str]]) -> dict[int, str]:
    return {key: text for key, (_, text) in found.items()}


def _read_labels(path: Path, names: dict[int, str]) -> dict[int, int]:
    labels = {}
    for image_id, (_, text) in _read_ids(path, "<image id> <class id>").items():
        label = number(text)
        if label is None or label not in names:
            raise LayoutError(
                f"{path}: image {image_id} has class '{text[:200]}', not in classes.txt"
            )
        labels[image_id] = label
    return labels
