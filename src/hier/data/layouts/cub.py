"""CUB-200-2011: `images.txt`, `image_class_labels.txt` and `classes.txt` beside `images/`.

The first half of the class ids is for training, the second half is unseen
(`train_test_split.txt` is for classification and plays no part). A tree of classes is known only
where `superclasses.txt` exists (lines `<class id> <path>`).
"""

from pathlib import Path, PurePosixPath

import pandas as pd

from hier.config.dataset import Dataset
from hier.data.layouts import ID, Line, Row, base, below, number, read_lines, to_table
from hier.errors import LayoutError


def read(root: Path, dataset: Dataset) -> pd.DataFrame:
    """One row per line of `images.txt`, in the order of image ids; labels are class ids less 1.

    Raises LayoutError where metadata are missing or bad, or an image has no class.
    """
    top = base(root, "CUB_200_2011", "images.txt")
    names = _read_ids(top / "classes.txt", "<class id> <name>")
    images = _read_ids(top / "images.txt", "<image id> <file>")
    listed = top / "image_class_labels.txt"
    labels = _read_ids(listed, "<image id> <class id>")
    superclasses: dict[int, Line] = {}
    if (top / "superclasses.txt").exists():
        superclasses = _read_ids(top / "superclasses.txt", "<class id> <path>")
    train = set(sorted(names)[: len(names) // 2])
    rows = []
    for image_id, line in sorted(images.items()):
        if PurePosixPath(line.text).name.startswith("._"):
            continue
        if image_id not in labels:
            raise LayoutError(f"{listed}: no class for image {image_id} ({line.text})")
        label = number(labels[image_id].text)
        if label is None or label not in names:
            found = f"class '{labels[image_id].text[:200]}', not in classes.txt"
            raise LayoutError(f"{listed}: image {image_id} has {found}")
        rows.append(
            Row(
                image=below(root, top / "images", line.text),
                label=label - 1,
                class_name=names[label].text.split(".", 1)[-1],
                superclass=superclasses[label].text if label in superclasses else None,
                split="train" if label in train else "test",
                listed=str(line),
            )
        )
    return to_table(rows)


def _read_ids(path: Path, form: str) -> dict[int, Line]:
    """Lines `<id> <text>` by their id, with the text alone."""
    found: dict[int, Line] = {}
    for line in read_lines(path):
        key, text = line.match(f"({ID}) (.+)", form).groups()
        if int(key) in found:
            raise LayoutError(f"{line}: id {key} occurs twice")
        found[int(key)] = line._replace(text=text)
    return found
