"""What the layouts of one's own photos share: from photos with the names of their classes to the rows of an
index, and which classes are unseen.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from hier.config.dataset import Dataset, Unseen
from hier.data.in_place import look_into, read_list
from hier.data.index import SPLITS
from hier.data.layouts import Row, to_table
from hier.errors import LayoutError

Names = tuple[str, ...]  # from the root of the tree to the class
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels, the last two beyond what is inside
TOGETHER = ({"train", "test"}, {"train", "query", "gallery"})


class Photo(NamedTuple):
    """A photo below the root, its class, its split where the data say it, and the part that is taken."""

    path: str
    names: Names
    split: str | None
    listed: str  # where it is named
    crop: Box | None = None


def photos_in(root: Path) -> list[str]:
    """Paths of the photos: those of the list in `root` (`*.sha256`, see hier.data.in_place), or all there."""
    for path in sorted(root.glob("*.sha256")):
        return list(read_list(path.read_text(encoding="utf-8")))
    return look_into(root).photos


def rows_of(photos: list[Photo], dataset: Dataset) -> pd.DataFrame:
    """The table of a layout, in the order of `photos`; labels count the classes by their names.

    Where the data say no split, `dataset.unseen` chooses. Raises LayoutError: there are no photos, a split
    has another name or is said for some photos only, or a class is on both sides."""
    if not photos:
        raise LayoutError(f"{dataset.name}: no photos were found")
    classes = sorted({photo.names for photo in photos})
    if len(classes) < 2:
        raise LayoutError(
            f"{dataset.name}: all photos are of one class, {'/'.join(classes[0])}; two at least"
        )
    if any(photo.split for photo in photos) and dataset.unseen:
        raise LayoutError(f"{dataset.name}: the data say the split; remove unseen: from its settings")
    splits = _said(photos, dataset) or dict(zip(classes, _drawn(classes, dataset), strict=True))
    labels, titles = {names: label for label, names in enumerate(classes)}, _titles(classes)
    rows = []
    for photo in photos:
        names, above = photo.names, "/".join(photo.names[:-1]) or None
        split = photo.split or splits[names]
        rows.append(Row(photo.path, labels[names], titles[names], above, split, photo.listed, photo.crop))
    return to_table(rows)


def _said(photos: list[Photo], dataset: Dataset) -> dict[Names, str] | None:
    """A split of each class, where the data say one."""
    silent = [photo for photo in photos if photo.split is None]
    if len(silent) == len(photos):
        return None
    if silent:
        raise LayoutError(f"{silent[0].listed}: '{silent[0].path}' has no split, and others have one")
    found: dict[Names, Photo] = {}
    for photo in photos:
        if photo.split not in SPLITS:
            raise LayoutError(f"{photo.listed}: split '{photo.split}' is none of {', '.join(SPLITS)}")
        first = found.setdefault(photo.names, photo)
        if (first.split == "train") != (photo.split == "train"):
            name = "/".join(photo.names)
            raise LayoutError(
                f"{dataset.name}: class {name} is in two splits: '{first.path}' in {first.split}, "
                f"'{photo.path}' in {photo.split} ({photo.listed}); test classes are those that training has "
                "not seen: give each class to one side, or say no split and let --unseen choose"
            )
    if (kinds := {str(photo.split) for photo in photos}) not in TOGETHER:
        known = " or ".join(", ".join(sorted(each)) for each in TOGETHER)
        raise LayoutError(f"{dataset.name}: the splits are {', '.join(sorted(kinds))}; they must be {known}")
    return {names: str(photo.split) for names, photo in found.items()}


def _drawn(classes: list[Names], dataset: Dataset) -> list[str]:
    if dataset.unseen is None:
        raise LayoutError(
            f"{dataset.name}: the data say of no class whether it is for training; set unseen: "
            f"{{share: 0.5, seed: 0}} in conf/dataset/{dataset.name}.yaml, and compose again"
        )
    unseen = draw_unseen(classes, dataset.unseen)
    return ["test" if names in unseen else "train" for names in classes]


def draw_unseen(classes: list[Names], config: Unseen) -> set[Names]:
    """Which classes are unseen: of each super-class about `config.share`, in all the nearest number.

    A super-class of two classes or more keeps one on either side at least. What rounding leaves over goes
    on to the next super-class, so that super-classes of one class share as the rest does."""
    rng = np.random.default_rng(config.seed)
    unseen: set[Names] = set()
    owed = 0.5  # so that the whole is rounded, not cut
    for own in _families(classes):
        owed += config.share * len(own)
        least, most = (1, len(own) - 1) if len(own) > 1 else (0, 1)
        number = min(max(int(np.floor(owed)), least), most)
        owed -= number
        unseen |= {own[i] for i in rng.permutation(len(own))[:number]}
    return unseen


def _families(classes: list[Names]) -> Iterator[list[Names]]:
    """Classes by their super-class; the whole where there are none."""
    parents = dict.fromkeys(names[:-1] for names in classes)
    for parent in parents:
        yield [names for names in classes if names[:-1] == parent]


def _titles(classes: list[Names]) -> dict[Names, str]:
    """A name of each class that no other has: its own, or with those above it."""
    own = [names[-1] for names in classes]
    return {names: names[-1] if own.count(names[-1]) == 1 else "/".join(names) for names in classes}
